"""How a network is trained: everything that decides the weights, resolved, in one place.

Source of the defaults: K. Lin and R. Heckel, ICML 2024 (Adam, one-cycle with linear ramps, gradient norm at
most 1, SSIM loss, a new mask each draw).
Ours differs: an epoch is an exact pass (theirs draws with replacement), batches mix scans of equal shape,
every slice of a batch has a mask of its own, and the checkpoint is chosen in distribution.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from reshim.acquire import Scheme, Target
from reshim.errors import UserError
from reshim.training.objectives import Objective, Supervised, settings_of
from reshim.training.schedule import OneCycle


@dataclass(frozen=True)
class EarlyStop:
    """Stop when in-distribution validation has nearly ceased to improve; no other data is looked at.

    Source of the remedy: K. Lin and R. Heckel, ICML 2024, section 6 (distributional overfitting): late in
    training the gain in distribution is marginal while robustness is lost. They give no rule; here is one,
    its two numbers chosen on four pairs of distributions (`reshim study distributional-overfitting`).
    """

    share: float = 0.002
    """Stop when the mean gain of an epoch falls below this share of the whole gain since the first epoch."""

    window: int = 20
    """Epochs over which the gain is averaged."""

    def __post_init__(self) -> None:
        if not self.share > 0 or self.window < 1:
            raise UserError(
                f"the rule for stopping early has the share {self.share} and a window of {self.window} "
                "epochs; the share is above 0, the window at least 1"
            )

    def __call__(self, scores: list[float]) -> bool:
        """True where training should end after these validation scores (larger is better)."""
        return self.epoch(scores) is not None

    def epoch(self, scores: list[float]) -> int | None:
        """The epoch (from 0) after which the rule stops, or None: for trajectories seen afterwards.

        Gains are counted from the first score that is a number: an epoch without one has nothing to gain on.
        """
        first = next((index for index, score in enumerate(scores) if math.isfinite(score)), len(scores))
        best = [max(scores[first : index + 1], default=-math.inf) for index in range(len(scores))]
        for index in range(first + self.window, len(best)):
            whole = best[index] - scores[first]
            recent = (best[index] - best[index - self.window]) / self.window
            if whole > 0 and recent < self.share * whole:
                return index
        return None


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one training run."""

    objective: Objective = field(default_factory=Supervised)
    """What is minimised."""

    epochs: int | None = 20
    """Passes over the training slices; None where `samples` is the budget."""

    samples: int | None = None
    """Slices seen in all, for comparisons at equal updates; exactly one of this and `epochs` is given."""

    batch_size: int = 4
    """Slices a step, over all processes."""

    accumulation: int = 1
    """Parts in which a batch is worked off one after the other: the same step in less memory."""

    learning_rate: float = 1e-3
    """Largest rate of the one-cycle schedule."""

    warm_up: float = 0.01
    """Share of the steps over which the rate rises."""

    start_divisor: float = 25.0
    """The first rate is the largest over this."""

    final_divisor: float = 1.0
    """The last rate is the first over this."""

    clip: float | None = 1.0
    """Bound on the norm of the gradient; None leaves it as it is."""

    target: Target = "mvue"
    """The reference: ``mvue``, ``rss``, or ``clean`` for simulated scans."""

    schemes: tuple[Scheme, ...] = (Scheme(),)
    """How scans are undersampled; of several, each batch draws one. Undersampled scans keep their mask."""

    fixed_mask: bool = False
    """One mask for all, as in the release of test-time training; else each slice has a new one each epoch."""

    remove_oversampling: bool = True
    """Cut the readout's oversampling away first, as evaluation does."""

    validation_slices: int | None = None
    """At most so many validation slices, spread evenly; None takes all."""

    early_stop: EarlyStop | None = None
    """Rule that ends training before its budget; None trains to the end."""

    keep_epochs: bool = True
    """Keep the weights of every epoch, for the curve of robustness over training."""

    bf16: bool = False
    """Convolutions and matrix products in bfloat16; transforms stay in single precision."""

    log_every: int = 20
    """Steps between two lines of the log."""

    bad_steps: int = 10
    """A step whose gradient is not finite is skipped; so many in a row end the run."""

    seed: int = 0
    """Of the first weights, the order, the masks and the objective's draws."""

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.samples is None):
            raise UserError(
                f"epochs is {self.epochs} and samples is {self.samples}; the budget is exactly one of the two"
            )
        counts = (
            self.epochs,
            self.samples,
            self.batch_size,
            self.accumulation,
            self.log_every,
            self.bad_steps,
        )
        if min(count for count in counts if count is not None) < 1:
            raise UserError(
                "epochs or samples, batch size, accumulation, log_every and bad_steps are all at least 1; "
                f"found {', '.join(str(count) for count in counts if count is not None)}"
            )
        if self.batch_size % self.accumulation:
            raise UserError(
                f"a batch of {self.batch_size} does not fall into {self.accumulation} equal parts; "
                "choose an accumulation that divides it"
            )
        if not 0 < self.learning_rate < math.inf or (self.clip is not None and not self.clip > 0):
            raise UserError(
                f"the learning rate is {self.learning_rate} and the gradient is clipped at {self.clip}; both "
                "are above 0"
            )
        if not 0 <= self.warm_up <= 1:
            raise UserError(f"the warm-up is {self.warm_up}; it is a share of the steps, from 0 to 1")
        if not min(self.start_divisor, self.final_divisor) > 0:
            raise UserError(
                f"the rate starts at the largest over {self.start_divisor} and ends at that over "
                f"{self.final_divisor}; both divisors are above 0 (1 and 1: a constant rate)"
            )
        if not self.schemes:
            raise UserError("there is no undersampling scheme; give at least one")

    def schedule(self, total_steps: int) -> OneCycle:
        """The learning rate of every step."""
        return OneCycle(self.learning_rate, total_steps, self.warm_up, self.start_divisor, self.final_divisor)

    def plain(self) -> dict[str, Any]:
        """All settings as plain values, as they stand in settings.json."""
        return {**asdict(self), "objective": settings_of(self.objective)}


def settings_from(plain: dict[str, Any]) -> TrainingSettings:
    """Settings from the plain values of settings.json."""
    values = dict(plain)
    values["objective"] = objective_from(values["objective"])
    values["schemes"] = tuple(Scheme(**scheme) for scheme in values["schemes"])
    if values.get("early_stop") is not None:
        values["early_stop"] = EarlyStop(**values["early_stop"])
    return TrainingSettings(**values)


def objective_from(plain: dict[str, Any]) -> Objective:
    """An objective from its name and fields.

    Raises
    ------
    UserError
        If there is no objective of that name, or it has no such field.
    """
    from reshim.training import OBJECTIVES

    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
    }
    name = str(fields.pop("name"))
    if name not in OBJECTIVES:
        raise UserError(f"there is no objective {name!r}; there are {sorted(OBJECTIVES)}")
    if isinstance(fields.get("supervised"), dict):
        fields["supervised"] = Supervised(**fields["supervised"])
    try:
        return OBJECTIVES[name](**fields)
    except TypeError as error:
        raise UserError(f"objective {name!r}: {error}") from error
