"""Acquired samples partitioned into what adaptation fits, what stops it and what judges it.

The three are disjoint, none lies in the calibration block (coil maps are estimated there, so a held-out
sample in it would leak through the maps), and what is held out is removed from the network's input. Along a
mask that is constant in one direction whole columns are held out: neighbours along a fully sampled readout
are correlated, and single points would flatter.

Source of the idea: self-validation in M. Z. Darestani, J. Liu, R. Heckel, ICML 2022 (arXiv:2204.07204), and
the three-way split of B. Yaman et al., ICLR 2022 (arXiv:2102.07737).
Ours differs: no replacement, no leak into the input, whole columns, and a third fold because the minimum
over many steps on one fold flatters.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reshim.seeds import numpy_generator_of
from reshim.types import Mask, Measurement


class NothingToHoldOutError(ValueError):
    """Too few samples lie outside the calibration block to hold any of them out."""


@dataclass(frozen=True, slots=True)
class Folds:
    """Three disjoint masks, ``(slice, 1, row or 1, column)``; their union is what was acquired."""

    fit: Mask
    """Fitted by the loss and seen by the network; holds the whole calibration block."""

    stop: Mask
    """Chooses the step whose weights are kept."""

    judge: Mask
    """Decides, once, whether the result is handed out."""


def outside_calibration(measurement: Measurement) -> Mask:
    """Acquired samples that no coil map has seen, one mask a slice."""
    n_items = measurement.kspace.shape[0]
    mask = measurement.mask & measurement.acquirable
    mask = mask.expand(n_items, *mask.shape[1:]).clone()
    rows, columns = measurement.calibration.block
    if mask.shape[-2] == 1:
        mask[..., columns] = False
    else:
        mask[..., rows, columns] = False
    return mask


def split_folds(
    measurement: Measurement, stop_share: float = 0.1, judge_share: float = 0.1, seed: int = 0
) -> Folds:
    """Hold out a share of the acquired samples outside the calibration block, each slice its own.

    Candidates are ordered by their distance from frequency 0 and cut into as many strata as are held out;
    one is drawn from each, so that every fold spans low and high frequencies.

    Raises
    ------
    NothingToHoldOutError
        If fewer than 4 columns (or samples of a 2-D mask) lie outside the calibration block.
    """
    candidates = outside_calibration(measurement)
    stop, judge = torch.zeros_like(candidates), torch.zeros_like(candidates)
    numbers = measurement.slices or tuple(range(candidates.shape[0]))
    for index, number in enumerate(numbers):
        order = _by_distance(candidates[index, 0])
        if len(order) < 4:
            raise NothingToHoldOutError(
                f"{measurement.name}: {len(order)} acquired columns or samples lie outside the calibration "
                "block, and fitting holds out at least 2 of 4; adapt 'reconcile' or 'auto' needs none"
            )
        generator = numpy_generator_of("folds", measurement.name, number, seed)
        n_stop = max(1, round(stop_share * len(order)))
        n_judge = max(1, round(judge_share * len(order)))
        drawn = torch.tensor(
            [
                int(generator.choice(stratum))
                for stratum in torch.tensor_split(torch.arange(len(order)), n_stop + n_judge)
            ]
        )
        # Which strata stop and which judge is a matter of chance too, or one would have the low frequencies.
        shuffled = drawn[torch.from_numpy(generator.permutation(len(drawn)))]
        _mark(stop[index, 0], order[shuffled[:n_stop]])
        _mark(judge[index, 0], order[shuffled[n_stop:]])
    acquired = (measurement.mask & measurement.acquirable).expand_as(candidates)
    return Folds(fit=acquired & ~stop & ~judge, stop=stop, judge=judge)


def hide(fit: Mask, candidates: Mask, share: float, generator: torch.Generator) -> Mask:
    """What the network sees in one step: `fit` without a random share of its samples off the centre."""
    drawn = torch.rand(candidates.shape, generator=generator).to(candidates.device)
    hidden = (drawn < share) & candidates
    return fit & ~hidden


def _by_distance(plane: Tensor) -> Tensor:
    """Positions of a boolean plane ``(row or 1, column)``, nearest to frequency 0 first."""
    positions = plane.nonzero()
    center = torch.tensor([plane.shape[0] // 2, plane.shape[1] // 2])
    distance = (positions - center).double().square().sum(-1)
    return positions[torch.argsort(distance, stable=True)]


def _mark(plane: Tensor, positions: Tensor) -> None:
    plane[positions[:, 0], positions[:, 1]] = True
