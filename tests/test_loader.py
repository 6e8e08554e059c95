import gc
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from reshim.catalog import Catalog
from reshim.errors import BadScanError, UserError
from reshim.loader import Loader
from reshim.scans import load, load_reference, slices
from tests.scans.miniature import write_fastmri


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Five knees of one shape, two brains of another, one of those with padding."""
    folder = tmp_path_factory.mktemp("scans")
    for number in range(5):
        write_fastmri(folder / f"file{number}.h5", n_slices=3, patient=str(number), seed=number)
    for number in range(2):
        write_fastmri(
            folder / f"file_brain_{number}.h5",
            n_slices=4,
            n_coils=4,
            columns=24,
            acquisition="AXT2",
            padding=(2, 2) if number else (0, 0),
            patient=f"b{number}",
            seed=10 + number,
        )
    return Catalog.index([folder], folder / "c.parquet").catalog.records()


def items_of(batches):
    return [item for batch in batches for item in zip(batch.scan_ids, batch.slices, strict=True)]


def everything(records):
    return sorted((record.scan_id, slice_) for record in records for slice_ in range(record.n_slices))


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_batches_hold_what_the_files_hold(records, workers, cache_bytes):
    loader = Loader(records, batch_size=2, workers=workers, cache_bytes=cache_bytes)
    by_id = {record.scan_id: record for record in records}
    for _ in range(2):
        batches = list(loader)
        assert sorted(items_of(batches)) == everything(records)
        for batch in batches:
            for position, (scan_id, slice_) in enumerate(zip(batch.scan_ids, batch.slices, strict=True)):
                alone = load(by_id[scan_id], [slice_])
                assert torch.equal(batch.acquisitions.kspace[position], alone.kspace[0])
                assert torch.equal(batch.acquisitions.acquirable, alone.acquirable)
                assert batch.acquisitions.crop == alone.crop
                assert batch.names[position] == alone.name
                assert batch.subjects[position] == by_id[scan_id].subject
                assert torch.equal(
                    batch.references["rss"][position], load_reference(by_id[scan_id], "rss", [slice_])[0]
                )


def test_batches_are_full_but_the_last_of_each_shape(records):
    batches = list(Loader(records, batch_size=4))
    sizes = Counter(len(batch.slices) for batch in batches)
    assert sizes == {4: 5, 3: 1}  # 15 knee slices, and 4 + 4 brain slices that differ in padding


def test_the_order_is_that_of_seed_and_epoch_alone(records):
    def order(**settings):
        return items_of(Loader(records, batch_size=2, **settings))

    assert order() == order(workers=0) == order(cache_bytes=0)
    assert order() != order(seed=1)
    assert order() != order(epoch=1)
    assert order(shuffle=False)[:3] == [(records[0].scan_id, slice_) for slice_ in range(3)]


def test_a_run_that_stopped_goes_on_at_its_step(records):
    whole = items_of(Loader(records, batch_size=2, epoch=3))
    resumed = Loader(records, batch_size=2)
    resumed.set_epoch(3, skip=4)
    assert len(resumed) == len(list(Loader(records, batch_size=2)))
    assert items_of(resumed) == whole[len(whole) - len(items_of([*_skipped(records, 4)])) :]
    assert items_of(resumed) == whole  # the next pass is whole again


def _skipped(records, steps):
    return list(Loader(records, batch_size=2, epoch=3))[steps:]


def test_ranks_share_whole_scans_and_take_as_many_steps(records):
    loaders = [Loader(records, batch_size=2, shard=(rank, 3)) for rank in range(3)]
    assert len({len(loader) for loader in loaders}) == 1
    seen = [set(items_of(loader)) for loader in loaders]
    assert sorted(seen[0] | seen[1] | seen[2]) == everything(records)
    scans = [{scan for scan, _ in items} for items in seen]
    assert not scans[0] & scans[1]
    assert not scans[1] & scans[2]
    with pytest.raises(UserError, match="use fewer ranks"):
        len(Loader(records[:2], shard=(2, 3)))


def test_weights_are_how_often_a_distribution_is_seen(records):
    loader = Loader(records, weights={"fastmri_brain": 2, "fastmri_knee": 0.25})
    counts = Counter()
    for epoch in range(40):
        loader.set_epoch(epoch)
        counts.update(records[number].dataset for items in loader.plan() for number, _ in items)
    assert counts["fastmri_brain"] == 40 * 2 * 8
    expected, deviation = 40 * 15 / 4, np.sqrt(40 * 15 * 0.25 * 0.75)
    assert abs(counts["fastmri_knee"] - expected) < 4 * deviation
    slice_ = records[0].scan_id, 1
    often = Loader(records, repeats={slice_: 5})
    assert Counter(items_of(often))[slice_] == 5


def test_an_undersampled_scan_is_batched_with_its_own_mask(tmp_path):
    mask = np.zeros(20, dtype=bool)
    mask[::3] = True
    path = write_fastmri(tmp_path / "a.h5", mask=mask, n_slices=3)
    write_fastmri(tmp_path / "b.h5", mask=~mask, n_slices=3)
    with h5py.File(path, "a") as file:
        file["kspace"][...] = np.where(mask, file["kspace"][()], np.nan)
    records = Catalog.index([tmp_path], tmp_path / "c.parquet").catalog.records()
    for batch in Loader(records, batch_size=2):
        assert len(set(batch.scan_ids)) == 1
        assert (batch.acquisitions.kspace[..., ~batch.acquisitions.mask[0, 0, 0]] == 0).all()


def test_compressed_files_load_alike(tmp_path):
    path = write_fastmri(tmp_path / "a.h5")
    plain = load(path).kspace
    with h5py.File(path, "a") as file:
        values = file["kspace"][()]
        del file["kspace"]
        file.create_dataset("kspace", data=values, chunks=(1, *values.shape[1:]), compression="gzip")
    records = Catalog.index([tmp_path], tmp_path / "c.parquet").catalog.records()
    (batch,) = Loader(records, batch_size=2, shuffle=False)
    assert torch.equal(batch.acquisitions.kspace, plain)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_slice_stops_or_is_left_out_and_named(tmp_path, workers):
    path = write_fastmri(tmp_path / "a.h5", n_slices=3)
    with h5py.File(path, "a") as file:
        file["kspace"][1] = 0
    records = Catalog.index([tmp_path], tmp_path / "c.parquet").catalog.records()
    with pytest.raises(BadScanError, match="slice 1: k-space is all zero"):
        list(Loader(records, batch_size=2, workers=workers))
    loader = Loader(records, batch_size=3, workers=workers, skip_bad=True, shuffle=False)
    (batch,) = loader
    assert batch.slices == (0, 2)
    assert list(loader.left_out) == [(0, 1)]


def test_the_covariance_of_a_batch_is_that_of_all_its_scans_or_none(tmp_path):
    for name, scale in (("a", 1), ("b", 1), ("c", 2)):
        covariance = (scale * np.eye(3)).astype(np.complex64)
        write_fastmri(tmp_path / f"{name}.h5", n_slices=1, datasets={"noise_covariance": covariance})
    records = Catalog.index([tmp_path], tmp_path / "c.parquet").catalog.records()
    (same,) = Loader(records[:2], batch_size=2)
    assert torch.equal(same.acquisitions.noise_covariance, torch.eye(3, dtype=torch.complex64))
    (mixed,) = Loader(records, batch_size=3)
    assert mixed.acquisitions.noise_covariance is None
    assert sorted(c[0, 0].real.item() for c in mixed.noise_covariances) == [1, 1, 2]


def test_open_files_are_bounded_and_closed(records):
    gc.collect()
    loader = Loader(records, workers=2, cache_bytes=0)
    loader.reader.max_open = 3
    list(loader)
    assert loader.reader.n_open <= 3
    names = [str(Path(record.extra["folder"]) / record.path) for record in records]
    held = [
        link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and link.exists()
    ]
    assert sum(str(path) in names for path in held) <= 3
    loader.reader.close()
    assert loader.reader.n_open == 0


def test_a_file_system_that_fails_in_passing_is_tried_again(records, monkeypatch):
    loader = Loader(records[:1], workers=0, cache_bytes=0, references=())
    loader.reader.wait_seconds = 0.001
    real, failures = slices.os.preadv, iter([116, 5])

    def fails_twice(*arguments):
        number = next(failures, None)
        if number is not None:
            raise OSError(number, "stale file handle")
        return real(*arguments)

    monkeypatch.setattr(slices.os, "preadv", fails_twice)
    assert len(list(loader)) == records[0].n_slices
    assert next(failures, None) is None


def test_a_file_cut_short_after_indexing_is_named(tmp_path):
    path = write_fastmri(tmp_path / "a.h5", n_slices=4)
    records = Catalog.index([tmp_path], tmp_path / "c.parquet").catalog.records()
    loader = Loader(records, shuffle=False, workers=0, references=())
    batches = iter(loader)
    next(batches)
    with path.open("r+b") as file:
        file.truncate(12000)
    with pytest.raises(BadScanError, match="the file ends within it"):
        list(batches)


def test_a_catalog_whose_file_moved_says_so(tmp_path):
    write_fastmri(tmp_path / "scans" / "a.h5")
    records = Catalog.index([tmp_path / "scans"], tmp_path / "c.parquet").catalog.records()
    (tmp_path / "scans" / "a.h5").rename(tmp_path / "b.h5")
    with pytest.raises(BadScanError, match="RESHIM_ROOT_SCANS"):
        list(Loader(records))


# In a process of its own: type checks of every call would take ten times as long as the reading.
FLAT_MEMORY = """
import gc, sys
from pathlib import Path
from reshim.catalog import Catalog
from reshim.loader import Loader

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

records = Catalog.read(sys.argv[1]).records()
weights = {"fastmri_knee": 20, "fastmri_brain": 20}
loader = Loader(records, batch_size=4, workers=4, cache_bytes=0, weights=weights)
seen, after_warmup = 0, None
while seen < 20_000:
    loader.set_epoch(loader.epoch + 1)
    seen += sum(len(batch.slices) for batch in loader)
    if seen > 2000 and after_warmup is None:
        gc.collect()
        after_warmup = resident()
gc.collect()
print(seen, resident() - after_warmup)
"""


@pytest.mark.slow
def test_memory_stays_flat_over_twenty_thousand_slices(records, tmp_path):
    Catalog.of(records).write(tmp_path / "c.parquet")
    command = [sys.executable, "-c", FLAT_MEMORY, str(tmp_path / "c.parquet")]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    seen, growth = map(int, ran.stdout.split())
    assert seen >= 20_000
    assert growth < 16 << 20


def test_settings_that_make_no_sense_are_refused(records):
    with pytest.raises(UserError, match="rank lies between 0 and 1"):
        Loader(records, shard=(2, 2))
    with pytest.raises(UserError, match="batch_size is 0"):
        Loader(records, batch_size=0)
    with pytest.raises(UserError, match="no scan to load"):
        Loader([])
    with pytest.raises(BadScanError, match="no slice 9"):
        Loader(records).reader.kspace_into(
            replace(records[0]), 9, torch.empty(3, 32, 20, dtype=torch.complex64)
        )
