"""``reshim.reconstruct(measurement)``: the method used when none is named.

There are no weights in the package yet, so it is the best classical method, and the card says so.
"""

from dataclasses import dataclass

from reshim.physics.maps import default_estimator
from reshim.types import Image, Measurement, Reconstructor


@dataclass(frozen=True)
class DefaultMethod:
    """The default reconstructor, and a sentence on what it is."""

    method: Reconstructor
    description: str

    def __call__(self, measurement: Measurement) -> Image:
        """Return the complex image on the full matrix, in the units of the measurement."""
        return self.method(default_estimator(measurement))


def default_method() -> DefaultMethod:
    """The best method that needs no weights."""
    from reshim.classical import METHODS

    name = "l1-wavelet" if "l1-wavelet" in METHODS else "sense"
    return DefaultMethod(
        METHODS[name](), f"{name}, the best classical method; the package carries no weights yet"
    )


def reconstruct(measurement: Measurement) -> Image:
    """Reconstruct with the default method: (batch, row, column), complex, on the full matrix, file units."""
    from reshim.training.memory import keep_freed_memory

    keep_freed_memory()
    return default_method()(measurement)
