"""A^H A of the SENSE model, made ready for being applied many times, a few rows or one coil at a time.

Ours differs from `SenseOperator.gram` in time alone: a block of rows of all coils stays in the processor's
cache from the first product to the last sum, and nothing of the size of the coil stack is ever written.
A gradient passes by one more application, for A^H A is its own adjoint; the maps are constants to it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reshim.physics.sense import SenseOperator

BLOCK_ELEMENTS = 48_000
"""Complex numbers of a block of coil images: about 400 KB."""


def prepared_gram(operator: SenseOperator) -> Callable[[Tensor], Tensor]:
    """`operator.gram` for solvers: (..., set, row, column) to the same; the maps get no gradient.

    On an accelerator the operator's own `gram` is returned, for there one large step beats many small ones.
    """
    maps, mask = operator.maps, operator.mask
    if maps.device.type != "cpu" or mask.shape[-1] == 1:
        return operator.gram
    batch = torch.broadcast_shapes(maps.shape[:-4], mask.shape[:-3])
    masks = mask.expand(*batch, *mask.shape[-3:]).reshape(-1, *mask.shape[-2:])
    items = maps.expand(*batch, *maps.shape[-4:]).flatten(0, -5) if batch else maps[None]
    one = _rowwise if mask.shape[-2] == 1 else _coilwise
    grams = [one(item, _uncentred(plane, item)) for item, plane in zip(items, masks, strict=True)]

    @torch.no_grad()
    def gram(images: Tensor) -> Tensor:
        flat = images.reshape(-1, *images.shape[-3:])
        # One set of maps and one mask may serve a whole batch.
        each = grams * len(flat) if len(grams) == 1 else grams
        return torch.stack([g(image) for g, image in zip(each, flat, strict=True)]).reshape(images.shape)

    return lambda images: _SelfAdjoint.apply(gram, images) if images.requires_grad else gram(images)


class _SelfAdjoint(torch.autograd.Function):
    """A Hermitian operator and its gradient, which is the operator."""

    @staticmethod
    def forward(  # type: ignore[override]
        context: torch.autograd.function.FunctionCtx, gram: Callable[[Tensor], Tensor], images: Tensor
    ) -> Tensor:
        """Apply it; nothing has to be kept."""
        context.gram = gram  # type: ignore[attr-defined]
        return gram(images)

    @staticmethod
    def backward(  # type: ignore[override]
        context: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[None, Tensor]:
        """Apply it once more."""
        return None, context.gram(gradient)  # type: ignore[attr-defined]


def _uncentred(mask: Tensor, maps: Tensor) -> Tensor:
    """The mask where an uncentred transform looks for it, over the number of samples of that transform.

    F^H M F is a circular convolution: it does not see where an image starts, so no image is shifted.
    """
    axes = (-1,) if mask.shape[-2] == 1 else (-2, -1)
    weights = torch.fft.ifftshift(mask, dim=axes).to(maps.real.dtype)
    return weights / weights.numel()


def _rowwise(maps: Tensor, weights: Tensor) -> Callable[[Tensor], Tensor]:
    """Undersampling along the columns only: rows do not meet, so they go through block by block."""
    by_row = maps.permute(2, 0, 1, 3).contiguous()  # row, set, coil, column
    height = max(1, BLOCK_ELEMENTS // (by_row.shape[2] * by_row.shape[3]))

    def gram(images: Tensor) -> Tensor:
        result = torch.empty_like(images)
        for top in range(0, images.shape[-2], height):
            block = by_row[top : top + height]
            samples = torch.fft.fft(_expand(block, images[:, top : top + height].movedim(0, 1)), dim=-1)
            # The inverse transform of z is the conjugate of the transform of its conjugate, and conjugating
            # in place is cheaper than conjugating the maps.
            back = torch.fft.fft(samples.conj_physical_().mul_(weights), dim=-1)
            combined = (
                (block * back.unsqueeze(1)).sum(2)
                if block.shape[1] > 1
                else (block[:, 0] * back).sum(1)[:, None]
            )
            result[:, top : top + height] = combined.conj_physical_().movedim(1, 0)
        return result

    return gram


def _expand(block: Tensor, images: Tensor) -> Tensor:
    """Coil images of (row, set, column) under (row, set, coil, column) maps, summed over the sets."""
    if block.shape[1] == 1:
        return block[:, 0] * images
    return (block * images.unsqueeze(2)).sum(1)


def _coilwise(maps: Tensor, weights: Tensor) -> Callable[[Tensor], Tensor]:
    """Undersampling along both axes: one coil at a time."""
    by_coil = maps.permute(1, 0, 2, 3).contiguous()  # coil, set, row, column

    def gram(images: Tensor) -> Tensor:
        result = torch.zeros_like(images)
        for sensitivity in by_coil:
            samples = torch.fft.fft2(
                (sensitivity * images).sum(0) if len(images) > 1 else sensitivity[0] * images[0]
            )
            back = torch.fft.fft2(samples.conj_physical_().mul_(weights))
            result += sensitivity * back
        return result.conj_physical_()

    return gram
