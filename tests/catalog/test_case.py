import argparse

import h5py
import numpy as np
import pytest
from tests.scans.miniature import write_fastmri

from reshim.catalog import Catalog
from reshim.catalog.case import case_report
from reshim.catalog.scrub import scrubbed
from reshim.cli import list as list_command
from reshim.errors import UserError
from reshim.scans.annotation_files import write_csv
from reshim.scans.boxes import Annotations, Box, Label


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    for number in range(2):
        write_fastmri(folder / "knees" / f"file{number}.h5", patient="one", n_slices=3)
    write_fastmri(folder / "site" / "file7.h5", acquisition="t2_tse DOE^JANE 2018-03-04")
    path = write_fastmri(folder / "sim.h5", attributes={"data_kind": "simulated", "subject": 1})
    with h5py.File(path, "a") as file:
        file["lesions"] = np.array([[1, 2, 3, 6, 7]], dtype=np.int32)
        file["lesions"].attrs["names"] = ["plaque"]
    return folder


@pytest.fixture(scope="module")
def catalog(folder):
    return Catalog.index([folder], folder / "c.parquet").catalog


def subject_of(catalog, condition):
    (subject,) = catalog.where(condition).subjects()
    return subject


def test_a_report_tells_protocol_field_slices_and_findings(catalog):
    annotations = Annotations(
        (Box("file0", 2, 4, 1, 9, 30, "Meniscus Tear", 0.75, "reading 2"), Box("other", 0, 0, 0, 1, 1, "x")),
        (Label("file0", "Artifact"), Label("file0", "Motion", 1)),
    )
    text = case_report(catalog, subject_of(catalog, "path LIKE '%file0%'"), [annotations])
    assert "Scan 2 of 2" in text
    assert "  contrast  PD\n  protocol  CORPD_FBK\n" in text
    assert "  field     3 T\n  slices    3 of 16 x 16\n" in text
    assert "TE 32 ms, TR 2750 ms" in text
    assert "slice   2  rows 4-9, columns 1-16  Meniscus Tear (confidence 0.75, reading 2)" in text
    assert "all slices  Artifact\n" in text
    assert "slice   1  Motion\n" in text
    assert "  findings  none on record" in text


def test_a_report_holds_no_name_no_date_and_no_file(catalog):
    text = case_report(catalog, subject_of(catalog, "path LIKE '%file7%'"))
    for secret in ("DOE", "JANE", "03-04", "1970", "file7", ".h5", "patient-7"):
        assert secret not in text
    assert "protocol  t2_tse 2018\n" in text
    assert "2018-03-04" not in str(catalog.table["protocol"].to_pylist())


def test_lesions_of_a_simulated_scan_are_findings(catalog):
    text = case_report(catalog, subject_of(catalog, "data_kind = 'simulated'"))
    assert "no person was scanned" in text
    assert "slice   1  rows 2-6, columns 3-7  plaque (simulated)" in text


def test_a_subject_that_is_not_there_is_named(catalog):
    with pytest.raises(UserError, match="no subject 'nobody'"):
        case_report(catalog, "nobody")


def test_list_prints_the_report(folder, catalog, tmp_path, capsys):
    write_csv(tmp_path / "a.csv", Annotations((Box("file1", 0, 0, 0, 2, 2, "Cyst"),)))
    parser = argparse.ArgumentParser()
    list_command.add_arguments(parser)
    subject = subject_of(catalog, "path LIKE '%file1%'")
    words = [str(folder / "c.parquet"), "--report", subject, "--annotations", str(tmp_path / "a.csv")]
    assert list_command.run(parser.parse_args(words)) == 0
    assert "rows 0-2, columns 0-2  Cyst" in capsys.readouterr().out
    with pytest.raises(UserError, match="--report"):
        list_command.run(parser.parse_args([words[0], *words[3:]]))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("t2_20180304_cor", "t2_2018_cor"),
        ("scan 2018.03.04 14:05:09", "scan 2018"),
        ("04.03.2018 knee", "2018 knee"),
        ("DOE^JANE^M knee", "knee"),
        ("DOE^JANE", None),
        ("t2_tse_320x320 TR 2750", "t2_tse_320x320 TR 2750"),
        ("CORPD_FBK", "CORPD_FBK"),
        (None, None),
    ],
)
def test_dates_become_years_and_persons_vanish(text, left):
    assert scrubbed(text) == left
