"""The page of a training run, from a log with planted scores."""

import json

import pytest

from reshim.errors import UserError
from reshim.report.run_page import draw_run, is_run

HOME, AWAY = (0.7, 0.8, 0.81), (0.6, 0.65, 0.61)


def write_run(folder, *, watched=True, stopped=True, finished=True):
    folder.mkdir()
    settings = {
        "reshim": "0.1",
        "torch": "2",
        "network": {"name": "unet-tiny", "class": "UNet", "parameters": 1234},
        "training": {"objective": {"name": "supervised"}},
        "data": {"groups": [{"scans": [{}, {}]}]},
        "finished": {"epochs": 3, "best_epoch": 3, "score": 0.81} if finished else None,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    lines = [{"kind": "step", "step": 20, "loss": 0.4}]
    for epoch, (home, away) in enumerate(zip(HOME, AWAY, strict=True), 1):
        entry = {"kind": "epoch", "epoch": epoch, "step": 10 * epoch, "loss": 0.3, "seconds": 2.0 * epoch}
        entry["validation"] = {"score": home, "measure": "ssim"}
        if watched:
            entry["watched"] = {"anatomy = 'brain'": {"score": away, "measure": "ssim"}}
        lines.append(entry)
    if stopped:
        lines[-1]["stopped_early"] = True
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"kind": "st')
    return folder


def test_both_trajectories_are_drawn_and_the_peak_elsewhere_is_named(tmp_path):
    folder = write_run(tmp_path / "run")
    page = draw_run(folder).read_text()
    assert (
        "validation, in distribution ends at 0.81; only looked at: anatomy = &#39;brain&#39; ends at 0.61"
        in page
    )
    assert "0.6100 at that epoch; its own best was 0.6500 at epoch 2" in page
    assert "stopped early" in page
    assert "training loss ends at 0.4." in page
    assert "1 234 parameters" in page


def test_without_a_second_filter_validation_stands_alone(tmp_path):
    page = draw_run(write_run(tmp_path / "run", watched=False, stopped=False)).read_text()
    assert "only looked at" not in page
    assert "Trained to the end of its budget, 3 epochs." in page


def test_a_run_that_goes_on_is_drawn_as_far_as_it_is(tmp_path):
    assert (
        "not finished; 3 epochs so far" in draw_run(write_run(tmp_path / "run", finished=False)).read_text()
    )


def test_what_is_no_run_is_refused(tmp_path):
    assert not is_run(tmp_path)
    folder = write_run(tmp_path / "run")
    (folder / "settings.json").write_text("[]")
    with pytest.raises(UserError, match="no RUN folder"):
        draw_run(folder)
