"""Scans in, trained reconstructor out: what the command line and the studies call.

A folder that holds the same run goes on where it stopped, or, finished, is handed back at once.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import reshim
from reshim.digest import digest
from reshim.errors import BadScanError, UserError
from reshim.networks import NETWORKS
from reshim.networks.weights import load_weights, save_weights
from reshim.seeds import seed_of
from reshim.training.card import write_card
from reshim.training.compiling import compile_cores
from reshim.training.examples import Examples
from reshim.training.features import features
from reshim.training.loop import Display, Loop
from reshim.training.memory import freed_memory_handed_back
from reshim.training.objectives import Adversarial, refuse_unfit
from reshim.training.out_of_memory import in_preparation, remedied
from reshim.training.pool import Pool
from reshim.training.provenance import inherited, provenance
from reshim.training.ranks import Ranks
from reshim.training.run_folder import RunFolder, Trained, load_run, wants_maps
from reshim.training.sampling import Group, as_groups
from reshim.training.settings import TrainingSettings
from reshim.training.statistics import Statistics
from reshim.training.tensorboard import Several, refuse_without_tensorboard, tensorboard_of
from reshim.types import ScanRecord

LOGGER = logging.getLogger(__name__)

MOST_STATISTICS = 256
"""Slices whose features make the statistics."""


@dataclass(frozen=True)
class NamedNetwork:
    """A network by its name, with settings changed: what a run can be loaded from again without its code."""

    name: str
    settings: Mapping[str, Any]

    @property
    def plain(self) -> dict[str, Any]:
        """As in settings.json."""
        return {"name": self.name, "settings": dict(self.settings)}


def train(
    network: str | nn.Module,
    training: Sequence[ScanRecord] | Sequence[Group],
    validation: Sequence[ScanRecord],
    settings: TrainingSettings,
    out: str | Path,
    *,
    network_settings: Mapping[str, Any] | None = None,
    start: str | Path | None = None,
    fallback: str | Path | None = None,
    watch: Mapping[str, Sequence[ScanRecord]] | None = None,
    pool: Pool | None = None,
    device: torch.device | str = "cpu",
    display: Display | None = None,
    sharded: bool = False,
    compiled: bool = False,
    tensorboard: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Trained:
    """Train a network and return it as a reconstructor.

    Parameters
    ----------
    network
        A name of `reshim.networks.NETWORKS`, or a module.
    training
        Scans, or groups of scans with weights.
    validation
        Scans of the same distribution that choose the checkpoint; may be empty, and then the last epoch is
        the model.
    settings
        How it is trained.
    out
        The RUN folder.
    network_settings
        Settings that differ from those of the name, e.g. ``{"input": "complex"}``.
    start
        A RUN whose weights are the first ones.
    fallback
        A RUN whose model is handed out where adaptation shows no gain; of a run that starts from another, by
        default that one's.
    watch
        Scans by name that are scored after each epoch for the log alone, e.g. of another distribution: for
        the curve of robustness over training, never for a decision.
    pool
        Slices, references and maps shared with other trainings.
    device
        Where to compute.
    display
        Is told how it goes.
    sharded
        Deal weights, gradients and moments out over the processes of ``torchrun``, for networks too large for
        one device; the result is the same.
    compiled
        Compile the network's cores where this machine can.
    tensorboard
        Write events into ``out/tensorboard``.
    about
        What else settings.json should say, e.g. the catalog and its filter; it makes no other run.

    Raises
    ------
    UserError
        For settings that do not go together, a folder that holds another run, no usable scan, too little
        memory, or events that are asked for without TensorBoard.
    """
    groups = as_groups(training)
    folder = RunFolder(Path(out))
    module, plain_network = _network(network, network_settings, settings.seed, start)
    fallback = start if fallback is None else fallback
    records = [record for group in groups for record in group.records]
    _refuse_unusable(records, validation, settings)
    _refuse_unsharded(sharded, settings)
    if tensorboard:
        refuse_without_tensorboard()
    refuse_unfit(settings.objective, module, all(record.fully_sampled for record in records))
    content = {
        "format": 1,
        "reshim": reshim.__version__,
        "torch": torch.__version__,
        "training": settings.plain(),
        "network": plain_network,
        "data": provenance(groups, validation),
        "about": dict(about or {}),
        "start": _origin(start),
        "fallback": _origin(fallback),
        "finished": None,
    }
    # No part of what makes the run this run: folders that were finished before it was kept stay the same.
    content["inherited"] = inherited(content)
    ranks, device = Ranks.from_environment(torch.device(device))
    finished = folder.begin(content) if ranks.writes or folder.settings.exists() else False
    own = network if isinstance(network, nn.Module) else None
    if finished:
        if ranks.writes:
            folder.add_settings(inherited=content["inherited"])
        return load_run(folder.path, network=own, device=device)
    ranks.wait()
    pool = pool or Pool(remove_oversampling=settings.remove_oversampling)
    if pool.remove_oversampling != settings.remove_oversampling:
        raise UserError(
            "pool and settings disagree on the readout's oversampling; make the pool with the settings'"
        )
    looked_at = watch or {}
    left_out = _prepare(
        pool, [*records, *validation, *(r for some in looked_at.values() for r in some)], settings
    )
    groups = tuple(_without(group, left_out) for group in groups)
    maps = settings.objective.needs_phase or wants_maps(module)
    examples = Examples.of(pool, groups, settings, with_maps=maps)
    held_out = _held_out(pool, validation, left_out, settings, maps)
    watched = {name: _held_out(pool, some, left_out, settings, maps) for name, some in looked_at.items()}
    if fallback is not None and ranks.writes:
        save_weights(folder.fallback, _fallback_of(load_run(fallback)))
    if compiled:
        compile_cores(module)
    if tensorboard and ranks.writes:
        events = tensorboard_of(folder.path)
        display = Several((events,) if display is None else (display, events))
    loop = Loop(module, examples, held_out, settings, folder, device, ranks, display, sharded=sharded)
    if (shortage := pool.shortage(maps)) is not None:
        loop.notes = (shortage,)
        LOGGER.warning(shortage)
    loop.watched = {name: some for name, some in watched.items() if some is not None}
    progress = loop.run()
    if ranks.writes:
        statistics_of(examples).save(folder.statistics)
        best = progress.best
        content["finished"] = {
            "epochs": progress.epoch,
            "steps": progress.step,
            "samples": progress.samples,
            "seconds": round(progress.seconds, 1),
            "best_epoch": None if best is None else best + 1,
            "score": None if best is None else progress.scores[best],
            "skipped": progress.skipped,
            "left_out": left_out,
        }
        write_card(folder, content)
        folder.write_settings(content)
    ranks.wait()
    return load_run(folder.path, network=own, device=device)


def statistics_of(examples: Examples) -> Statistics:
    """Feature statistics of the training measurements, of slices spread evenly over them.

    All slices of a scan have one mask, as at a scanner: with one each, what masks differ in would average out
    over a scan, and any new scan would stand further from their mean than training scans do.
    """
    count = min(len(examples.entries), MOST_STATISTICS)
    chosen = [round(index * (len(examples.entries) - 1) / max(count - 1, 1)) for index in range(count)]
    rows = [features(examples.as_scanned(index)) for index in chosen]
    scans = [(f"{record.dataset}/{record.subject}", record.scan_id) for record, _ in examples.entries]
    return Statistics.of(torch.cat(rows), [scans[index] for index in chosen])


def _network(
    network: str | nn.Module, changes: Mapping[str, Any] | None, seed: int, start: str | Path | None
) -> tuple[nn.Module, dict[str, Any]]:
    if isinstance(network, nn.Module):
        module, name = network, None
        if changes:
            raise UserError(
                f"network settings {dict(changes)} have no effect on a module that is built already"
            )
    else:
        if network not in NETWORKS:
            raise UserError(f"there is no network {network!r}; there are {', '.join(NETWORKS)}")
        name = network
        # Initial weights come from torch's global generator; it is seeded for them alone and put back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of("weights", seed))
            try:
                module = NETWORKS[network](**dict(changes or {}))
            except (TypeError, ValueError) as error:
                raise UserError(
                    f"network {network!r} cannot be built with {dict(changes or {})}: {error}"
                ) from error
    if start is not None:
        load_weights(RunFolder(Path(start)).model, module)
    plain = {
        "name": name,
        "class": type(module).__qualname__,
        "settings": dict(getattr(module, "settings", changes or {})),
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
    }
    return module, plain


def _origin(run: str | Path | None) -> dict[str, Any] | None:
    """Which weights another run lends, by digest."""
    if run is None:
        return None
    trained = load_run(run)
    lent = _fallback_of(trained)
    source = trained.settings.get("fallback") if trained.fallback is not None else None
    network = source["network"] if source else trained.settings["network"]
    return {
        "run": str(run),
        "digest": digest(trained.network),
        "fallback_digest": digest(lent),
        "network": network,
    }


def _fallback_of(run: Trained) -> nn.Module:
    return run.fallback if run.fallback is not None else run.network


def _refuse_unusable(
    records: Sequence[ScanRecord], validation: Sequence[ScanRecord], settings: TrainingSettings
) -> None:
    if not records:
        raise UserError(
            "there is no scan to train on; widen the filter, and look at the splits with `reshim list`"
        )
    if settings.early_stop is not None and not validation:
        raise UserError(
            "the rule for stopping early looks at validation scans, and there are none with split 'val'"
        )
    shared = {(r.dataset, r.subject) for r in records} & {(r.dataset, r.subject) for r in validation}
    if shared:
        raise UserError(
            f"subject {min(shared)} is both trained on and chosen by; a subject belongs to one split"
        )
    sampled = {record.fully_sampled for record in validation}
    if len(sampled) > 1:
        raise UserError(
            "some validation scans are fully sampled and some are not, and their scores cannot be averaged; "
            "filter by `fully_sampled`"
        )


def _refuse_unsharded(sharded: bool, settings: TrainingSettings) -> None:
    if sharded and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        raise UserError(
            "sharding deals the weights out over several processes, and there is one; start the command with "
            "torchrun --nproc-per-node N, or leave --fsdp out"
        )
    if sharded and isinstance(settings.objective, Adversarial):
        raise UserError(
            "adversarial training asks for gradients within a step, which sharded weights do not give; "
            "leave --fsdp out"
        )


def _prepare(pool: Pool, records: Sequence[ScanRecord], settings: TrainingSettings) -> dict[str, str]:
    """Read every scan once; those that cannot be used, with the reason."""
    left_out: dict[str, str] = {}
    for record in records:
        try:
            with remedied(lambda record=record: in_preparation(record)), freed_memory_handed_back():
                pool.prepare(record, settings.target)
        except BadScanError as error:
            left_out[record.scan_id] = str(error)
    return left_out


def _without(group: Group, left_out: Mapping[str, str]) -> Group:
    kept = tuple(record for record in group.records if record.scan_id not in left_out)
    if not kept:
        raise UserError(
            f"no scan of {group.name!r} can be used; the first says: {next(iter(left_out.values()))}"
        )
    return Group(group.name, kept, group.weight)


def _held_out(
    pool: Pool,
    records: Sequence[ScanRecord],
    left_out: Mapping[str, str],
    settings: TrainingSettings,
    maps: bool,
) -> Examples | None:
    kept = tuple(record for record in records if record.scan_id not in left_out)
    if not kept:
        return None
    group = Group("held out", kept)
    return Examples.of(pool, [group], settings, fixed=True, with_maps=maps, limit=settings.validation_slices)
