"""A segmentation network for a downstream question: does a reconstruction still show what is to be outlined?

Source: the dense connections are those of G. Huang et al., CVPR 2017 (arXiv:1608.06993), in three dimensions,
as S. Muthusivarajan et al., Med. Phys. 2024 (doi 10.1002/mp.17059) segment brain tumours with; layers, loss
and Dice are MONAI's (extra ``segmentation``).
Ours differs: one class, slices are thick and so only rows and columns are pooled and dilated, and the network
is small enough for two CPU cores.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reshim.errors import UserError
from reshim.seeds import generator_of
from reshim.types import RealImage

Volume = Float[Tensor, "#volume 1 slice row column"]
DILATIONS = (1, 1, 2, 4, 2, 1)
"""In the plane, of each layer: together they see across a head."""


def _monai() -> Any:
    try:
        import monai.losses
        import monai.metrics
        import monai.networks.blocks
    except ImportError as error:
        raise UserError(
            "segmentation needs MONAI, which is not installed: pip install 'reshim[segmentation]'"
        ) from error
    return monai


class DenseSegmenter(nn.Module):
    """Every layer sees what all layers before it made; from a volume to the logit of each of its voxels.

    Parameters
    ----------
    channels
        Of the first layer.
    growth
        Channels that each further layer adds.
    """

    def __init__(self, channels: int = 16, growth: int = 8) -> None:
        super().__init__()
        convolution = _monai().networks.blocks.Convolution
        common = {"spatial_dims": 3, "norm": "instance", "act": "prelu"}
        self.enter = convolution(in_channels=1, out_channels=channels, strides=(1, 2, 2), **common)
        self.layers = nn.ModuleList(
            convolution(
                in_channels=channels + index * growth,
                out_channels=growth,
                dilation=(1, dilation, dilation),
                **common,
            )
            for index, dilation in enumerate(DILATIONS)
        )
        width = channels + len(DILATIONS) * growth
        self.gather = convolution(in_channels=width, out_channels=channels, kernel_size=1, **common)
        self.grow = nn.Upsample(scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)
        logit = nn.Conv3d(growth, 1, kernel_size=1)
        # What is to be outlined is rare: to begin with, nothing is.
        nn.init.constant_(logit.bias, -4.0)  # type: ignore[arg-type]
        self.leave = nn.Sequential(
            convolution(in_channels=channels + 1, out_channels=growth, kernel_size=(1, 3, 3), **common), logit
        )

    def forward(self, volume: Volume) -> Volume:
        """Logits; rows and columns even."""
        features = self.enter(volume)
        for layer in self.layers:
            features = torch.cat((features, layer(features)), dim=1)
        return self.leave(torch.cat((self.grow(self.gather(features)), volume), dim=1))


def standardised(volume: RealImage) -> Volume:
    """Zero mean, unit deviation of what is brighter than a tenth of the brightest: units do not count."""
    inside = volume > 0.1 * volume.max()
    if not bool(inside.any()):
        return torch.zeros_like(volume)[None, None]
    values = volume[inside]
    return ((volume - values.mean()) / values.std().clamp_min(torch.finfo(volume.dtype).tiny))[None, None]


def train_segmenter(
    volumes: Sequence[RealImage],
    masks: Sequence[Bool[Tensor, "slice row column"]],
    *,
    epochs: int,
    seed: int,
    learning_rate: float = 5e-3,
) -> DenseSegmenter:
    """Fit a network to volumes and what is to be outlined: Dice plus cross entropy, mirror images with it.

    Raises
    ------
    UserError
        If MONAI is not installed, or there is no volume to learn from.
    """
    if not volumes:
        raise UserError("there is no volume to train a segmentation on; widen the filter")
    loss_of = _monai().losses.DiceCELoss(sigmoid=True)
    generator = generator_of("segmenter", seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DenseSegmenter()
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    steps = epochs * len(volumes)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=max(steps, 2))
    inputs = [standardised(volume) for volume in volumes]
    wanted = [mask[None, None].to(torch.float32) for mask in masks]
    for _ in range(epochs):
        for index in torch.randperm(len(inputs), generator=generator).tolist():
            loss = loss_of(network(_with_mirror_image(inputs[index])), _with_mirror_image(wanted[index]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _with_mirror_image(volume: Tensor) -> Tensor:
    """Both as one batch; on a processor, 3-D convolutions of a single volume take ten times as long."""
    return torch.cat((volume, volume.flip(-1)))


@torch.no_grad()
def outline(network: nn.Module, volume: RealImage) -> Bool[Tensor, "slice row column"]:
    """True in what the network outlines, by the mean of its answers to the volume and its mirror image."""
    logits, mirrored = network(_with_mirror_image(standardised(volume)))
    return (logits + mirrored.flip(-1) > 0)[0]


def dice_of(
    network: nn.Module,
    volumes: Mapping[str, RealImage],
    masks: Mapping[str, Bool[Tensor, "slice row column"]],
) -> dict[str, float]:
    """Dice of each volume by name; those with nothing to outline are left out: there it is undefined."""
    compute = _monai().metrics.compute_dice
    found = {}
    for name, volume in volumes.items():
        if bool(masks[name].any()):
            outlined = outline(network, volume)
            found[name] = float(compute(*(each[None, None].float() for each in (outlined, masks[name]))))
    return found
