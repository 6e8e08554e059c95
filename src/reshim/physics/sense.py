"""The multi-coil Cartesian forward model, y = M F S x, for one or several sets of maps.

Source: K. P. Pruessmann et al., Magn. Reson. Med. 42:952 (1999); several sets (soft-SENSE) as in
M. Uecker et al., Magn. Reson. Med. 71:990 (2014).
Ours differs: `gram` leaves the axis along which a mask is constant untransformed,
which changes nothing but the time.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex
from torch import Tensor

from reshim.physics.fourier import to_image, to_kspace
from reshim.types import Image, KSpace, Maps, Mask, Measurement

SetImage = Complex[Tensor, "*batch set row column"]


@dataclass(frozen=True, slots=True)
class SenseOperator:
    """Linear map from images (one a set of maps) to the acquired k-space of every coil."""

    maps: Maps
    mask: Mask

    def __post_init__(self) -> None:
        if self.mask.shape[-1] not in (1, self.maps.shape[-1]):
            raise ValueError(
                f"mask has {self.mask.shape[-1]} columns but the coil maps have {self.maps.shape[-1]}; "
                "draw the mask for the matrix of the maps"
            )

    @classmethod
    def of(cls, measurement: Measurement) -> "SenseOperator":
        """The operator that produced this measurement.

        Raises
        ------
        ValueError
            If the measurement has no maps yet.
        """
        if measurement.maps is None:
            raise ValueError(
                f"{measurement.name}: the measurement has no coil maps; fill them with "
                "measurement.with_maps(estimator), e.g. reshim.physics.espirit.Espirit()"
            )
        return cls(measurement.maps, measurement.mask)

    def forward(self, images: SetImage) -> KSpace:
        """Weight by every coil, add the sets, transform, keep the acquired samples."""
        return self.mask * to_kspace((self.maps * images.unsqueeze(-3)).sum(-4))

    def adjoint(self, kspace: KSpace) -> SetImage:
        """Drop the unacquired samples, transform back, combine the coils of each set."""
        coil_images = to_image(self.mask * kspace).unsqueeze(-4)
        return (self.maps.conj() * coil_images).sum(-3)

    def gram(self, images: SetImage) -> SetImage:
        """A^H A: images to images, all that a solver needs to see.

        A mask that is constant along an axis commutes with that axis' transform, so only the other is
        transformed: half the work of 1-D undersampling. F^H M F is a circular convolution and does not see
        where an image starts, so that of all the shifts only the mask's remains.
        """
        axes = tuple(axis for axis in (-2, -1) if self.mask.shape[axis] > 1)
        coil_images = (self.maps * images.unsqueeze(-3)).sum(-4)
        if axes:
            mask = torch.fft.ifftshift(self.mask, dim=axes)
            coil_images = torch.fft.ifftn(mask * torch.fft.fftn(coil_images, dim=axes), dim=axes)
        elif not bool(self.mask.all()):
            coil_images = torch.zeros_like(coil_images)
        return (self.maps.conj() * coil_images.unsqueeze(-4)).sum(-3)


def first_set(images: SetImage) -> Image:
    """The image of the first set of maps: what is shown and scored."""
    return images[..., 0, :, :]
