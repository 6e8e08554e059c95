import shutil

import pyarrow.parquet as pq
import pytest
from tests.scans.miniature import write_fastmri

from reshim.catalog import Catalog
from reshim.errors import BadScanError, UserError
from reshim.scans import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight knees of six patients and six brains of six, one file of each in a subfolder."""
    folder = tmp_path_factory.mktemp("scans")
    for number in range(8):
        fat = "CORPDFS_FBK" if number % 2 else "CORPD_FBK"
        patient = f"knee-{min(number, 5)}"
        write_fastmri(folder / "knee" / f"file100{number}.h5", patient=patient, acquisition=fat, seed=number)
    for number in range(6):
        write_fastmri(
            folder / "brain" / f"file_brain_AXT2_{number}.h5",
            n_slices=3,
            patient=f"brain-{number}",
            acquisition="AXT2",
            field=1.494 if number < 3 else 2.8936,
            seed=number,
        )
    return folder


@pytest.fixture
def catalog(folder, tmp_path):
    return Catalog.index([folder], tmp_path / "scans.parquet").catalog


def test_a_filter_in_sql_finds_what_its_words_say(catalog):
    assert len(catalog) == 14
    knees = catalog.where("anatomy = 'knee' AND contrast = 'PD-FS'")
    assert {record.protocol for record in knees.records()} == {"CORPDFS_FBK"}
    assert len(knees) == 4
    assert len(catalog.where("field_tesla < 2")) == 3
    assert len(catalog.where("anatomy = 'knee' OR field_tesla < 2").where("n_slices = 3")) == 3
    assert len(catalog.where("model != 'Skyra'")) == 0
    assert len(catalog.where("spacing_mm[2] = 0.5")) == 14


@pytest.mark.parametrize(
    "condition",
    [
        "anatomie = 'knee'",
        "anatomy = 'knee'; DROP TABLE catalog",
        "anatomy =",
        "scan_id IN (SELECT column0 FROM read_csv('/etc/passwd'))",
        "scan_id IN (SELECT content FROM read_text('/etc/passwd'))",
        "true) UNION SELECT 1 FROM '/etc/passwd' WHERE (true",
        "getenv('HOME') = 'x'",
        "scan_id IN (SELECT condition FROM condition)",
    ],
)
def test_a_condition_that_is_none_or_reaches_outside_is_refused_in_one_sentence(catalog, condition):
    with pytest.raises(UserError, match=r"is no condition over the catalog|several statements"):
        catalog.where(condition)


def test_a_row_becomes_the_record_it_was_made_of(catalog, folder, tmp_path):
    record = catalog.where("path = 'knee/file1003.h5'").records()[0]
    again = Catalog.of([record]).records()[0]
    assert record == again
    assert record.spacing_mm == (4.5, 0.5, 0.5)
    assert load(record).kspace.shape == (2, 3, 32, 20)
    Catalog.of([record]).write(tmp_path / "one.parquet")
    assert Catalog.read(tmp_path / "one.parquet").records() == [record]


def test_every_subject_is_in_one_split_and_every_stratum_has_its_shares(catalog):
    rows = catalog.table.to_pylist()
    splits = {row["subject"]: row["split"] for row in rows}
    assert all(splits[row["subject"]] == row["split"] for row in rows)
    for anatomy in ("knee", "brain"):
        counts = catalog.where(f"anatomy = '{anatomy}'").by(["split"])
        assert {row["split"]: row["subjects"] for row in counts} == {"train": 4, "val": 1, "test": 1}
    assert len(catalog.part("train")) + len(catalog.part("val")) + len(catalog.part("test")) == 14


def test_splits_are_the_same_again_and_others_with_another_seed(folder, tmp_path):
    first, again, other = (
        Catalog.index([folder], tmp_path / f"{number}.parquet", seed=seed).catalog.table["split"].to_pylist()
        for number, seed in enumerate((0, 0, 1))
    )
    assert first == again != other


def test_a_catalog_that_grows_moves_nobody(folder, tmp_path):
    grown = tmp_path / "grown"
    shutil.copytree(folder, grown)
    out = tmp_path / "scans.parquet"
    before = {r.scan_id: r.split for r in Catalog.index([grown], out).catalog.records()}
    for number in range(10):
        write_fastmri(grown / "knee" / f"file200{number}.h5", patient=f"new-{number}")
    write_fastmri(grown / "knee" / "file3000.h5", patient="knee-0")
    after = Catalog.index([grown], out).catalog
    assert {r.scan_id: r.split for r in after.records() if r.scan_id in before} == before
    counts = {row["split"]: row["subjects"] for row in after.where("anatomy = 'knee'").by(["split"])}
    assert counts == {"train": 10, "val": 3, "test": 3}
    assert (
        len(
            {
                r.split
                for r in after.records()
                if r.subject == after.where("path LIKE '%file3000%'").subjects()[0]
            }
        )
        == 1
    )


def test_splits_of_folders_stand_and_straddling_subjects_are_told(tmp_path):
    for split in ("train", "val"):
        write_fastmri(tmp_path / "data" / f"multicoil_{split}" / f"file_{split}.h5", patient="the-same")
    indexed = Catalog.index([tmp_path / "data"], tmp_path / "c.parquet")
    assert [r.split for r in indexed.catalog.records()] == ["train", "val"]
    assert any("several of the given splits" in note for note in indexed.notes)


def test_counts_reconcile_with_the_rows(catalog):
    by = catalog.by(["anatomy", "field_tesla"])
    assert by == [
        {"anatomy": "brain", "field_tesla": 1.5, "subjects": 3, "volumes": 3, "slices": 9},
        {"anatomy": "brain", "field_tesla": 3.0, "subjects": 3, "volumes": 3, "slices": 9},
        {"anatomy": "knee", "field_tesla": 3.0, "subjects": 6, "volumes": 8, "slices": 16},
    ]
    assert catalog.by() == [{"subjects": 12, "volumes": 14, "slices": 34}]
    with pytest.raises(UserError, match="no column 'colour'"):
        catalog.by(["colour"])


def test_catalog_and_data_move_together_and_apart(folder, tmp_path, monkeypatch):
    here = tmp_path / "here"
    shutil.copytree(folder, here / "scans")
    Catalog.index([here / "scans"], here / "scans.parquet")
    shutil.move(here, tmp_path / "there")
    together = Catalog.read(tmp_path / "there" / "scans.parquet")
    assert load(together.records()[0], [0]).kspace.shape[0] == 1

    shutil.move(tmp_path / "there" / "scans", tmp_path / "elsewhere")
    lost = Catalog.read(tmp_path / "there" / "scans.parquet")
    with pytest.raises(BadScanError, match=r"folder of root 'scans'.*RESHIM_ROOT_SCANS=FOLDER"):
        load(lost.records()[0])
    found = Catalog.read(tmp_path / "there" / "scans.parquet", roots={"scans": tmp_path / "elsewhere"})
    assert load(found.records()[0]).kspace.shape[0] == 3
    monkeypatch.setenv("RESHIM_ROOT_SCANS", str(tmp_path / "elsewhere"))
    assert load(Catalog.read(tmp_path / "there" / "scans.parquet").records()[0]).kspace.shape[0] == 3


def test_what_is_no_catalog_says_so(tmp_path):
    with pytest.raises(UserError, match="no such catalog; make one"):
        Catalog.read(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(UserError, match="no Parquet file"):
        Catalog.read(tmp_path / "text.parquet")
    rows = Catalog.of([]).table.drop_columns(["subject"])
    pq.write_table(rows, tmp_path / "old.parquet")
    with pytest.raises(UserError, match=r"lacks the columns \['subject'\]"):
        Catalog.read(tmp_path / "old.parquet")


def test_a_disk_that_refuses_leaves_the_old_catalog(catalog, tmp_path, monkeypatch):
    out = tmp_path / "scans.parquet"
    before = out.read_bytes()

    def refuse(table, where):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", refuse)
    with pytest.raises(UserError, match="No space left on device"):
        catalog.write(out)
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["scans.parquet"]


def test_an_empty_choice_says_what_was_looked_for(catalog):
    with pytest.raises(UserError, match="no scan for anatomy = 'heart'"):
        catalog.where("anatomy = 'heart'").require("anatomy = 'heart'")
