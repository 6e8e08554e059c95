"""Volumes and what is to be outlined in them, networks that learn it from some, and what they say of others.

A study that asks what a downstream task makes of an image builds on this: any volumes can be shown, images or
reconstructions. Networks and scores are kept in the study's folder and found again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from reshim.digest import digest
from reshim.errors import BadScanError
from reshim.evaluation.run import LeftOut
from reshim.evaluation.segmenter import DenseSegmenter, dice_of, outline, train_segmenter
from reshim.networks.weights import load_weights, save_weights
from reshim.physics.fourier import center_crop
from reshim.progress import steps
from reshim.quality.of_catalog import magnitudes_of
from reshim.report.pictures import save_example
from reshim.scans import load_reference
from reshim.studies.engine import lab
from reshim.studies.engine.study import Study, refuse_seen, write_text
from reshim.types import Reconstructor, ScanRecord

FULL = "fully sampled"
"""What rows and pictures call a volume's own images."""
EXAMPLES = "outlines"
"""What the examples of a page are called."""
BRIGHTER = 0.4
"""Share of the range of grey by which examples raise what is outlined."""

Volumes = Mapping[str, Tensor]
"""Images (slice, row, column) by scan."""


@dataclass(frozen=True)
class Outlines:
    """What was read, by scan."""

    images: dict[str, Tensor] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)

    def read_all(self, records: Sequence[ScanRecord]) -> list[LeftOut]:
        """Take in scans and their outlines; those that cannot be are returned with the reason."""
        left_out = []
        with steps("reading volumes and outlines", len(records)) as tick:
            for record in records:
                try:
                    self.read(record)
                except BadScanError as error:
                    left_out.append(LeftOut(record.scan_id, str(error)))
                tick(record.scan_id)
        return left_out

    def read(self, record: ScanRecord) -> None:
        """Take in a scan and its outline.

        Raises
        ------
        BadScanError
            If it cannot be read, is undersampled, or has no outline.
        """
        if not record.fully_sampled:
            raise BadScanError(
                f"{record.scan_id} is undersampled, so its own image is not known; filter with fully_sampled"
            )
        images, mask = magnitudes_of(record), outline_of(record)
        self.images[record.scan_id], self.masks[record.scan_id] = images, mask
        self.fingerprints[record.scan_id] = record.fingerprint


def outline_of(record: ScanRecord) -> Tensor:
    """(slice, row, column): True in what is to be outlined.

    Raises
    ------
    BadScanError
        If the scan has no segmentation.
    """
    labels = load_reference(record, "segmentation")
    if labels is None:
        raise BadScanError(
            f"{record.scan_id} has no segmentation; take scans that have one (BraTS, simulated)"
        )
    return labels > 0


@dataclass(frozen=True)
class Outliner:
    """Networks of some scans of a study, and what they say of others."""

    study: Study
    known: Outlines
    epochs: int

    def network(self, label: str, chosen: Sequence[str]) -> nn.Module:
        """The network of the chosen scans, trained once."""
        path = self._path(label, digest(self._settings(chosen)), "safetensors")
        if path.exists():
            return load_weights(path, DenseSegmenter()).eval()
        with steps(f"outlining: {label}", 1) as tick:
            images, masks = (
                [some[name] for name in chosen] for some in (self.known.images, self.known.masks)
            )
            network = train_segmenter(images, masks, epochs=self.epochs, seed=self.study.seed)
            tick(label)
        save_weights(path, network)
        return network

    def dice(
        self,
        label: str,
        chosen: Sequence[str],
        shown: Mapping[str, Volumes],
        sources: Mapping[str, Reconstructor] | None = None,
    ) -> dict[str, dict[str, float]]:
        """Dice of volumes outlined by the network of the chosen scans; asked again, it is found again.

        `sources` names the reconstructors of those volumes in `shown` that are not the scans' own images.
        """
        key = digest(
            self._settings(chosen),
            {name: [self.known.fingerprints[scan] for scan in volumes] for name, volumes in shown.items()},
            {name: [method, lab.SCHEME] for name, method in (sources or {}).items()},
        )
        path = self._path(label, key, "json")
        if not path.exists():
            network = self.network(label, chosen)
            results = {name: dice_of(network, volumes, self.known.masks) for name, volumes in shown.items()}
            write_text(path, json.dumps({"trained on": list(chosen), "dice": results}, indent=1) + "\n")
        kept: dict[str, dict[str, float]] = json.loads(path.read_text())["dice"]
        return kept

    def reconstructed(self, name: str, method: Reconstructor, records: Sequence[ScanRecord]) -> Volumes:
        """What a method makes of the scans, measured as the laboratory does.

        Raises
        ------
        UserError
            If it was trained on one of their subjects.
        """
        refuse_seen(name, method, records)
        images = {}
        for record in records:
            measurement, _ = self.study.pair_of(record, lab.SCHEME)
            images[record.scan_id] = center_crop(method(measurement).abs(), measurement.crop)
        return images

    def show(
        self,
        label: str,
        chosen: Sequence[str],
        shown: Mapping[str, Volumes],
        sources: Mapping[str, Reconstructor] | None = None,
    ) -> None:
        """Keep pictures of the scans with the median and the lowest Dice, where the outline is largest."""
        network, masks = self.network(label, chosen), self.known.masks
        found = self.dice(label, chosen, shown, sources)
        ranked = sorted(found[FULL], key=lambda scan: (found[FULL][scan], scan))
        picked = {"median": ranked[len(ranked) // 2], "worst": ranked[0]} if ranked else {}
        for which, scan in picked.items():
            number = int(masks[scan].flatten(1).sum(1).argmax())
            whole = shown[FULL][scan]
            peak = whole[number].amax()
            pictures = {
                name: _drawn(volumes[scan][number] / peak, outline(network, volumes[scan])[number])
                for name, volumes in shown.items()
            }
            save_example(
                self.study.folder,
                f"{EXAMPLES}-{which}",
                _drawn(whole[number] / peak, masks[scan][number]),
                pictures,
                {name: f"Dice {found[name][scan]:.3f}" for name in shown},
                f"{which} scan of {len(ranked)}: {scan}, slice {number}, {FULL} {found[FULL][scan]:.3f}",
            )

    def _settings(self, chosen: Sequence[str]) -> list[Any]:
        """What decides the weights of a network."""
        return [self.epochs, self.study.seed, [self.known.fingerprints[name] for name in chosen]]

    def _path(self, label: str, key: str, ending: str) -> Path:
        return self.study.folder / "segmenters" / f"{self.study.slug(label)}-{key[:12]}.{ending}"


def _drawn(image: Tensor, outlined: Tensor) -> np.ndarray:
    """An image between 0 and 1 in which what is outlined is brighter."""
    return ((1 - BRIGHTER) * image.clamp(0, 1) + BRIGHTER * outlined).numpy()
