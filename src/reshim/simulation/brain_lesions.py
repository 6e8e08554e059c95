"""Findings planted in a digital head, with their boxes: white-matter lesions, a mass with its oedema.

Names are those of the fastMRI+ annotations (R. Zhao et al., Sci. Data 9:152, 2022).
Ours differs: a mass does not push its surroundings aside.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reshim.seeds import generator_of
from reshim.simulation.brain_form import Form
from reshim.simulation.brain_layers import TISSUES
from reshim.simulation.geometry import Lesion
from reshim.simulation.shapes import Ellipsoid, PlaneWaves, Points, Triple, membership

WHITE_LESION = "Nonspecific white matter lesion"
MASS = "Mass"
EDEMA = "Edema"

# What a finding replaces, and by what.
_REPLACES = {WHITE_LESION: ("white",), MASS: ("white", "grey", "deep_grey", "csf"), EDEMA: ("white",)}
_BECOMES = {WHITE_LESION: {"lesion": 1.0}, MASS: {"lesion": 1.0}, EDEMA: {"lesion": 0.55, "white": 0.45}}
_CORE = {"lesion": 0.35, "csf": 0.65}


@dataclass(frozen=True)
class Finding:
    """A blob with a wavy rim, in body coordinates."""

    name: str
    body: Ellipsoid
    rim: PlaneWaves
    rim_mm: float
    """How far the rim waves in and out."""

    core_mm: float = math.inf
    """Depth at which a necrotic core begins."""

    def plant(self, tissues: Tensor, points: Points) -> Tensor:
        """Turn tissues (tissue, row, column) into this finding where it lies; the share that was turned."""
        changed = torch.zeros(tissues.shape[1:])
        reach = max(self.body.radii) + self.rim_mm * 3
        near = [(axis - c).abs() <= reach for axis, c in zip(points, self.body.center, strict=True)]
        if not all(bool(n.any()) for n in near):
            return changed
        rows, columns = (near[0] & near[1] & near[2]).any(0).nonzero().unbind(1)
        if not len(rows):
            return changed
        window = (
            slice(int(rows.min()), int(rows.max()) + 1),
            slice(int(columns.min()), int(columns.max()) + 1),
        )
        changed[window] = self._turn(tissues[:, window[0], window[1]], tuple(_cut(p, window) for p in points))  # type: ignore[arg-type]
        return changed

    def _turn(self, tissues: Tensor, points: Points) -> Tensor:
        depth = self.body(points) + self.rim_mm * self.rim(points)
        share = membership(depth, 1.2).mean(0)
        core = membership(depth - self.core_mm, 2.0).mean(0)
        changed = torch.zeros_like(share)
        for name in _REPLACES[self.name]:
            part = tissues[TISSUES.index(name)] * share
            tissues[TISSUES.index(name)] -= part
            changed += part
        for mixture, amount in ((_CORE, core * changed), (_BECOMES[self.name], (1 - core) * changed)):
            for name, weight in mixture.items():
                tissues[TISSUES.index(name)] += weight * amount
        return changed


def _cut(axis: Tensor, window: tuple[slice, slice]) -> Tensor:
    """A broadcastable coordinate (sub-plane, row, column) on a window; axes of length 1 stay."""
    rows, columns = (
        span if size > 1 else slice(None) for span, size in zip(window, axis.shape[1:], strict=True)
    )
    return axis[:, rows, columns]


def findings_of(form: Form, size: float = 1.0) -> tuple[Finding, ...]:
    """The findings of a subject: white-matter lesions, more with age; one head in four has a mass.

    `size` stretches them about their centres.
    """
    generator = generator_of(*form.name, "findings")
    places = _white_places(form)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand(1, generator=generator).item()

    def place() -> Triple:
        x, y, z = places[int(uniform(0, len(places) - 1e-3))].tolist()
        return x, y, z

    def blob(name: str, center: Triple, radius: float, rim: float, core: float = math.inf) -> Finding:
        radius, rim, core = size * radius, size * rim, size * core
        radii = (radius * uniform(0.75, 1.25), radius * uniform(0.75, 1.25), radius * uniform(0.75, 1.25))
        turn = (uniform(0, 180), uniform(0, 180), uniform(0, 180))
        waves = PlaneWaves.drawn(generator, max(radius, 4.0), 12)
        return Finding(name, Ellipsoid(center, radii, turn), waves, rim, core)

    found = [
        blob(WHITE_LESION, place(), uniform(1.8, 4.5), 0.3)
        for _ in range(1 + int(uniform(0, 3) + 3 * form.traits.atrophy))
    ]
    if uniform(0, 1) < 0.25:
        center, radius = place(), uniform(8, 16)
        # The oedema first: the mass lies in it and takes its place.
        found += [
            blob(EDEMA, center, radius * uniform(1.4, 1.8), 3.0),
            blob(MASS, center, radius, 0.08 * radius, uniform(0.35, 0.6) * radius),
        ]
    return tuple(found)


def _white_places(form: Form) -> Tensor:
    """Body coordinates (place, 3) well inside white matter."""
    lattice, names, values = form.parts["cerebrum"]
    field = dict(zip(names, values, strict=True))
    x, y, z = lattice.points()
    deep = (field["beyond1"] > 2) & (field["hull"] > 14) & (field["midline"].abs() > 14) & (field["rim"] > 2)
    deep &= z > 0
    return torch.stack([axis.expand(deep.shape)[deep] for axis in (x, y, z)], 1)


def boxes_of(
    findings: tuple[Finding, ...], areas: Tensor, spacing_mm: tuple[float, float], least_mm2: float = 6.0
) -> tuple[Lesion, ...]:
    """A box around each finding on the slice where it is largest; none for one that the slices miss."""
    boxes = []
    for number, finding in enumerate(findings):
        sizes = areas[:, number].sum((1, 2)) * spacing_mm[0] * spacing_mm[1]
        index = int(sizes.argmax())
        if sizes[index] < least_mm2:
            continue
        rows, columns = (areas[index, number] > 0.1).nonzero().unbind(1)
        low = (int(rows.min()) * spacing_mm[0], int(columns.min()) * spacing_mm[1])
        high = ((int(rows.max()) + 1) * spacing_mm[0], (int(columns.max()) + 1) * spacing_mm[1])
        boxes.append(Lesion(finding.name, index, (*low, *high)))
    return tuple(boxes)
