"""The score that the header alone gives: how many of a scan's entries training never met.

It stands beside the shift score to show what a look at the samples adds: where headers are right and
complete they name most shifts, and they say nothing of motion, or of a coil that fails.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reshim.types import ScanRecord

WORDS = ("anatomy", "contrast", "view", "vendor", "model", "fully_sampled")
NUMBERS = ("field_tesla", "n_coils", "n_rows", "n_columns", "echo_ms", "repetition_ms", "inversion_ms")
CLOSE = 0.05
"""Numbers within this share of a known one count as known."""


@dataclass(frozen=True)
class KnownHeaders:
    """Which entries the headers of the training scans had."""

    words: dict[str, tuple[str | None, ...]]
    numbers: dict[str, tuple[float | None, ...]]

    @classmethod
    def of(cls, records: Sequence[ScanRecord]) -> "KnownHeaders":
        """From the records of the training scans."""
        words = {name: tuple({_word(record, name) for record in records}) for name in WORDS}
        numbers = {name: tuple({_number(record, name) for record in records}) for name in NUMBERS}
        return cls(
            {name: tuple(sorted(found, key=str)) for name, found in words.items()},
            {name: tuple(sorted(found, key=str)) for name, found in numbers.items()},
        )

    def __call__(self, record: ScanRecord) -> float:
        """Share of the entries that training never met, a number counting by how far off it is, up to 1."""
        strange = [float(_word(record, name) not in self.words[name]) for name in WORDS]
        strange += [_off(_number(record, name), self.numbers[name]) for name in NUMBERS]
        return sum(strange) / len(strange)

    def plain(self) -> dict[str, dict[str, list[object]]]:
        """For JSON."""
        return {
            "words": {name: list(found) for name, found in self.words.items()},
            "numbers": {name: list(found) for name, found in self.numbers.items()},
        }

    @classmethod
    def of_plain(cls, plain: dict[str, dict[str, list]]) -> "KnownHeaders":
        """What `plain` gave."""
        return cls(
            {name: tuple(found) for name, found in plain["words"].items()},
            {name: tuple(found) for name, found in plain["numbers"].items()},
        )


def _word(record: ScanRecord, name: str) -> str | None:
    value = getattr(record, name)
    return None if value is None else str(value)


def _number(record: ScanRecord, name: str) -> float | None:
    value = getattr(record, name)
    return None if value is None else float(value)


def _off(value: float | None, known: Sequence[float | None]) -> float:
    """0 where the number is known, up to 1 where it is twice or half of the nearest, or absent for once."""
    if value in known:
        return 0.0
    near = [other for other in known if other is not None and other > 0]
    if value is None or value <= 0 or not near:
        return 1.0
    distance = min(abs(math.log2(value / other)) for other in near)
    return 0.0 if distance < math.log2(1 + CLOSE) else min(distance, 1.0)
