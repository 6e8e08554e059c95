"""Where a score is taken: the whole image, the body, or the boxes around findings, small and large.

Source of the two sizes: K. Lin and R. Heckel, ICML 2024, section 5: boxes of up to 1 % of the image, and
larger ones. Ours differs: the similarity map of the whole slice is averaged over the windows centred in
boxes; theirs cuts each box out, enlarges it to seven pixels where it is narrower, and averages over boxes.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reshim.metrics import WINDOW, support
from reshim.scans.boxes import Box

BOX_SHARE = 0.01
"""Of the image: the largest box that counts as small."""

BOXES = {"box": (0.0, 1.0), "box-small": (0.0, BOX_SHARE), "box-large": (BOX_SHARE, 1.0)}
"""Regions made of boxes, with the shares of the image that a box lies between: above the first, up to the
second."""


def region_of(
    name: str,
    target: Float[Tensor, "slice row column"],
    volume_max: Float[Tensor, " slice"],
    boxes: Sequence[Box] = (),
    slices: Sequence[int] = (),
) -> Bool[Tensor, "slice row column"] | None:
    """The pixels of a region, or None for the whole image; a slice without any has no score.

    `slices` are the numbers that the slices have in the scan, by which boxes know them.
    """
    if name == "support":
        return support(target, volume_max)
    if name not in BOXES:
        return None
    rows, columns = target.shape[-2:]
    least, most = BOXES[name]
    inside = torch.zeros(target.shape, dtype=torch.bool)
    places = {number: place for place, number in enumerate(slices or range(len(target)))}
    for box in boxes:
        top_left, bottom_right = (box.row_start, box.column_start), (box.row_stop, box.column_stop)
        area = (bottom_right[0] - top_left[0]) * (bottom_right[1] - top_left[1]) / (rows * columns)
        if box.slice_index in places and least < area <= most:
            inside[(places[box.slice_index], *box.block)] = True
    # Similarity has no window centred nearer to the edge: a box that lies there alone has no score.
    margin = WINDOW // 2
    inside[:, :margin] = inside[:, rows - margin :] = False
    inside[:, :, :margin] = inside[:, :, columns - margin :] = False
    return inside
