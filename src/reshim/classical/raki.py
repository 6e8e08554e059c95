"""RAKI and rRAKI: small networks, trained on the scan's own calibration lines, in place of GRAPPA's kernels.

Source: M. Akcakaya et al., Magn. Reson. Med. 81:439 (2019); residual RAKI: C. Zhang et al., NeuroImage
256:119248 (2022).
Ours differs: written from the published description alone; the networks of all coils, one for each real and
imaginary part, train in one batch of products, which is the serial definition to rounding; samples that no
network reaches (borders) come from GRAPPA.

The method is the subject of the patent applications US 16/603,336 and US 16/858,922, and its authors offer
their code for non-profit academic use only. Whoever uses it otherwise should ask them.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812  the name the field uses
from jaxtyping import Float
from torch import Tensor

from reshim.classical.grappa import Grappa, NotMadeOfLinesError, combined
from reshim.classical.lattice import lattice_lines
from reshim.physics.espirit import calibration_block
from reshim.physics.maps import default_estimator
from reshim.seeds import generator_of
from reshim.types import Image, KSpace, MapEstimator, Measurement, Reconstructor

log = logging.getLogger(__name__)

Weights: TypeAlias = dict[str, Tensor]
"""Of all networks, the network first: `first`, `second`, `third`, and `linear` for rRAKI."""
HIDDEN = (32, 8)
"""Channels after the first and the second layer."""
ROWS = (5, 3)
"""Readout neighbours that the first and the third layer see; the border is half of both together."""
BORDER = 3


@dataclass(frozen=True)
class Raki:
    """One network for each real channel, predicting all lines of a gap at once."""

    residual: bool = False
    """True adds a linear branch (rRAKI)."""

    iterations: int = 1000
    """Adam steps on the calibration block."""

    learning_rate: float = 3e-3
    """Of Adam."""

    peak: float = 0.015
    """K-space is scaled to this largest magnitude, which matters: Adam's step does not grow with the data."""

    activation: Literal["relu", "leaky", "none"] = "relu"
    """`none` makes a deep linear kernel, which leaves no structured residue."""

    combine: Literal["maps", "rss"] = "maps"
    """As in `Grappa`."""

    estimate_maps: MapEstimator = default_estimator
    """Used where the measurement has no maps yet and coils are combined by them."""

    otherwise: Reconstructor | None = field(default_factory=Grappa)
    """Takes masks that are not regular along the columns, with a line in the log; None raises instead."""

    @classmethod
    def with_linear_branch(cls, **changes: object) -> "Raki":
        """RRAKI with its published settings."""
        settings: dict[str, object] = {
            "residual": True,
            "iterations": 2000,
            "learning_rate": 1e-3,
            "peak": 1.0,
        }
        return cls(**{**settings, **changes})  # type: ignore[arg-type]

    def __call__(self, measurement: Measurement) -> Image:
        """Return the image (batch, row, column) in the measurement's units."""
        try:
            filled = self.fill(measurement)
        except NotMadeOfLinesError as reason:
            if self.otherwise is None:
                raise
            log.warning("%s; %s is used instead", reason, type(self.otherwise).__name__)
            return self.otherwise(measurement)
        if self.combine == "maps":
            measurement = measurement.with_maps(self.estimate_maps)
        return combined(measurement, filled, self.combine)

    def fill(self, measurement: Measurement) -> KSpace:
        """Predict the missing samples, slice by slice: every slice trains its own networks.

        Raises
        ------
        NotMadeOfLinesError
            If the mask is not regular along the columns, or the calibration block has too few of them.
        """
        lines, step = regular_columns(measurement)
        filled = Grappa(otherwise=None).fill(measurement).kspace.clone()
        block = calibration_block(measurement)
        for index in range(filled.shape[0]):
            seen = torch.where(measurement.mask, measurement.kspace, 0)[index]
            scale = self.peak / seen.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
            weights = self.train(block[index] * scale, step)
            with torch.no_grad():
                gaps = self.predict(weights, seen[..., lines] * scale, 1, step) / scale
            for line, predicted in zip(lines[:-2], gaps.unbind(-2), strict=True):
                filled[index, :, BORDER:-BORDER, line + 1 : line + step] = predicted
        return torch.where(
            measurement.mask, measurement.kspace, torch.where(measurement.acquirable, filled, 0)
        )

    @torch.enable_grad()
    def train(self, block: Tensor, step: int, channels: slice = slice(None)) -> Weights:
        """Networks for the chosen real channels of a calibration block (coil, row, column), trained together.

        Each channel's loss is the norm of its own residual, and Adam treats every weight alone, so training
        one channel at a time gives the same weights.
        """
        weights = initial_weights(2 * block.shape[0], step, self.residual, channels, block)
        for tensor in weights.values():
            tensor.requires_grad_()
        targets = _targets(block, step)[channels]
        optimizer = torch.optim.Adam(weights.values(), lr=self.learning_rate)
        inputs = to_windows(to_real(block), step)
        for _ in range(self.iterations):
            optimizer.zero_grad()
            linear, deep = self._branches(weights, inputs, step)
            loss = _norms(targets - linear - deep)
            if self.residual:
                loss = loss + _norms(targets - linear)
            loss.sum().backward()
            optimizer.step()
        return {name: tensor.detach() for name, tensor in weights.items()}

    def predict(self, weights: Weights, kspace: Tensor, dilation: int, step: int) -> Tensor:
        """Complex samples (coil, row, gap, line of the gap) from source lines `dilation` columns apart."""
        linear, deep = self.branches(weights, kspace, dilation)
        real, imaginary = (linear + deep).chunk(2)
        return torch.complex(real, imaginary)

    def branches(self, weights: Weights, kspace: Tensor, dilation: int) -> tuple[Tensor, Tensor]:
        """The linear and the deep part of `predict`, real channels first: what rRAKI shows apart."""
        linear, deep = self._branches(weights, to_windows(to_real(kspace), dilation), dilation)
        return linear.movedim(1, -1), deep.movedim(1, -1)

    def _branches(self, weights: Weights, inputs: Tensor, dilation: int) -> tuple[Tensor, Tensor]:
        # Positions lie last throughout: every product is of a few rows with all positions, and nothing as
        # large as a hidden layer is copied into another order.
        width, rows, columns = inputs.shape
        positions = inputs.reshape(width, -1)
        bend = ACTIVATIONS[self.activation]
        n_channels, lines = weights["first"].shape[0], weights["third"].shape[-1]
        # All networks read the same windows, so the first layer is one product.
        first = weights["first"].mT.reshape(-1, width) @ positions
        hidden = bend(first).reshape(n_channels, HIDDEN[0], -1)
        second = bend(weights["second"].mT @ hidden)
        # The third layer at each position, tap by tap; then the taps are moved onto one another.
        taps = weights["third"].unflatten(1, (HIDDEN[1], ROWS[1] * 2)).permute(0, 2, 3, 1).flatten(1, 2)
        tapped = (taps @ second).reshape(n_channels, ROWS[1] * 2, lines, rows, columns).unbind(1)
        shifts = [(row, start) for row in range(ROWS[1]) for start in (0, dilation)]
        deep = sum(
            tap[..., row : rows - ROWS[1] + 1 + row, start : columns - dilation + start]
            for tap, (row, start) in zip(tapped, shifts, strict=True)
        )
        assert isinstance(deep, Tensor)
        if not self.residual:
            return torch.zeros_like(deep), deep
        linear = (weights["linear"].mT.reshape(-1, width) @ positions).reshape(
            n_channels, lines, rows, columns
        )
        return linear[..., 1:-1, : columns - dilation], deep


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "leaky": partial(F.leaky_relu, inplace=True),
    "none": lambda tensor: tensor,
}


def regular_columns(measurement: Measurement) -> tuple[list[int], int]:
    """The regular lines of a mask along the columns, and their distance."""
    lines = lattice_lines(measurement)
    name = measurement.name
    if lines is None or len(lines[0]) != measurement.kspace.shape[-2]:
        raise NotMadeOfLinesError(f"{name}: RAKI's networks need rows that are sampled throughout")
    steps = {b - a for a, b in pairwise(lines[1])}
    if len(steps) != 1 or min(steps) < 2:
        raise NotMadeOfLinesError(f"{name}: RAKI's networks need columns a fixed distance of 2 or more apart")
    step = steps.pop()
    needed, found = 2 * step + 1, measurement.calibration.shape
    if found[1] < needed or found[0] < 2 * BORDER + 1 or len(lines[1]) < 3:
        raise NotMadeOfLinesError(f"{name}: RAKI needs {needed} calibration columns, there are {found[1]}")
    return lines[1], step


def to_real(kspace: Tensor) -> Float[Tensor, "channel row column"]:
    """Real parts of all coils, then imaginary parts."""
    return torch.cat((kspace.real, kspace.imag))


def to_windows(channels: Float[Tensor, "channel row column"], dilation: int) -> Float[Tensor, "source y x"]:
    """What the first layer sees at each position: five rows of two lines, every channel."""
    rows, columns = channels.shape[-2] - ROWS[0] + 1, channels.shape[-1] - dilation
    sources = [
        channels[:, row : row + rows, start : start + columns]
        for row in range(ROWS[0])
        for start in (0, dilation)
    ]
    return torch.cat(sources)


def _targets(block: Tensor, step: int) -> Float[Tensor, "channel line row gap"]:
    channels = to_real(block)[:, BORDER:-BORDER]
    n_gaps = channels.shape[-1] - 2 * step
    return torch.stack([channels[..., line : line + n_gaps] for line in range(1, step)], dim=1)


def _norms(residual: Tensor) -> Tensor:
    return residual.flatten(1).square().sum(1).sqrt()


def initial_weights(n_channels: int, step: int, residual: bool, channels: slice, like: Tensor) -> Weights:
    """Normal of deviation 0.1, cut at two; a channel's weights do not depend on which others train."""
    shapes = {
        "first": (n_channels * ROWS[0] * 2, HIDDEN[0]),
        "second": HIDDEN,
        "third": (HIDDEN[1] * ROWS[1] * 2, step - 1),
    }
    if residual:
        shapes["linear"] = (n_channels * ROWS[0] * 2, step - 1)
    drawn: dict[str, list[Tensor]] = {name: [] for name in shapes}
    for channel in range(n_channels)[channels]:
        generator = generator_of("raki", channel)
        for name, shape in shapes.items():
            weights = torch.empty(shape)
            torch.nn.init.trunc_normal_(weights, std=0.1, a=-0.2, b=0.2, generator=generator)
            drawn[name].append(weights)
    return {name: torch.stack(each).to(like.real) for name, each in drawn.items()}
