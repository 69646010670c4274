"""Procedures under Lightning: a module, the callback that plugs a procedure in, and a quiet trainer.

`LowbitModule` is for those who let `fit` train; whoever has a LightningModule already adds `ProcedureCallback`
to the trainer and takes the loss from ``callback.procedure.loss(callback.run, batch, output)``.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.data import Batches
from lowbit.errors import InvalidInput, LowbitError
from lowbit.procedures.base import Procedure, Run
from lowbit.training.pl import pl

Batch = tuple[Tensor, Tensor]


class ProcedureCallback(pl.Callback):
    """Calls the hooks of a procedure, and keeps its state in the trainer's checkpoints.

    Args:
        procedure: to plug in.

    Attributes:
        run: what the procedure sees; exists from the start of the training.
    """

    run: Run

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure
        self._saved: Mapping[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the procedure; a resumed one then gets its state."""
        self.run = Run(
            model=getattr(pl_module, "model", pl_module),
            optimizer=trainer.optimizers[0],
            epoch=trainer.current_epoch,
            step=trainer.global_step,
            steps_total=int(trainer.estimated_stepping_batches),
            batches=trainer.train_dataloader,
        )
        self.procedure.start(self.run)
        if self._saved is not None:
            self.procedure.load_state_dict(self._saved)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the epoch."""
        self.run.epoch = trainer.current_epoch
        self.procedure.epoch_start(self.run)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gradients are there."""
        self.procedure.after_backward(self.run)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The optimizer has moved."""
        self.run.step = trainer.global_step
        self.procedure.after_step(self.run)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The epoch is over."""
        self.procedure.epoch_end(self.run)

    def state_dict(self) -> dict[str, Any]:
        """The procedure's state."""
        return dict(self.procedure.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the procedure has started."""
        self._saved = state_dict


class LowbitModule(pl.LightningModule):
    """A network with its procedure's loss, an optimizer and a schedule that is stepped every batch.

    Args:
        model: maps inputs [N, ...] to logits [N, classes].
        callback: that calls the procedure, also given to the trainer.
        optimizer: makes the optimizer from the model.
        schedule: makes the scheduler from the optimizer.

    Attributes:
        seen, correct, loss_sum: of the epoch so far, on this process.
    """

    def __init__(
        self,
        model: nn.Module,
        callback: ProcedureCallback,
        *,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler],
    ) -> None:
        super().__init__()
        self.model = model
        self._callback, self._optimizer, self._schedule = callback, optimizer, schedule
        self.forget()

    def forget(self) -> None:
        """Start the epoch's figures from zero."""
        self.seen, self.correct, self.loss_sum = 0, 0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the network."""
        return self.model(x)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The procedure's loss of one batch.

        Raises:
            InvalidInput: the batch holds NaN or infinity.
            LowbitError: the loss is NaN or infinite.
        """
        x, y = batch
        output = self.model(x)
        loss = self._callback.procedure.loss(self._callback.run, batch, output)
        value = float(loss.detach())
        if not value - value == 0:
            raise self._blame(x, value, f"epoch {self.current_epoch + 1}, batch {batch_idx}")
        self.seen += len(y)
        self.loss_sum += value * len(y)
        self.correct += int((output.detach().argmax(1) == y).sum())
        return loss

    def configure_optimizers(self) -> Any:
        """Optimizer and per-step scheduler, as Lightning takes them."""
        optimizer = self._optimizer(self.model)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self._schedule(optimizer), "interval": "step"},
        }

    @staticmethod
    def _blame(x: Tensor, loss: float, where: str) -> LowbitError:
        rows = torch.isfinite(x.reshape(len(x), -1)).all(dim=1)
        if not bool(rows.all()):
            row = int((~rows).nonzero()[0])
            return InvalidInput(f"{where}: input {row} holds NaN or infinity; clean the data")
        return LowbitError(f"{where}: the loss is {loss}; lower optimizer.lr, or start from a float network")


class EpochBatches:
    """`Batches` as Lightning wants them: one iteration is the epoch that the trainer is in."""

    def __init__(self, batches: Batches, epoch: Callable[[], int]) -> None:
        self.batches, self.epoch = batches, epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        # A generator asks for the epoch when the first batch is drawn: Lightning makes iterators before that.
        yield from self.batches.epoch(self.epoch())

    def plain(self) -> EpochBatches:
        """The same without augmentation."""
        return EpochBatches(self.batches.plain(), self.epoch)


def world() -> tuple[int, int]:
    """Rank and number of processes that torchrun started, (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def on_gpu(accelerator: str) -> bool:
    """Whether ``"auto"``, ``"cpu"`` or ``"gpu"`` means a GPU here.

    Raises:
        InvalidInput: it is another word, or ``"gpu"`` where torch sees none.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        raise InvalidInput(f"accelerator is {accelerator!r}; use auto, cpu or gpu")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise InvalidInput(
            "accelerator is 'gpu', but torch sees no GPU here; use auto or cpu, or install torch for CUDA"
        )
    return accelerator != "cpu" and torch.cuda.is_available()


def make_trainer(
    *,
    epochs: int,
    callbacks: Sequence[pl.Callback],
    accelerator: str = "auto",
    folder: str | None = None,
    find_unused: bool = False,
) -> pl.Trainer:
    """A trainer that writes nothing by itself, prints nothing, and joins the processes of torchrun.

    Args:
        epochs: to train in all.
        callbacks: in the order in which they act.
        accelerator: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        folder: where Lightning may put what it must.
        find_unused: whether some parameters take no part in some steps (`Procedure.leaves_unused`); several processes
            then look for them.
    """
    _, processes = world()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    gpu = on_gpu(accelerator)
    with quiet():
        return pl.Trainer(
            max_epochs=epochs,
            callbacks=list(callbacks),
            accelerator="gpu" if gpu else "cpu",
            devices=local,
            num_nodes=max(1, processes // local),
            strategy="auto" if processes == 1 else "ddp_find_unused_parameters_true" if find_unused else "ddp",
            # A global switch of torch: only needed, and only paid for, on a GPU.
            deterministic=gpu,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and hints about its own data loaders off the terminal; errors stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
