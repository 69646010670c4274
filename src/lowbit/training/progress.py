"""The progress bar of a training: one line that moves on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lowbit.training.dead_steps import dead_line, dead_steps
from lowbit.training.lightning import LowbitModule, ProcedureCallback
from lowbit.training.log import Row
from lowbit.training.pl import pl
from lowbit.training.recorder import Recorder


class EpochProgress(pl.Callback):
    """Shows loss, accuracy, learning rate and the procedure's figures while a network is trained.

    Args:
        recorder: whose rows are printed as epochs end.
        title: what is being trained, a few words.
        console: to print on; standard error by default, so that results can be piped.
    """

    def __init__(self, recorder: Recorder, title: str, console: Console | None = None) -> None:
        self.recorder, self.title = recorder, title
        self.console = console or Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._dead: set[str] = set()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar."""
        if not trainer.is_global_zero:
            return
        if trainer.current_epoch:
            self._say(f"{self.title}: resuming after epoch {trainer.current_epoch} of {trainer.max_epochs}")
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._bar.add_task(self.title, total=trainer.estimated_stepping_batches, completed=trainer.global_step,
                               figures="")  # fmt: skip
            self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self._bar is None:
            return
        assert isinstance(pl_module, LowbitModule)
        seen = max(pl_module.seen, 1)
        figures = {
            "epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
            "loss": f"{pl_module.loss_sum / seen:.3f}",
            "accuracy": f"{100 * pl_module.correct / seen:.1f}",
            "lr": f"{trainer.optimizers[0].param_groups[0]['lr']:.1e}",
        }
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, ProcedureCallback):
                # figures of single layers, `name/layer`, are for the log: the line has no room for them
                figures |= {k: f"{v:.3g}" for k, v in callback.run.figures.items() if "/" not in k}
        text = "  ".join(f"{name} {value}" for name, value in figures.items())
        self._bar.update(self._bar.task_ids[0], completed=trainer.global_step, figures=text)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the epoch's row."""
        if trainer.is_global_zero and self.recorder.rows:
            self._say(epoch_line(self.title, self.recorder.rows[-1], trainer.max_epochs or 0))
            assert isinstance(pl_module, LowbitModule)
            dead = [path for path in dead_steps(pl_module.model) if path not in self._dead]
            if dead:
                self._say(dead_line(dead))
                self._dead.update(dead)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the message below it can be read."""
        self._close()

    def _say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def epoch_line(title: str, row: Row, epochs: int) -> str:
    """One epoch in one line.

    Example:
        >>> epoch_line("float", {"epoch": 1, "train_loss": 0.5, "train_accuracy": 80.0, "seconds": 2}, 8)
        'float  epoch 1/8  loss 0.500  train 80.00 %  2.0 s'
    """
    parts = [
        f"{title}  epoch {row['epoch']}/{epochs}",
        f"loss {row['train_loss']:.3f}",
        f"train {row['train_accuracy']:.2f} %",
    ]
    if "test_accuracy" in row:
        parts.append(f"test {row['test_accuracy']:.2f} %")
    return "  ".join([*parts, f"{row['seconds']:.1f} s"])
