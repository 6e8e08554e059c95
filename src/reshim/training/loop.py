"""The training loop: plain PyTorch, one epoch after the other, every one of them kept, stoppable anywhere.

A run that is killed goes on from its last saved state and ends with the same bits as one that was not: order,
masks and draws depend on seed and epoch alone, and the state holds weights, moments and counters exactly.
"""

import json
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from reshim.errors import UserError
from reshim.seeds import seed_of
from reshim.training.batch import Example
from reshim.training.examples import Examples
from reshim.training.objectives import Objective
from reshim.training.out_of_memory import in_step, remedied
from reshim.training.ranks import Ranks
from reshim.training.run_folder import RunFolder
from reshim.training.sampling import within_budget
from reshim.training.settings import TrainingSettings
from reshim.training.sharding import shard, whole, whole_weights
from reshim.training.state import Progress, load_state, save_state, state_of
from reshim.training.validation import Validation, validate

SAVE_SECONDS = 600.0
"""A state is saved after each epoch and, within long ones, so often."""


@runtime_checkable
class Display(Protocol):
    """Is told how the run goes."""

    def on_step(self, progress: Progress, total_steps: int, loss: float) -> None:
        """A line of the log was written."""
        ...

    def on_epoch(self, progress: Progress, entry: dict[str, Any]) -> None:
        """An epoch ended and was validated."""
        ...


class Objectified(nn.Module):
    """The network inside its objective, so that gradients of any objective are averaged over processes."""

    def __init__(self, network: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, example: Example) -> Tensor:
        """The loss of an example."""
        loss, _ = self.objective(self.network, example.measurement, example.reference, example.draws)
        return loss


@dataclass
class Loop:
    """One run."""

    network: nn.Module
    examples: Examples
    validation: Examples | None
    settings: TrainingSettings
    folder: RunFolder
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    ranks: Ranks = field(default_factory=Ranks)
    display: Display | None = None
    watched: Mapping[str, Examples] = field(default_factory=dict)
    """Scored after each epoch for the log alone: nothing is decided by them."""

    notes: Sequence[str] = ()
    """Written into the log at the start of each sitting."""

    sharded: bool = False
    """Weights, gradients and moments dealt out over the processes."""

    progress: Progress = field(default_factory=Progress, init=False)

    def __post_init__(self) -> None:
        self.network.to(self.device).train()
        self._model: nn.Module = Objectified(self.network, self.settings.objective)
        if self.sharded:
            # The network and not the objective around it, because validation calls the network alone.
            shard(self.network, self.device, self.ranks.size)
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        # The fused form is the quickest on both kinds of device and can skip a step without a host sync.
        self._optimizer = torch.optim.Adam(parameters, lr=self.settings.learning_rate, fused=True)
        self._parameters = parameters
        if self.ranks.size > 1 and not self.sharded:
            self._model = DistributedDataParallel(self._model, find_unused_parameters=True)
        self._total_steps = self._count_steps()
        self._schedule = self.settings.schedule(self._total_steps)
        self._pending: list[Tensor] = []
        self._in_a_row = torch.zeros((), device=self.device)
        self._skipped = torch.zeros((), device=self.device)
        self._asked_to_stop: int | None = None

    @property
    def total_steps(self) -> int:
        """Steps of the whole budget."""
        return self._total_steps

    def run(self) -> Progress:
        """Train to the end of the budget, or to where the rule for stopping early ends it."""
        self._resume()
        for note in self.notes:
            self._log({"kind": "note", "step": self.progress.step, "note": note})
        with self._signals():
            while not self.progress.done:
                self._epoch()
                self._end_epoch()
        return self.progress

    # One epoch.

    def _epoch(self) -> None:
        plan = self._plan(self.progress.epoch)
        started = time.perf_counter()
        for position, parts in self._built(plan):
            self._step(plan[position], parts)
            self.progress.batch = position + 1
            if self.progress.step % self.settings.log_every == 0:
                self._log_step()
            save, leave = self._agreed(time.perf_counter() - started > SAVE_SECONDS)
            if save or leave:
                self.progress.seconds += time.perf_counter() - started
                started = time.perf_counter()
                self._save()
                self._leave(leave)
        self._flush()
        self.progress.seconds += time.perf_counter() - started

    def _agreed(self, save: bool = False) -> tuple[bool, int]:
        """Whether to save, and the signal to leave with or 0; what one process wants, all do.

        A process that acted on its own wish would leave the others waiting for it. Told by one question to
        all after each step, because who asked may not wait long before it ends them all.
        """
        wanted = torch.tensor([int(save), self._asked_to_stop or 0])
        saving, leaving = self.ranks.largest(wanted).tolist()
        return bool(saving), int(leaving)

    def _step(self, batch: tuple[int, ...], parts: Sequence[tuple[Example, float]]) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._schedule(self.progress.step)
        self._optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for index, (example, weight) in enumerate(parts):
            last = index == len(parts) - 1
            with self._gradients_stay_here(not last), self._remedied(example), self._dropout(index):
                with self._autocast():
                    loss = self._model(example.to(self.device)) * weight
                loss.backward()
            total += loss.detach()
        bound = math.inf if self.settings.clip is None else self.settings.clip
        norm = whole(nn.utils.clip_grad_norm_(self._parameters, bound))
        bad = (~torch.isfinite(norm)).float()
        self._optimizer.found_inf = bad  # type: ignore[attr-defined]
        self._optimizer.step()
        self._skipped += bad
        self._in_a_row = (self._in_a_row + bad) * bad
        self._pending.append(total / self.ranks.size if self.ranks.size > 1 else total)
        self.progress.step += 1
        self.progress.samples += len(batch)

    def _end_epoch(self) -> None:
        progress, settings = self.progress, self.settings
        progress.epoch, progress.batch = progress.epoch + 1, 0
        n_batches = len(self._plan(progress.epoch - 1))
        entry: dict[str, Any] = {
            "kind": "epoch",
            "epoch": progress.epoch,
            "step": progress.step,
            "samples": progress.samples,
            "loss": progress.epoch_loss / max(n_batches, 1),
            "skipped": progress.skipped,
        }
        progress.epoch_loss = 0.0
        if self.validation is not None:
            result = self._validate(self.validation)
            # Weights that give no number are never the best ones.
            progress.scores.append(result.score if math.isfinite(result.score) else -math.inf)
            entry["validation"] = asdict(result)
        if self.watched:
            entry["watched"] = {
                name: asdict(self._validate(examples)) for name, examples in self.watched.items()
            }
        progress.done = progress.step >= self._total_steps
        if settings.early_stop is not None and not progress.done and settings.early_stop(progress.scores):
            entry["stopped_early"] = progress.done = True
        self._log({**entry, "seconds": round(progress.seconds, 3)})
        # All processes: each may hold a part of the weights.
        weights = whole_weights(self.network)
        if self.ranks.writes:
            best = progress.best
            self.folder.keep_epoch(
                weights,
                progress.epoch,
                keep=settings.keep_epochs,
                best=best is None or best == progress.epoch - 1,
            )
        self._save()
        if self.display is not None and self.ranks.writes:
            self.display.on_epoch(progress, entry)
        if not progress.done:
            self._leave(self._agreed()[1])

    def _validate(self, examples: Examples) -> Validation:
        return validate(self.network, examples, self.settings, self.device, self.ranks, self.sharded)

    # What a step is made of.

    def _plan(self, epoch: int) -> list[tuple[int, ...]]:
        """The batches of an epoch that the budget still holds."""
        plan = self.examples.plan(epoch)
        if self.settings.samples is None:
            return plan
        return within_budget(plan, epoch * len(self.examples), self.settings.samples)

    def _count_steps(self) -> int:
        epochs, samples = self.settings.epochs, self.settings.samples
        if epochs is None:
            assert samples is not None
            epochs = math.ceil(samples / len(self.examples))
        if samples is None and self.examples.order.weights is None:
            return epochs * len(self.examples.plan(0))
        return sum(len(self._plan(epoch)) for epoch in range(epochs))

    def _built(self, plan: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, list[tuple[Example, float]]]]:
        """Each batch of the epoch that is left, in its parts; on a GPU the next is built during a step."""
        left = range(self.progress.batch, len(plan))
        epoch = self.progress.epoch
        if self.device.type == "cpu":
            for position in left:
                yield position, self._parts(plan[position], epoch)
            return
        with ThreadPoolExecutor(1) as worker:
            ahead: list[Future[list[tuple[Example, float]]]] = []
            for position in left:
                further = range(position + len(ahead), min(position + 3, len(plan)))
                ahead.extend(worker.submit(self._parts, plan[index], epoch) for index in further)
                yield position, ahead.pop(0).result()

    def _parts(self, batch: tuple[int, ...], epoch: int) -> list[tuple[Example, float]]:
        """The share of this process in the parts that are worked off in turn, with their weights."""
        pieces = self._pieces(self.ranks.share(batch))
        parts = [
            (self.examples.build(piece, epoch), len(piece) * self.ranks.size / len(batch)) for piece in pieces
        ]
        # All processes must take part in the averaging, and where the weights are dealt out in every pass
        # through the network; one that has no slices left adds nothing to it.
        wanted = 1
        if self.sharded:
            wanted = max(len(self._pieces(batch[rank :: self.ranks.size])) for rank in range(self.ranks.size))
        idle = [(self.examples.build(batch[:1], epoch), 0.0) for _ in range(len(parts), wanted)]
        return parts + idle

    def _pieces(self, share: tuple[int, ...]) -> list[tuple[int, ...]]:
        size = max(math.ceil(len(share) / self.settings.accumulation), 1)
        return [share[start : start + size] for start in range(0, len(share), size)]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16)

    @contextmanager
    def _dropout(self, part: int) -> Iterator[None]:
        """Layers that drop channels know no generator but torch's own: seed it, and put it back."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(
                seed_of("dropout", self.settings.seed, self.progress.step, self.ranks.rank, part)
            )
            yield

    def _remedied(self, example: Example) -> Any:
        return remedied(lambda: in_step(self.network, self.settings, example, self.device))

    def _gradients_stay_here(self, stay: bool) -> Any:
        if stay and isinstance(self._model, DistributedDataParallel):
            return self._model.no_sync()
        if isinstance(self.network, FSDPModule):
            self.network.set_requires_gradient_sync(not stay)
        return nullcontext()

    # State and log.

    def _resume(self) -> None:
        if self.folder.state.exists():
            self.progress = load_state(self.folder.state, self.network, self._optimizer)
            self._skipped.fill_(self.progress.skipped)
            self._in_a_row.fill_(self.progress.skipped_in_a_row)
        if self.ranks.writes:
            self.folder.cut_log(self.progress.log_bytes)

    def _save(self) -> None:
        self._flush()
        tensors = state_of(self.network, self._optimizer)
        if self.ranks.writes:
            save_state(self.folder.state, tensors, self.progress)

    def _flush(self) -> None:
        """Bring the losses since the last look to the host, and stop where too many steps were skipped."""
        if self._pending:
            losses = self.ranks.total(torch.stack(self._pending)).tolist()
            self._pending = []
            for loss in filter(math.isfinite, losses):
                self.progress.recent.append(loss)
                # One after the other, so that the sum does not depend on when somebody looked.
                self.progress.epoch_loss += loss
        self.progress.skipped = int(self._skipped.item())
        self.progress.skipped_in_a_row = int(self._in_a_row.item())
        if self.progress.skipped_in_a_row >= self.settings.bad_steps:
            raise UserError(
                f"{self.progress.skipped_in_a_row} steps in a row had no finite gradient; they were skipped. "
                f"Lower the learning rate ({self.settings.learning_rate:g}), or turn bf16 off"
            )

    def _log_step(self) -> None:
        self._flush()
        recent = self.progress.recent
        mean = math.fsum(recent) / max(len(recent), 1)
        self.progress.recent = []
        rate = self._schedule(self.progress.step - 1)
        self._log({"kind": "step", "step": self.progress.step, "loss": mean, "learning_rate": rate})
        if self.display is not None and self.ranks.writes:
            self.display.on_step(self.progress, self._total_steps, mean)

    def _log(self, entry: dict[str, Any]) -> None:
        if self.ranks.writes:
            self.progress.log_bytes = self.folder.append_log(json.dumps(entry))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """A request to end is met after the step: the state is saved first."""

        def note(number: int, _: FrameType | None) -> None:
            self._asked_to_stop = number

        try:
            before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:  # not in the main thread, where signals cannot be met
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _leave(self, signal_number: int) -> None:
        """End the process as the signal would have, once all are here and the state is written."""
        if not signal_number:
            return
        self.ranks.wait()
        if signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal_number)
