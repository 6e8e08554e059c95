"""A three-dimensional digital knee: what `reshim simulate` scans where the protocol says knee.

Sources: `knee_subject` (how knees differ), `knee_bones`, `knee_joint`, `knee_muscles` (the parts),
`knee_lesions` (findings).
Ours differs from label atlases: nothing is kept on a grid, so a slice of any view is a section through the
same body, as fine as is asked for.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.seeds import generator_of
from reshim.simulation.geometry import Anatomy, Geometry, Lesion
from reshim.simulation.knee_frame import Canvas, Frame, axes_of
from reshim.simulation.knee_lesions import Finding, box_of, findings_of
from reshim.simulation.knee_muscles import Tables
from reshim.simulation.knee_paint import Painter
from reshim.simulation.knee_subject import Subject
from reshim.simulation.lattice import Lattice
from reshim.simulation.shapes import Triple

TISSUES = (
    "marrow_fat",
    "cortical_bone",
    "cartilage",
    "meniscus",
    "ligament",
    "muscle",
    "fat",
    "skin",
    "vessel",
    "fluid",
    "tendon",
    "lesion",
)

STUMP_MM = 96.0
"""From here on, up and down, the leg is drawn as a straight stump: no field of view for knees reaches it."""


def draw(subject: int, geometry: Geometry, seed: int = 0, lesions: bool | float = False) -> Anatomy:
    """The knee of one subject on the fine grid of a scan.

    Parameters
    ----------
    subject
        Number in the population; whether it is a left or a right knee is drawn at random.
    geometry
        Grid and slices.
    seed
        Which population.
    lesions
        Whether one to four findings are planted; a number is their size, 1 as drawn.
    """
    person = Subject.drawn(subject, seed)
    tables = Tables.of(person)
    grain = Grain.drawn(subject, seed)
    findings = findings_of(subject, seed, float(lesions)) if lesions else ()
    drawn, above = _without_stump(geometry)
    fractions = torch.zeros(geometry.n_slices, len(TISSUES), geometry.rows, geometry.columns)
    texture = torch.ones(geometry.n_slices, geometry.rows, geometry.columns)
    rows = slice(above, above + drawn.rows)
    found = []
    for index in range(geometry.n_slices):
        layers = dict(zip(TISSUES, fractions[index, :, rows], strict=True))
        canvas = Canvas(Frame.of(drawn, index, person), layers)
        painter = Painter(canvas, person, tables, grain.read(drawn, index), findings)
        painter()
        found.append(painter.found)
        texture[index, rows] = canvas.mean_texture()
    for grid in (fractions, texture):
        grid[..., :above, :] = grid[..., above : above + 1, :]
        grid[..., rows.stop :, :] = grid[..., rows.stop - 1 : rows.stop, :]
    return Anatomy(TISSUES, fractions, texture, _boxes(findings, found, geometry, above))


def _without_stump(geometry: Geometry) -> tuple[Geometry, int]:
    """The geometry without its rows beyond the stump, and how many of those lie above."""
    if geometry.view == "axial":
        heights = (min(max(z, -STUMP_MM), STUMP_MM) for z in geometry.positions_mm)
        return replace(geometry, positions_mm=tuple(heights)), 0
    z = geometry.points(0)[2][:, 0]
    kept = (z.abs() <= STUMP_MM).nonzero().flatten()
    if len(kept) in (0, geometry.rows):
        return geometry, 0
    first, last = int(kept[0]), int(kept[-1])
    rows = last + 1 - first
    center = (float(z[first + rows // 2]), geometry.center_mm[1])
    return replace(geometry, rows=rows, center_mm=center), first


def _boxes(
    findings: tuple[Finding, ...], found: list[dict[str, Tensor]], geometry: Geometry, above: int
) -> tuple[Lesion, ...]:
    """A box around each finding on the slice where it is largest; none where no slice meets it."""
    boxes = []
    for finding in findings:
        sizes = [float(shares[finding.name].sum()) if finding.name in shares else 0.0 for shares in found]
        best = max(range(len(sizes)), key=sizes.__getitem__)
        box = box_of(found[best][finding.name], geometry.spacing_mm) if sizes[best] > 0 else None
        if box:
            down = above * geometry.spacing_mm[0]
            boxes.append(Lesion(finding.name, best, (box[0] + down, box[1], box[2] + down, box[3])))
    return tuple(boxes)


_FINE = Lattice((-99.0, -99.0, -99.0), 1.5, (133, 133, 133))
_COARSE = Lattice((-108.0, -108.0, -108.0), 6.0, (37, 37, 37))
_SQRT_3 = 3**0.5


@dataclass(frozen=True)
class Grain:
    """The random fields of one subject: trabeculae, fibres, septa, patches. Deviation below 1, mean 0."""

    fine: Float[Tensor, "1 n n n"]
    coarse: Float[Tensor, "2 m m m"]

    @classmethod
    def drawn(cls, subject: int, seed: int) -> "Grain":
        """The fields of this number in the population of this seed."""
        generator = generator_of("knee grain", subject, seed)

        def uniform(n_fields: int, lattice: Lattice) -> Tensor:
            nodes = torch.rand(n_fields, *reversed(lattice.counts), generator=generator)
            return (nodes * 2 - 1) * _SQRT_3

        return cls(uniform(1, _FINE), uniform(2, _COARSE))

    def read(self, geometry: Geometry, index: int) -> dict[str, Tensor]:
        """Each field on the fine grid of one slice, (sub, row, column)."""
        x, y, z = (axis.flatten() for axis in axes_of(geometry, index))
        order = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}[geometry.view]

        def read(lattice: Lattice, nodes: Tensor, stretch: Triple) -> Tensor:
            scaled = (x / stretch[0], y / stretch[1], z / stretch[2])
            return lattice.read(nodes[None], scaled)[0].permute(order)

        return {
            "trabeculae": read(_FINE, self.fine[0], (1.0, 1.0, 2.0)),
            "fibres": read(_FINE, self.fine[0], (1.0, 1.0, 7.0)),
            "septa": read(_COARSE, self.coarse[0], (1.0, 1.0, 1.6)),
            "patches": read(_COARSE, self.coarse[1], (1.8, 1.8, 1.8)),
        }
