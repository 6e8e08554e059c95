import argparse

import h5py
import pytest

from reshim.cli import simulate
from reshim.errors import UserError
from reshim.simulation.protocols import PROTOCOLS


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    return simulate.run(parser.parse_args([str(word) for word in words]))


def test_two_subjects_of_two_protocols_are_four_files_and_it_says_where(tmp_path, capsys):
    size = ("--matrix", 24, "--slices", 1, "--subjects", 2)
    assert run(tmp_path, "--protocol", "brain-t2-3t", "--protocol", "knee-pd-1.5t", *size) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{protocol}_{subject}.h5"
        for protocol, anatomy in (("brain-t2-3t", "brain"), ("knee-pd-1.5t", "knee"))
        for subject in (f"{anatomy}-s000-0000", f"{anatomy}-s000-0001")
    }
    printed = capsys.readouterr().out
    assert "4 simulated volumes" in printed
    assert str(tmp_path) in printed


def test_run_again_it_recomputes_nothing(tmp_path):
    words = (tmp_path, "--protocol", "knee-pd-3t", "--matrix", 24, "--slices", 1, "--subjects", 1)
    run(*words)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    assert run(*words) == 0
    assert path.stat().st_mtime_ns == written


def test_seed_and_first_subject_name_the_subject(tmp_path):
    size = ("--matrix", 24, "--slices", 1, "--subjects", 1)
    run(tmp_path, "--protocol", "knee-pd-3t", "--seed", 5, "--first-subject", 7, *size)
    (path,) = tmp_path.iterdir()
    with h5py.File(path) as file:
        assert file.attrs["subject"] == "knee-s005-0007"


def test_list_names_every_protocol_and_writes_nothing(capsys):
    assert run("--list") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in PROTOCOLS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--subjects", 0), "--subjects is 0"),
        (("--matrix", 31), "matrix is 31"),
        (("--protocol", "brain-t9"), "'brain-t9' is not known"),
    ],
)
def test_unusable_arguments_are_named_with_their_value(tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, *words)


def test_without_a_folder_it_says_what_to_write():
    with pytest.raises(UserError, match="reshim simulate OUT"):
        run()


def test_without_a_protocol_all_are_made_small(tmp_path, monkeypatch):
    from reshim.simulation import write

    asked = {}

    def note(out, cards, subjects, matrix, slices, *rest, **more):
        asked.update(cards=[card.name for card in cards], matrix=matrix, slices=slices)
        return []

    monkeypatch.setattr(write, "simulate", note)
    run(tmp_path)
    assert asked == {"cards": list(PROTOCOLS), "matrix": 96, "slices": 4}
    run(tmp_path, "--matrix", 32, "--slices", 1)
    assert (asked["matrix"], asked["slices"]) == (32, 1)
    run(tmp_path, "--protocol", "knee-pd-3t")
    assert (asked["matrix"], asked["slices"]) == (128, None)


def test_artefacts_and_lesions_are_written_into_name_and_file(tmp_path):
    size = ("--matrix", 24, "--slices", 2, "--subjects", 1)
    wrong = ("--motion", 1.5, "--wrap", 0.2, "--lesions", "--lesion-size", 2)
    run(tmp_path, "--protocol", "knee-pd-3t", *size, *wrong)
    (path,) = tmp_path.iterdir()
    assert path.name == "knee-pd-3t+motion1.5+wrap0.2_knee-s000-0000.h5"
    with h5py.File(path) as file:
        assert file.attrs["protocol"] == "knee-pd-3t+motion1.5+wrap0.2"
        assert (file.attrs["motion"], file.attrs["wrap"]) == (1.5, 0.2)
        assert "spikes" not in file.attrs
