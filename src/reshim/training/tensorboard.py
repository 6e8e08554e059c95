"""Losses and scores as TensorBoard draws them, beside the run's own log; needs the extra ``tensorboard``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reshim.errors import UserError
from reshim.training.state import Progress

if TYPE_CHECKING:
    from reshim.training.loop import Display


def refuse_without_tensorboard() -> None:
    """Say at once that events cannot be written.

    Raises
    ------
    UserError
        If TensorBoard is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"TensorBoard is not installed ({error}); pip install 'reshim[tensorboard]', or leave "
            "--tensorboard out: log.jsonl and index.html in the RUN folder show the same curves"
        ) from error


def tensorboard_of(folder: Path) -> "TensorBoard":
    """A writer into ``folder/tensorboard``."""
    from torch.utils.tensorboard import SummaryWriter

    return TensorBoard(SummaryWriter(folder / "tensorboard"))


@dataclass
class TensorBoard:
    """A display that writes events."""

    writer: Any

    def on_step(self, progress: Progress, total_steps: int, loss: float) -> None:
        """The loss since the last line of the log."""
        self.writer.add_scalar("loss/step", loss, progress.step)

    def on_epoch(self, progress: Progress, entry: dict[str, Any]) -> None:
        """Loss and validation, and the scores of distributions that are only looked at."""
        self.writer.add_scalar("loss/epoch", entry["loss"], progress.step)
        if validation := entry.get("validation"):
            self.writer.add_scalar(f"validation/{validation['measure']}", validation["score"], progress.step)
        for name, scored in entry.get("watched", {}).items():
            self.writer.add_scalar(f"watched/{name}", scored["score"], progress.step)
        self.writer.flush()


@dataclass
class Several:
    """Displays that are told the same."""

    displays: tuple["Display", ...]

    def on_step(self, progress: Progress, total_steps: int, loss: float) -> None:
        """Tell each."""
        for display in self.displays:
            display.on_step(progress, total_steps, loss)

    def on_epoch(self, progress: Progress, entry: dict[str, Any]) -> None:
        """Tell each."""
        for display in self.displays:
            display.on_epoch(progress, entry)
