"""A method without weights, computed where a network's weights lie.

Measurements stay on the processor and a network on a GPU takes from them what it needs. Whatever solves for
its image, or is compared with it, takes the same way: else the GPU waits for the processor.
"""

from typing import Any

import torch

from reshim.types import Image, Measurement, Reconstructor


def device_of(method: Any, measurement: Measurement) -> torch.device:
    """Where a method says that it computes (``device``), or where the measurement lies."""
    told = getattr(method, "device", None)
    return measurement.kspace.device if told is None else torch.device(told)


def beside(network: Any, method: Reconstructor) -> Reconstructor:
    """A method taken to where another one, with a network, computes; its image comes back."""

    def image_of(measurement: Measurement) -> Image:
        home = measurement.kspace.device
        return method(measurement.to(device_of(network, measurement))).to(home)

    return image_of
