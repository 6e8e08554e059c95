"""The cerebrum's fields: hull, fissures, sulci, ventricles and nuclei.

Source: proportions after J. Talairach and P. Tournoux, Co-planar Stereotaxic Atlas (1988); cortical thickness
after B. Fischl and A. Dale, PNAS 97:11050 (2000); depth and spacing of sulci after K. Zilles et al., Anat.
Embryol. 179:173 (1988).
Ours differs: nothing is traced. The hull is a few ellipsoids bent by smooth noise; sulci are the zero set of
waves read on that hull: they run inwards, and gyri narrow with depth.
"""

import math

import torch
from torch import Tensor

from reshim.simulation.brain_canvas import Region
from reshim.simulation.lattice import distance_to_zero, gradient
from reshim.simulation.shapes import Ellipsoid, Points, Tube, smooth_intersection, smooth_union


def cerebellum_of(region: Region) -> Tensor:
    """Depth in the cerebellum's hull."""
    hemispheres = Ellipsoid((25.0, 62.0, -38.0), (29.0, 33.0, 25.0), (0.0, 0.0, -10.0), 2.3)(region.side)
    vermis = Ellipsoid((0.0, 60.0, -26.0), (14.0, 27.0, 24.0))(region.points)
    return smooth_union(hemispheres, vermis, 5.0)


def cerebrum_of(region: Region) -> Tensor:
    """Depth in the cerebrum's hull, fissures not yet cut."""
    x, y, z = region.points
    vault = Ellipsoid((0.0, 17.0, 7.0), (68.0, 87.0, 71.0), power=2.2)(region.points)
    lobe = Ellipsoid((42.0, 12.0, -20.0), (26.0, 40.0, 25.0), (-14.0, 0.0, 6.0), 2.3)(region.side)
    # The floor rises over the tentorium and the midbrain.
    rise = 11 * torch.exp(-(((y - 48) / 28).square()) - (x / 26).square())
    floor = rise - 21 + 0.03 * (y - 17).clamp_min(0)
    return smooth_union(smooth_intersection(vault, z - floor, 10.0), lobe, 6.0)


def shape_cortex(region: Region) -> None:
    """Hull, midline, Sylvian fissure with the insula, sulci; thickness of ribbon and width of sulci."""
    x, y, z = region.points
    none, traits = region.none(), region.traits
    hull = smooth_intersection(cerebrum_of(region), -1.4 - cerebellum_of(region), 2.0)
    midline = x + region.noise("midline", 50)
    # Depth inside the region where the hemispheres are joined, seen from the side.
    arch = Ellipsoid((0.0, 5.0, 3.0), (1e3, 37.0, 29.0), power=2.1)((none, y, z))
    below = Ellipsoid((0.0, 16.0, -10.0), (1e3, 20.0, 22.0))((none, y, z))
    joined = smooth_union(arch, below, 6.0)
    slant = (z - 1 - 0.5 * y - 2.5 * region.noise("sylvian", 30)) / 1.118
    reach = torch.maximum(torch.maximum(36 - x.abs(), -24 - y), y - 36)
    bowl = 5 * ((y + 2) / 20).square() + 5 * ((z - 3) / 15).square()
    island = x.abs() - 35.5 - bowl - 0.9 * region.noise("insula", 30)
    rim = -Ellipsoid((0.0, -2.0, 3.0), (1e3, 20.0, 15.0))((none, y, z))
    fissure = (midline.square() + joined.clamp_min(0).square() + 1).sqrt()
    sylvian = (slant.square() + reach.clamp_min(0).square() + 1).sqrt()
    surface = smooth_intersection(smooth_intersection(fissure, sylvian, 4.0), hull, 6.0)
    primary = (14.5 + 4.5 * region.noise("depth1", 36)).clamp(5, 24)
    secondary = (5 + 4 * region.noise("depth2", 30)).clamp(-3, 12)
    # No sulcus enters the bridge between the hemispheres.
    bridge = joined - 1.2 * (x.abs() - 8).clamp_min(0)
    region.fields |= _folds(region, surface)
    region.fields |= {
        "hull": hull,
        "midline": midline,
        "joined": joined,
        "arch": arch,
        "slant": slant,
        "reach": reach,
        "island": island,
        "rim": rim,
        "beyond1": torch.maximum(surface - primary, bridge),
        "beyond2": torch.maximum(surface - secondary, bridge),
        "ribbon": traits.ribbon_mm * (1 + 0.1 * region.noise("ribbon", 32)),
        "width": 0.45 + 0.8 * traits.atrophy + 0.35 * region.noise("width", 32),
        "sinus": 1.4 + 2.4 * torch.sigmoid((y - 10) / 25),
        "veins": distance_to_zero(region.noise("veins", 31), region.lattice.spacing_mm, 0.05),
    }


def _folds(region: Region, surface: Tensor) -> dict[str, Tensor]:
    """Signed distance from the sheets of primary and of secondary sulci."""
    spacing_mm, gyrus_mm = region.lattice.spacing_mm, region.traits.gyrus_mm
    inside = (surface > -4) & (surface < 34)
    outwards = gradient(surface, spacing_mm)
    length = sum((n.square() for n in outwards), torch.zeros(1)).sqrt().clamp_min(0.3)
    out = 0.85 * surface.clamp(0, 26) / length
    # Waves are read where the node's normal meets the hull, and wander a little so that walls are not flat.
    here = _masked(region.points, inside)
    x, y, z = (
        (p - n * out)[inside] + 1.3 * region.canvas.waves(f"wander{i}", 26)(here)
        for i, (p, n) in enumerate(zip(region.points, outwards, strict=True))
    )
    folds = {}
    for index, (wavelengths, waves) in enumerate(((1.75, 30), (1.3, 24)), 1):
        values = torch.zeros_like(surface)
        wavelength_mm = wavelengths * gyrus_mm
        values[inside] = region.canvas.waves(f"fold{index}", wavelength_mm, waves, 0.3)((x, y, z))
        step = 2 * math.pi * spacing_mm / wavelength_mm
        distance = distance_to_zero(values, spacing_mm, 0.25 * step / spacing_mm)
        # Central differences see a wave less steep than it is.
        folds[f"fold{index}"] = torch.where(inside, distance * (math.sin(step) / step), 20.0)
    return folds


def _masked(points: Points, inside: Tensor) -> Points:
    """The points where a mask is True, as three lists."""
    return points[0][inside], points[1][inside], points[2][inside]


def shape_deep(region: Region) -> None:
    """Ventricles with their choroid plexus, nuclei, the cistern behind the thalami."""
    side = region.side
    size = region.traits.ventricles
    head = Ellipsoid((14.0, -14.0, 6.0), (5.6, 12.0, 10.5), (0.0, 0.0, -20.0))(side)
    tail = _tube(
        side,
        (14.5, -4.0, 16.0, 4.0),
        (18.5, 10.0, 21.0, 2.6),
        (23.5, 28.0, 20.0, 2.0),
        (30.0, 40.0, 10.0, 1.3),
    )
    putamen = Ellipsoid((27.0, -1.0, 1.0), (5.6, 17.0, 11.5), (0.0, -14.0, -14.0), 2.2)(side)
    hippocampus = _tube(
        side,
        (22.0, -1.0, -20.0, 5.5),
        (26.0, 12.0, -17.0, 4.0),
        (28.0, 24.0, -9.0, 3.5),
        (24.0, 36.0, 0.0, 2.0),
    )
    plexus = _tube(side, (24.5, 40.0, 11.0, 2.0 * size), (25.0, 46.0, 6.0, 2.4 * size))
    region.fields |= {
        "ventricles": _ventricles(region),
        "plexus": plexus,
        "striatum": torch.maximum(smooth_union(head, tail, 3.0), putamen),
        "pallidum": Ellipsoid((20.5, 3.0, 0.0), (4.6, 10.0, 7.5), (0.0, -14.0, -22.0))(side),
        "thalamus": Ellipsoid((11.3, 18.0, 7.0), (8.6, 14.5, 9.5), (0.0, 0.0, -26.0), 2.2)(side),
        "limbic": hippocampus,
        "cistern": Ellipsoid((0.0, 42.0, -3.0), (6.5, 4.5, 8.5))(region.points),
    }


def _ventricles(region: Region) -> Tensor:
    """Depth in the lateral ventricles with their three horns, and in the third."""
    x, y, z = region.side
    size = region.traits.ventricles
    # Frontal horns are slits: taller than wide, so the tube is drawn in a space pressed flat.
    horn = _tube(
        (x, y, 0.62 * z),
        (18.0, -33.0, 3.1, 1.2 * size),
        (13.0, -26.0, 5.0, 3.0 * size),
        (6.5, -13.0, 8.7, 3.8 * size),
        (5.2, -2.0, 12.0, 3.8 * size),
        (7.0, 12.0, 14.3, 4.6 * size),
        (14.0, 25.0, 14.3, 3.8 * size),
    )
    body = _tube(
        (x, y, z),
        (14.0, 25.0, 22.5, 4.2 * size),
        (20.0, 35.0, 17.0, 4.2 * size),
        (25.0, 43.0, 9.0, 4.8 * size),
        (25.5, 52.0, 6.0, 3.2 * size),
        (23.0, 72.0, 4.0, 1.2 * size),
    )
    temporal = _tube(
        (x, y, z),
        (26.0, 44.0, 8.0, 4.0 * size),
        (33.0, 32.0, -6.0, 2.0 * size),
        (34.0, 14.0, -15.0, 1.8 * size),
        (31.0, -2.0, -20.0, 1.6 * size),
    )
    third = Ellipsoid((0.0, 11.0, -2.0), (1.2 + 1.6 * (size - 0.7), 17.0, 11.0), power=2.6)(region.points)
    return torch.maximum(smooth_union(smooth_union(horn, body, 3.0), temporal, 3.0), third)


def _tube(points: Points, *corners: tuple[float, float, float, float]) -> Tensor:
    """Depth in a tube whose corners are (x, y, z, radius)."""
    return Tube([corner[:3] for corner in corners], [corner[3] for corner in corners])(points)
