"""A digital head: tissue fractions of any slice of a subject that a number names.

Source: BrainWeb's phantom (D. L. Collins et al., IEEE TMI 17:463, 1998) for what such a head should hold.
Ours differs: the head is not a scanned one. Each subject is drawn from its own numbers, in three dimensions,
at any resolution: `brain_form` makes smooth fields, `brain_layers` cuts tissues from them on a slice.
"""

import torch
from torch import Tensor

from reshim.simulation import brain_layers as layers
from reshim.simulation.brain_form import form_of
from reshim.simulation.brain_layers import TISSUES
from reshim.simulation.brain_lesions import boxes_of, findings_of
from reshim.simulation.brain_view import SliceView, open_view
from reshim.simulation.geometry import Anatomy, Geometry
from reshim.simulation.shapes import membership

GRAIN = {
    "scalp_fat": 0.10,
    "skin": 0.04,
    "muscle": 0.13,
    "skull": 0.05,
    "marrow": 0.10,
    "csf": 0.02,
    "grey": 0.035,
    "white": 0.02,
    "deep_grey": 0.03,
    "vessel": 0.04,
    "dura": 0.03,
    "eye": 0.01,
    "lesion": 0.06,
}
"""Deviation of the proton density's texture in each tissue."""


def draw(subject: int, geometry: Geometry, seed: int = 0, lesions: bool | float = False) -> Anatomy:
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
        Plant the subject's findings and say where they are; a number is their size, 1 as drawn.

    Returns
    -------
    Anatomy
        Fractions (slice, tissue, row, column). The same subject, seed and geometry give the same bits, and a
        slice does not depend on which others are asked for.
    """
    form = form_of(subject, seed)
    findings = findings_of(form, float(lesions)) if lesions else ()
    shape = (geometry.rows, geometry.columns)
    fractions = torch.zeros(geometry.n_slices, len(TISSUES), *shape)
    texture = torch.ones(geometry.n_slices, *shape)
    areas = torch.zeros(geometry.n_slices, len(findings), *shape)
    for index in range(geometry.n_slices):
        opened = open_view(form, geometry, index)
        if opened is None:
            continue
        view, (rows, columns) = opened
        tissues = _tissues(view, max(geometry.spacing_mm))
        for number, finding in enumerate(findings):
            areas[index, number, rows, columns] = finding.plant(tissues, view.points())
        fractions[index, :, rows, columns] = tissues
        amount = torch.tensordot(torch.tensor([GRAIN[name] for name in TISSUES]), tissues, 1)
        texture[index, rows, columns] = (1 + amount * view.grain()).clamp_min(0)
    return Anatomy(TISSUES, fractions, texture, boxes_of(findings, areas, geometry.spacing_mm))


def _tissues(view: SliceView, width: float) -> Tensor:
    """Fractions (tissue, row, column): the layers in their order, each in its window."""
    head = view.everywhere("head")
    paint = head.paint
    paint.put(membership(-head.at["outer"], width))
    face = head.enter("face")
    if face:
        layers.paint_air(face.paint, face.at)
    paint.put(membership(1.8 - head.at["outer"], width), skin=1)
    # From here on the cavity is set aside, and what lies outside it is finished first.
    inside = paint.left * membership(head.at["cavity"], width)
    paint.left.sub_(inside)
    if face:
        layers.paint_face(face.paint, face.at, width)
    layers.paint_skull(paint, head.at, width)
    layers.paint_soft(paint, head.at, width)
    paint.left.copy_(inside)
    _paint_cavity(head, width)
    return paint.taken / len(inside)


def _paint_cavity(head: SliceView, width: float) -> None:
    """Dura, arteries, hindbrain, deep structures and cortex, with CSF around them."""
    cerebrum = head.enter("cerebrum")
    if cerebrum:
        layers.paint_membranes(cerebrum.paint, cerebrum.at, width)
    head.paint.put(membership(0.7 - head.at["cavity"], width), dura=1)
    for part, layer in (("arteries", layers.paint_arteries), ("hindbrain", layers.paint_hindbrain)):
        inner = head.enter(part)
        if inner:
            layer(inner.paint, inner.at, width)
    if cerebrum:
        deep = cerebrum.enter("deep")
        if deep:
            layers.paint_deep(deep.paint, deep.at, width)
        layers.paint_cortex(cerebrum.paint, cerebrum.at, width)
    head.paint.rest("csf")
