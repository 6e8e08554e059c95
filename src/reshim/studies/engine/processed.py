"""Scans as a data set hands them over that processed them and does not say so: to train and tune on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reshim.digest import digest
from reshim.robustness.sources import Processed
from reshim.scans import load
from reshim.types import Acquisition, ScanRecord


@dataclass(frozen=True)
class AsProcessed:
    """Reads a fully sampled scan after processing; references are made of what it was made into."""

    processing: Processed

    def record(self, record: ScanRecord) -> ScanRecord:
        """The scan as a catalog would know it: another file."""
        return replace(record, fingerprint=digest(record.fingerprint, self.processing))

    def __call__(self, record: ScanRecord, slices: Sequence[int] | None = None) -> Acquisition:
        """Slices without the readout's oversampling, as from images."""
        return self.processing.of_source(load(record, slices))
