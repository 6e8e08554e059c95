"""Predicted SSIM with an interval that keeps its promise: ridge regression, split-conformal calibration.

    t = log(1 - SSIM),   |t - prediction(features)| <= q for 90 % of scans like those it was calibrated on

Source: V. Vovk et al., Algorithmic Learning in a Random World (2005); J. Lei et al., J. Am. Stat. Assoc.
113:1094 (2018). One subject in the regression is in no way in the calibration, and the promise is for
subjects exchangeable with the calibrated ones. Where features lie beyond the calibrated range it says
"unknown" and why, in place of an interval that would promise what nobody checked.
Ours differs: the interval is symmetric in t, so that it is wide in SSIM where images are poor and narrow
where they are good.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from reshim.digest import digest
from reshim.errors import UserError

LEVEL = 0.9
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Ridges tried; leave-one-out error on the fitted subjects chooses."""
SLACK = 0.1
"""How far, in units of a feature's calibrated range, a scan may lie outside of it."""

TENSORS = ("mean", "spread", "weights", "lowest", "highest", "errors")
"""Of a `Predictor`."""

Table = Float[Tensor, "scan feature"]


def check_numbers(n_fitted: int, n_calibrated: int) -> None:
    """Refuse fewer than 3 subjects to fit or than 9 to calibrate: then no 90 % interval is finite.

    Raises
    ------
    UserError
        If there are fewer.
    """
    if n_fitted < 3 or n_calibrated < 9:
        raise UserError(
            f"{n_fitted} subjects to fit and {n_calibrated} to calibrate; a 90 % interval needs 3 and 9 at "
            "least, and says little below 100 of each: widen the filter"
        )


@dataclass(frozen=True)
class Prediction:
    """What is foretold of one scan: SSIM inside the body against the MVUE reference, mean over its slices."""

    value: float | None
    low: float | None
    high: float | None
    level: float = LEVEL
    unknown: str | None = None
    """Why nothing is foretold; None where something is."""


@dataclass(frozen=True)
class Predictor:
    """A line through log(1 - SSIM), and how far off it was on subjects it had not seen."""

    names: tuple[str, ...]
    """Which features it looks at, in their order."""

    mean: Float[Tensor, " feature"]
    spread: Float[Tensor, " feature"]
    weights: Float[Tensor, " feature"]
    level_at_mean: float
    lowest: Float[Tensor, " feature"]
    highest: Float[Tensor, " feature"]
    errors: Float[Tensor, " subject"]
    """Of the calibration, sorted."""

    about: Mapping[str, Any] = field(default_factory=dict)
    """Which weights it speaks of, and on whom it was fitted and calibrated."""

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        fitted: tuple[Tensor, Tensor],
        calibrated: tuple[Tensor, Tensor],
        about: Mapping[str, Any] | None = None,
    ) -> "Predictor":
        """Fit on some subjects, calibrate on others: features (scan, feature) and the SSIM (scan) of each.

        Raises
        ------
        UserError
            If there are fewer than 3 to fit or fewer than 9 to calibrate: then no 90 % interval is finite.
        """
        check_numbers(len(fitted[1]), len(calibrated[1]))
        rows, wanted = fitted[0].double(), to_log(fitted[1])
        mean = rows.mean(0)
        spread = rows.std(0) if rows.shape[1] else rows.new_zeros(0)
        spread = torch.where(spread > 1e-9, spread, torch.ones_like(spread))
        weights = _ridge((rows - mean) / spread, wanted - wanted.mean())
        everything = torch.cat([rows, calibrated[0].double()])
        empty = rows.new_zeros(0)
        line = cls(
            tuple(names),
            mean,
            spread,
            weights,
            float(wanted.mean()),
            everything.amin(0) if rows.shape[1] else empty,
            everything.amax(0) if rows.shape[1] else empty,
            empty,
            about or {},
        )
        errors = (to_log(calibrated[1]) - line.line(calibrated[0])).abs().sort().values
        return cls(**{**line.__dict__, "errors": errors})

    @property
    def digest(self) -> str:
        """Of all that predicts, and of what it was fitted and calibrated on."""
        tensors = (getattr(self, name).tolist() for name in TENSORS)
        return digest(self.names, self.level_at_mean, *tensors, self.about)

    def line(self, rows: Table) -> Float[Tensor, " scan"]:
        """Predicted log(1 - SSIM)."""
        return self.level_at_mean + ((rows.double() - self.mean) / self.spread) @ self.weights

    def half_width(self, level: float = LEVEL) -> float:
        """Of the interval in log(1 - SSIM): the error that `level` of calibrated subjects stay below."""
        rank = math.ceil((len(self.errors) + 1) * level)
        return math.inf if rank > len(self.errors) else float(self.errors[rank - 1])

    def __call__(self, row: Float[Tensor, " feature"], level: float = LEVEL) -> Prediction:
        """Foretell one scan from its features."""
        why = self._beyond(row.double())
        if why is not None:
            return Prediction(None, None, None, level, why)
        center, half = float(self.line(row[None])[0]), self.half_width(level)
        low, value, high = (1 - math.exp(center + shift) for shift in (half, 0.0, -half))
        return Prediction(max(value, -1.0), max(low, -1.0), high, level)

    def _beyond(self, row: Tensor) -> str | None:
        slack = SLACK * (self.highest - self.lowest)
        outside = (row < self.lowest - slack) | (row > self.highest + slack) | ~torch.isfinite(row)
        named = [
            f"{name} {float(row[index]):.2f} (calibrated {float(self.lowest[index]):.2f} to "
            f"{float(self.highest[index]):.2f})"
            for index, name in enumerate(self.names)
            if outside[index]
        ]
        return f"beyond the calibrated range: {', '.join(named)}" if named else None

    def save(self, path: Path) -> None:
        """Write as safetensors, beside and then renamed."""
        tensors = {name: getattr(self, name).contiguous() for name in TENSORS}
        tensors["level_at_mean"] = torch.tensor(self.level_at_mean, dtype=torch.float64)
        plain = json.dumps({"names": list(self.names), "about": dict(self.about)})
        beside = path.with_name(path.name + ".partial")
        save_file(tensors, beside, metadata={"alarm": plain})
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Predictor":
        """Read what `save` wrote."""
        with safe_open(path, framework="pt") as file:
            plain = json.loads(file.metadata()["alarm"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        level_at_mean = float(tensors.pop("level_at_mean"))
        return cls(names=tuple(plain["names"]), about=plain["about"], level_at_mean=level_at_mean, **tensors)


def to_log(ssim: Float[Tensor, " scan"]) -> Float[Tensor, " scan"]:
    """log(1 - SSIM), in which a tenth worse is a tenth worse everywhere."""
    return torch.log((1 - ssim.double()).clamp_min(1e-4))


def _ridge(rows: Table, wanted: Float[Tensor, " scan"]) -> Float[Tensor, " feature"]:
    """Ridge weights of centred data; of the penalties, the one of lowest leave-one-out error."""
    best, chosen = math.inf, rows.new_zeros(rows.shape[1])
    for penalty in PENALTIES if rows.shape[1] else ():
        inverse = torch.linalg.inv(rows.mT @ rows + penalty * torch.eye(rows.shape[1], dtype=rows.dtype))
        weights = inverse @ rows.mT @ wanted
        # The mean was fitted as well, hence 1/n.
        leverage = torch.einsum("si,ij,sj->s", rows, inverse, rows) + 1 / len(rows)
        error = float(((wanted - rows @ weights) / (1 - leverage).clamp_min(1e-6)).square().mean())
        if error < best:
            best, chosen = error, weights
    return chosen
