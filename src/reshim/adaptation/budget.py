"""The wall time that a call may take, shared out before it is spent."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Budget:
    """Seconds from when it is made; None sets no bound."""

    seconds: float | None = None
    begun: float = field(default_factory=lambda: time.perf_counter())

    @property
    def is_bounded(self) -> bool:
        """Whether there is a bound at all."""
        return self.seconds is not None

    @property
    def left(self) -> float:
        """Seconds that are left; negative where it was overdrawn."""
        return float("inf") if self.seconds is None else self.seconds - (time.perf_counter() - self.begun)

    def part(self, share: float = 1.0, less: float = 0.0) -> "Budget":
        """A share of what is left after `less` seconds were set aside, as a budget of its own."""
        return Budget() if self.seconds is None else Budget(max(0.0, (self.left - less) * share))

    def too_short(self, inference: float, for_what: str) -> str:
        """That what is left is too little, of which an inference takes so many seconds."""
        left = max(self.left, 0.0)
        missing = "even for one inference" if left < inference else for_what
        return f"{left:.2g} s to spend and about {inference:.2g} s an inference leave no time {missing}"

    def __str__(self) -> str:
        return "no budget" if self.seconds is None else f"the budget of {self.seconds:.3g} s"


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and the seconds that it took."""
    begun = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begun
