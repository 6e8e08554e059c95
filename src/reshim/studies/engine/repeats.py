"""Two echoes of one scan, measured again and again: how far a map spreads, and how far it is off.

The scan as it is stored counts as the truth. The second echo is the first, decayed at a rate that varies over
the image as tissue's does; each realisation adds noise of the scan's own deviation to the acquired samples of
both echoes anew. The rate comes out of the two images alone, so the same noise that hides in an image shows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reshim.acquire import Scheme, measure, sampling_of, without_oversampling
from reshim.digest import digest
from reshim.metrics import nmse, support
from reshim.physics.compression import principal_combination
from reshim.physics.espirit import central_part, espirit_maps
from reshim.physics.fourier import to_image, to_kspace
from reshim.physics.maps import default_estimator
from reshim.physics.masks import evaluation_seed
from reshim.physics.noise_level import noise_level
from reshim.rows import RECORDED
from reshim.seeds import generator_of
from reshim.types import Acquisition, Image, Measurement, RealImage, Reconstructor, ScanRecord

SPACING_SECONDS = 0.03
"""Between the echoes."""
SLOWEST, FASTEST = 8.0, 32.0
"""Relaxation rates of the darkest and of the brightest tissue, in 1/s: T2 of 125 and 31 ms."""
SPREAD, ERROR = "mae_spread", "mae_rate"
"""Metrics, in 1/s: the rate's deviation over realisations and its distance from the truth, body medians."""


@dataclass(frozen=True)
class Repeats:
    """How a scan is measured again and again."""

    acceleration: int
    center_lines: int = 24
    n: int = 4
    """Realisations of the noise."""

    coils: int = 6
    """Virtual coils that the scan is compressed to first: what the networks of RAKI cost grows with them."""

    seed: int = 0
    """Of the noise."""


@dataclass(frozen=True)
class Echoes:
    """Two fully sampled echoes, and what is known of them."""

    scans: tuple[Acquisition, Acquisition]
    images: tuple[RealImage, RealImage]
    """Magnitudes of the full k-space, coils combined."""
    body: Bool[Tensor, "slice row column"]

    @classmethod
    def of(cls, acquisition: Acquisition, coils: int) -> "Echoes":
        """Decay a scan into a second echo."""
        first = compressed(without_oversampling(acquisition), coils)
        coil_images = to_image(first.kspace)
        maps = espirit_maps(first.kspace)[..., 0, :, :, :]
        image = (maps.conj() * coil_images).sum(-3).abs()
        decay = torch.exp(-SPACING_SECONDS * known_rate(image))
        second = replace(first, kspace=to_kspace(coil_images * decay.unsqueeze(-3)), name=f"{first.name}-2")
        body = support(image, image.amax().expand(image.shape[0]))
        return cls((first, second), (image, image * decay), body)


def compressed(acquisition: Acquisition, coils: int) -> Acquisition:
    """The scan of a few virtual coils, which hold nearly all of its signal."""
    kspace = torch.where(acquisition.acquirable, acquisition.kspace, 0)
    if kspace.shape[-3] <= coils:
        return replace(acquisition, kspace=kspace)
    block = central_part(kspace, 24).movedim(-3, 0).flatten(1)
    combination = principal_combination(block, coils)
    return replace(
        acquisition, kspace=torch.einsum("vc,...cyx->...vyx", combination, kspace), noise_covariance=None
    )


def known_rate(image: RealImage) -> Float[Tensor, "slice row column"]:
    """A smooth map of relaxation rates, higher where the image is bright."""
    smooth = torch.nn.functional.avg_pool2d(image.unsqueeze(1), 9, 1, 4).squeeze(1)
    return SLOWEST + (FASTEST - SLOWEST) * smooth / smooth.amax().clamp_min(1e-30)


def rate_of(first: Image | RealImage, second: Image | RealImage) -> RealImage:
    """The relaxation rate that two echoes show."""
    sizes = [image.abs().clamp_min(torch.finfo(torch.float32).tiny) for image in (first, second)]
    return (sizes[0] / sizes[1]).log() / SPACING_SECONDS


def realisations(echoes: Echoes, repeats: Repeats, name: str) -> Iterator[tuple[Measurement, Measurement]]:
    """Both echoes under one mask, their noise drawn anew; the first one's maps serve both."""
    scheme = Scheme("equispaced", repeats.acceleration, center_lines=repeats.center_lines)
    clean = [measure(scan, scheme, evaluation_seed(name)) for scan in echoes.scans]
    deviation = float(noise_level(clean[0]).mean())
    for index in range(repeats.n):
        noisy = []
        for echo, measurement in enumerate(clean):
            generator = generator_of(name, "echo", echo, index, repeats.seed)
            noise = torch.randn(measurement.kspace.shape, generator=generator, dtype=torch.complex64)
            kspace = measurement.kspace + noise.to(measurement.kspace) * deviation * 2**0.5
            noisy.append(replace(measurement, kspace=torch.where(measurement.mask, kspace, 0)))
        first = default_estimator(noisy[0])
        yield first, replace(noisy[1], maps=first.maps)


def key_of(record: ScanRecord, method: Reconstructor, repeats: Repeats) -> str:
    """What the rows of a method under repetition are stored under."""
    return digest(record.fingerprint, record.scan_id, method, repeats, SPACING_SECONDS, "repeats")


def rows_of(
    record: ScanRecord, acquisition: Acquisition, name: str, method: Reconstructor, repeats: Repeats
) -> list[dict[str, Any]]:
    """One row a slice and metric: spread and error of the rate, and the error of the first echo's image."""
    echoes = Echoes.of(acquisition, repeats.coils)
    rates, errors = [], []
    facts: Mapping[str, Any] = {}
    for first, second in realisations(echoes, repeats, record.scan_id):
        images = [method(measurement) for measurement in (first, second)]
        rates.append(rate_of(*images))
        errors.append(nmse(images[0].abs(), echoes.images[0], echoes.images[0].amax(), echoes.body))
        facts = sampling_facts(first, repeats)
    stacked, truth = torch.stack(rates), rate_of(*echoes.images)
    scores = {
        SPREAD: _median(stacked.std(0), echoes.body),
        ERROR: torch.stack([_median((rate - truth).abs(), echoes.body) for rate in stacked]).mean(0),
        "nmse": torch.stack(errors).mean(0),
    }
    about = {column: getattr(record, column) for column in RECORDED}
    about |= {"method": name, "adapt": "none", "adapted": False, "target": "full", "region": "support"}
    key = key_of(record, method, repeats)
    return [
        {**about, **facts, "key": key, "metric": metric, "slice": index, "value": float(value)}
        for metric, values in scores.items()
        for index, value in enumerate(values)
    ]


@dataclass(frozen=True)
class Maps:
    """Relaxation rates in 1/s, 0 outside the body: the true ones, and those of one realisation by method."""

    truth: Float[Tensor, "slice row column"]
    found: Mapping[str, Float[Tensor, "slice row column"]]
    errors: Mapping[str, Float[Tensor, " slice"]]
    """Median distance from the truth inside the body."""


def maps_of(
    record: ScanRecord, acquisition: Acquisition, methods: Mapping[str, Reconstructor], repeats: Repeats
) -> Maps:
    """What the methods show in the first of the realisations that `rows_of` scores."""
    echoes = Echoes.of(acquisition, repeats.coils)
    first, second = next(realisations(echoes, repeats, record.scan_id))
    truth = rate_of(*echoes.images)
    rates = {name: rate_of(method(first), method(second)) for name, method in methods.items()}
    return Maps(
        torch.where(echoes.body, truth, 0),
        {name: torch.where(echoes.body, rate, 0).clamp_min(0) for name, rate in rates.items()},
        {name: _median((rate - truth).abs(), echoes.body) for name, rate in rates.items()},
    )


def sampling_facts(measurement: Measurement, repeats: Repeats) -> dict[str, Any]:
    """The columns of the rows that say how the scan was sampled."""
    scheme = Scheme("equispaced", repeats.acceleration, center_lines=repeats.center_lines)
    sampling = sampling_of(measurement, scheme)
    return {
        "mask": sampling.mask,
        "acceleration": sampling.acceleration,
        "effective_acceleration": sampling.effective_acceleration,
        "center_lines": sampling.center_lines,
        "mask_sha256": sampling.sha256,
    }


def _median(values: RealImage, body: Tensor) -> Float[Tensor, " slice"]:
    return torch.where(body, values, torch.nan).flatten(1).nanmedian(1).values
