"""Rules that decide claims: what an interval must satisfy, alone or together with others.

To add one: a class with the quantity that it is about, whether an interval satisfies it, and the sentence
that is printed. Who judges by it and what is written is in `reshim.evaluation.claims`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from reshim.evaluation.quantities import Average, Quantity
from reshim.evaluation.statistics import CONFIDENCE, Interval


class Rule(ABC):
    """What an interval must satisfy."""

    quantity: Quantity

    @property
    def confidence(self) -> float:
        """Of the interval that the rule is about."""
        return CONFIDENCE

    @abstractmethod
    def holds(self, interval: Interval) -> bool:
        """Whether a defined interval satisfies the rule."""

    @abstractmethod
    def contradicted(self, interval: Interval) -> bool:
        """Whether a defined interval rules the claim out."""

    @abstractmethod
    def margin(self, interval: Interval) -> float:
        """How far the interval is from breaking the rule; below 0 where it breaks it."""

    def refuted_by(self, value: float | None) -> bool:
        """Whether the estimate alone rules the claim out, however few its subjects."""
        return False

    def caveat(self, interval: Interval) -> str:
        """What a reader should know where the rule holds; mostly nothing."""
        return ""

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, ...]:
        """The numbers that the interval is held against."""

    @abstractmethod
    def __str__(self) -> str:
        """The printed sentence."""


@dataclass(frozen=True)
class LowerBoundAtLeast(Rule):
    """The lower end of the interval is at least `bound`: "not worse than" with a tolerance."""

    quantity: Quantity
    bound: float

    def holds(self, interval: Interval) -> bool:
        """Lower end at or above the bound."""
        return self.margin(interval) >= 0

    def contradicted(self, interval: Interval) -> bool:
        """Upper end below the bound."""
        return _end(interval.high) < self.bound

    def margin(self, interval: Interval) -> float:
        """Lower end less the bound."""
        return _end(interval.low) - self.bound

    @property
    def bounds(self) -> tuple[float, ...]:
        """The bound."""
        return (self.bound,)

    def __str__(self) -> str:
        return f"lower end of the 95 % interval of {self.quantity} ≥ {number(self.bound)}"


@dataclass(frozen=True)
class LowerBoundAbove(LowerBoundAtLeast):
    """The lower end of the interval lies above `bound`."""

    bound: float = 0.0

    def holds(self, interval: Interval) -> bool:
        """Lower end above the bound."""
        return self.margin(interval) > 0

    def __str__(self) -> str:
        return f"lower end of the 95 % interval of {self.quantity} > {number(self.bound)}"


@dataclass(frozen=True)
class NotSignificantlyBelow(Rule):
    """The interval reaches `bound`: nothing speaks against it, which is less than speaking for it.

    Source: S. Holm, Scand. J. Stat. 6:65 (1979): something among `among` questions is significant after his
    correction just where the strongest is at 1/`among` of the level, so the interval is that much wider.
    """

    quantity: Quantity
    bound: float = 0.0
    among: int = 1

    @property
    def confidence(self) -> float:
        """That of the first step of Holm's correction."""
        return 1 - (1 - CONFIDENCE) / self.among

    def holds(self, interval: Interval) -> bool:
        """Upper end at or above the bound."""
        return self.margin(interval) >= 0

    def contradicted(self, interval: Interval) -> bool:
        """Upper end below the bound."""
        return self.margin(interval) < 0

    def margin(self, interval: Interval) -> float:
        """Upper end less the bound."""
        return _end(interval.high) - self.bound

    @property
    def bounds(self) -> tuple[float, ...]:
        """The bound."""
        return (self.bound,)

    def __str__(self) -> str:
        level = f"{100 * self.confidence:.1f} %" + (f", Holm over {self.among}" if self.among > 1 else "")
        return f"{self.quantity} not significantly below {number(self.bound)} ({level})"


@dataclass(frozen=True)
class UpperBoundBelow(Rule):
    """The upper end of the interval lies below `bound`."""

    quantity: Quantity
    bound: float = 0.0

    def holds(self, interval: Interval) -> bool:
        """Upper end below the bound."""
        return self.margin(interval) > 0

    def contradicted(self, interval: Interval) -> bool:
        """Lower end above the bound."""
        return _end(interval.low) > self.bound

    def margin(self, interval: Interval) -> float:
        """The bound less the upper end."""
        return self.bound - _end(interval.high)

    @property
    def bounds(self) -> tuple[float, ...]:
        """The bound."""
        return (self.bound,)

    def __str__(self) -> str:
        return f"upper end of the 95 % interval of {self.quantity} < {number(self.bound)}"


@dataclass(frozen=True)
class Within(Rule):
    """The whole interval lies between `low` and `high`: two things are alike."""

    quantity: Quantity
    low: float
    high: float

    def holds(self, interval: Interval) -> bool:
        """Both ends inside."""
        return self.margin(interval) >= 0

    def contradicted(self, interval: Interval) -> bool:
        """No overlap."""
        return _end(interval.high) < self.low or _end(interval.low) > self.high

    def margin(self, interval: Interval) -> float:
        """Distance of the nearer end from its bound."""
        return min(_end(interval.low) - self.low, self.high - _end(interval.high))

    @property
    def bounds(self) -> tuple[float, ...]:
        """Both bounds."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"95 % interval of {self.quantity} within {number(self.low)} to {number(self.high)}"


@dataclass(frozen=True)
class PointAndInterval(Rule):
    """The estimate is at least `at_least`, and the lower end of its interval lies above `above`."""

    quantity: Quantity
    at_least: float
    above: float = 0.0

    def holds(self, interval: Interval) -> bool:
        """Estimate and lower end both clear their bounds."""
        return _end(interval.value) >= self.at_least and _end(interval.low) > self.above

    def contradicted(self, interval: Interval) -> bool:
        """The whole interval lies below what is asked of the estimate or of its lower end."""
        return _end(interval.high) < self.at_least or _end(interval.high) <= self.above

    def margin(self, interval: Interval) -> float:
        """The smaller of both distances."""
        return min(_end(interval.value) - self.at_least, _end(interval.low) - self.above)

    @property
    def bounds(self) -> tuple[float, ...]:
        """Bound of the interval, bound of the estimate."""
        return self.above, self.at_least

    def __str__(self) -> str:
        return (
            f"{self.quantity} ≥ {number(self.at_least)}, "
            f"and the lower end of its 95 % interval > {number(self.above)}"
        )


@dataclass(frozen=True)
class NoneOf(Rule):
    """Not a single row counts: a sentence about every slice, which one counter-example refutes.

    The quantity is a share: a mean of rows that are 1 where a slice is a counter-example and 0 elsewhere,
    above 0 as soon as there is one. Where there is none, resampling finds none either, and an interval of no
    width promises what nobody saw; what n subjects without one still allow is said beside.

    Source: J. A. Hanley and A. Lippman-Hand, JAMA 249:1743 (1983), the rule of three: of subjects without
    any in n, the upper end of a one-sided 95 % interval is 3/n (more of them where n is small).
    """

    quantity: Quantity

    def holds(self, interval: Interval) -> bool:
        """None counts."""
        return not self.refuted_by(interval.value)

    def contradicted(self, interval: Interval) -> bool:
        """One counts."""
        return self.refuted_by(interval.value)

    def refuted_by(self, value: float | None) -> bool:
        """One counts, be it that of a single subject."""
        return value is not None and value > 0

    def margin(self, interval: Interval) -> float:
        """The share below 0: nothing is to spare."""
        return -_end(interval.value)

    def caveat(self, interval: Interval) -> str:
        """The share of subjects that could have one although none here has."""
        allowed = f"{100 * min(3 / interval.n_subjects, 1):.2g} %"
        return (
            f"none among {interval.n_subjects} subjects, which allows for up to {allowed} of all subjects "
            "having one (rule of three, 95 %)"
        )

    @property
    def bounds(self) -> tuple[float, ...]:
        """Nothing."""
        return (0.0,)

    def __str__(self) -> str:
        return f"{self.quantity} = 0; one row above 0 contradicts it"


@dataclass(frozen=True)
class AllOf:
    """Every one of several rules; reported is, of those that decide, the one with the smallest margin."""

    rules: tuple[Rule, ...]

    def __str__(self) -> str:
        return "; and ".join(map(str, self.rules))


@dataclass(frozen=True)
class Given:
    """A rule that says something where conditions hold, and nothing where one does not.

    The rule's value is the one reported; the claim is unanswered, with the condition in its note, unless
    every condition holds.
    """

    rule: Rule
    conditions: tuple[Rule, ...]

    def __str__(self) -> str:
        return f"{self.rule}; given that {', and that '.join(map(str, self.conditions))}"


@dataclass(frozen=True)
class MeanOfDefined:
    """The mean of several quantities reaches a bound; each counts only where its own conditions hold.

    Which ones count is decided by the rows, with the conditions that were written before. The claim is
    unanswered where none does.
    """

    cases: tuple[Given, ...]
    """Quantities in their rules, whose own bounds are not asked about, with the conditions of each."""

    bound: float

    def mean_of(self, cases: Sequence[Given]) -> LowerBoundAtLeast:
        """The rule, where these count."""
        return LowerBoundAtLeast(Average(tuple(case.rule.quantity for case in cases)), self.bound)

    def __str__(self) -> str:
        each = "; ".join(
            f"{case.rule.quantity}, given that {', and that '.join(map(str, case.conditions))}"
            for case in self.cases
        )
        return (
            f"lower end of the 95 % interval of the mean ≥ {number(self.bound)}, over those of "
            f"{len(self.cases)} whose conditions hold: {each}"
        )


def rules_of(rule: Rule | AllOf | Given | MeanOfDefined) -> tuple[Rule, ...]:
    """Every rule of a claim; of conditions, the rule itself first; of a mean, that over all its cases."""
    if isinstance(rule, MeanOfDefined):
        return (rule.mean_of(rule.cases), *(each for case in rule.cases for each in case.conditions))
    if isinstance(rule, AllOf):
        return rule.rules
    return (rule.rule, *rule.conditions) if isinstance(rule, Given) else (rule,)


def _end(value: float | None) -> float:
    assert value is not None  # a rule is asked about defined intervals alone
    return value


def number(value: float) -> str:
    """A bound as it is printed, with a true minus sign."""
    return f"{value:g}".replace("-", "−")
