"""The median and the worst slice of a method, as every method shows them: nothing is picked by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reshim.evaluation.store import Store
from reshim.report.pictures import save_example


def keep_examples(
    folder: Path,
    store: Store,
    keys: Mapping[str, Sequence[str]],
    test: str,
    by: str,
    labels: Sequence[str],
) -> tuple[str, ...]:
    """Save the two slices for an `ImagesBlock` and return their names; none where no images were kept.

    `keys` are those of each method's finished rows on the test set.
    """
    ranked = _ranked(store, keys[by])
    if not ranked:
        return ()
    names = []
    for which, (score, scan, number) in (("median", ranked[len(ranked) // 2]), ("worst", ranked[0])):
        name = f"{test}-{which}"
        images, scores, reference = {}, {}, None
        for label in labels:
            found = _slice_of(store, keys[label], scan, number)
            if found is not None:
                images[label], reference, value = found
                scores[label] = f"SSIM {value:.3f}"
        if reference is None:
            continue
        caption = f"{which} slice of {len(ranked)}: {scan}, slice {number}, {by} {score:.3f}"
        save_example(folder, name, reference, images, scores, caption)
        names.append(name)
    return tuple(names)


def _rows_of(store: Store, key: str) -> pa.Table:
    table = pq.read_table(store.path(key))
    chosen = {"metric": "ssim", "target": "mvue", "region": "support"}
    for column, value in chosen.items():
        table = table.filter(pc.equal(table[column], value))
    return table


def _ranked(store: Store, keys: Sequence[str]) -> list[tuple[float, str, int]]:
    entries = []
    for key in keys:
        table = _rows_of(store, key)
        entries += list(
            zip(*(table[column].to_pylist() for column in ("value", "scan_id", "slice")), strict=True)
        )
    return sorted(entry for entry in entries if entry[0] is not None and np.isfinite(entry[0]))


def _slice_of(
    store: Store, keys: Sequence[str], scan: str, number: int
) -> tuple[np.ndarray, np.ndarray, float] | None:
    for key in keys:
        table = _rows_of(store, key)
        scans, slices = table["scan_id"].to_pylist(), table["slice"].to_pylist()
        if scans and scans[0] == scan and store.image_path(key).exists():
            place = slices.index(number)
            with np.load(store.image_path(key), allow_pickle=False) as file:
                images, reference = file["images"][place], file["reference"][place]
            return images.astype(np.float32), reference.astype(np.float32), table["value"][place].as_py()
    return None
