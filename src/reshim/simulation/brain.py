"""A digital head: tissue fractions of any slice of a subject that a number names.

Source: the order of layers follows the BrainWeb model (D. L. Collins et al., IEEE TMI 17:463, 1998).
Ours differs: the head is not a scanned one; each subject is drawn from its own numbers, at any resolution.

A slice is cut in two steps: `brain_form` gives smooth fields in 3-D, and here they become tissues pixel by
pixel. What lies in front takes its share of a pixel first, so the fractions never exceed 1.
"""

import torch
from torch import Tensor

from reshim.simulation.brain_form import FINE, LATTICE, Form, form_of
from reshim.simulation.brain_lesions import Finding, findings_of
from reshim.simulation.geometry import Anatomy, Geometry, Lesion
from reshim.simulation.shapes import Points, membership, shell

TISSUES = (
    "scalp_fat",
    "skin",
    "muscle",
    "skull",
    "marrow",
    "csf",
    "grey",
    "white",
    "deep_grey",
    "vessel",
    "dura",
    "eye",
    "lesion",
)
GRAIN = (0.10, 0.04, 0.13, 0.05, 0.10, 0.02, 0.035, 0.02, 0.03, 0.04, 0.03, 0.01, 0.06)
"""Deviation of the proton density's texture in each tissue."""


def draw(subject: int, geometry: Geometry, seed: int = 0, lesions: bool = False) -> Anatomy:
    """The head of one subject on the grid of `geometry`.

    Parameters
    ----------
    subject
        Number of the subject within the population.
    geometry
        Grid, view and slice positions; body coordinates in mm from the organ's centre.
    seed
        Names the population; another seed has other subjects.
    lesions
        Plant the subject's findings and say where they are.

    Returns
    -------
    Anatomy
        Fractions (slice, tissue, row, column). The same subject, seed and geometry give the same bits, and a
        slice does not depend on which others are asked for.
    """
    form = form_of(subject, seed)
    findings = findings_of(form) if lesions else ()
    fractions = torch.zeros(geometry.n_slices, len(TISSUES), geometry.rows, geometry.columns)
    texture = torch.ones(geometry.n_slices, geometry.rows, geometry.columns)
    areas = torch.zeros(geometry.n_slices, len(findings), geometry.rows, geometry.columns)
    for index in range(geometry.n_slices):
        cut = _Cut(form, geometry, index)
        if cut.is_empty:
            continue
        tissues, shares = cut.tissues(findings)
        fractions[index][:, cut.rows, cut.columns] = tissues
        texture[index][cut.rows, cut.columns] = cut.grain(tissues)
        areas[index][:, cut.rows, cut.columns] = shares
    return Anatomy(TISSUES, fractions, texture, _boxes(findings, areas, geometry))


class _Cut:
    """One slice through a form, within the lattice's bounds, its sub-planes in front."""

    def __init__(self, form: Form, geometry: Geometry, index: int) -> None:
        planes = [geometry.points(index, sub) for sub in geometry.subs]
        self.width_mm = max(geometry.spacing_mm)
        self.view = geometry.view
        # x, y, z along rows, columns or the normal, as the view has it.
        row, column, normal = {"axial": (1, 0, 2), "coronal": (2, 0, 1), "sagittal": (2, 1, 0)}[self.view]
        axes = [torch.empty(0)] * 3
        axes[row], axes[column] = planes[0][row][:, 0], planes[0][column][0]
        axes[normal] = torch.stack([plane[normal][0, 0] for plane in planes])
        self.rows, self.columns = (_span(axes[i], i) for i in (row, column))
        axes[row], axes[column] = axes[row][self.rows], axes[column][self.columns]
        self.axes: Points = (axes[0], axes[1], axes[2])
        self.is_empty = 0 in (len(axes[row]), len(axes[column]))
        self.form = form
        if not self.is_empty:
            self.at = dict(
                zip(form.names, self.plane(LATTICE.read(form.stack, self.axes)).unbind(1), strict=True)
            )

    def plane(self, values: Tensor) -> Tensor:
        """(field, z, y, x) as (sub-plane, field, row, column)."""
        order = {"axial": (1, 0, 2, 3), "coronal": (2, 0, 1, 3), "sagittal": (3, 0, 1, 2)}[self.view]
        return values.permute(order).contiguous()

    def grain(self, tissues: Tensor) -> Tensor:
        """Texture: fine noise, stronger where the tissue is coarser."""
        fine = self.plane(FINE.read(self.form.fine[None], self.axes)).mean((0, 1))
        amount = torch.tensordot(torch.tensor(GRAIN), tissues, 1)
        return (1 + amount * fine).clamp_min(0)

    def tissues(self, findings: tuple[Finding, ...]) -> tuple[Tensor, Tensor]:
        """Fractions (tissue, row, column) and the share of each finding (finding, row, column)."""
        at, width = self.at, self.width_mm
        paint = _Paint(membership(at["outer"], width))
        paint.hide(
            membership(at["air"], width)
            * membership(-at["cavity"] - 2, 2.0)
            * membership(at["outer"] - 3, 2.0)
        )
        outside = _Paint(paint.take(1 - membership(at["cavity"], width)))
        _outside(outside, at, width)
        _inside(paint, at, width)
        shares = torch.zeros(len(findings), *at["outer"].shape[1:])
        parts = paint.parts | outside.parts
        stacked = torch.stack(
            [
                parts[name].mean(0) if name in parts else torch.zeros_like(shares[:0].sum(0))
                for name in TISSUES
            ]
        )
        return stacked, shares


class _Paint:
    """Layers from front to back: each takes its share of what those before it left."""

    def __init__(self, left: Tensor) -> None:
        self.left = left
        self.parts: dict[str, Tensor] = {}

    def take(self, share: Tensor) -> Tensor:
        """Remove a share of what is left and return it."""
        taken = self.left * share
        self.left = self.left - taken
        return taken

    def hide(self, share: Tensor) -> None:
        """Leave a share to air."""
        self.take(share)

    def add(self, tissue: str, amount: Tensor) -> None:
        """Book an amount that was taken."""
        self.parts[tissue] = self.parts[tissue] + amount if tissue in self.parts else amount

    def put(self, share: Tensor, **mixture: float) -> None:
        """Paint a mixture of tissues over a share of what is left."""
        taken = self.take(share)
        for tissue, part in mixture.items():
            self.add(tissue, taken if part == 1 else part * taken)

    def rest(self, tissue: str) -> None:
        """All that is left is this."""
        self.add(tissue, self.left)


def _span(axis: Tensor, which: int) -> slice:
    """The part of a coordinate vector that the lattice covers."""
    start = LATTICE.start_mm[which]
    inside = ((axis >= start) & (axis <= start + LATTICE.spacing_mm * (LATTICE.counts[which] - 1))).nonzero()
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def _outside(paint: _Paint, at: dict[str, Tensor], width: float) -> None:
    """Skin, orbits, skull with its marrow, fat and muscles: all that is not in the cavity."""
    paint.put(membership(1.8 - at["outer"], width), skin=1)
    paint.put(membership(at["eye"], width), eye=1)
    paint.put(membership(at["rectus"], width), muscle=1)
    paint.put(membership(at["orbit"], width), scalp_fat=1)
    bone = at["skull"]
    beyond = -at["cavity"]
    marrow = shell(beyond, 0.28 * bone, 0.68 * bone, width) * membership(bone - 4, 2.0)
    paint.put(marrow, marrow=1)
    paint.put(membership(bone - beyond, width), skull=1)
    fat = membership(6.5 - at["outer"] + 0.6 * at["bundles"].clamp(-2, 2), 1.5)
    paint.put(fat, scalp_fat=0.93, skin=0.07)
    paint.put(membership(0.8 - at["bundles"].abs(), width), scalp_fat=0.8, muscle=0.2)
    paint.rest("muscle")


def _inside(paint: _Paint, at: dict[str, Tensor], width: float) -> None:
    """Dura and sinuses, hindbrain, ventricles and nuclei, the cortical ribbon, and CSF around all."""
    x, below = at["midline"], at["cavity"]
    aside = x.abs()
    # Superior sagittal sinus: a triangle under the vault, on the midline, growing backwards.
    paint.put(
        membership(3.6 - aside - 0.55 * (below - 0.5).clamp_min(0), width)
        * membership(-at["joined"] - 20, 6.0),
        vessel=1,
    )
    paint.put(membership(0.7 - below, width), dura=1)
    falx = membership(0.45 - aside, width) * membership(-at["joined"] - 9, 3.0)
    paint.put(falx, dura=1)
    paint.put(membership(at["arteries"], width), vessel=1)
    _hindbrain(paint, at, width)
    _deep(paint, at, width)
    _cortex(paint, at, width)
    paint.rest("csf")


def _hindbrain(paint: _Paint, at: dict[str, Tensor], width: float) -> None:
    """Fourth ventricle, brainstem, cerebellar white matter and folia."""
    paint.put(membership(at["fourth"], width), csf=1)
    paint.put(membership(at["stem"], width), white=0.75, deep_grey=0.25)
    depth = at["cerebellum"]
    leaf = torch.cos(at["folia"] * (2 * torch.pi / 5.0))
    branch = torch.cos(at["folia"] * (2 * torch.pi / 15.0) + 1)
    shallow = membership(8 + 3 * branch - depth, 3.0)
    grooved = depth - 1.6 * (leaf - 0.1).clamp_min(0) * shallow
    paint.put(membership(at["arms"], width) * membership(depth, width), white=1)
    core = membership(depth - 10 + 4 * branch - 0.8 * leaf, 1.5)
    paint.put(core, white=1)
    cleft = membership(leaf - 0.82, 0.5) * shallow
    blade = membership(-leaf - 0.75, 0.5) * membership(depth - 2, 2.0)
    body = membership(grooved, width)
    paint.put(body * cleft * 0.8, csf=1)
    paint.put(body * blade * 0.8, white=1)
    paint.put(body, grey=1)


def _deep(paint: _Paint, at: dict[str, Tensor], width: float) -> None:
    """Nuclei, ventricles with the septum between them, corpus callosum."""
    paint.put(membership(at["thalamus"], width), deep_grey=0.8, white=0.2)
    paint.put(membership(at["striatum"], width), deep_grey=1)
    paint.put(membership(at["pallidum"], width), deep_grey=0.55, white=0.45)
    arch = at["arch"]
    callosum = (
        shell(arch, -1.0, 6.0, width)
        * membership(12 - at["midline"].abs(), 4.0)
        * membership(at["slant"] + 12, 3.0)
    )
    paint.put(callosum, white=1)
    septum = (
        membership(0.7 - at["midline"].abs(), width)
        * membership(arch - 3, 2.0)
        * membership(at["slant"] - 2, 2.0)
    )
    paint.put(septum, white=1)
    paint.put(membership(at["ventricles"], width), csf=1)


def _cortex(paint: _Paint, at: dict[str, Tensor], width: float) -> None:
    """The ribbon: what lies within its thickness of the hull, a sulcus or a fissure."""
    hull, open_mm = at["cerebrum"], at["width"].clamp_min(0.3)
    mouth = (open_mm + 1.1 * (1 - hull / 5).clamp(0, 1)) / 2
    sheets = (
        torch.hypot(at["midline"], at["joined"].clamp_min(0)) - 0.9,
        torch.hypot(at["slant"], at["reach"].clamp_min(0)) - 0.6,
        torch.hypot(at["island"], at["rim"].clamp_min(0)) - 0.6,
        torch.hypot(at["fold1"], at["beyond1"].clamp_min(0)) - mouth,
        torch.hypot(at["fold2"], at["beyond2"].clamp_min(0)) - mouth,
    )
    depth = hull
    for sheet in sheets:
        depth = torch.minimum(depth, sheet)
    paint.put(membership(depth - at["ribbon"], width), white=1)
    paint.put(membership(depth, width), grey=1)


def _boxes(findings: tuple[Finding, ...], areas: Tensor, geometry: Geometry) -> tuple[Lesion, ...]:
    """A box around each finding on the slice where it is largest."""
    return ()
