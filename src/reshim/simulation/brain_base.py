"""Fields of what lies around and below the cerebrum: cavity, skin, hindbrain, arteries, base and face.

Source: proportions after H. Gray, Anatomy of the Human Body (1918), and J. Talairach and P. Tournoux,
Co-planar Stereotaxic Atlas (1988).
Ours differs: bones of the base and the face are tubes with a shell, muscles a labyrinth of bundles; they are
there so that low slices have the edges, fat and air of a head, not to be named one by one.
"""

import torch

from reshim.simulation.brain_canvas import Region
from reshim.simulation.brain_cerebrum import cerebellum_of, cerebrum_of
from reshim.simulation.lattice import distance_to_zero
from reshim.simulation.shapes import Ellipsoid, Tube, smooth_intersection, smooth_union


def shape_head(region: Region) -> None:
    """The dura's cavity, the skull's thickness, the skin, the bundles of muscles."""
    x, y, z = region.points
    points, traits = region.points, region.traits
    gap = 0.9 + 1.1 * traits.atrophy + 0.4 * region.noise("gap", 45) + 1.2 * torch.sigmoid((z - 45) / 8)
    fossa = Ellipsoid((0.0, 31.0, -38.0), (25.0, 22.0, 27.0))(points)
    fossa = smooth_union(fossa, cerebellum_of(region) + 1 + gap.clamp_min(0.6), 5.0)
    canal = Tube(((0.0, 36.0, -60.0), (0.0, 42.0, -120.0)), (12.0, 10.5))(points)
    cisterns = Ellipsoid((0.0, 8.0, -20.0), (20.0, 20.0, 12.0))(points)
    cavity = smooth_union(cerebrum_of(region) + gap.clamp_min(0.6), smooth_union(fossa, canal, 8.0), 6.0)
    cavity = smooth_union(cavity, cisterns, 6.0)
    petrous = Tube(((15.0, 15.0, -40.0), (34.0, 24.0, -40.0), (62.0, 34.0, -42.0)), (3.5, 6.0, 9.0))(
        region.side
    )
    cavity = smooth_intersection(cavity, -petrous, 5.0)
    temples = torch.exp(-(((y + 22) / 30).square()) - ((z + 20) / 26).square())
    scalp = traits.skull_mm + traits.scalp_mm + 0.8 * region.noise("scalp", 60) + 9 * temples
    head = Ellipsoid((0.0, 17.0, 0.0), (70.0, 90.0, 76.0), power=2.15)(points) + scalp
    face = Ellipsoid((0.0, -38.0, -62.0), (62.0, 62.0, 66.0), (12.0, 0.0, 0.0), 2.6)(points)
    nose = Tube(((0.0, -92.0, -28.0), (0.0, -110.0, -62.0)), (6.0, 12.0))(points)
    neck = Tube(((0.0, 55.0, -50.0), (0.0, 62.0, -130.0)), (58.0, 56.0))(points)
    outer = smooth_union(smooth_union(head, cavity + scalp, 6.0), face, 24.0)
    brow = 9 * torch.exp(-((x / 22).square()) - ((y + 82) / 16).square() - ((z + 14) / 14).square())
    thin = 0.45 + 0.55 * torch.sigmoid((z + 18) / 8)
    region.fields |= {
        "outer": smooth_union(smooth_union(outer, neck, 18.0), nose, 14.0),
        "cavity": cavity,
        "skull": (traits.skull_mm * (1 + 0.18 * region.noise("skull", 40))).clamp_min(2.5) * thin + brow,
        "pads": region.noise("pads", 34),
        "bundles": distance_to_zero(region.waves("muscle", 21, 20, 0.3), region.lattice.spacing_mm, 0.08),
    }


def shape_hindbrain(region: Region) -> None:
    """Brainstem, cerebellar peduncles, fourth ventricle, cerebellum with the phase of its folia."""
    x, y, z = region.points
    pons = Ellipsoid((0.0, 24.0, -32.0), (17.0, 12.5, 14.0), (-15.0, 0.0, 0.0), 2.3)(region.points)
    midbrain = Ellipsoid((0.0, 25.0, -12.0), (14.0, 11.0, 14.0))(region.points)
    peduncle = Tube(((7.0, 17.0, -22.0), (15.0, 10.0, -2.0)), (6.5, 7.5))(region.side)
    medulla = Tube(((0.0, 28.0, -42.0), (0.0, 36.0, -62.0), (0.0, 42.0, -125.0)), (10.0, 7.5, 6.0))(
        region.points
    )
    stem = smooth_union(smooth_union(pons, midbrain, 5.0), medulla, 6.0)
    arms = Tube(((12.0, 27.0, -34.0), (22.0, 46.0, -36.0), (26.0, 60.0, -37.0)), (8.0, 6.5, 7.0))(region.side)
    chamber = Ellipsoid((0.0, 41.0, -33.0), (8.5, 4.5, 10.0))(region.points)
    aqueduct = Tube(((0.0, 38.0, -26.0), (0.0, 31.0, -10.0), (0.0, 24.0, -3.0)), (1.5, 0.9, 1.1))(
        region.points
    )
    # Folia fan out from the roof of the fourth ventricle and bow forward at the sides.
    back = y - 42 + 0.008 * x.square()
    angle = torch.atan2(z + 34, back.clamp_min(4))
    region.fields |= {
        "stem": smooth_union(stem, peduncle, 4.0),
        "arms": arms,
        "fourth": torch.maximum(chamber, aqueduct),
        "cerebellum": cerebellum_of(region),
        "folia": 36 * angle + 0.9 * back + 2.4 * region.noise("folia", 30) + 0.6 * region.waves("leaves", 16),
    }


def shape_arteries(region: Region) -> None:
    """Large arteries; the venous sinuses follow from midline and cavity."""
    side = region.side
    carotid = Tube(
        ((24.0, 12.0, -62.0), (22.0, 6.0, -42.0), (11.0, -6.0, -28.0), (11.0, -3.0, -15.0)),
        (2.6, 2.5, 2.2, 2.0),
    )
    middle = Tube(
        ((11.0, -3.0, -15.0), (24.0, -4.0, -13.0), (36.0, -4.0, -7.0), (39.0, 6.0, 4.0), (42.0, 20.0, 11.0)),
        (1.7, 1.5, 1.4, 1.1, 0.8),
    )
    front = Tube(((11.0, -3.0, -15.0), (2.0, -12.0, -13.0), (1.8, -32.0, -2.0)), (1.3, 1.2, 1.0))
    basilar = Tube(
        ((3.0, 24.0, -62.0), (0.5, 10.0, -46.0), (0.0, 8.0, -30.0), (0.0, 8.0, -18.0)), (1.9, 1.9, 1.8, 1.6)
    )
    posterior = Tube(((0.0, 8.0, -18.0), (15.0, 17.0, -16.0), (22.0, 38.0, -6.0)), (1.3, 1.3, 1.0))
    depths = [shape(side) for shape in (carotid, middle, front, basilar, posterior)]
    region.fields["arteries"] = torch.stack(depths).amax(0)


def shape_face(region: Region) -> None:
    """Eyes in their fat with muscles, nerve and lens; air spaces; bones of base and face."""
    side = region.side
    air = (
        Ellipsoid((7.0, -62.0, -50.0), (5.5, 32.0, 20.0), power=2.6),
        Ellipsoid((9.0, -48.0, -35.0), (7.0, 22.0, 8.0), power=3.0),
        Ellipsoid((30.0, -54.0, -62.0), (12.0, 14.0, 13.0), power=2.6),
        Ellipsoid((8.0, -12.0, -37.0), (8.0, 10.0, 8.0), power=2.6),
        Ellipsoid((10.0, -79.0, -11.0), (10.0, 3.0, 8.0)),
        Tube(((50.0, 28.0, -38.0), (58.0, 36.0, -48.0)), (3.0, 4.5)),
        Tube(((42.0, 18.0, -42.0), (80.0, 14.0, -44.0)), (2.5, 3.0)),
        Tube(((0.0, -22.0, -62.0), (0.0, 2.0, -130.0)), (9.0, 11.0)),
    )
    bones = (
        Tube(((16.0, 14.0, -41.0), (34.0, 24.0, -41.0), (62.0, 36.0, -46.0)), (4.5, 7.0, 10.0)),
        Tube(((0.0, -12.0, -38.0), (0.0, 4.0, -46.0), (0.0, 18.0, -66.0)), (12.0, 9.0, 6.0)),
        Tube(((16.0, -20.0, -24.0), (38.0, -34.0, -30.0), (46.0, -52.0, -34.0)), (2.6, 3.0, 3.2)),
        Tube(
            ((46.0, -62.0, -50.0), (60.0, -48.0, -54.0), (68.0, -18.0, -52.0), (70.0, 6.0, -48.0)),
            (5.0, 4.5, 2.8, 2.8),
        ),
        Tube(((0.0, 19.0, -80.0), (0.0, 24.0, -130.0)), (9.0, 9.0)),
        Tube(((54.0, 2.0, -52.0), (52.0, -8.0, -70.0), (50.0, -14.0, -100.0)), (4.0, 5.0, 6.0)),
        Tube(
            ((0.0, -86.0, -22.0), (20.0, -84.0, -18.0), (42.0, -70.0, -18.0), (48.0, -58.0, -32.0)),
            (4.0, 3.0, 3.0, 3.0),
        ),
    )
    orbit = Tube(((32.0, -66.0, -35.0), (30.0, -50.0, -35.0), (15.0, -18.0, -27.0)), (15.5, 14.0, 4.0))
    rectus = (
        Tube(((16.0, -22.0, -28.0), (21.0, -46.0, -34.0), (21.0, -58.0, -35.0)), (1.5, 2.6, 1.2)),
        Tube(((17.0, -22.0, -28.0), (41.0, -44.0, -35.0), (45.0, -56.0, -35.0)), (1.5, 2.4, 1.2)),
        Tube(((16.0, -20.0, -27.0), (31.0, -46.0, -35.0)), (1.8, 2.0)),
        Ellipsoid((33.0, -68.5, -35.0), (4.5, 2.2, 4.5)),
    )
    region.fields |= {
        "eye": Ellipsoid((33.0, -60.0, -35.0), (12.0, 12.2, 12.0))(side),
        "orbit": orbit(side),
        "rectus": torch.stack([shape(side) for shape in rectus]).amax(0),
        "air": torch.stack([shape(side) for shape in air]).amax(0),
        "bones": torch.stack([shape(side) for shape in bones]).amax(0),
    }
