"""The commands as a person types them: images and a card, rows, and errors that say what to do."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.training.toy import run

from reshim.acquire import Scheme, measure
from reshim.adaptation.fitted_decoder import FittedDecoder
from reshim.adaptation.zero_shot import ZeroShot
from reshim.catalog import Catalog
from reshim.classical.sense import Sense
from reshim.cli import main
from reshim.digest import digest
from reshim.methods import OnDevice, method_of
from reshim.physics.maps import default_estimator
from reshim.reconstruction import scope_of
from reshim.rows import read_rows
from reshim.scans import open_scan
from reshim.simulation.write import simulate
from reshim.training.run_folder import load_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    simulate(folder, protocols=["knee-pd-3t"], subjects=3, matrix=48, slices=2)
    Catalog.index([folder], folder / "scans.parquet")
    return folder


def first_scan(folder: Path) -> Path:
    return sorted(folder.glob("*.h5"))[0]


def test_reconstruct_writes_images_and_a_card_with_scores(folder, tmp_path, capsys):
    scan = first_scan(folder)
    arguments = ["reconstruct", str(scan), "--with", "sense", "--accelerate", "3", "--center-lines", "12"]
    assert main([*arguments, "--out", str(tmp_path), "--format", "h5,png,nii,dcm", "--complex"]) == 0
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["scan"] == scan.name
    assert card["adapt"]["asked"] == "none"
    assert set(card["scores"]) == set(card["scores_rss"]) == {"ssim", "psnr", "nmse"}
    assert set(card["metrics"]) == {"ssim", "psnr", "nmse", "scores", "scores_rss"}
    assert "7×7 uniform window" in card["metrics"]["ssim"]["definition"]
    assert card["metrics"]["psnr"]["range"].startswith("data range: maximum")
    assert card["metrics"]["nmse"]["better"] == "lower"
    assert card["metrics"]["scores"]["region"].startswith("support: ")
    assert card["metrics"]["scores_rss"]["crop"] == [48, 48]
    assert card["effective_acceleration"] == pytest.approx(48 / (16 + 12 - 4), rel=0.1)
    assert card["scores"]["nmse"] < 0.1
    with h5py.File(tmp_path / f"{scan.stem}.h5") as file:
        assert file["reconstruction"].shape == (2, 48, 48)
        assert file["reconstruction"].dtype == np.float32
        np.testing.assert_allclose(
            np.abs(file["reconstruction_complex"][:]), file["reconstruction"][:], rtol=1e-5
        )
    assert (tmp_path / f"{scan.stem}.png").exists()
    assert (tmp_path / f"{scan.stem}.nii.gz").exists()
    assert str(tmp_path) in capsys.readouterr().out.replace("\n", "")


def test_the_card_says_that_another_method_was_used(folder, tmp_path):
    arguments = ["reconstruct", str(first_scan(folder)), "--with", "grappa", "--out", str(tmp_path)]
    assert main([*arguments, "--accelerate", "3", "--mask", "poisson", "--center-lines", "12"]) == 0
    (warning,) = json.loads((tmp_path / "card.json").read_text())["warnings"]
    assert "Sense is used instead" in warning


@pytest.fixture(scope="module")
def lost(tmp_path_factory) -> Path:
    """A RUN of toys whose weights are 10,000 times what training made them: its images are no good."""
    path = tmp_path_factory.mktemp("runs") / "lost"
    run(path, epochs=1)
    for file in (path / "model.safetensors", path / "fallback.safetensors"):
        if file.exists():
            with safe_open(file, framework="pt") as weights:
                about = weights.metadata()
            save_file({name: 1e4 * tensor for name, tensor in load_file(file).items()}, file, metadata=about)
    return path


def card_of(folder: Path, out: Path, *arguments: str) -> dict:
    scan = first_scan(folder)
    said = ["reconstruct", str(scan), "--accelerate", "3", "--center-lines", "12", "--out", str(out)]
    assert main([*said, *arguments]) == 0
    return json.loads((out / "card.json").read_text())


def test_the_card_and_the_terminal_say_that_the_network_was_at_a_loss(folder, lost, tmp_path, capsys):
    card = card_of(folder, tmp_path, "--with", str(lost), "--adapt", "auto")
    counts = {"left": 0, "reconciled": 0, "fitted": 0, "classical": 2}
    assert card["adapt"]["counts"] == counts, card["adapt"]["why"]
    assert card["adapt"]["action"] == ["classical", "classical"]
    assert (card["adapt"]["done"], card["adapt"]["of_slices"]) == (0, 2)
    (warning,) = [text for text in card["warnings"] if "at a loss" in text]
    assert "L1Wavelet" in warning
    assert card["method"] == str(lost)
    assert card["shift_score"] > 1
    shown = capsys.readouterr().out
    assert "2 classical" in shown
    assert "at a loss" in shown.replace("\n", " ")
    alone = card_of(folder, tmp_path / "alone", "--with", "l1-wavelet")
    assert card["scores"] == pytest.approx(alone["scores"], rel=1e-4)
    assert alone["adapt"]["counts"]["left"] == 2


def test_the_card_counts_reconciled_and_fitted_slices(folder, lost, tmp_path):
    card = card_of(folder, tmp_path / "reconciled", "--with", str(lost), "--adapt", "reconcile")
    assert card["adapt"]["counts"]["reconciled"] == 2
    assert card["adapt"]["done"] == 0
    assert [card["adapt"][name] for name in ("options", "budget_s", "scope")] == [[], None, None]
    options = [
        "--adapt-option",
        "steps=1",
        "--adapt-option",
        "guarded=false",
        "--adapt-option",
        "check-every=1",
    ]
    card = card_of(folder, tmp_path / "fitted", "--with", str(lost), "--adapt", "slice", *options)
    assert card["adapt"]["options"] == ["steps=1", "guarded=false", "check-every=1"]
    assert card["adapt"]["scope"] == "slice"
    for action, why in zip(card["adapt"]["action"], card["adapt"]["why"], strict=False):
        assert action in ("fitted", "reconciled")
        assert "after 0 steps" in why or "after 1 steps" in why


def test_a_budget_too_small_for_anything_still_gives_an_image_and_the_reason(folder, lost, tmp_path):
    for mode in ("reconcile", "volume", "auto", "reference"):
        card = card_of(folder, tmp_path / mode, "--with", str(lost), "--adapt", mode, "--budget", "1e-6")
        assert card["adapt"]["counts"]["left"] == 2
        assert card["adapt"]["budget_s"] == 1e-6
        scopes = {"volume": "volume", "reference": "slice"}
        assert card["adapt"]["scope"] == scopes.get(mode)
        assert "budget of 1e-06 s" in card["adapt"]["why"][0] or "no time" in card["adapt"]["why"][0]


def test_the_scope_is_that_of_whatever_fits_however_it_is_wrapped():
    decoder = FittedDecoder(iterations=1)
    assert scope_of(OnDevice(decoder, "cpu")) == scope_of(ZeroShot()) == "slice"
    assert scope_of(Sense()) is None


def test_an_unknown_setting_of_a_fit_lists_those_there_are(folder, lost, tmp_path, capsys):
    said = ["reconstruct", str(first_scan(folder)), "--with", str(lost), "--out", str(tmp_path)]
    assert main([*said, "--adapt", "volume", "--adapt-option", "rate=3"]) == 2
    assert "learning_rate=0.003" in capsys.readouterr().err
    assert main([*said, "--adapt", "auto", "--adapt-option", "steps=3"]) == 2
    assert "slice, volume, reference" in capsys.readouterr().err


@pytest.mark.slow
def test_auto_from_simulated_scans_to_a_card(tmp_path):
    """Train on knees, calibrate on others, reconstruct a brain, which is neither."""
    scans, catalog, run_folder = tmp_path / "scans", tmp_path / "scans.parquet", tmp_path / "run"
    simulate(scans, protocols=["knee-pd-3t"], subjects=30, matrix=32, slices=4)
    brains = simulate(tmp_path / "brains", protocols=["brain-t2-3t"], subjects=1, matrix=32, slices=4)
    Catalog.index([scans], catalog)
    Catalog.read(catalog).split({"train": 0.4, "val": 0.05, "test": 0.55}, keep=False).write(catalog)
    train = ["train", str(catalog), "--where", "true", "--network", "unet-tiny", "--input", "complex"]
    train += [
        "--objective",
        "joint",
        "--epochs",
        "2",
        "--network-option",
        "channels=4",
        "--out",
        str(run_folder),
    ]
    assert main(train) == 0
    assert main(["calibrate", str(run_folder), str(catalog), "--where", "true"]) == 0
    said = ["reconstruct", str(brains[0]), "--with", str(run_folder), "--adapt", "auto", "--accelerate", "4"]
    assert main([*said, "--out", str(tmp_path / "out")]) == 0
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["shift_score"] > 1
    assert card["predicted_ssim"]["unknown"]
    assert "beyond what training saw" in card["adapt"]["why"][0]
    assert card["adapt"]["counts"]["left"] == 0
    assert card["scores"]["ssim"] > 0.3
    # The same run where auto may fit as well: weights of a real network, not of a toy.
    method = replace(method_of(str(run_folder), "auto"), fits=True)
    method = replace(method, adapted=replace(method.adapted, steps=4, check_every=2, guarded=False))
    measurement = default_estimator(measure(open_scan(brains[0]).load(None), Scheme(center_lines=6), 1))
    outcome = method.explain(measurement)
    assert "judging fold" in outcome.reason[0] or "at least 2 of 4" in outcome.reason[0]
    assert np.isfinite(outcome.image.numpy()).all()


def test_a_batch_goes_on_past_a_bad_file_names_it_and_ends_with_3(folder, tmp_path, capsys):
    broken = tmp_path / "broken.h5"
    broken.write_bytes(first_scan(folder).read_bytes()[:20_000])
    files = [str(first_scan(folder)), str(broken)]
    status = main(
        ["reconstruct", *files, "--with", "zero-filled", "--accelerate", "4", "--out", str(tmp_path / "o")]
    )
    assert status == 3
    assert "broken.h5" in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / "o" / first_scan(folder).stem / "card.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--with", "sence"], "neither a method nor a RUN folder"),
        (["--with", "sense", "--format", "jpg"], "jpg"),
        (["--with", "sense", "--center-lines", "12"], "--accelerate"),
        (["--with", "sense", "--adapt", "volume"], "has none"),
        (["--with", "default", "--adapt", "volume", "--budget", "5"], "has none"),
        (["--with", "sense", "--budget", "5"], "fits nothing"),
        (["--with", "sense", "--accelerate", "4", "--mask", "poison"], "poison"),
    ],
)
def test_unusable_arguments_end_with_2_and_one_sentence(folder, tmp_path, capsys, arguments, words):
    assert main(["reconstruct", str(first_scan(folder)), "--out", str(tmp_path), *arguments]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message


def spoil(path: Path, out: Path, change) -> Path:
    out.write_bytes(path.read_bytes())
    with h5py.File(out, "r+") as file:
        change(file)
    return out


def without_kspace(file):
    del file["kspace"]


def with_nan(file):
    file["kspace"][1, 0, 3, 3] = np.nan


def with_zeros(file):
    file["kspace"][1] = 0


def with_short_mask(file):
    file["mask"] = np.ones(17, dtype=bool)


def with_swapped_axes(file):
    kspace = np.moveaxis(file["kspace"][:], 1, -1)
    del file["kspace"]
    file["kspace"] = kspace


@pytest.mark.parametrize("change", [without_kspace, with_nan, with_zeros, with_short_mask, with_swapped_axes])
def test_a_bad_scan_gets_a_sentence_with_its_name(folder, tmp_path, capsys, change):
    path = spoil(first_scan(folder), tmp_path / "bad.h5", change)
    assert main(["reconstruct", str(path), "--with", "zero-filled", "--out", str(tmp_path / "o")]) == 2
    message = capsys.readouterr().err
    assert "bad.h5" in message
    assert len(message) > 60


def test_evaluate_writes_rows_and_resumes(folder, tmp_path, capsys):
    out = tmp_path / "rows.parquet"
    arguments = ["evaluate", str(folder / "scans.parquet"), "--where", "anatomy = 'knee'", "--split", "all"]
    arguments += ["--with", "zero-filled", "sense", "--center-lines", "12", "--out", str(out)]
    assert main(arguments) == 0
    rows = read_rows(out).to_pylist()
    assert len(rows) == 3 * 2 * 2 * 2 * 2 * 3  # scans, slices, methods, targets, regions, metrics
    assert {row["method"] for row in rows} == {"zero-filled", "sense"}
    assert {row["center_lines"] for row in rows} == {12}
    assert all(row["data_kind"] == "simulated" for row in rows)

    def mean(method):
        chosen = [row["value"] for row in rows if row["method"] == method and row["metric"] == "ssim"]
        return np.mean(chosen)

    assert mean("sense") > mean("zero-filled")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "rows.store").rglob("*.parquet")}
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_evaluate_prints_paired_differences_to_one_of_its_methods(folder, tmp_path, capsys):
    methods = ("--with", "zero-filled", "sense", "--compare-to")
    assert evaluated(folder, tmp_path / "rows.parquet", *methods, "grappa") == 2
    assert "zero-filled, sense" in capsys.readouterr().err
    assert not (tmp_path / "rows.parquet").exists()
    assert evaluated(folder, tmp_path / "rows.parquet", *methods, "zero-filled") == 0
    said = capsys.readouterr().out
    assert "SSIM against mvue, support" in said
    assert "| difference to zero-filled | p (Holm) |" in said
    (line,) = (line for line in said.splitlines() if line.startswith("| sense"))
    # Three subjects, all better: two of eight patterns of signs are as large.
    assert line.endswith("| 0.250 |")
    assert "| +0." in line


def evaluated(folder: Path, out: Path, *arguments: str) -> int:
    scans = [str(folder / "scans.parquet"), "--where", "true", "--split", "all", "--allow-seen"]
    scans += ["--center-lines", "12", "--targets", "mvue", "--metrics", "ssim"]
    return main(["evaluate", *scans, *arguments, "--out", str(out)])


def test_evaluate_takes_the_settings_of_a_fit_as_reconstruct_does(folder, lost, tmp_path):
    run, options = str(lost), ("steps=1", "guarded=false", "check-every=1")
    said = [word for option in options for word in ("--adapt-option", option)]
    methods = ["--with", "zero-filled", run, "--adapt", "slice"]
    assert evaluated(folder, tmp_path / "rows.parquet", *methods, *said, "--budget", "50") == 0
    rows = read_rows(tmp_path / "rows.parquet").to_pylist()
    digests = {row["method"]: row["method_sha256"] for row in rows}
    assert digests[lost.name] == digest(method_of(run, "slice", 50.0, adapt_options=options))
    assert digests[lost.name] != digest(method_of(run, "slice", 50.0))
    assert digests["zero-filled"] == digest(method_of("zero-filled"))


def test_evaluate_within_too_small_a_budget_scores_the_network_as_it_is(folder, lost, tmp_path):
    run = str(lost)
    short = tmp_path / "short.parquet"
    assert evaluated(folder, short, "--with", run, "--adapt", "reconcile", "--budget", "1e-6") == 0
    assert evaluated(folder, tmp_path / "as-it-is.parquet", "--with", run) == 0
    values = [
        [row["value"] for row in read_rows(path).to_pylist()]
        for path in (short, tmp_path / "as-it-is.parquet")
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_the_weights_of_an_epoch_are_a_method_of_their_own(folder, lost, tmp_path, capsys):
    early = f"{lost}@1"
    card = card_of(folder, tmp_path / "card", "--with", early)
    assert card["method"] == early
    assert card["shift_score"] > 1
    assert card_of(folder, tmp_path / "mended", "--with", early, "--adapt", "reconcile")["adapt"][
        "counts"
    ] == {
        "left": 0,
        "reconciled": 2,
        "fitted": 0,
        "classical": 0,
    }
    assert evaluated(folder, tmp_path / "rows.parquet", "--with", str(lost), early) == 0
    rows = read_rows(tmp_path / "rows.parquet").to_pylist()
    digests = {row["method"]: row["method_sha256"] for row in rows}
    assert digests == {
        "lost": digest(load_run(lost)),
        "lost@1": digest(load_run(lost, epoch=1)),
    }
    assert len(set(digests.values())) == 2
    for epoch in ("0", "7"):
        assert evaluated(folder, tmp_path / "no.parquet", "--with", f"{lost}@{epoch}") == 2
        said = capsys.readouterr().err.replace("\n", " ")
        assert f"no weights of epoch {epoch}; it holds those of epochs 1 to 1" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--with", "sense", "--budget", "5"], "fits nothing"),
        (["--with", "sense", "--adapt", "volume"], "has none"),
        (["--with", "sense", "--adapt-option", "steps=3"], "changes how a RUN is fitted"),
        (["--with", "sense", "RUN", "--budget", "5"], "fits nothing"),
        (["--with", "RUN", "--adapt-option", "steps=3"], "leaves the network as it is"),
        (["--with", "conv-decoder", "--budget", "-1"], "seconds above 0"),
        (["--with", "RUN", "--adapt", "volume", "--budget", "0"], "seconds above 0"),
        (["--with", "RUN", "--adapt", "volume", "--adapt-option", "rate=3"], "learning_rate=0.003"),
        (["--with", "RUN", "--adapt", "auto", "--adapt-option", "steps=3"], "slice, volume, reference"),
    ],
)
def test_evaluate_refuses_what_no_method_would_heed(folder, lost, tmp_path, capsys, arguments, words):
    said = [str(lost) if word == "RUN" else word for word in arguments]
    assert evaluated(folder, tmp_path / "rows.parquet", *said) == 2
    assert words in capsys.readouterr().err


def test_evaluate_leaves_out_a_scan_that_moved_and_ends_with_3(folder, tmp_path, capsys):
    scans = tmp_path / "scans"
    simulate(scans, protocols=["knee-pd-3t"], subjects=2, matrix=48, slices=1)
    Catalog.index([scans], tmp_path / "c.parquet")
    first_scan(scans).rename(tmp_path / "elsewhere.h5")
    arguments = ["evaluate", str(tmp_path / "c.parquet"), "--where", "true", "--split", "all"]
    assert main([*arguments, "--with", "zero-filled", "--out", str(tmp_path / "r.parquet")]) == 3
    assert "left out" in capsys.readouterr().out


def test_every_command_answers_help_with_an_example(capsys):
    from reshim.cli import build_parser

    _, commands = build_parser()
    for name in commands:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert "example" in capsys.readouterr().out


def test_doctor_says_what_it_found(tmp_path, capsys):
    assert main(["doctor", "--out", str(tmp_path / "new")]) == 0
    assert "torch" in capsys.readouterr().out


def test_subjects_that_a_run_took_over_are_refused_in_every_mode(folder, tmp_path, capsys):
    from reshim.acquire import Scheme
    from reshim.training.settings import TrainingSettings
    from reshim.training.train import train

    first, second, _ = Catalog.read(folder / "scans.parquet").records()
    settings = TrainingSettings(epochs=1, batch_size=2, schemes=(Scheme(acceleration=2, center_lines=12),))
    small = {"network_settings": {"channels": 4, "poolings": 2, "input": "complex"}}
    train("unet-tiny", [first], [], settings, tmp_path / "first", **small)
    train("unet-tiny", [second], [], settings, tmp_path / "second", start=tmp_path / "first", **small)
    scans = [str(folder / "scans.parquet"), "--where", f"subject = '{first.subject}'", "--split", "all"]
    words = ["evaluate", *scans, "--out", str(tmp_path / "rows.parquet")]
    run = str(tmp_path / "second")
    alone = [["--with", run], ["--with", run, "--adapt", "auto"], ["--with", "sense", f"zs-ssl:{run}"]]
    for more in (*alone, ["--with", f"{run}@1"], ["--with", f"zs-ssl:{run}@1"]):
        assert main([*words, *more]) == 2
        assert f"trained on, e.g. '{first.subject}'" in capsys.readouterr().err
