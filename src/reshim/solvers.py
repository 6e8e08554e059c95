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
        A member whose residual norm is below this share of its right-hand side's moves no more, and when all
        are there it ends; 0 never stops.
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
        moving = (curvature > 0) & ((energy > enough) if tolerance > 0 else True)
        step = torch.where(moving, energy / curvature.clamp_min(torch.finfo(energy.dtype).tiny), 0)
        solution = solution + step * direction
        residual = residual - step * image
        fresh = inner(residual, residual, item_dims).real
        ratio = torch.where(energy > 0, fresh / energy.clamp_min(torch.finfo(energy.dtype).tiny), 0)
        direction = residual + ratio * direction
        energy = fresh
    return solution


def fista(
    gradient: Callable[[Tensor], Tensor],
    proximal: Callable[[Tensor, int], Tensor],
    start: Tensor,
    iterations: int,
    *,
    step: float = 1.0,
) -> Tensor:
    """Minimise f + g by accelerated proximal gradient steps, f smooth and g simple.

    Source: A. Beck and M. Teboulle, SIAM J. Imaging Sci. 2:183 (2009).

    Parameters
    ----------
    gradient
        Of f.
    proximal
        Of ``step * g``; it is told the iteration, for those that change from one to the next.
    start
        First guess.
    iterations
        Number of steps.
    step
        At most 1 over the Lipschitz constant of `gradient`.
    """
    solution, ahead, momentum = start, start, 1.0
    for iteration in range(iterations):
        fresh = proximal(ahead - step * gradient(ahead), iteration)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = fresh + ((momentum - 1) / following) * (fresh - solution)
        solution, momentum = fresh, following
    return solution


def primal_dual(
    gradient: Callable[[Tensor], Tensor],
    linear: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    project: Callable[[Tensor], Tensor],
    start: Tensor,
    iterations: int,
    *,
    lipschitz: float,
    norm_squared: float,
    balance: float = 1.0,
) -> Tensor:
    """Minimise f(x) + g(K x), f smooth and g a norm: primal-dual hybrid gradients with an explicit step in f.

    Source: L. Condat, J. Optim. Theory Appl. 158:460 (2013), which is A. Chambolle and T. Pock's PDHG
    (J. Math. Imaging Vis. 40:120 (2011)) where f is 0.

    Parameters
    ----------
    gradient
        Of f.
    linear, adjoint
        K and its adjoint.
    project
        Onto the ball of the norm dual to g: the proximal map of g's conjugate.
    start
        First guess.
    iterations
        Number of steps.
    lipschitz, norm_squared
        Bounds on the Lipschitz constant of `gradient` and on the squared norm of K.
    balance
        Dual over primal step: larger trusts the dual more.
    """
    # Steps that meet Condat's bound 1 / primal - dual * norm_squared >= lipschitz / 2 with equality.
    root = (lipschitz**2 / 4 + 4 * balance * norm_squared) ** 0.5
    primal = (root - lipschitz / 2) / (2 * balance * norm_squared)
    dual = balance * primal
    solution = start
    multiplier = torch.zeros_like(linear(start))
    for _ in range(iterations):
        fresh = solution - primal * (gradient(solution) + adjoint(multiplier))
        multiplier = project(multiplier + dual * linear(2 * fresh - solution))
        solution = fresh
    return solution


def largest_eigenvalue(
    gram: Callable[[Tensor], Tensor], start: Tensor, iterations: int = 30, item_dims: int = 2
) -> Tensor:
    """Largest eigenvalue of a Hermitian positive operator by power iteration, for each batch member.

    `start` must not be orthogonal to its eigenvector; noise never is. Approached from below.
    """
    vector = start
    value = inner(start, start, item_dims).real
    for _ in range(iterations):
        size = inner(vector, vector, item_dims).real.sqrt()
        vector = torch.where(size > 0, vector / size.clamp_min(torch.finfo(size.dtype).tiny), 0)
        image = gram(vector)
        value = inner(vector, image, item_dims).real
        vector = image
    return value
