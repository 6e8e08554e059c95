"""Scans as a site has them that never samples fully: one mask a scan, and no more to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from reshim.acquire import Scheme
from reshim.digest import digest
from reshim.physics.masks import evaluation_seed
from reshim.scans import load
from reshim.types import Acquisition, ScanRecord


@dataclass(frozen=True)
class Undersampled:
    """Reads a fully sampled scan as if it had been acquired under a scheme, with the mask of evaluation."""

    scheme: Scheme

    def record(self, record: ScanRecord) -> ScanRecord:
        """The scan as a catalog would know it: undersampled, and another file."""
        known = digest(record.fingerprint, self.scheme)
        return replace(record, fully_sampled=False, fingerprint=known)

    def __call__(self, record: ScanRecord, slices: Sequence[int] | None = None) -> Acquisition:
        """Slices with their mask; what it does not acquire is gone."""
        whole = load(record, slices)
        line = self.scheme.draw(whole.kspace.shape[-1], evaluation_seed(Path(record.path).name))
        mask = torch.from_numpy(line.columns)[None, None, None]
        return replace(whole, mask=mask, kspace=torch.where(mask, whole.kspace, 0))
