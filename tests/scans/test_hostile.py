"""Files that mean harm or are broken: one clear error each, never a crash, never another file's content."""

import contextlib
import time
from collections import Counter

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scans.miniature import HEADER, write_fastmri
from tests.scans.miniature_mrd import line, write_mrd

from reshim.errors import BadScanError
from reshim.scans import load, open_scan, open_scans
from reshim.scans.header import parse


@pytest.fixture
def secret(tmp_path):
    return write_fastmri(tmp_path / "elsewhere" / "secret.h5")


def without_kspace(path):
    write_fastmri(path)
    with h5py.File(path, "a") as file:
        del file["kspace"]
    return path


def test_a_link_to_another_file_is_not_followed(tmp_path, secret):
    path = without_kspace(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file["kspace"] = h5py.ExternalLink(str(secret), "/kspace")
    with pytest.raises(BadScanError, match="ExternalLink to another place"):
        open_scan(path)


def test_a_link_of_a_group_to_another_file_is_not_followed(tmp_path):
    other = write_mrd(tmp_path / "other" / "b.h5", [line(np.ones((2, 16)))], (16, 12, 1), 2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["dataset"] = h5py.ExternalLink(str(other), "/dataset")
    with pytest.raises(BadScanError, match="no dataset `kspace`"):
        open_scan(tmp_path / "a.h5")


def test_data_kept_in_other_files_is_not_read(tmp_path, secret):
    path = without_kspace(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        layout = h5py.VirtualLayout((2, 3, 32, 20), np.complex64)
        layout[...] = h5py.VirtualSource(str(secret), "kspace", shape=(2, 3, 32, 20))
        file.create_virtual_dataset("kspace", layout)
    with pytest.raises(BadScanError, match="stored in other files"):
        open_scan(path)
    (tmp_path / "raw.bin").write_bytes(bytes(8 * 2 * 3 * 32 * 20))
    path = without_kspace(tmp_path / "b.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("kspace", (2, 3, 32, 20), np.complex64, external=str(tmp_path / "raw.bin"))
    with pytest.raises(BadScanError, match="stored in other files"):
        open_scan(path)


@pytest.mark.parametrize("name", ["kspace", "reconstruction_rss", "mask"])
def test_absurd_declared_sizes_are_refused_at_once(tmp_path, name):
    path = without_kspace(tmp_path / "a.h5") if name == "kspace" else write_fastmri(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        shape = (50_000,) if name == "mask" else (500_000, 64, 4096, 4096)[: 4 if name == "kspace" else 3]
        chunks = (1,) if name == "mask" else (1,) * (len(shape) - 1) + (8,)
        file.create_dataset(name, shape, np.complex64, chunks=chunks)
    started = time.perf_counter()
    with pytest.raises(BadScanError, match=r"declares \d+ bytes"):
        open_scan(path)
    assert time.perf_counter() - started < 2


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path):
    path = without_kspace(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        zeros = np.zeros((4, 8, 512, 512), np.complex64)
        file.create_dataset(
            "kspace", data=zeros, chunks=(1, 8, 512, 512), compression="gzip", compression_opts=9
        )
    assert path.stat().st_size < 400_000
    with pytest.raises(BadScanError, match="at most 100 times the stored bytes are believed"):
        open_scan(path)


@pytest.mark.parametrize("values", [np.array([["a", "b"]], dtype=object), [b"text"]])
def test_objects_and_text_are_no_samples(tmp_path, values):
    path = without_kspace(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("kspace", data=values, dtype=h5py.string_dtype())
    with pytest.raises(BadScanError, match="a scan holds numbers"):
        open_scan(path)


def test_names_that_point_outside_are_names_and_nothing_more(tmp_path):
    path = write_fastmri(
        tmp_path / "a.h5",
        attributes={
            "dataset": "../../etc",
            "subject": "../x",
            "data_kind": "simulated",
            "anatomy": "/etc/passwd",
        },
    )
    record = open_scan(path).record
    assert record.path == "a.h5"
    assert load(record).kspace.shape[0] == 2


BOMB = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
)


@pytest.mark.parametrize(
    "xml",
    [
        BOMB + "]><ismrmrdHeader>&j;</ismrmrdHeader>",
        '<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]><ismrmrdHeader>&x;</ismrmrdHeader>',
        '<!DOCTYPE b SYSTEM "http://localhost/x.dtd"><ismrmrdHeader/>',
        "<ismrmrdHeader>",
        "",
        "\x00\x01",
    ],
)
def test_header_attacks_are_refused(xml):
    started = time.perf_counter()
    with pytest.raises(BadScanError, match="no plain XML"):
        parse(xml, "a.h5")
    assert time.perf_counter() - started < 1


def test_a_header_nested_without_end_is_refused_or_read_but_ends():
    deep = "<a>" * 20_000 + "</a>" * 20_000
    with contextlib.suppress(BadScanError):
        assert parse(deep, "a.h5").encoded_matrix is None


FIELDS = {
    name: st.text("0123456789-.eE+ nanif", max_size=12)
    for name in ("rows", "columns", "recon_rows", "center")
}
FIELDS |= {
    name: st.text("0123456789-.eE", max_size=8) for name in ("maximum", "recon_columns", "row_mm", "field")
}


@given(fields=st.fixed_dictionaries(FIELDS))
@settings(max_examples=200, deadline=None)
def test_numbers_of_a_header_may_be_anything(fields):
    rest = {
        "protocol": "x",
        "vendor": "y",
        "model": "z",
        "encoded_row_mm": 1,
        "encoded_column_mm": 1,
        "column_mm": 1,
    }
    header = parse(HEADER.format(**rest, **fields), "a.h5")
    left, right = header.padding(20)
    assert 0 <= left < right <= 20
    for matrix in (header.encoded_matrix, header.recon_matrix):
        assert matrix is None or min(matrix) > 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    lines = [line(np.ones((2, 8)) * (y + 1), y) for y in range(6)]
    return {
        "fastmri": write_fastmri(folder / "a.h5").read_bytes(),
        "mrd": write_mrd(folder / "b.h5", lines, (8, 6, 1), 2).read_bytes(),
        "folder": folder,
    }


def outcome_of(path):
    """What reading a file comes to: ``read``, ``refused``, or the unexpected error."""
    try:
        for scan in open_scans(path):
            scan.load()
            scan.reference("rss")
    except BadScanError as error:
        return "refused" if path.name in str(error) else f"refused without the name: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def mutated(content, seed):
    """The bytes with a few changed near the front, where the directory lies, and sometimes the end cut."""
    rng = np.random.default_rng(seed)
    content = bytearray(content)
    for position in rng.integers(0, min(len(content), 6000), rng.integers(1, 7)):
        content[position] ^= int(rng.integers(1, 256))
    return bytes(content[: rng.integers(0, len(content))] if rng.random() < 0.3 else content)


@pytest.mark.parametrize("kind", ["fastmri", "mrd"])
@pytest.mark.parametrize("n_files", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_files_with_changed_or_missing_bytes_read_or_say_why_not(whole, kind, n_files):
    outcomes = Counter()
    for seed in range(n_files):
        path = whole["folder"] / f"{kind}-{seed}.h5"
        path.write_bytes(mutated(whole[kind], seed))
        outcomes[outcome_of(path)] += 1
        path.unlink()
    assert set(outcomes) == {"read", "refused"}, outcomes
