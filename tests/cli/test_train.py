import json
import signal
import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import fields
from types import SimpleNamespace

import h5py
import pytest
import torch
from safetensors.torch import load_file

from reshim.catalog import Catalog
from reshim.cli import main
from reshim.cli import train as command
from reshim.cli.training_options import FLAGS, STOP, settings_without_flag
from reshim.cli.training_plan import scans_of
from reshim.errors import UserError
from reshim.physics.fourier import to_kspace
from reshim.training.cache import Cache
from reshim.training.run_folder import RunFolder, load_run
from reshim.training.sampling import nested_subset
from reshim.training.settings import EarlyStop, TrainingSettings, settings_from

ROWS, COLUMNS, COILS = 32, 28, 4


def write_scan(path, seed, *, undersampled=False):
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(ROWS, COLUMNS, dtype=torch.complex64)
    image[6:26, 5:22] = 1
    image[10:16, 8:14] += torch.rand(1, generator=generator)
    phases = torch.exp(1j * torch.linspace(0, 3, COILS))[:, None, None]
    ramp = torch.linspace(0.3, 1, ROWS)[None, :, None] * torch.linspace(0.5, 1, COILS)[:, None, None]
    kspace = to_kspace(phases * (ramp + 0.1) * image).to(torch.complex64)
    kspace = torch.stack([kspace, 0.8 * kspace])
    kspace += 0.01 * torch.randn(kspace.shape, dtype=torch.complex64, generator=generator)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        if undersampled:
            mask = torch.zeros(COLUMNS, dtype=torch.bool)
            mask[::2] = mask[9:19] = True
            file["mask"] = mask.numpy()
            kspace = kspace * mask
        else:
            file["reconstruction_rss"] = kspace.abs().sum(1).numpy()
        file["kspace"] = kspace.numpy()
        file.attrs["acquisition"] = "CORPD_FBK"
        file.attrs["patient_id"] = path.stem


@pytest.fixture
def catalog(tmp_path):
    for seed, (split, count) in enumerate([("train", 3), ("val", 1), ("test", 1)]):
        for number in range(count):
            write_scan(tmp_path / "scans" / f"multicoil_{split}" / f"{split}{number}.h5", 10 * seed + number)
    Catalog.index([tmp_path / "scans"], tmp_path / "scans.parquet", workers=1)
    return tmp_path / "scans.parquet"


def reshim_train(*words):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    return command.run(parser.parse_args([str(word) for word in words]))


QUICK = ["--network", "unet-tiny", "--network-option", "channels=4", "poolings=2", "--center-lines", 10]
QUICK += ["--acceleration", 2, "--epochs", 2, "--batch", 2]


def test_a_run_from_the_command_line(catalog, tmp_path, capsys):
    out = tmp_path / "run"
    words = [catalog, "--where", "anatomy = 'knee'", "--out", out, *QUICK]
    assert reshim_train(*words) == 0
    printed = capsys.readouterr().out
    assert str(out) in printed
    assert "12 slices in 6 steps" in printed
    settings = json.loads((out / "settings.json").read_text())
    assert settings["about"]["where"] == ["anatomy = 'knee'"]
    named = [*settings["data"]["groups"][0]["scans"], *settings["data"]["validation"]]
    assert len(named) == 4
    assert {(scan["dataset"], scan["subject"]) for scan in named} == load_run(out).training_subjects
    assert not load_run(out).has_phase

    before = (out / "model.safetensors").stat().st_mtime_ns
    assert reshim_train(*words) == 0
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="learning_rate"):
        reshim_train(*words, "--learning-rate", 0.5)


@pytest.mark.parametrize(
    ("option", "first", "second"),
    [
        ("--network-option", "channels=4", "channels=8"),
        ("--objective-option", "hidden_share=0.2", "hidden_share=0.3"),
        ("--training-option", "clip=1.0", "clip=2.0"),
    ],
)
def test_a_setting_that_is_given_twice_is_refused_and_two_options_add_up(
    catalog, tmp_path, option, first, second
):
    words = [catalog, "--where", "true", *QUICK, "--objective", "joint", "--out", tmp_path / "run"]
    key = first.partition("=")[0]
    with pytest.raises(UserError, match=f"{option} names {key} twice"):
        reshim_train(*words, option, first, option, second)
    assert not (tmp_path / "run").exists()


def test_network_options_given_apart_are_all_heard(catalog, tmp_path):
    words = [catalog, "--where", "true", *QUICK[:2], *QUICK[5:], "--out", tmp_path / "run"]
    assert reshim_train(*words, "--network-option", "channels=4", "--network-option", "poolings=2") == 0
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    network = settings["network"]["settings"]
    assert (network["channels"], network["poolings"]) == (4, 2)


def test_objectives_in_kspace_take_complex_input_unless_told_otherwise(catalog, tmp_path):
    words = [catalog, "--where", "true", *QUICK, "--objective", "joint"]
    assert reshim_train(*words, "--out", tmp_path / "run", "--objective-option", "hidden_share=0.2") == 0
    run = load_run(tmp_path / "run")
    assert run.has_phase
    assert run.settings["training"]["objective"]["hidden_share"] == 0.2
    with pytest.raises(UserError, match="without phase"):
        reshim_train(*words, "--out", tmp_path / "other", "--input", "magnitude")


def test_a_site_is_adapted_to_from_a_run(catalog, tmp_path):
    assert (
        reshim_train(catalog, "--where", "true", *QUICK, "--input", "complex", "--out", tmp_path / "run") == 0
    )
    for number in range(2):
        write_scan(tmp_path / "site" / "multicoil_train" / f"site{number}.h5", 50 + number, undersampled=True)
    Catalog.index([tmp_path / "site"], tmp_path / "site.parquet", workers=1)
    words = [tmp_path / "site.parquet", "--where", "fully_sampled = false", "--from", tmp_path / "run"]
    assert reshim_train(*words, "--objective", "ssdu", "--epochs", 1, "--out", tmp_path / "adapted") == 0
    adapted = load_run(tmp_path / "adapted")
    assert adapted.fallback is not None
    assert adapted.settings["finished"]["best_epoch"] is None


def test_watching_another_filter_changes_nothing_but_the_log(catalog, tmp_path):
    words = [catalog, "--where", "true", *QUICK]
    assert reshim_train(*words, "--out", tmp_path / "plain") == 0
    assert reshim_train(*words, "--out", tmp_path / "watched", "--watch", "anatomy = 'knee'") == 0
    assert load_run(tmp_path / "plain").digest == load_run(tmp_path / "watched").digest
    lines = RunFolder(tmp_path / "watched").read_log("epoch")
    assert lines[0]["watched"]["anatomy = 'knee'"]["score"] == lines[0]["validation"]["score"]
    page = (tmp_path / "watched" / "index.html").read_text()
    assert "only looked at: anatomy = &#39;knee&#39;" in page
    assert "only looked at" not in (tmp_path / "plain" / "index.html").read_text()


def test_several_filters_are_groups_with_weights(catalog, tmp_path):
    words = [catalog, "--where", "path LIKE '%train0%'", "--where", "path LIKE '%train1%'", *QUICK]
    assert reshim_train(*words, "--weight", 3, "--weight", 1, "--out", tmp_path / "run") == 0
    groups = load_run(tmp_path / "run").settings["data"]["groups"]
    assert [group["weight"] for group in groups] == [3, 1]
    with pytest.raises(UserError, match="1 --weight for 2"):
        reshim_train(*words, "--weight", 3, "--out", tmp_path / "other")


def test_what_cannot_be_meant_is_refused(catalog, tmp_path):
    words = [catalog, "--out", tmp_path / "run", *QUICK]
    for more, said in [
        (["--where", "subject = 'nobody'"], "nobody"),
        (["--where", "true", "--subset", "half"], "1/8"),
        (["--where", "true", "--objective", "magic"], "ssdu"),
        (["--where", "true", "--objective-option", "level"], "KEY=VALUE"),
        (["--where", "true", "--objective-option", "level=3"], "level"),
        (["--where", "true", "--center-fraction", "0.1"], "same thing"),
        (["--where", "true", "--samples", "8"], "exactly one"),
        (["--where", "true", "--network", "u-net"], "unet-tiny"),
        (["--where", "true", "--subset", "1", "--subset", "1/2"], "2 --subset for 1 --where"),
        (["--where", "true", "--subset", "2"], "at most 1"),
        (["--where", "true", "--schedule", "constant", "--warm-up", "0.1"], "--schedule constant keeps it"),
        (["--where", "true", "--fixed-mask", "--acceleration", "2", "4"], "2 rates"),
        (["--where", "true", "--learning-rate", "-1"], "above 0"),
        (["--where", "true", "--training-option", "clips=1"], "no key 'clips'; it has start_divisor, "),
        (["--where", "true", "--training-option", "clip"], "KEY=VALUE"),
        (["--where", "true", "--training-option", "clip=0"], "above 0"),
        (["--where", "true", "--training-option", "clip=inf"], "a number or none"),
        (["--where", "true", "--training-option", "log_every=often"], "a whole number"),
        (["--where", "true", "--training-option", "batch_size=3"], "give --batch"),
        (["--where", "true", "--training-option", "stop_window=3"], "give --stop early"),
        (["--where", "true", "--stop", "early", "--training-option", "stop_window=0"], "at least 1"),
        (
            ["--where", "true", "--schedule", "constant", "--training-option", "final_divisor=2"],
            "--schedule constant keeps it",
        ),
    ]:
        with pytest.raises(UserError, match=said):
            reshim_train(*words, *more)
    assert not (tmp_path / "run").exists()


def test_every_setting_of_a_training_has_one_way_to_be_said():
    settings = {field.name for field in fields(TrainingSettings)}
    assert set(FLAGS) | (set(settings_without_flag()) - set(STOP)) == settings
    assert not set(FLAGS) & set(settings_without_flag())
    assert set(STOP.values()) == {field.name for field in fields(EarlyStop)}


def test_settings_without_an_option_of_their_own(catalog, tmp_path):
    words = [catalog, "--where", "true", *QUICK, "--stop", "early", "--out", tmp_path / "run"]
    words += ["--training-option", "clip=none", "keep-epochs=false", "stop_window=7"]
    assert reshim_train(*words, "--training-option", "remove_oversampling=false", "log_every=1") == 0
    training = settings_from(load_run(tmp_path / "run").settings["training"])
    assert training.clip is None
    assert training.early_stop == EarlyStop(window=7)
    assert not training.remove_oversampling
    assert len(RunFolder(tmp_path / "run").read_log("step")) == 6
    assert not RunFolder(tmp_path / "run").epoch(1).exists()


def test_gradients_are_clipped_as_told(catalog, tmp_path):
    words = [catalog, "--where", "true", *QUICK, "--epochs", 1, "--training-option"]
    digests = []
    for clip in ("none", "1e6", "1e-9"):
        assert reshim_train(*words, f"clip={clip}", "--out", tmp_path / clip) == 0
        digests.append(load_run(tmp_path / clip).digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--fsdp"]], ids=["replicated", "sharded"])
def test_two_processes_draw_the_loss_curve_of_one(more, catalog, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("import sys\nfrom reshim.cli import main\nsys.exit(main(['train', *sys.argv[1:]]))\n")
    # Of six slices in batches of five, one is left over: a step to which one process has nothing to add.
    options = ["--where", "true", *QUICK, "--batch", "5", "--epochs", "4"]
    for size in (1, 2):
        words = [catalog, *options, "--out", tmp_path / f"of{size}", *(more if size > 1 else [])]
        launcher = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            str(size),
            "--master-port",
            "29591",
        ]
        subprocess.run([*launcher, script, *map(str, words)], check=True, timeout=900)
    one, two = (RunFolder(tmp_path / f"of{size}").read_log("epoch") for size in (1, 2))
    assert [line["samples"] for line in one] == [line["samples"] for line in two]
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=1e-5)
    scores = [[line["validation"]["score"] for line in lines] for lines in (one, two)]
    assert scores[1] == pytest.approx(scores[0], rel=1e-5)
    # What several processes save is whole, so that one may go on with it.
    weights = [load_file(tmp_path / f"of{size}" / "state.safetensors") for size in (1, 2)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-5)


def test_sharding_over_one_process_is_refused(catalog, tmp_path):
    with pytest.raises(UserError, match="torchrun"):
        reshim_train(catalog, "--where", "true", *QUICK, "--fsdp", "--out", tmp_path / "run")


def test_logs_for_tensorboard_are_refused_where_it_is_not_installed(catalog, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'reshim\[tensorboard\]'"):
        reshim_train(catalog, "--where", "true", *QUICK, "--tensorboard", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tensorboard_reads_what_was_written_for_it(catalog, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert reshim_train(catalog, "--where", "true", *QUICK, "--tensorboard", "--out", tmp_path / "run") == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    logged = RunFolder(tmp_path / "run").read_log("epoch")
    for name, expected in (
        ("loss/epoch", [line["loss"] for line in logged]),
        ("validation/ssim", [line["validation"]["score"] for line in logged]),
    ):
        assert [event.value for event in events.Scalars(name)] == pytest.approx(expected, rel=1e-6)
        assert [event.step for event in events.Scalars(name)] == [3, 6]


def test_logs_for_tensorboard_lie_beside_the_run(catalog, tmp_path, monkeypatch):
    words = [catalog, "--where", "true", *QUICK, "--watch", "anatomy = 'knee'"]
    assert reshim_train(*words, "--out", tmp_path / "without") == 0
    assert not (tmp_path / "without" / "tensorboard").exists()
    words.append("--tensorboard")
    told = []

    class Writer:
        """In place of TensorBoard's."""

        def __init__(self, folder):
            told.append(folder)

        def add_scalar(self, name, value, step):
            told.append((name, step))

        def flush(self):
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    assert reshim_train(*words, "--out", tmp_path / "with") == 0
    assert told[0] == tmp_path / "with" / "tensorboard"
    assert ("validation/ssim", 6) in told
    assert ("watched/anatomy = 'knee'", 6) in told
    assert load_run(tmp_path / "with").digest == load_run(tmp_path / "without").digest


def test_bfloat16_by_either_name(catalog, tmp_path):
    for index, words in enumerate((["--precision", "bf16"], ["--bf16"])):
        assert reshim_train(catalog, "--where", "true", *QUICK, *words, "--out", tmp_path / str(index)) == 0
    runs = [load_run(tmp_path / name) for name in "01"]
    assert runs[0].settings["training"]["bf16"]
    assert runs[0].digest == runs[1].digest


def test_shares_of_the_subjects_for_all_filters_or_for_each(catalog, tmp_path):
    p, q = "path LIKE '%train%'", "path NOT LIKE '%train0%'"
    words = [catalog, "--where", p, "--where", q, "--weight", 10, "--weight", 1, *QUICK, "--epochs", 1]
    assert reshim_train(*words, "--subset", "1/3", "--out", tmp_path / "all") == 0
    assert reshim_train(*words, "--subset", "1", "--subset", "1/2", "--out", tmp_path / "each") == 0
    settings = [load_run(tmp_path / name).settings for name in ("all", "each")]
    counts = [[len(group["scans"]) for group in found["data"]["groups"]] for found in settings]
    assert counts == [[1, 1], [3, 1]]
    assert [found["about"]["subset"] for found in settings] == ["1/3", ["1", "1/2"]]


def test_each_seed_draws_nested_subsets_of_its_own(catalog):
    def drawn(share, seed):
        asked = Namespace(catalog=catalog, where=["true"], weight=None, subset=[share], seed=seed)
        (group,), _ = scans_of(Catalog.read(catalog), asked)
        return tuple(record.scan_id for record in group.records)

    first = nested_subset(Catalog.read(catalog).part("train").records(), 1 / 3)
    assert drawn("1/3", 0) == tuple(record.scan_id for record in first)
    assert len({drawn("1/3", seed) for seed in range(8)}) > 1
    for seed in range(3):
        assert set(drawn("1/3", seed)) < set(drawn("2/3", seed))


def test_the_released_recipe_of_joint_training(catalog, tmp_path):
    words = [catalog, "--where", "true", *QUICK, "--objective", "joint-released", "--batch", 1]
    words += ["--fixed-mask", "--schedule", "constant", "--learning-rate", 1e-5, "--out", tmp_path / "run"]
    words += ["--target", "rss", "--training-option", "clip=none"]
    assert reshim_train(*words) == 0
    training = load_run(tmp_path / "run").settings["training"]
    assert training["fixed_mask"]
    assert training["objective"]["name"] == "joint-released"
    schedule = settings_from(training).schedule(12)
    assert {schedule(step) for step in range(12)} == {1e-5}


def test_stopping_early_is_asked_for_by_name(catalog, tmp_path):
    assert reshim_train(catalog, "--where", "true", *QUICK, "--stop", "early", "--out", tmp_path / "run") == 0
    assert load_run(tmp_path / "run").settings["training"]["early_stop"] == {"share": 0.002, "window": 20}
    words = [catalog, "--where", "path LIKE '%train%'", *QUICK, "--stop", "early", "--out", tmp_path / "no"]
    with pytest.raises(UserError, match="none with split 'val'"):
        reshim_train(*words)


def test_a_gpu_that_is_not_there_is_refused_before_a_scan_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    nowhere = str(tmp_path / "no.parquet")
    words = [nowhere, "--where", "true", "--network", "unet-tiny", "--out", str(tmp_path / "run")]
    for command_line in (["train", *words], ["calibrate", str(tmp_path / "run"), nowhere, "--where", "true"]):
        assert main([*command_line, "--device", "cuda"]) == 2
        assert "asks for a GPU" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_asked_to_end_the_command_saves_says_so_and_goes_on(catalog, tmp_path):
    out = tmp_path / "run"
    words = [str(word) for word in (catalog, "--where", "true", *QUICK, "--epochs", 40, "--out", out)]
    started = [sys.executable, "-m", "reshim", "train", *words]
    process = subprocess.Popen(started, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (out / "epochs" / "0002.safetensors").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "run it again to go on" in said
    assert json.loads((out / "settings.json").read_text())["finished"] is None
    assert reshim_train(*words) == 0
    assert load_run(out).settings["finished"]["epochs"] == 40
    assert [line["epoch"] for line in RunFolder(out).read_log("epoch")] == list(range(1, 41))


def test_scans_beyond_the_pool_are_said_and_kept_on_disk_until_the_run_ends(catalog, tmp_path, caplog):
    words = [catalog, "--where", "true", *QUICK, "--objective", "joint"]
    assert reshim_train(*words, "--out", tmp_path / "roomy") == 0
    assert not RunFolder(tmp_path / "roomy").read_log("note")
    kept = []
    remove = Cache.remove

    def look(cache):
        kept.extend(cache.folder.glob("*/*.npy"))
        remove(cache)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Cache, "remove", look)
        more = ["--pool-gib", 0, "--cache-gib", 1]
        assert reshim_train(*words, *more, "--out", tmp_path / "cramped") == 0
    # Of four scans of two slices: references, and maps of those that were drawn.
    assert len(kept) == 16
    assert not RunFolder(tmp_path / "cramped").prepared.exists()
    assert load_run(tmp_path / "cramped").digest == load_run(tmp_path / "roomy").digest
    assert "made again at every draw" in caplog.text
    assert "the pool holds 0.0" in RunFolder(tmp_path / "cramped").read_log("note")[0]["note"]


@pytest.mark.parametrize(("words", "said"), [(["--device", "cuda"], "GPU"), (["--cache-gib", "-1"], "GiB")])
def test_what_this_machine_has_not_is_refused(words, said, catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=said):
        reshim_train(catalog, "--where", "true", *QUICK, "--out", tmp_path / "run", *words)
