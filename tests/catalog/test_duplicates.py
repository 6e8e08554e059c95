import h5py
import numpy as np
import pytest
from tests.scans.miniature import transform, write_fastmri

from reshim.catalog import Catalog
from reshim.catalog.duplicates import mark_duplicates


def picture(seed):
    """Blobs in places of their own: what two people have in common is not more than that."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:48j, -1:1:40j]
    image = sum(
        rng.random() * np.exp(-(((y - a) / 0.2) ** 2) - ((x - b) / 0.2) ** 2)
        for a, b in rng.uniform(-0.7, 0.7, (9, 2))
    )
    return np.broadcast_to(image, (2, 3, 48, 40)).astype(np.complex128)


@pytest.fixture
def catalog(tmp_path):
    noise = np.random.default_rng(0).standard_normal((2, 3, 48, 40))
    images = {f"scan{n}": picture(n) for n in range(6)}
    images["twice"] = 1000 * images["scan3"]
    images["noisy"] = images["scan4"] + 0.01 * noise
    for name, image in images.items():
        path = write_fastmri(tmp_path / "scans" / f"{name}.h5", rows=48, columns=40, patient=name)
        with h5py.File(path, "a") as file:
            file["kspace"][...] = transform(image)
    return Catalog.index([tmp_path / "scans"], tmp_path / "c.parquet").catalog


def test_rescaled_and_noisy_copies_are_marked_and_nothing_else(catalog):
    marked = mark_duplicates(catalog).table.select(["path", "duplicate_of"]).to_pylist()
    of = {row["path"]: row["duplicate_of"] for row in marked}
    pairs = {path: first for path, first in of.items() if first is not None}
    assert set(pairs) == {"twice.h5", "scan4.h5"}  # in the order of paths: noisy comes before scan4
    assert pairs["twice.h5"].endswith("scan3")
    assert pairs["scan4.h5"].endswith("noisy")


def test_what_cannot_be_read_repeats_nothing(catalog):
    record = catalog.where("path = 'twice.h5'").records()[0]
    with h5py.File(f"{record.extra['folder']}/twice.h5", "a") as file:
        file["kspace"][...] = 0
    assert len(mark_duplicates(catalog).where("duplicate_of IS NOT NULL")) == 1
