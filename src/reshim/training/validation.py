"""How good the network is on held-out scans of its own distribution: what picks the checkpoint.

With references the score is the mean SSIM of the slices; on undersampled scans nobody knows a reference, and
the score is the objective's own loss with draws that never change, turned round. No other data is looked at.
"""

from dataclasses import dataclass

import torch
from torch import nn

from reshim.physics.fourier import center_crop
from reshim.training.batch import Example
from reshim.training.examples import Examples
from reshim.training.losses import one_minus_ssim
from reshim.training.objectives import Objective
from reshim.training.out_of_memory import in_validation, remedied
from reshim.training.ranks import Ranks
from reshim.training.settings import TrainingSettings
from reshim.training.ssdu import SSDU, with_known_padding


@dataclass(frozen=True)
class Validation:
    """Means over the validation slices."""

    score: float
    """Larger is better."""

    measure: str
    """What the score is: ``ssim`` or ``-loss``."""

    nmse: float | None = None
    """Mean over slices, where there are references."""


def validate(
    network: nn.Module,
    examples: Examples,
    settings: TrainingSettings,
    device: torch.device,
    ranks: Ranks,
    together: bool = False,
) -> Validation:
    """Score the network; it comes back in training mode if it came in it.

    With `together` all processes work off equally many batches, the same one again where one has run out:
    they have to, where each holds a part of the weights.
    """
    was_training = network.training
    network.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16):
        plan = examples.plan(0)
        own = plan[ranks.rank :: ranks.size]
        for batch in own:
            sums += _sums(network, examples, batch, settings, device)
        if together and len(own) < -(-len(plan) // ranks.size):
            _sums(network, examples, plan[0], settings, device)
    network.train(was_training)
    score, nmse, n_items = (ranks.total(sums.to(device)) if ranks.size > 1 else sums).tolist()
    if examples.with_references:
        return Validation(score / n_items, "ssim", nmse / n_items)
    return Validation(score / n_items, "-loss")


def _sums(
    network: nn.Module,
    examples: Examples,
    batch: tuple[int, ...],
    settings: TrainingSettings,
    device: torch.device,
) -> torch.Tensor:
    """Sum of scores, of squared error shares, and number of items of one batch."""
    example = examples.build(batch, 0)
    with remedied(lambda: in_validation(network, settings, example)):
        return _scored(network, example.to(device), settings.objective)


def _scored(network: nn.Module, example: Example, objective: Objective) -> torch.Tensor:
    reference = example.reference
    if reference is None:
        loss, _ = objective(network, example.measurement, None, example.draws)
        return torch.tensor([-loss.item() * example.n_items, 0.0, example.n_items], dtype=torch.float64)
    shown = example.measurement
    if isinstance(objective, SSDU) and objective.edge_fill:
        shown = with_known_padding(shown)
    image = center_crop(network(shown).abs(), shown.crop)
    similarity = 1 - one_minus_ssim(image, reference.image, reference.data_range)
    error = (image - reference.image).square().sum((-2, -1))
    share = error / reference.image.square().sum((-2, -1)).clamp_min(torch.finfo(error.dtype).tiny)
    # A slice of nothing but air has no relative error.
    share = torch.where(reference.image.amax((-2, -1)) > 0, share, 0)
    return torch.tensor(
        [similarity.double().sum().item(), share.double().sum().item(), example.n_items], dtype=torch.float64
    )
