"""From smooth fields to tissues, pixel by pixel: layers painted from front to back.

Source: the order of layers follows the BrainWeb model (D. L. Collins et al., IEEE TMI 17:463, 1998).
Ours differs: a layer takes its share of what those before it left of a pixel, so partial volumes come out of
the painting and never exceed 1.
"""

import math

import torch
from torch import Tensor

from reshim.simulation.shapes import membership, shell

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

Fields = dict[str, Tensor]
"""Depths and noises on the pixels of a slice, (sub-plane, row, column), by name."""

Window = tuple[slice, slice]


class Paint:
    """What is left of each pixel (sub-plane, row, column); what tissues took of it (tissue, row, column)."""

    def __init__(self, left: Tensor, taken: Tensor) -> None:
        self.left, self.taken = left, taken

    def within(self, window: Window) -> "Paint":
        """The same canvas through a window: painting here paints there."""
        return Paint(self.left[:, window[0], window[1]], self.taken[:, window[0], window[1]])

    def put(self, share: Tensor, **mixture: float) -> None:
        """Paint a mixture of tissues over a share of what is left; no tissue is air."""
        part = share.mul_(self.left)
        self.left.sub_(part)
        total = part.sum(0)
        for tissue, amount in mixture.items():
            self.taken[TISSUES.index(tissue)].add_(total, alpha=amount)

    def rest(self, tissue: str) -> None:
        """All that is left is this."""
        self.put(torch.ones_like(self.left), **{tissue: 1})


def paint_air(paint: Paint, at: Fields) -> None:
    """Sinuses, nose and throat: not in the brain's cavity, and under the skin."""
    closed = membership(-at["cavity"] - 2, 2) * membership(at["outer"] - 3, 2)
    paint.put(membership(at["air"], 1.0) * closed)


def paint_face(paint: Paint, at: Fields, width: float) -> None:
    """Orbits and the bones of base and face, with a thin wall around air."""
    paint.put(membership(at["rectus"], width), muscle=1)
    paint.put(membership(at["eye"], width), eye=1)
    paint.put(membership(at["eye"] + 1.0, width), skin=1)
    inner = membership(at["bones"] - 1.8, width)
    paint.put(inner, marrow=0.55, skull=0.45)
    paint.put(membership(at["bones"], width), skull=1)
    paint.put(membership(at["air"] + 1.4, width), skull=0.6, muscle=0.4)
    paint.put(membership(at["orbit"], width), scalp_fat=1)


def paint_skull(paint: Paint, at: Fields, width: float) -> None:
    """Two tables with marrow between."""
    bone, beyond = at["skull"], -at["cavity"]
    marrow = shell(beyond, 0.3 * bone, 0.66 * bone, width) * membership(bone - 4, 2)
    paint.put(marrow, marrow=0.65, skull=0.35)
    paint.put(membership(bone - beyond, width), skull=1)


def paint_soft(paint: Paint, at: Fields, width: float) -> None:
    """Fat under the skin, muscles with fat between their bundles."""
    bundles = at["bundles"]
    paint.put(membership(6.5 - at["outer"] + 0.6 * bundles.clamp(-2, 2), 1.5), scalp_fat=0.93, skin=0.07)
    # Septa of fat between bundles fade out in places and widen to pads in others.
    fat = torch.maximum(0.3 + 0.35 * at["pads"] - bundles.abs(), 2.5 * at["pads"] - 3.2)
    paint.put(membership(fat, width), scalp_fat=0.75, muscle=0.25)
    paint.rest("muscle")


def paint_membranes(paint: Paint, at: Fields, width: float) -> None:
    """Superior sagittal sinus, falx, and the veins that lie on the brain."""
    aside, below = at["midline"].abs(), at["cavity"]
    # A triangle under the vault, on the midline, growing backwards.
    sinus = membership(at["sinus"] - aside - 0.55 * (below - 0.5).clamp_min(0), width)
    paint.put(sinus * membership(-at["joined"] - 20, 6), vessel=1)
    paint.put(membership(0.4 - aside, width) * membership(-at["joined"] - 10, 3), dura=1)
    near = (at["hull"] + 0.4).abs()
    paint.put(membership(0.8 - torch.hypot(at["veins"], near), width), vessel=1)


def paint_arteries(paint: Paint, at: Fields, width: float) -> None:
    """Carotids, basilar and the branches around the base."""
    paint.put(membership(at["arteries"], width), vessel=1)


def paint_hindbrain(paint: Paint, at: Fields, width: float) -> None:
    """Fourth ventricle, brainstem, cerebellum with folia, tentorium."""
    paint.put(membership(at["fourth"], width), csf=1)
    paint.put(membership(at["stem"], width), white=0.75, deep_grey=0.25)
    depth = at["cerebellum"]
    paint.put(membership(at["arms"], width) * membership(depth + 1, width), white=1)
    leaf = torch.cos(at["folia"] * (2 * math.pi / 4.8))
    branch = torch.cos(at["folia"] * (2 * math.pi / 14.4) + 1)
    shallow = membership(9 + 4 * branch - depth, 3)
    paint.put(membership(depth - 11 + 4.5 * branch - leaf, 1.5), white=1)
    body = membership(depth - 1.2 * (leaf - 0.1).clamp_min(0) * shallow, width)
    paint.put(body * membership(leaf - 0.85, 0.5) * shallow * 0.55, csf=1)
    paint.put(body * membership(-leaf - 0.7, 0.6) * membership(depth - 2, 2) * 0.8, white=1)
    paint.put(body, grey=1)


def paint_deep(paint: Paint, at: Fields, width: float) -> None:
    """Nuclei, corpus callosum, septum, ventricles, cistern."""
    aside, arch, slant = at["midline"].abs(), at["arch"], at["slant"]
    paint.put(membership(at["thalamus"], width), deep_grey=0.8, white=0.2)
    paint.put(membership(at["striatum"], width), deep_grey=1)
    paint.put(membership(at["pallidum"], width), deep_grey=0.55, white=0.45)
    paint.put(membership(at["plexus"], width) * 0.8, vessel=0.35, csf=0.65)
    septum = membership(0.7 - aside, width) * membership(arch - 3, 2) * membership(slant - 2, 2)
    paint.put(septum, white=1)
    callosum = shell(arch, -1.0, 6.0, width) * membership(12 - aside, 4) * membership(slant + 12, 3)
    paint.put(callosum, white=1)
    paint.put(membership(at["ventricles"], width), csf=1)
    paint.put(membership(at["limbic"], width), grey=0.9, white=0.1)
    paint.put(membership(at["cistern"], width), csf=1)


def paint_cortex(paint: Paint, at: Fields, width: float) -> None:
    """The ribbon: what lies within its thickness of hull, sulcus or fissure; white matter inside it."""
    hull = torch.minimum(at["hull"], at["cavity"] - 0.8)
    mouth = at["width"].clamp_min(0.2) / 2 + 0.55 * (1 - hull / 5).clamp_(0, 1)
    sheets = (
        torch.hypot(at["midline"], at["joined"].clamp_min(0)).sub_(0.9),
        torch.hypot(at["slant"], at["reach"].clamp_min(0)).sub_(0.6),
        torch.hypot(at["island"], at["rim"].clamp_min(0)).sub_(0.6),
        torch.hypot(at["fold1"], at["beyond1"].clamp_min(0)).sub_(mouth),
        torch.hypot(at["fold2"], at["beyond2"].clamp_min(0)).sub_(mouth),
    )
    depth = hull
    for sheet in sheets:
        depth = torch.minimum(depth, sheet)
    paint.put(membership(depth - at["ribbon"], width), white=1)
    paint.put(membership(depth, width), grey=1)
