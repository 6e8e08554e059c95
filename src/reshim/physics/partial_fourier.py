"""Partial Fourier: one side of k-space was left out, and conjugate symmetry stands in for it.

Sources: D. C. Noll, D. G. Nishimura and A. Macovski, IEEE Trans. Med. Imaging 10:154 (1991) (homodyne);
E. M. Haacke, E. D. Lindskog and W. Lin, J. Magn. Reson. 92:126 (1991) (POCS).
Ours differs: any axis, any side, any batch in front; the phase comes from the tapered symmetric centre.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reshim.physics.fourier import to_image, to_kspace

Plane = Complex[Tensor, "*batch row column"]


def zero_filled(kspace: Plane) -> Plane:
    """The image of the samples as they are: blurred along the axis that was cut short."""
    return to_image(kspace)


def homodyne(kspace: Plane, sampled: tuple[int, int], axis: int = -1) -> Plane:
    """Weigh samples without a mirror image twice, and keep the real part once the phase is taken out.

    Parameters
    ----------
    kspace
        Samples, 0 outside `sampled` along `axis`.
    sampled
        First and one past the last acquired line; must reach beyond the centre on both sides.
    axis
        The axis that was cut short, -2 or -1.

    Returns
    -------
    The image with its low-frequency phase put back.
    """
    symmetric = symmetric_range(kspace.shape[axis], sampled)
    weights = _ramp(kspace.shape[axis], sampled, symmetric).to(kspace.real)
    phase = low_frequency_phase(kspace, symmetric, axis)
    image = to_image(kspace * _along(weights, axis))
    return (image * phase.conj()).real * phase


def pocs(kspace: Plane, sampled: tuple[int, int], axis: int = -1, iterations: int = 12) -> Plane:
    """Alternate between images of the known phase and k-spaces that hold the acquired samples."""
    symmetric = symmetric_range(kspace.shape[axis], sampled)
    phase = low_frequency_phase(kspace, symmetric, axis)
    lines = torch.arange(kspace.shape[axis], device=kspace.device)
    acquired = _along((lines >= sampled[0]) & (lines < sampled[1]), axis)
    filled = kspace
    for _ in range(iterations):
        image = to_image(filled)
        guess = to_kspace((image * phase.conj()).real * phase)
        filled = torch.where(acquired, kspace, guess)
    return to_image(filled)


def symmetric_range(size: int, sampled: tuple[int, int]) -> tuple[int, int]:
    """The lines whose mirror images about ``size // 2`` were acquired as well, half-open.

    Raises
    ------
    ValueError
        If the samples do not reach beyond the centre on both sides.
    """
    middle = size // 2
    reach = min(middle - sampled[0], sampled[1] - 1 - middle)
    if reach < 1:
        raise ValueError(
            f"lines {sampled[0]} to {sampled[1] - 1} do not reach beyond the centre ({middle}) on both "
            "sides, so nothing tells the phase; acquire a few lines across it"
        )
    return middle - reach, middle + reach + 1


def low_frequency_phase(kspace: Plane, symmetric: tuple[int, int], axis: int) -> Plane:
    """The phase, as a unit complex number, of the tapered symmetric centre."""
    window = torch.zeros(kspace.shape[axis], dtype=kspace.real.dtype, device=kspace.device)
    size = symmetric[1] - symmetric[0]
    window[symmetric[0] : symmetric[1]] = torch.hann_window(size + 2, periodic=False, device=kspace.device)[
        1:-1
    ]
    image = to_image(kspace * _along(window, axis))
    magnitude = image.abs()
    return torch.where(magnitude > 0, image / torch.where(magnitude > 0, magnitude, 1), 1)


def _ramp(size: int, sampled: tuple[int, int], symmetric: tuple[int, int]) -> Float[Tensor, " size"]:
    """0 at the missing end, 2 at the other, a line between them: a sample and its mirror image weigh 2."""
    lines = torch.arange(size)
    middle, reach = size // 2, symmetric[1] - 1 - size // 2
    towards = 1 if sampled[1] - 1 - middle > middle - sampled[0] else -1
    weights = (1 + towards * (lines - middle) / (reach + 0.5)).clamp(0, 2)
    if (
        symmetric == sampled
    ):  # both sides reach equally far: nothing is missing that a mirror image could fill
        weights = torch.ones(size)
    return torch.where((lines >= sampled[0]) & (lines < sampled[1]), weights, 0)


def _along(line: Tensor, axis: int) -> Tensor:
    return line if axis == -1 else line[:, None]
