import os
from pathlib import Path

import pytest
from tests.scans.miniature import write_fastmri

from reshim.catalog import Catalog
from reshim.catalog.labels import reconcile
from reshim.scans.annotation_files import read_annotations
from reshim.scans.boxes import Annotations, Box, Label, read_reviewed

REAL = os.environ.get("RESHIM_REAL_DATA")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    for number in range(4):
        split = ("multicoil_train", "multicoil_test")[number % 2]
        write_fastmri(folder / split / f"file{number}.h5", patient=str(number // 2), n_slices=3)
    write_fastmri(folder / "multicoil_train" / "twice.h5", patient="x")
    write_fastmri(folder / "multicoil_test" / "twice.h5", patient="y")
    return Catalog.index([folder], folder / "c.parquet").catalog


ANNOTATIONS = Annotations(
    (
        Box("file0", 1, 0, 0, 4, 4, "Tear"),
        Box("file0", 1, 5, 5, 8, 8, "Tear"),
        Box("file0", 9, 0, 0, 4, 4, "Tear"),  # the scan has three slices
        Box("file1", 0, 0, 0, 4, 4, "Tear"),
        Box("gone", 0, 0, 0, 4, 4, "Tear"),
        Box("twice", 0, 0, 0, 4, 4, "Tear"),
    ),
    (Label("file0", "Artifact"),),
)


def test_findings_are_counted_once_by_split_and_label(catalog):
    table = reconcile(catalog, ANNOTATIONS)
    assert table.rows == (
        {"split": "test", "label": "Tear", "boxes": 1, "labels": 0, "slices": 1, "scans": 1, "subjects": 1},
        {
            "split": "train",
            "label": "Artifact",
            "boxes": 0,
            "labels": 1,
            "slices": 0,
            "scans": 1,
            "subjects": 1,
        },
        {"split": "train", "label": "Tear", "boxes": 2, "labels": 0, "slices": 1, "scans": 1, "subjects": 1},
    )


def test_what_one_side_lacks_is_named(catalog):
    table = reconcile(catalog, ANNOTATIONS, reviewed=["file2"])
    assert table.labels_without_rows == ("gone",)
    assert [name.rsplit("/", 1)[-1] for name in table.rows_without_labels] == ["file3"]
    assert [name.rsplit("/", 1)[-1] for name in table.without_finding] == ["file2"]
    assert table.ambiguous == ("twice",)
    assert table.outside == 1


def test_the_counts_add_up_to_all_findings(catalog):
    table = reconcile(catalog, ANNOTATIONS)
    apart = {*table.labels_without_rows, *table.ambiguous}
    uncounted = sum(finding.scan in apart for finding in ANNOTATIONS.boxes)
    assert table.n_counted + table.outside + uncounted == len(ANNOTATIONS.boxes) + len(ANNOTATIONS.labels)


@pytest.mark.real_data
@pytest.mark.skipif(REAL is None, reason="RESHIM_REAL_DATA names no folder of real annotations")
def test_the_published_knee_annotations_reconcile_with_a_miniature_of_a_few(tmp_path):
    annotations = read_annotations(Path(REAL) / "fastmri-plus" / "knee.csv")
    reviewed = read_reviewed(Path(REAL) / "fastmri-plus" / "knee_file_list.csv")
    found = sorted(annotations.scans)
    for stem in (*found[:2], next(name for name in reviewed if name not in annotations.scans)):
        write_fastmri(tmp_path / f"{stem}.h5", patient=stem, n_slices=40, n_coils=1, recon=(320, 320), rows=4)
    records = Catalog.index([tmp_path], tmp_path / "c.parquet").catalog
    table = reconcile(records, annotations, reviewed)
    assert table.labels_without_rows == tuple(found[2:])
    assert len(table.without_finding) == 1
    assert table.rows_without_labels == ()
    mine = [f for f in (*annotations.boxes, *annotations.labels) if f.scan in found[:2]]
    assert table.n_counted + table.outside == len(mine)
