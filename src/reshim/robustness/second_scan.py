"""A scan that was measured under its own mask, scored against another scan of the same subject.

A prospectively undersampled scan has no reference: what its mask left out was never measured. A second, full
scan of the subject has one, as long as nothing moved between the two. Noise is then that of two scans, where
samples left out of one full scan share theirs with the reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from reshim.acquire import without_oversampling
from reshim.digest import digest
from reshim.errors import BadScanError
from reshim.robustness.disturbance import Disturbance
from reshim.scans import load
from reshim.types import Acquisition, ScanRecord


@dataclass(frozen=True)
class SecondScan(Disturbance):
    """Methods see the second scan; references stay those of the first."""

    pairs: tuple[tuple[str, ScanRecord], ...] = field(metadata={"digest": False})
    """The first scan's file name, and the second scan."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[ScanRecord, ScanRecord]]) -> "SecondScan":
        """From first and second scans."""
        return cls(tuple((first.file_name, second) for first, second in pairs))

    @property
    def digest(self) -> str:
        """Of the second scans' contents, wherever they lie."""
        return digest("second scan", [(name, second.fingerprint) for name, second in self.pairs])

    def of_scan(self, acquisition: Acquisition) -> Acquisition:
        """The second scan's samples, with the oversampling cut away where the first one's was.

        Raises
        ------
        BadScanError
            If there is no second scan, or one of another size.
        """
        second = dict(self.pairs).get(acquisition.name)
        if second is None:
            raise BadScanError(f"{acquisition.name} has no second scan; name one, or leave it out")
        whole = load(second, acquisition.slices)
        found = whole if whole.kspace.shape == acquisition.kspace.shape else without_oversampling(whole)
        if found.kspace.shape != acquisition.kspace.shape:
            raise BadScanError(
                f"{acquisition.name} has samples of {tuple(acquisition.kspace.shape)} and its second scan "
                f"{second.scan_id} of {tuple(found.kspace.shape)}; both must be the same protocol"
            )
        return replace(acquisition, kspace=found.kspace, noise_std=found.noise_std)
