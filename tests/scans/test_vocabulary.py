import csv
import io
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from reshim.scans import vocabulary

REAL = os.environ.get("RESHIM_REAL_DATA")


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("AXT1POST", "T1-post"),
        ("AXT1PRE", "T1-pre"),
        ("AXT1", "T1"),
        ("CORPDFS_FBK", "PD-FS"),
        ("CORPD_FBK", "PD"),
        ("pd_tse_fs", "PD"),
        ("AX T2 FSE", "T2"),
        ("t2_fs_tra", "T2-FS"),
        ("AX_T1_3D", "T1"),
        ("AXFLAIR", "FLAIR"),
        ("T2_FLAIR", "FLAIR"),
        ("AX_GRE_LOWRES", "GRE"),
        ("AGREED", None),
        ("localizer", None),
    ],
)
def test_contrasts_of_protocol_names(name, contrast):
    assert vocabulary.contrast_of(name) == contrast


@pytest.mark.parametrize(
    ("tesla", "field"),
    [(2.8936, 3.0), (1.494, 1.5), (6.98, 7.0), (0.3, 0.3), (0.5, 0.5), (0, None), (None, None), (100, None)],
)
def test_fields_are_called_by_their_nominal_strength(tesla, field):
    assert vocabulary.field_of(tesla) == field


@pytest.mark.parametrize(
    ("name", "vendor"),
    [("SIEMENS", "Siemens"), ("GE MEDICAL SYSTEMS", "GE"), ("Philips Medical", "Philips"), ("", None)],
)
def test_vendors_have_one_name(name, vendor):
    assert vocabulary.vendor_of(name) == vendor


def test_views_and_anatomies_come_from_words_not_from_letters_within_them():
    assert vocabulary.view_of("AXT2") == "axial"
    assert vocabulary.view_of("cor_pd") == "coronal"
    assert vocabulary.view_of("coronary") is None
    assert vocabulary.anatomy_of("raw-brain8-full") == "brain"
    assert vocabulary.anatomy_of("unknown", "cardiac cine") == "heart"
    assert vocabulary.anatomy_of("knees 3T") == "knee"
    assert vocabulary.anatomy_of("forehead") is None


@pytest.mark.real_data
@pytest.mark.skipif(REAL is None, reason="RESHIM_REAL_DATA names no folder of real header lists")
@pytest.mark.parametrize("anatomy", ["knee", "brain"])
def test_every_header_of_fastmri_is_understood(anatomy):
    archive = zipfile.ZipFile(Path(REAL) / "split-lists" / "meddlr_fastmri_metadata.zip")
    name = f"annotations/fastmri/{anatomy}_multicoil/fastmri_{anatomy}_multicoil_metadata.csv"
    rows = list(csv.DictReader(io.StringIO(archive.read(name).decode())))
    assert {vocabulary.PROTOCOLS[row["acquisition"]][0] for row in rows} == {anatomy}
    fields = Counter(vocabulary.field_of(float(row["systemFieldStrength_T"])) for row in rows)
    assert set(fields) == {1.5, 3.0}
    assert {vocabulary.vendor_of(row["systemVendor"]) for row in rows} == {"Siemens"}
