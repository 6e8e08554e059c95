"""Who is healthy and who is not is read from annotations like those of fastMRI+."""

import json
from pathlib import Path

import pytest

from reshim.catalog import Catalog
from reshim.catalog.table import row_of, table_of
from reshim.cli import main
from reshim.errors import UserError
from reshim.rows import read_rows
from reshim.scans.boxes import simulated_boxes
from reshim.simulation.write import simulate
from reshim.studies.engine import lab
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.studies.pathology import TESTS, Told

from .engine.test_lab import record

HEAD = "file,slice,study_level,x,y,width,height,label\n"


@pytest.fixture
def catalog():
    """Six knees PD-FS to train on; who has lesions is for annotations to say."""
    about = {"anatomy": "knee", "contrast": "PD-FS", "field_tesla": 3.0, "view": "coronal", "split": "train"}
    scans = [record(f"file{number}", **about) for number in range(6)]
    return Catalog(table_of(map(row_of, scans)), {"r": "/"})


def stems(records):
    return {Path(scan.path).stem for scan in records}


def study_of(catalog, folder):
    return Study("pathology", folder, catalog, Scale.TINY, 0, folder, embedded=False)


def test_scans_are_healthy_or_have_lesions_by_their_labels_or_are_not_known(catalog, tmp_path):
    tear, effusion, normal, moved, silent, unknown = sorted(stems(catalog.records()))
    (tmp_path / "annotations.csv").write_text(
        f"{HEAD}{tear},1,No,5,6,7,8,Meniscus Tear\n{tear},1,No,1,1,4,4,artifact\n"
        f"{normal},0,Yes,,,,,Normal for age\n{moved},0,No,2,2,3,3,Possible artifact\n"
    )
    (tmp_path / "annotations-brain.csv").write_text(f"{HEAD}{effusion},0,Yes,,,,,Global Ischemia\n")
    (tmp_path / "reviewed.csv").write_text("\n".join((tear, effusion, silent)) + "\n")
    told = Told.of(study_of(catalog, tmp_path))
    assert stems(catalog.where(told.healthy).records()) == {normal, moved, silent}
    assert stems(catalog.where(told.lesions).records()) == {tear, effusion}
    assert unknown not in stems(catalog.where(told.either).records())
    # An artefact's box is no lesion's.
    (found,) = (scan for scan in catalog.records() if Path(scan.path).stem == tear)
    assert [box.label for box in told.annotations.of(found)] == ["Meniscus Tear"]


def test_annotations_that_leave_one_side_empty_are_refused_with_a_remedy(catalog, tmp_path):
    (tmp_path / "annotations.csv").write_text(f"{HEAD}nobody,0,Yes,,,,,Normal for age\n")
    with pytest.raises(UserError, match=r"(?s)is healthy by annotations\.csv.*reviewed\.csv"):
        Told.of(study_of(catalog, tmp_path))


def test_without_annotations_the_folders_tell(catalog, tmp_path):
    with pytest.raises(UserError, match="by its folder"):
        Told.of(study_of(catalog, tmp_path))


@pytest.mark.slow
def test_a_catalog_with_annotations_is_studied_from_scans_to_claims(tmp_path):
    scans, path, out = (tmp_path / name for name in ("scans", "catalog.parquet", "out"))
    out.mkdir()
    # A subject may have no lesion in any of four slices, and a claim needs three that have.
    simulate(scans, [test.protocol for test in TESTS], subjects=12, matrix=48, slices=4, lesions=True)
    shares = {"train": 0.34, "val": 0.16, "test": 0.5}
    catalog = Catalog.index([scans], path, shares=shares).catalog
    lines, healthy = [], set()
    for split in ("train", "val", "test"):
        for test in TESTS:
            records = catalog.where(f"({test.where}) AND split = '{split}'").records()
            for index, scan in enumerate(sorted(records, key=lambda each: each.scan_id)):
                stem = Path(scan.path).stem
                if split != "test" and index % 2 == 0:
                    healthy.add(stem)
                    continue
                for box in simulated_boxes(scan):
                    shown = box.upside_down(scan.recon_rows)
                    size = shown.column_stop - shown.column_start, shown.row_stop - shown.row_start
                    place = f"{shown.column_start},{shown.row_start},{size[0]},{size[1]}"
                    lines.append(f"{stem},{box.slice_index},No,{place},Mass")
    (out / "annotations.csv").write_text(HEAD + "\n".join(lines) + "\n")
    (out / "reviewed.csv").write_text("\n".join(sorted(healthy)) + "\n")
    assert main(["study", "pathology", "--tiny", "--catalog", str(path), "--out", str(out)]) == 0
    table = read_rows(out / "rows.parquet")
    assert not healthy & {name.rpartition("/")[2] for name in table["scan_id"].to_pylist()}
    assert {"box", "box-small", "box-large"} <= set(table["region"].to_pylist())
    claims = json.loads((out / "summary.json").read_text())["claims"]
    assert any(claim["verdict"] != "unanswered" for claim in claims)
    trained = json.loads((out / "models.json").read_text())
    settings = json.loads((Path(trained["U-net: healthy"]) / "settings.json").read_text())
    scans = {scan["scan_id"] for group in settings["data"]["groups"] for scan in group["scans"]}
    assert {name.rpartition("/")[2] for name in scans} <= healthy
    assert lab.KNEE_PDFS.label in (out / "index.html").read_text()
