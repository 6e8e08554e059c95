"""The data-consistency solve of an unrolled network, (A^H A + mu I) x = b, and its gradient.

Source: H. K. Aggarwal et al., IEEE Trans. Med. Imaging 38:394 (2019).
Ours differs: the gradient is one more solve instead of a walk back through the iterations, so that no iterate
is kept and A^H A may work in place, item by item in the cache.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reshim.physics.sense import SenseOperator, SetImage
from reshim.solvers import conjugate_gradient

CACHED_SAMPLES = 1 << 18
"""Complex samples (2 MiB) that a core's own cache holds: the coils of an item go together up to here."""


def solver_for(
    operator: SenseOperator, data: SetImage, iterations: int, implicit: bool
) -> Callable[[Tensor, SetImage], SetImage]:
    """The map (mu, z) -> argmin_x ||A x - y||^2 + mu ||x - z||^2, for data = A^H y.

    Not implicit: conjugate gradients from 0, autograd walking back through the iterations. Implicit:
    from z, so that the iterations only mend what the data contradict, and what no sample saw stays as in z
    from the first one; the gradient starts likewise.
    """
    if implicit:
        normal = normal_operator(operator)
        return lambda mu, denoised: _Solve.apply(normal, mu, denoised, data, iterations)
    return lambda mu, denoised: _regularised(operator.gram, mu, data + mu * denoised, None, iterations)


def normal_operator(operator: SenseOperator) -> Callable[[SetImage], SetImage]:
    """A^H A without autograd: the same numbers as `operator.gram`, in about half the time.

    Several sets of maps, or a mask that is constant along no axis or along both, go the general way.
    """
    maps, mask = operator.maps, operator.mask
    if maps.shape[-4] != 1 or maps.is_cuda:
        return operator.gram
    axes = tuple(axis for axis in (-2, -1) if mask.shape[axis] > 1)
    if not axes:
        return operator.gram
    shifted = torch.fft.ifftshift(mask, dim=axes).to(maps.dtype)
    conjugate = maps.conj().resolve_conj()
    n_coils = max(1, CACHED_SAMPLES // (maps.shape[-1] * maps.shape[-2]))

    def apply(images: SetImage) -> SetImage:
        result = torch.zeros_like(images)
        for item in range(len(images)):
            image, keep = images[item, 0], shifted[item if len(shifted) > 1 else 0]
            there, back = (each[item if len(each) > 1 else 0, 0] for each in (maps, conjugate))
            for first in range(0, len(there), n_coils):
                coils = slice(first, first + n_coils)
                samples = torch.fft.fftn(there[coils] * image, dim=axes).mul_(keep)
                _add_product(result[item, 0], back[coils], torch.fft.ifftn(samples, dim=axes))
        return result

    return apply


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add the sum over coils of left * right, in place: of one large coil without a pass for the product."""
    if len(left) == 1:
        total.addcmul_(left[0], right[0])
    else:
        total.add_(right.mul_(left).sum(0))


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
