import gc
import re

import h5py
import numpy as np
import pytest
import torch

from reshim.acquire import Scheme, measure, measure_each
from reshim.catalog import Catalog
from reshim.errors import BadScanError, UserError
from reshim.loader import Loader
from reshim.physics.fourier import center_crop, to_image
from reshim.physics.masks import evaluation_seed
from reshim.scans import load
from reshim.scans.slices import SliceReader
from reshim.undersampled import MaskedKSpace, Recycled, ZeroFilledMagnitude
from tests.scans.miniature import write_fastmri

SCHEME = Scheme(acceleration=2, center_lines=4)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for number in range(2):
        write_fastmri(folder / f"file{number}.h5", n_slices=2, patient=str(number), seed=number)
    write_fastmri(folder / "padded.h5", n_slices=2, columns=24, padding=(2, 2), seed=7)
    return Catalog.index([folder], folder / "c.parquet").catalog.records()


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_read_undersampled_is_what_would_be_measured(records, cache_bytes, workers):
    by_id = {record.scan_id: record for record in records}
    options = {"batch_size": 2, "scheme": SCHEME, "cache_bytes": cache_bytes, "workers": workers}
    loader = Loader(records, new_masks=False, **options)
    for _ in range(2):
        for batch in loader:
            for position, (scan_id, number) in enumerate(zip(batch.scan_ids, batch.slices, strict=True)):
                record = by_id[scan_id]
                alone = measure(load(record, [number]), SCHEME, evaluation_seed(record.path))
                assert torch.equal(batch.measurement.kspace[position], alone.kspace[0])
                assert torch.equal(batch.measurement.mask[position], alone.mask[0])
                assert batch.measurement.calibration == alone.calibration
                assert batch.measurement.crop == alone.crop
            assert batch.acquisitions.kspace.shape[0] == 0
    images = list(Loader(records, new_masks=False, magnitude=True, shuffle=False, **options))
    kspaces = list(Loader(records, new_masks=False, shuffle=False, **options))
    for batch, other in zip(images, kspaces, strict=True):
        coils = center_crop(to_image(other.measurement.kspace), other.measurement.crop)
        torch.testing.assert_close(batch.magnitude, coils.abs().square().sum(1).sqrt(), rtol=1e-5, atol=1e-6)


def test_new_masks_belong_to_slice_and_epoch(records):
    loader = Loader(records[:1], scheme=Scheme("random", 2, center_lines=4), shuffle=False)
    masks = []
    for epoch in (0, 0, 1):
        loader.set_epoch(epoch)
        masks.append([batch.measurement.mask for batch in loader])
    assert all(map(torch.equal, masks[0], masks[1]))
    assert not all(map(torch.equal, masks[0], masks[2]))
    assert not torch.equal(masks[0][0], masks[0][1])


@pytest.mark.parametrize("plane", [False, True])
@pytest.mark.parametrize(("rows", "columns", "crop"), [(12, 10, (6, 8)), (13, 11, (7, 6)), (9, 12, (9, 12))])
def test_the_magnitude_needs_no_shift_and_no_column_that_was_not_acquired(rows, columns, crop, plane):
    generator = torch.Generator().manual_seed(rows)
    kspace = torch.randn(3, rows, columns, generator=generator, dtype=torch.complex64)
    mask = torch.rand(rows if plane else 1, columns, generator=generator) < 0.4
    kspace = torch.where(mask, kspace, torch.nan)
    image = ZeroFilledMagnitude(mask, (rows, columns), crop)
    out = torch.full_like(kspace, torch.nan)
    masked = MaskedKSpace(mask, out)
    for coil, block in enumerate(kspace):
        image(coil, block)
        masked(coil, block)
    assert torch.equal(out, torch.where(mask, kspace, 0))
    expected = center_crop(to_image(out).abs().square().sum(0).sqrt(), crop)
    torch.testing.assert_close(image.image, expected, rtol=1e-5, atol=1e-6)


def test_memory_is_used_again_only_when_nobody_looks_at_it():
    blocks = Recycled()
    first = blocks.empty(2, 3)
    first.fill_(1)
    part, place = first[0], first.data_ptr()
    del first
    gc.collect()
    second = blocks.empty(3, 2).fill_(2)
    assert second.data_ptr() != place
    assert (part == 1).all()
    del part
    gc.collect()
    assert blocks.empty(6).data_ptr() == place


def test_batches_that_are_kept_stay_as_they_were(records):
    loader = Loader(records[:2], scheme=SCHEME, cache_bytes=0, new_masks=False)
    kept = list(loader)
    copies = [batch.measurement.kspace.clone() for batch in kept]
    list(loader)
    assert all(torch.equal(batch.measurement.kspace, copy) for batch, copy in zip(kept, copies, strict=True))


def test_a_scan_with_a_mask_of_its_own_keeps_it(tmp_path):
    mask = np.zeros(20, dtype=bool)
    mask[::3] = True
    path = write_fastmri(tmp_path / "a.h5", mask=mask, n_slices=2)
    with h5py.File(path, "a") as file:
        file["kspace"][...] = np.where(mask, file["kspace"][()], np.nan)
    records = Catalog.index([tmp_path], tmp_path / "c.parquet").catalog.records()
    (batch,) = Loader(records, batch_size=2, scheme=SCHEME, references=(), shuffle=False)
    assert torch.equal(batch.measurement.mask[0, 0, 0], torch.from_numpy(mask))
    assert torch.equal(batch.measurement.kspace, load(records[0]).kspace)


@pytest.mark.parametrize(
    ("value", "why"), [(0, "all zero"), (np.nan, "NaN"), (np.inf, "infinity"), (3e34, "sample of 3e+34")]
)
def test_a_bad_slice_stops_or_is_left_out_here_too(tmp_path, value, why):
    path = write_fastmri(tmp_path / "a.h5", n_slices=3)
    with h5py.File(path, "a") as file:
        file["kspace"][1] = value
    records = Catalog.index([tmp_path], tmp_path / "c.parquet").catalog.records()
    options = {"scheme": SCHEME, "batch_size": 3, "cache_bytes": 0}
    with pytest.raises(BadScanError, match=f"slice 1: k-space .*{re.escape(why)}"):
        list(Loader(records, **options))
    (batch,) = Loader(records, skip_bad=True, shuffle=False, **options)
    assert batch.slices == (0, 2)
    assert torch.equal(batch.measurement.kspace.isfinite().all(), torch.tensor(True))


def test_a_batch_is_that_of_measure_each(records):
    (batch,) = Loader(records[:2], batch_size=4, scheme=SCHEME, new_masks=False, shuffle=False)
    whole = Loader(records[:2], batch_size=4, shuffle=False)
    (full,) = whole
    paths = {record.scan_id: record.path for record in records}
    expected = measure_each(full.acquisitions, SCHEME, [evaluation_seed(paths[i]) for i in full.scan_ids])
    assert torch.equal(batch.measurement.kspace, expected.kspace)
    assert torch.equal(batch.measurement.mask, expected.mask)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_reader_loads_what_scans_load(tmp_path, compressed):
    path = write_fastmri(tmp_path / "a.h5", n_slices=3, padding=(2, 2))
    if compressed:
        with h5py.File(path, "a") as file:
            values = file["kspace"][()]
            del file["kspace"]
            file.create_dataset("kspace", data=values, chunks=(1, *values.shape[1:]), compression="gzip")
    record = Catalog.index([tmp_path], tmp_path / "c.parquet").catalog.records()[0]
    reader = SliceReader()
    for slices in (None, (2,), (1, 0)):
        ours, theirs = reader.load(record, slices), load(record, slices)
        assert torch.equal(ours.kspace, theirs.kspace)
        assert torch.equal(ours.acquirable, theirs.acquirable)
        assert (ours.slices, ours.crop, ours.name) == (theirs.slices, theirs.crop, theirs.name)


def test_a_magnitude_without_a_scheme_is_refused(records):
    with pytest.raises(UserError, match="needs a scheme"):
        Loader(records, magnitude=True)
