"""Do small things come through? A feature is put into a scan, and the difference that it makes is looked at.

Source: the small features of M. Z. Darestani, A. Chaudhari and R. Heckel, ICML 2021 (arXiv:2102.06103), who
add a square to every coil image and score the square.
Ours differs: the feature is seen by the coils as the body is (through ESPIRiT maps of the full k-space), and
what is scored is the difference between the images with and without it, so that the error of the rest of the
image is not taken for the feature's. The square's own score, as published, stands beside.

Metrics of each slice: ``fidelity`` 1 - |d - p| / |p| in the feature's window, d the difference that a method
shows and p the true one: 1 is all of it, 0 no better than not showing it; ``recovery`` <d, p> / <p, p>, the
share of its contrast; ``false`` |d| outside the window over |p|: what the feature changes elsewhere;
``block_mse`` the published one, both windows standardised first.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.acquire import measure, sampling_of, without_oversampling
from reshim.digest import digest
from reshim.errors import BadScanError
from reshim.evaluation.run import Evaluation, LeftOut
from reshim.evaluation.store import Store
from reshim.metrics import support
from reshim.physics.espirit import espirit_maps
from reshim.physics.fourier import center_crop, to_image, to_kspace
from reshim.physics.masks import evaluation_seed
from reshim.rows import RECORDED
from reshim.scans import load
from reshim.seeds import generator_of
from reshim.types import Acquisition, Image, Reconstructor, ScanRecord

Windows = Float[Tensor, "slice row column"]

METRICS = ("fidelity", "recovery", "false", "block_mse")
MARGIN = 2
"""Pixels around the feature that still belong to its window: a reconstruction has a point spread."""


@dataclass(frozen=True)
class Feature:
    """Something small, put somewhere inside the body of every slice."""

    shape: Literal["square", "lesion"] = "lesion"
    """A square of constant value, or a round lesion that changes what is there by a share of it."""

    size: int = 5
    """Width in pixels."""

    contrast: float = 0.5
    """Of the square: its value over the brightest tissue. Of the lesion: the change as a share."""

    seed: int = 0
    """Of its place; joined with the scan's name."""

    @property
    def label(self) -> str:
        """`lesion 5 px 0.5`."""
        return f"{self.shape} {self.size} px {self.contrast:g}"

    def put_into(self, acquisition: Acquisition) -> tuple[Acquisition, Windows, Windows]:
        """The scan with the feature, the true difference of magnitudes and the feature's window, cropped."""
        kspace = torch.where(acquisition.acquirable, acquisition.kspace, 0)
        maps = espirit_maps(kspace)[..., 0, :, :, :]
        image = (maps.conj() * to_image(kspace)).sum(-3)
        profiles = self._profiles(image, acquisition)
        if self.shape == "square":
            peak = image.abs().flatten(1).quantile(0.99, dim=1)[:, None, None]
            added = self.contrast * peak * profiles * torch.sgn(image)
        else:
            added = self.contrast * profiles * image
        changed = replace(acquisition, kspace=kspace + to_kspace(maps * added[:, None]))
        true = (image + added).abs() - image.abs()
        window = torch.nn.functional.max_pool2d((profiles > 0).float()[:, None], 2 * MARGIN + 1, 1, MARGIN)[
            :, 0
        ]
        return changed, center_crop(true, acquisition.crop), center_crop(window, acquisition.crop)

    def _profiles(self, image: Image, acquisition: Acquisition) -> Windows:
        """(slice, row, column): 1 in the feature, 0 away from it; one place a slice."""
        magnitude = image.abs()
        body = support(magnitude, magnitude.amax().expand(magnitude.shape[0]))
        width = self.size + 2 * MARGIN + 1
        # Far enough inside that all of the window is body: a minimum over the window's width.
        inner = -torch.nn.functional.max_pool2d(-body.float()[:, None], 2 * (width // 2) + 1, 1, width // 2)[
            :, 0
        ]
        rows, columns = torch.meshgrid(*(torch.arange(n) for n in magnitude.shape[-2:]), indexing="ij")
        profiles = torch.zeros_like(magnitude)
        for index, number in enumerate(acquisition.slices):
            places = inner[index].nonzero()
            if not len(places):
                continue  # no body here is large enough: the slice keeps no feature, and no score
            generator = generator_of(acquisition.name, number, "feature", self.seed)
            row, column = places[int(torch.randint(len(places), (1,), generator=generator))].tolist()
            if self.shape == "square":
                half = self.size // 2
                inside = ((rows - row).abs() <= half) & ((columns - column).abs() <= half)
                profiles[index] = inside.to(profiles.dtype)
            else:
                distance = torch.hypot((rows - row).float(), (columns - column).float())
                profiles[index] = (1 - (2 * distance / (self.size + 1)) ** 2).clamp_min(0).to(profiles.dtype)
        return profiles


def insert(
    records: Sequence[ScanRecord],
    methods: Mapping[str, Reconstructor],
    evaluation: Evaluation,
    feature: Feature,
    store: Store,
) -> tuple[list[tuple[str, str]], list[LeftOut]]:
    """Score how methods show a feature; returns (key, method) of the finished rows, those that stood
    included, and the scans that were left out: a bad one is named, and the others go on.
    """
    finished: list[tuple[str, str]] = []
    left_out: list[LeftOut] = []
    for record in records:
        wanted = {
            name: digest(
                "insertion", record.fingerprint, record.scan_id, record.split, method, evaluation, feature
            )
            for name, method in methods.items()
        }
        missing = {name: methods[name] for name, key in wanted.items() if not store.has(key)}
        try:
            for name, rows in _rows(record, missing, evaluation, feature) if missing else ():
                store.put(wanted[name], [{**row, "key": wanted[name]} for row in rows])
            finished += [(key, name) for name, key in wanted.items()]
        except BadScanError as error:
            left_out.append(LeftOut(record.scan_id, str(error)))
    return finished, left_out


def _rows(
    record: ScanRecord, methods: Mapping[str, Reconstructor], evaluation: Evaluation, feature: Feature
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    scan = load(record, evaluation.slices)
    if not scan.fully_sampled:
        raise BadScanError(
            f"{record.scan_id} is undersampled, so it is not known what a feature would have added to it; "
            "filter with fully_sampled"
        )
    acquisition = without_oversampling(scan)
    changed, true, window = feature.put_into(acquisition)
    seed = evaluation_seed(Path(record.path).name)
    pair = [evaluation.estimate(measure(one, evaluation.scheme, seed)) for one in (changed, acquisition)]
    about = {name: getattr(record, name) for name in RECORDED}
    sampled = sampling_of(pair[0], evaluation.scheme)
    sampling = {
        "mask": sampled.mask,
        "acceleration": sampled.acceleration,
        "effective_acceleration": sampled.effective_acceleration,
        "center_lines": sampled.center_lines,
        "mask_seed": Path(record.path).name,
        "mask_sha256": sampled.sha256,
        "crop_rows": changed.crop[0],
        "crop_columns": changed.crop[1],
    }
    plain = center_crop(_magnitude(changed), changed.crop)
    for name, method in methods.items():
        shown, without = (center_crop(method(one).abs(), one.crop) for one in pair)
        found = scores(shown, without, true, window, plain)
        facts = {
            **about,
            **sampling,
            "method": name,
            "method_sha256": digest(method),
            "train_seed": getattr(method, "train_seed", None),
            "adapt": "none",
            "adapted": False,
            "target": "mvue",
            "region": "feature",
        }
        yield (
            name,
            [
                {
                    **facts,
                    "metric": metric,
                    "slice": int(number),
                    "value": None if math.isnan(value) else value,
                }
                for metric in METRICS
                for number, value in zip(acquisition.slices, found[metric], strict=True)
            ],
        )


def scores(
    shown: Windows, without: Windows, true: Windows, window: Windows, plain: Windows
) -> dict[str, list[float]]:
    """Each metric of each slice; NaN where the slice has no feature.

    `shown` and `without` are a method's images with and without the feature, `true` the difference it makes,
    `plain` the reference with it.
    """
    found: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for image, before, p, place, reference in zip(shown, without, true, window, plain, strict=True):
        inside = place > 0
        d, size = image - before, p.norm()
        if not bool(inside.any()) or not float(size) > 0:
            for metric in METRICS:
                found[metric].append(float("nan"))
            continue
        found["fidelity"].append(float(1 - (d - p)[inside].norm() / size))
        found["recovery"].append(float((d * p)[inside].sum() / size**2))
        found["false"].append(float(d[~inside].norm() / size))
        found["block_mse"].append(
            float((_standard(image[inside]) - _standard(reference[inside])).square().mean())
        )
    return found


def _standard(values: Tensor) -> Tensor:
    return (values - values.mean()) / values.std().clamp_min(torch.finfo(values.dtype).tiny)


def _magnitude(acquisition: Acquisition) -> Windows:
    maps = espirit_maps(acquisition.kspace)[..., 0, :, :, :]
    return (maps.conj() * to_image(acquisition.kspace)).sum(-3).abs()
