"""A dose of what goes wrong in scans, on any scan: noise, motion, spikes, wrap-around, a mask that is wrong.

The artefacts are those of `reshim.simulation.artefacts`, which says what a dose means; the same scan is
disturbed in the same way at every dose, only more.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from reshim.errors import UserError
from reshim.robustness.disturbance import Disturbance
from reshim.seeds import generator_of
from reshim.simulation.artefacts import moved, noisy, spiked, wrapped
from reshim.types import Acquisition, Measurement, Reconstructor

Kind = Literal["noise", "motion", "spikes", "wrap-around", "wrong mask"]


@dataclass(frozen=True)
class Stress(Disturbance):
    """One artefact at one dose."""

    kind: Kind
    """What goes wrong."""

    dose: float
    """``noise``: its deviation over the brightest tissue; ``motion``: pixels and degrees; ``spikes``: height
    over the largest sample; ``wrap-around``: missing share of the field of view; ``wrong mask``: share of the
    lines beside the calibration block that the mask lists as acquired and that are silent."""

    seed: int = 0
    """Of what is drawn; joined with the scan's name."""

    def of_scan(self, acquisition: Acquisition) -> Acquisition:
        """The scan with the artefact; a mask goes wrong later."""
        kspace = torch.where(acquisition.acquirable, acquisition.kspace, 0)
        generator = generator_of(acquisition.name, acquisition.slices, self.kind, self.seed)
        if self.kind == "noise":
            louder = torch.where(acquisition.acquirable, noisy(kspace, self.dose, generator), 0)
            return replace(acquisition, kspace=louder, noise_std=_louder(acquisition, louder - kspace))
        if self.kind == "motion":
            return replace(acquisition, kspace=moved(kspace, self.dose, generator))
        if self.kind == "spikes":
            return replace(acquisition, kspace=spiked(kspace, self.dose, generator))
        if self.kind == "wrap-around":
            return replace(acquisition, kspace=wrapped(kspace, self.dose))
        return acquisition

    def of_measurement(
        self, measurement: Measurement, method: Reconstructor, reference: Tensor
    ) -> Measurement:
        """The measurement, silent in lines that its mask still lists."""
        if self.kind != "wrong mask":
            return measurement
        silent = self._silent(measurement)
        return replace(measurement, kspace=torch.where(silent, 0, measurement.kspace))

    def _silent(self, measurement: Measurement) -> Tensor:
        """Columns that were lost: True there."""
        if measurement.mask.shape[-2] > 1:
            raise UserError(
                f"{measurement.name}: a wrong mask is simulated line by line, and this mask covers both axes"
            )
        acquired = measurement.mask.reshape(-1, measurement.mask.shape[-1])[0].clone()
        acquired[measurement.calibration.column_start : measurement.calibration.column_stop] = False
        columns = acquired.nonzero().flatten()
        generator = generator_of(measurement.name, self.kind, self.seed)
        order = torch.randperm(len(columns), generator=generator).to(columns.device)
        silent = torch.zeros_like(acquired)
        silent[columns[order[: round(self.dose * len(columns))]]] = True
        return silent


def _louder(acquisition: Acquisition, noise: Tensor) -> float | None:
    """The deviation that a noise scan would find now, where one had been made."""
    if acquisition.noise_std is None:
        return None
    variance = float(noise.abs().square().mean()) / 2
    return (acquisition.noise_std**2 + variance) ** 0.5
