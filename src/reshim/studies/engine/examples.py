"""The median and the worst slice of a method, as every method shows them: nothing is picked by hand."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reshim.acquire import measure, reference, without_oversampling
from reshim.evaluation.insertion import Feature
from reshim.evaluation.run import Evaluation
from reshim.evaluation.store import Store
from reshim.physics.fourier import center_crop
from reshim.physics.masks import evaluation_seed
from reshim.report.pictures import FOLDER, load_example, save_example
from reshim.scans import load
from reshim.types import Reconstructor, ScanRecord

SSIM = {"metric": "ssim", "target": "mvue", "region": "support"}
FIDELITY = {"metric": "fidelity", "target": "mvue", "region": "feature"}
ROUND_FEATURE = 6
"""Pixels of the close-up around a feature's window."""


def keep_examples(
    folder: Path,
    stores: Sequence[Store],
    keys: Mapping[str, Sequence[str]],
    name: str,
    by: str,
    labels: Sequence[str],
) -> tuple[str, ...]:
    """Save the two slices for an `ImagesBlock` and return their names; none where no images were kept.

    `keys` are those of each method's finished rows on the test set; rows are those of the first store, images
    of the first that has them.
    """
    names = []
    for which, (score, scan, number), of in median_and_worst(stores[0], keys[by]):
        images, scores, reference = {}, {}, None
        for label in labels:
            found = _slice_of(stores, keys[label], scan, number)
            if found is not None:
                images[label], reference, value = found
                scores[label] = f"SSIM {value:.3f}"
        if reference is None:
            continue
        caption = f"{which} slice of {of}: {scan}, slice {number}, {by} {score:.3f}"
        save_example(folder, f"{name}-{which}", reference, images, scores, caption)
        names.append(f"{name}-{which}")
    return tuple(names)


def scans_shown(store: Store, keys: Sequence[str]) -> set[str]:
    """The scans whose slices `keep_examples` chooses by these rows."""
    return {scan for _, (_, scan, _), _ in median_and_worst(store, keys)}


def kept_in(folder: Path, name: str) -> tuple[str, ...]:
    """The names of the median and of the worst example of that name, as far as they are kept."""
    names = (f"{name}-{which}" for which in ("median", "worst"))
    return tuple(each for each in names if (folder / FOLDER / f"{each}.npz").exists())


def shown_inserted(folder: Path, test: str, feature: Feature) -> tuple[str, ...]:
    """The names of what `keep_inserted` kept."""
    return kept_in(folder, f"{test}, {feature.label}")


def already_kept(folder: Path, name: str, labels: Iterable[str], caption: str) -> bool:
    """Whether the example stands there with these methods and this caption."""
    if not (folder / FOLDER / f"{name}.npz").exists():
        return False
    kept = load_example(folder, name)
    return (kept.labels, kept.caption) == (tuple(labels), caption)


def keep_inserted(
    folder: Path,
    store: Store,
    keys: Sequence[str],
    records: Mapping[str, ScanRecord],
    methods: Mapping[str, Reconstructor],
    evaluation: Evaluation,
    feature: Feature,
    test: str,
    by: str,
) -> None:
    """Save the slices where a method shows a feature with the median and the least fidelity, with close-ups.

    What stands there with these methods is left as it is.
    """
    for which, (score, scan, number), of in median_and_worst(store, keys, FIDELITY):
        name = f"{test}, {feature.label}-{which}"
        caption = f"{which} slice of {of}: {scan}, slice {number}, {by} {score:.3f}"
        if already_kept(folder, name, methods, caption):
            continue
        record = records[scan]
        acquisition = without_oversampling(load(record, evaluation.slices))
        changed, _, window = feature.put_into(acquisition)
        measurement = evaluation.estimate(
            measure(changed, evaluation.scheme, evaluation_seed(Path(record.path).name))
        )
        place = list(acquisition.slices).index(number)
        images = {
            label: center_crop(method(measurement).abs(), measurement.crop)[place].numpy()
            for label, method in methods.items()
        }
        whole = reference(changed, "mvue")[place].numpy()
        save_example(folder, name, whole, images, {}, caption, _around(window[place].numpy()))


def _around(window: np.ndarray) -> tuple[int, int, int, int]:
    """The square close-up around what is not 0."""
    rows, columns = np.nonzero(window)
    top, left = max(int(rows.min()) - ROUND_FEATURE, 0), max(int(columns.min()) - ROUND_FEATURE, 0)
    bottom, right = int(rows.max()) + ROUND_FEATURE + 1, int(columns.max()) + ROUND_FEATURE + 1
    return top, left, min(bottom, window.shape[0]), min(right, window.shape[1])


def median_and_worst(
    store: Store, keys: Sequence[str], score: Mapping[str, Any] = SSIM, *, smaller_is_better: bool = False
) -> list[tuple[str, tuple[float, str, int], int]]:
    """Which slice it is, its score, scan and number, and of how many it was chosen.

    `score` names the column values of the rows to rank.
    """
    ranked = _ranked(store, keys, score)
    if smaller_is_better:
        ranked.reverse()
    if not ranked:
        return []
    return [("median", ranked[len(ranked) // 2], len(ranked)), ("worst", ranked[0], len(ranked))]


def _rows_of(store: Store, key: str, score: Mapping[str, Any] = SSIM) -> pa.Table:
    table = pq.read_table(store.path(key))
    for column, value in score.items():
        table = table.filter(pc.equal(table[column], value))
    return table


def _ranked(store: Store, keys: Sequence[str], score: Mapping[str, Any]) -> list[tuple[float, str, int]]:
    entries = []
    for key in keys:
        table = _rows_of(store, key, score)
        entries += list(
            zip(*(table[column].to_pylist() for column in ("value", "scan_id", "slice")), strict=True)
        )
    return sorted(entry for entry in entries if entry[0] is not None and np.isfinite(entry[0]))


def _slice_of(
    stores: Sequence[Store], keys: Sequence[str], scan: str, number: int
) -> tuple[np.ndarray, np.ndarray, float] | None:
    for key in keys:
        table = _rows_of(stores[0], key)
        scans, slices = table["scan_id"].to_pylist(), table["slice"].to_pylist()
        kept = [store.image_path(key) for store in stores if store.image_path(key).exists()]
        if scans and scans[0] == scan and kept:
            place = slices.index(number)
            with np.load(kept[0], allow_pickle=False) as file:
                images, reference = file["images"][place], file["reference"][place]
            return images.astype(np.float32), reference.astype(np.float32), table["value"][place].as_py()
    return None
