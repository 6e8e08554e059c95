"""How a stored image is to be shown. Arrays are never flipped on reading; whoever draws or writes asks here.

An orientation is a text of steps joined by ``+`` in the order they are applied: ``transpose``,
``flip-rows`` (upside down), ``flip-columns`` (left and right). ``as-stored`` and None are no step.
"""

import numpy as np

STEPS = ("transpose", "flip-rows", "flip-columns")
AS_STORED = "as-stored"


def steps_of(orientation: str | None) -> tuple[str, ...]:
    """The steps of an orientation.

    Raises
    ------
    ValueError
        If a step is unknown.
    """
    steps = tuple(step for step in (orientation or AS_STORED).split("+") if step != AS_STORED)
    for step in steps:
        if step not in STEPS:
            raise ValueError(
                f"orientation {orientation!r} has the step {step!r}; steps are {STEPS}, joined by '+'"
            )
    return steps


def to_display(images: np.ndarray, orientation: str | None) -> np.ndarray:
    """Images (..., row, column) as a person is used to see them; a view of the same memory."""
    for step in steps_of(orientation):
        if step == "transpose":
            images = np.swapaxes(images, -2, -1)
        else:
            images = np.flip(images, -2 if step == "flip-rows" else -1)
    return images


def spacing_to_display(
    spacing_mm: tuple[float, ...] | None, orientation: str | None
) -> tuple[float, ...] | None:
    """Slice, row and column spacing of the shown images."""
    if spacing_mm is None or steps_of(orientation).count("transpose") % 2 == 0:
        return spacing_mm
    return (spacing_mm[0], spacing_mm[2], spacing_mm[1])
