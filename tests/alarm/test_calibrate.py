"""From a toy RUN to a calibrated alarm: what it keeps, whom it skips, what it predicts from."""

import json
import shutil
from dataclasses import asdict, dataclass, replace

import pytest
import torch
from tests.conftest import make_measurement
from tests.training.toy import SCHEME, read, record, run

from reshim import reconstruction
from reshim.acquire import measure
from reshim.adaptation.reconciled import Reconciled
from reshim.alarm import calibrate
from reshim.alarm.calibrate import FILE, Foreteller, calibrate_alarm, one_a_subject
from reshim.alarm.features import NAMES, foretelling
from reshim.alarm.shift import Alarm
from reshim.catalog import Catalog
from reshim.classical.sense import Sense
from reshim.cli import main
from reshim.errors import UserError
from reshim.physics.maps import default_estimator
from reshim.reconstruction import Request, reconstruct_file
from reshim.simulation.write import simulate
from reshim.training.run_folder import load_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "toy"
    run(folder, epochs=1)
    return load_run(folder)


@pytest.fixture(scope="module")
def scans():
    """Toy scans, read from nowhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "load", read)
        yield [record(f"new {number}", 1) for number in range(16)]


@pytest.fixture(scope="module")
def calibrated(trained, scans):
    return calibrate_alarm(trained, scans, schemes=(SCHEME,), trained_on=scans[:2])


def test_features_do_not_depend_on_the_scale_of_the_file():
    measurement, _ = make_measurement(rows=24, columns=44, n=1, noise=0.02)
    sense = Sense(ridge=0.3)
    row = foretelling(measurement, sense, 0.7)
    assert row.shape == (len(NAMES),)
    louder = replace(measurement, kspace=1e5 * measurement.kspace)
    torch.testing.assert_close(foretelling(louder, sense, 0.7), row, rtol=0, atol=1e-3)


def test_more_noise_and_a_worse_method_show_in_their_features():
    def named(noise, method):
        measurement, _ = make_measurement(rows=24, columns=44, n=1, noise=noise)
        return dict(zip(NAMES, foretelling(measurement, method, 1.0).tolist(), strict=True))

    clean, noisy = named(0.01, Sense(ridge=0.3)), named(0.1, Sense(ridge=0.3))
    assert noisy["noise"] > clean["noise"] + 0.3
    assert noisy["held-out error"] > clean["held-out error"]
    poor = named(0.01, lambda measurement: 0.0001 * Sense(ridge=0.3)(measurement))
    assert poor["held-out gain over CG-SENSE"] < clean["held-out gain over CG-SENSE"]
    assert poor["residual"] > clean["residual"]


def test_it_is_kept_in_the_run_for_these_weights_alone(trained, calibrated):
    assert (trained.path / FILE).exists()
    assert len(calibrated.about["fitted"]) == 6
    assert len(calibrated.about["calibrated"]) == 10
    assert Foreteller.of_run(trained) is not None
    other = load_run(trained.path)
    with torch.no_grad():
        next(other.network.parameters()).add_(1.0)
    assert Foreteller.of_run(other) is None


def test_one_calibration_is_told_from_another_and_is_the_same_when_read_again(trained, calibrated):
    first, second = (Foreteller.of_run(load_run(trained.path)) for _ in range(2))
    assert first.digest == second.digest == calibrated.digest
    other = replace(calibrated, errors=2 * calibrated.errors)
    assert other.digest != calibrated.digest
    assert replace(calibrated, about={}).digest != calibrated.digest


def test_whether_reconciling_helps_usual_scans_is_seen_on_the_calibration_scans(trained, calibrated, scans):
    method, alarm = calibrate.left_as_is(trained), Alarm.of_run(trained.path)
    mend = Reconciled(method)
    gains = [calibrate.observed(scan, method, alarm, SCHEME, mend).gains for scan in scans]
    means = torch.stack([each.mean() for each in gains])
    kept = calibrated.about["reconciling"]
    assert kept["gain"] == pytest.approx(means.mean().item(), abs=1e-6)
    assert kept["error"] == pytest.approx(means.std().item() / 4, abs=1e-6)
    assert kept["slices"] == sum(map(len, gains)) == 16
    assert kept["losers"] == pytest.approx((torch.cat(gains) < -0.002).double().mean().item())
    assert calibrate.observed(scans[0], method, alarm, SCHEME).gains is None


@dataclass(frozen=True)
class Planted:
    """What reconciling adds to each of 25 subjects of four slices, where so many lose."""

    losers: int
    loss: float = 0.01

    def gains(self):
        slices = torch.full((25, 4), 0.02).double() + torch.linspace(-0.001, 0.001, 25)[:, None]
        slices.view(-1)[: self.losers] = -self.loss
        return list(slices)


@pytest.mark.parametrize(
    ("planted", "against"),
    [
        (Planted(0), ""),
        (Planted(2), ""),
        (Planted(3), "3.0 % of 100 slices lost more than 0.002 SSIM, and 2 % may"),
        (Planted(30, loss=0.0019), ""),
        (Planted(90), "the mean gain is not surely above 0"),
    ],
)
def test_losers_among_the_calibration_slices_keep_usual_scans_as_they_are(
    trained, calibrated, planted, against
):
    about = {**calibrated.about, "reconciling": calibrate._reconciling(planted.gains())}
    foretell = Foreteller(
        calibrate.left_as_is(trained), Alarm.of_run(trained.path), replace(calibrated, about=about)
    )
    assert foretell.mends_usual is (against == "")
    assert foretell.against_mending.startswith(against)


@pytest.mark.parametrize(
    ("known", "mends", "against"),
    [
        ({"gain": 0.01, "error": 0.004, "losers": 0.0, "slices": 9}, True, ""),
        ({"gain": 0.01, "error": 0.006, "losers": 0.0, "slices": 9}, False, "not surely above 0"),
        (
            {"gain": -0.01, "error": 0.001, "losers": 0.5, "slices": 9},
            False,
            "above 0, -0.0100 ± 0.0010; 50.0 %",
        ),
        (None, False, "run `reshim calibrate`"),
    ],
)
def test_only_a_sure_gain_makes_auto_reconcile_usual_scans(trained, calibrated, known, mends, against):
    predictor = replace(calibrated, about={**calibrated.about, "reconciling": known})
    foretell = Foreteller(calibrate.left_as_is(trained), Alarm.of_run(trained.path), predictor)
    assert foretell.mends_usual is mends
    assert against in foretell.against_mending


def test_a_calibration_from_before_losers_were_counted_has_not_seen_it(trained, calibrated, tmp_path):
    shutil.copytree(trained.path, tmp_path / "run")
    outdated = replace(calibrated, about={**calibrated.about, "reconciling": {"gain": 0.1, "error": 0.01}})
    outdated.save(tmp_path / "run" / FILE)
    foretell = Foreteller.of_run(load_run(tmp_path / "run"))
    assert "reconciling" not in foretell.predictor.about
    assert not foretell.mends_usual
    calibrated.save(tmp_path / "run" / FILE)
    assert "reconciling" in Foreteller.of_run(load_run(tmp_path / "run")).predictor.about


def test_predicting_reads_no_reference_and_nothing_that_was_not_acquired(trained, calibrated, scans):
    foretell = Foreteller.of_run(load_run(trained.path))
    acquisition = read(scans[0])
    measurement = default_estimator(measure(acquisition, SCHEME, 1))
    foretold = foretell(measurement)
    spoilt = torch.where(measurement.mask, acquisition.kspace, torch.nan)
    blind = default_estimator(measure(replace(acquisition, kspace=spoilt), SCHEME, 1))
    assert torch.isnan(spoilt.abs()).any()
    assert foretell(blind) == foretold


def test_subjects_that_were_trained_on_are_skipped_and_each_counts_once(trained):
    strangers = [record("x"), replace(record("y"), subject="subject of x"), record("z", fully_sampled=False)]
    seen = record("a")
    chosen = one_a_subject(trained, [seen, *strangers], seed=0)
    assert [scan.subject for scan in chosen] == ["subject of x"]


def test_too_few_scans_are_refused(trained):
    with pytest.raises(UserError, match="0 to calibrate"):
        calibrate_alarm(trained, [])


@pytest.mark.slow
def test_the_command_calibrates_and_the_card_carries_what_is_foretold(trained, tmp_path, capsys):
    paths = simulate(tmp_path / "scans", protocols=["brain-t2-3t"], subjects=16, matrix=32, slices=1)
    Catalog.index([tmp_path / "scans"], tmp_path / "catalog.parquet")
    shutil.copytree(trained.path, tmp_path / "run")
    command = ["calibrate", str(tmp_path / "run"), str(tmp_path / "catalog.parquet")]
    assert main([*command, "--where", "subject = 'nobody'"]) == 2
    assert "widen the filter" in capsys.readouterr().err
    assert main([*command, "--where", "true"]) == 0
    out = tmp_path / "out"
    said = ["reconstruct", str(paths[0]), "--with", str(tmp_path / "run"), "--accelerate", "4"]
    assert main([*said, "--out", str(out)]) == 0
    foretold = json.loads((out / "card.json").read_text())["predicted_ssim"]
    assert (foretold["value"] is None) == (foretold["unknown"] is not None)


@pytest.mark.parametrize("adapt", ["none", "auto"])
def test_a_scan_is_foretold_once_whoever_asks(trained, calibrated, tmp_path, monkeypatch, adapt):
    (path,) = simulate(tmp_path / "scans", protocols=["knee-pd-3t"], subjects=1, matrix=32, slices=1)
    asked = []

    def counted(*arguments):
        asked.append(arguments)
        return foretelling(*arguments)

    monkeypatch.setattr(calibrate, "foretelling", counted)
    request = Request(str(trained.path), adapt, scheme=SCHEME)
    card = reconstruct_file(path, request, tmp_path / "out")
    assert len(asked) == 1
    foretell, measurement = Foreteller.of_run(load_run(trained.path)), asked[0][0]
    assert card.predicted_ssim == asdict(foretell(measurement))
    assert card.shift_score == Alarm.of_run(trained.path)(measurement)


@pytest.mark.parametrize(("adapt", "told"), [("none", False), ("auto", True)])
def test_what_is_foretold_of_the_fall_back_is_not_said_of_another_network(
    trained, calibrated, tmp_path, monkeypatch, adapt, told
):
    (path,) = simulate(tmp_path / "scans", protocols=["knee-pd-3t"], subjects=1, matrix=32, slices=1)
    again = load_run(trained.path)
    fallen_back = replace(again, fallback=again.network)
    monkeypatch.setattr(reconstruction, "load_run", lambda *_, **__: fallen_back)
    card = reconstruct_file(path, Request(str(trained.path), adapt, scheme=SCHEME), tmp_path / "out")
    unknown = "the network itself" in str(card.predicted_ssim["unknown"])
    assert unknown is not told


def test_a_scan_with_too_few_columns_has_no_foretold_quality(trained, calibrated):
    foretell = Foreteller.of_run(load_run(trained.path))
    measurement, _ = make_measurement(rows=24, columns=20, n=1, acceleration=10, center=16)
    assert "at least 2 of 4" in foretell(measurement).unknown
