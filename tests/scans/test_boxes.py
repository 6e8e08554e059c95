import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.scans.miniature import write_fastmri

from reshim.catalog import Catalog
from reshim.scans.boxes import Box, Label, read_fastmri_plus, read_reviewed, simulated_boxes

REAL = os.environ.get("RESHIM_REAL_DATA")


@pytest.fixture
def record(tmp_path):
    write_fastmri(tmp_path / "scans" / "file1.h5")
    return Catalog.index([tmp_path / "scans"], tmp_path / "c.parquet").catalog.records()[0]


def test_a_box_of_fastmri_plus_lies_on_what_it_was_drawn_on(record, tmp_path):
    stored = np.zeros((16, 16))
    stored[2:5, 3:8] = 1  # a finding, as the file has it
    shown = stored[::-1]  # the annotators looked at this
    rows, columns = np.nonzero(shown)
    x, y = columns.min(), rows.min()
    width, height = columns.max() - x + 1, rows.max() - y + 1
    (tmp_path / "knee.csv").write_text(
        "file,slice,study_level,x,y,width,height,label\n"
        f"file1,1,No,{x},{y},{width},{height},Meniscus Tear\n"
        "file1,0,Yes,,,,,Artifact\nfile2,0,No,1,1,2,2,Other\n"
    )
    annotations = read_fastmri_plus(tmp_path / "knee.csv")
    (box,) = annotations.of(record)
    assert stored[box.block].all()
    assert stored[box.block].size == stored.sum()
    assert (box.slice_index, box.label) == (1, "Meniscus Tear")
    assert annotations.labels == (Label("file1", "Artifact", source="fastMRI+"),)
    assert annotations.labels_of(record) == list(annotations.labels)


def test_boxes_are_cut_to_the_image_and_vanish_outside():
    assert Box("a", 0, -3, 2, 5, 40, "x").inside((16, 16)) == Box("a", 0, 0, 2, 5, 16, "x")
    assert Box("a", 0, 20, 2, 25, 4, "x").inside((16, 16)) is None


def test_lesions_of_a_simulated_file_are_boxes(tmp_path):
    path = write_fastmri(tmp_path / "scans" / "sim.h5", attributes={"data_kind": "simulated", "subject": 1})
    with h5py.File(path, "a") as file:
        file["lesions"] = np.array([[1, 2, 3, 6, 7]], dtype=np.int32)
        file["lesions"].attrs["names"] = ["plaque"]
    record = Catalog.index([tmp_path / "scans"], tmp_path / "c.parquet").catalog.records()[0]
    assert simulated_boxes(record) == [Box("sim", 1, 2, 3, 6, 7, "plaque", source="simulated")]


@pytest.mark.real_data
@pytest.mark.skipif(REAL is None, reason="RESHIM_REAL_DATA names no folder of real annotations")
@pytest.mark.parametrize(("name", "n_rows"), [("brain", 8213), ("knee", 16167)])
def test_the_published_annotations_read_to_the_last_row(name, n_rows):
    folder = Path(REAL) / "fastmri-plus"
    annotations = read_fastmri_plus(folder / f"{name}.csv")
    assert len(annotations.boxes) + len(annotations.labels) == n_rows
    reviewed = set(read_reviewed(folder / f"{name}_file_list.csv"))
    assert annotations.scans <= reviewed
