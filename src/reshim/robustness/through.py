"""The image of a method as a function of the k-space that autograd can follow, for methods that have one.

A network is followed through its layers, an unrolled one through its solves too, CG-SENSE, L1-wavelet and
total variation through their fixed number of iterations. Coil maps and regularisation weights are constants.
"""

from collections.abc import Callable

import torch

from reshim.errors import UserError
from reshim.methods import OnDevice
from reshim.training.run_folder import Trained, wants_maps
from reshim.types import Image, Measurement, Reconstructor

Followed = Callable[[Measurement], Image]


def has_gradient(method: Reconstructor) -> bool:
    """Whether `followed` knows a way through the method."""
    return isinstance(method, Trained) or hasattr(method, "solve")


def followed(method: Reconstructor) -> Followed:
    """The method with a gradient from the image back to the k-space; its weights get none.

    Raises
    ------
    UserError
        If the method has no gradient (GRAPPA, a method that adapts, one on another device).
    """
    if isinstance(method, Trained):
        return _network(method)
    solve: Followed | None = getattr(method, "solve", None)
    if solve is None or isinstance(method, OnDevice):
        raise UserError(
            f"{type(method).__name__} has no gradient from its image to the k-space; attack it with "
            "RandomSearch, or transfer the attack of another method"
        )
    return solve


def _network(trained: Trained) -> Followed:
    def image_of(measurement: Measurement) -> Image:
        if wants_maps(trained.network):
            measurement = measurement.with_maps(trained.estimate)
        n_items = measurement.kspace.shape[0]
        parts = torch.arange(n_items).split(trained.batch_slices)
        images = [trained.network(measurement.take(part.tolist()).to(trained.device)) for part in parts]
        return torch.cat(images).to(measurement.kspace.device)

    return image_of
