"""What a person sees while a network is trained."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from reshim.training.state import Progress


class RichDisplay:
    """A bar over the steps, and a line for each epoch."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._console = console or Console(markup=False, stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=None, loss="")

    def __enter__(self) -> "RichDisplay":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def on_step(self, progress: Progress, total_steps: int, loss: float) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=progress.step, total=total_steps, loss=f"loss {loss:.4f}")

    def on_epoch(self, progress: Progress, entry: dict[str, Any]) -> None:
        """Print a line."""
        line = f"epoch {entry['epoch']}: loss {entry['loss']:.4f}"
        if validation := entry.get("validation"):
            line += f", validation {validation['measure']} {validation['score']:.4f}"
            if progress.best == progress.epoch - 1:
                line += " (best)"
        if entry["skipped"]:
            line += f", {entry['skipped']} steps skipped"
        if entry.get("stopped_early"):
            line += ", stopped early"
        self._console.print(line, highlight=False)
