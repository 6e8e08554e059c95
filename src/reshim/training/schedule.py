"""The one-cycle learning-rate schedule with straight ramps.

Source: L. N. Smith and N. Topin, arXiv:1708.07120, in the form of ``torch.optim.lr_scheduler.OneCycleLR``
with ``anneal_strategy="linear"``, which K. Lin and R. Heckel, ICML 2024, train all their networks with.
Ours differs: a function of the step alone, so there is no scheduler whose state could be lost on resuming;
a warm-up shorter than one step is left out.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class OneCycle:
    """Learning rate of each step: up to `peak` over the warm-up, then down to the end."""

    peak: float
    """The largest rate."""

    total_steps: int
    """Steps of the whole run; the last one is made at the final rate."""

    warm_up: float = 0.01
    """Share of the steps over which the rate rises."""

    start_divisor: float = 25.0
    """The first rate is the peak over this."""

    final_divisor: float = 1.0
    """The last rate is the first rate over this."""

    def __call__(self, step: int) -> float:
        """Rate of one step, counted from 0."""
        first = self.peak / self.start_divisor
        last = first / self.final_divisor
        top = self.warm_up * self.total_steps - 1
        end = self.total_steps - 1
        if step <= top:
            return _between(first, self.peak, step / top if top > 0 else 1.0)
        top = max(top, 0.0)
        return _between(self.peak, last, min((step - top) / (end - top), 1.0) if end > top else 0.0)


def _between(start: float, stop: float, share: float) -> float:
    return start + share * (stop - start)
