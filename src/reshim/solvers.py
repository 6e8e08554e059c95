"""Iterations over callables; no word of MRI in here.

Every batch member has its own steps: a batch gives what its members give one by one.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def inner(left: Tensor, right: Tensor, item_dims: int) -> Tensor:
    """<left, right> over the last `item_dims` axes, kept as ones so that it broadcasts."""
    return (left.conj() * right).sum(dim=tuple(range(-item_dims, 0)), keepdim=True)


def conjugate_gradient(
    gram: Callable[[Tensor], Tensor],
    rhs: Tensor,
    iterations: int,
    *,
    start: Tensor | None = None,
    tolerance: float = 0.0,
    item_dims: int = 2,
) -> Tensor:
    """Solve gram(x) = rhs for a Hermitian positive operator, each batch member with its own steps.

    Parameters
    ----------
    gram
        The operator, shape to same shape.
    rhs
        Right-hand side; its last `item_dims` axes are one unknown, the axes in front a batch.
    iterations
        Number of steps.
    start
        First guess; zero unless given.
    tolerance
        Stop when every member's residual norm is below this share of its right-hand side's; 0 never stops.
    item_dims
        How many trailing axes belong to one unknown.
    """
    solution = torch.zeros_like(rhs) if start is None else start
    residual = rhs if start is None else rhs - gram(start)
    direction = residual
    energy = inner(residual, residual, item_dims).real
    enough = tolerance**2 * inner(rhs, rhs, item_dims).real
    for _ in range(iterations):
        if tolerance > 0 and bool((energy <= enough).all()):
            break
        image = gram(direction)
        curvature = inner(direction, image, item_dims).real
        # A member of the batch that has converged asks for 0/0: its step is 0, not NaN.
        step = torch.where(curvature > 0, energy / curvature.clamp_min(torch.finfo(energy.dtype).tiny), 0)
        solution = solution + step * direction
        residual = residual - step * image
        fresh = inner(residual, residual, item_dims).real
        ratio = torch.where(energy > 0, fresh / energy.clamp_min(torch.finfo(energy.dtype).tiny), 0)
        direction = residual + ratio * direction
        energy = fresh
    return solution
