"""What happens when an epoch ends: evaluate, write the logs, save the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from lowbit.atomic import interrupts_wait, replacing
from lowbit.errors import InvalidInput
from lowbit.training.evaluate import Score
from lowbit.training.lightning import LowbitModule, ProcedureCallback
from lowbit.training.log import Row, write_log
from lowbit.training.pl import pl
from lowbit.training.randomness import random_states, restore_random_states
from lowbit.training.starts import CHECKPOINT
from lowbit.training.tensorboard import EventLog

LOG = "log.csv"


class Recorder(pl.Callback):
    """Keeps one row an epoch, and everything that a resumed training needs to go on as if it had never stopped.

    Args:
        folder: of the run, or None to write nothing.
        evaluate: scores the network as it is; called on the first process only.
        every: epochs between evaluations; the last is always evaluated.

    Attributes:
        rows: the log so far.
    """

    def __init__(self, folder: Path | None, evaluate: Callable[[], Score], every: int = 1) -> None:
        self.folder, self.evaluate, self.every = folder, evaluate, every
        self.rows: list[Row] = []
        self._random: list[dict[str, Any]] | None = None
        self._began = 0.0
        self._events: EventLog | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up the random states of the checkpoint, after everything that draws numbers at the start."""
        if self.folder is not None and trainer.is_global_zero:
            self._events = EventLog(self.folder, self.rows)
        if self._random is None:
            return
        if len(self._random) != trainer.world_size:
            raise InvalidInput(
                f"{self.folder}: was trained by {len(self._random)} processes, now there are {trainer.world_size}; "
                "resume with as many as before"
            )
        restore_random_states(self._random[trainer.global_rank])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting."""
        assert isinstance(pl_module, LowbitModule)
        pl_module.forget()
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate, log and save."""
        assert isinstance(pl_module, LowbitModule)
        epoch = trainer.current_epoch
        seen, correct, loss = _sum_over_processes(trainer, pl_module.seen, pl_module.correct, pl_module.loss_sum)
        row: Row = {
            "epoch": epoch + 1,
            "step": trainer.global_step,
            "lr": max(group["lr"] for group in trainer.optimizers[0].param_groups),
            "train_loss": loss / seen,
            "train_accuracy": 100 * correct / seen,
        }
        last = epoch + 1 == trainer.max_epochs
        if last or (epoch + 1) % self.every == 0:
            # Every process could do this; one is enough, the others wait at the next collective operation.
            if trainer.is_global_zero:
                found = self.evaluate()
                row |= {"test_loss": found.loss, "test_accuracy": found.accuracy}
                if found.soft_accuracy is not None:
                    row["soft_accuracy"] = found.soft_accuracy
            trainer.strategy.barrier("evaluated")
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, ProcedureCallback):
                row |= callback.run.figures
                callback.run.figures = {}
        row["seconds"] = round(time.perf_counter() - self._began, 3)
        self.rows.append(row)
        if self.folder is not None:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        assert self.folder is not None
        self._random = _gather(random_states(), trainer.world_size)
        with interrupts_wait():
            if trainer.is_global_zero:
                with replacing(self.folder / CHECKPOINT) as place:
                    trainer.save_checkpoint(place)
                write_log(self.folder / LOG, self.rows)
                if self._events is not None:
                    self._events.add(self.rows[-1])
            else:
                trainer.save_checkpoint(self.folder / CHECKPOINT)  # takes part, writes nothing

    def state_dict(self) -> dict[str, Any]:
        """Rows and random states of all processes."""
        return {"rows": self.rows, "random": self._random}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows; random states wait for `on_train_start`."""
        self.rows, self._random = list(state_dict["rows"]), state_dict["random"]


def _sum_over_processes(trainer: pl.Trainer, *values: float) -> list[float]:
    if trainer.world_size == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=trainer.strategy.root_device)
    dist.all_reduce(total)
    return total.tolist()


def _gather(state: dict[str, Any], count: int) -> list[dict[str, Any]]:
    if count == 1:
        return [state]
    states: list[Any] = [None] * count
    dist.all_gather_object(states, state)
    return states
