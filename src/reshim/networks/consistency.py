"""The data-consistency solve of an unrolled network, (A^H A + mu I) x = b, and its gradient.

Source: H. K. Aggarwal et al., IEEE Trans. Med. Imaging 38:394 (2019).
Ours differs: the gradient is one more solve instead of a walk back through the iterations, so that no iterate
is kept and A^H A may work in place.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reshim.physics.gram import prepared_gram
from reshim.physics.sense import SenseOperator, SetImage
from reshim.solvers import conjugate_gradient


def solver_for(
    operator: SenseOperator, data: SetImage, iterations: int, implicit: bool
) -> Callable[[Tensor, SetImage], SetImage]:
    """The map (mu, z) -> argmin_x ||A x - y||^2 + mu ||x - z||^2, for data = A^H y.

    Not implicit: conjugate gradients from 0, autograd walking back through the iterations. Implicit:
    from z, so that the iterations only mend what the data contradict, and what no sample saw stays as in z
    from the first one; the gradient starts likewise.
    """
    if implicit:
        normal = prepared_gram(operator)
        return lambda mu, denoised: _Solve.apply(normal, mu, denoised, data, iterations)
    return lambda mu, denoised: _regularised(operator.gram, mu, data + mu * denoised, None, iterations)


class _Solve(torch.autograd.Function):
    """x = (A^H A + mu I)^-1 (mu z + d) and its gradient.

    With H = (A^H A + mu I)^-1: g_z = mu H g, g_d = H g, g_mu = <H g, z - x>. The solve for mu H g starts
    at g, as the solve for x starts at z.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        context: torch.autograd.function.FunctionCtx,
        normal: Callable[[Tensor], Tensor],
        mu: Tensor,
        denoised: Tensor,
        data: Tensor,
        iterations: int,
    ) -> Tensor:
        """Solve, keeping the two images alone."""
        image = _regularised(normal, mu, mu * denoised + data, denoised, iterations)
        context.save_for_backward(mu, denoised, image)
        context.normal, context.iterations = normal, iterations  # type: ignore[attr-defined]
        return image

    @staticmethod
    def backward(  # type: ignore[override]
        context: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[None, Tensor, Tensor, Tensor, None]:
        """Solve once more."""
        mu, denoised, image = context.saved_tensors  # type: ignore[attr-defined]
        normal, iterations = context.normal, context.iterations  # type: ignore[attr-defined]
        to_denoised = _regularised(normal, mu, mu * gradient, gradient, iterations)
        to_data = to_denoised / mu
        to_mu = (torch.view_as_real(to_data) * torch.view_as_real(denoised - image)).sum()
        return None, to_mu, to_denoised, to_data, None


def _regularised(
    normal: Callable[[Tensor], Tensor], mu: Tensor, rhs: Tensor, start: Tensor | None, iterations: int
) -> Tensor:
    return conjugate_gradient(
        lambda images: normal(images) + mu * images, rhs, iterations, start=start, item_dims=3
    )
