"""The centred, orthonormal Fourier transform between image and k-space, right for odd sizes.

The sample of frequency 0 lies at index ``n // 2`` of each axis, as in fastMRI, SigPy and BART. Nothing is
ever transformed below complex64: half precision is widened on the way in.
"""

import torch
from torch import Tensor

AXES = (-2, -1)


def to_kspace(image: Tensor, axes: tuple[int, ...] = AXES) -> Tensor:
    """Image to k-space along `axes` (rows and columns unless told), unitary."""
    shifted = torch.fft.ifftshift(_at_least_complex64(image), dim=axes)
    return torch.fft.fftshift(torch.fft.fftn(shifted, dim=axes, norm="ortho"), dim=axes)


def to_image(kspace: Tensor, axes: tuple[int, ...] = AXES) -> Tensor:
    """K-space to image along `axes` (rows and columns unless told), the inverse of `to_kspace`."""
    shifted = torch.fft.ifftshift(_at_least_complex64(kspace), dim=axes)
    return torch.fft.fftshift(torch.fft.ifftn(shifted, dim=axes, norm="ortho"), dim=axes)


def center_crop(tensor: Tensor, shape: tuple[int, int]) -> Tensor:
    """Cut the last two axes to `shape` around index ``n // 2``.

    Raises
    ------
    ValueError
        If `shape` is larger than the tensor.
    """
    rows, columns = tensor.shape[-2:]
    if shape[0] > rows or shape[1] > columns:
        raise ValueError(f"cannot crop {rows}x{columns} to the larger {shape[0]}x{shape[1]}; pad it instead")
    top, left = rows // 2 - shape[0] // 2, columns // 2 - shape[1] // 2
    return tensor[..., top : top + shape[0], left : left + shape[1]]


def center_pad(tensor: Tensor, shape: tuple[int, int]) -> Tensor:
    """Embed the last two axes in zeros of `shape` around index ``n // 2``; the adjoint of `center_crop`."""
    rows, columns = tensor.shape[-2:]
    if shape[0] < rows or shape[1] < columns:
        raise ValueError(f"cannot pad {rows}x{columns} to the smaller {shape[0]}x{shape[1]}; crop it instead")
    padded = tensor.new_zeros((*tensor.shape[:-2], *shape))
    top, left = shape[0] // 2 - rows // 2, shape[1] // 2 - columns // 2
    padded[..., top : top + rows, left : left + columns] = tensor
    return padded


def _at_least_complex64(tensor: Tensor) -> Tensor:
    if tensor.dtype in (torch.float16, torch.bfloat16):
        return tensor.to(torch.float32)
    return tensor.to(torch.complex64) if tensor.dtype == torch.complex32 else tensor
