"""One training from start to end, resumable at every epoch."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lowbit.data import Batches
from lowbit.errors import InvalidInput, LowbitError
from lowbit.procedures.base import Procedure
from lowbit.training.evaluate import Score
from lowbit.training.lightning import EpochBatches, LowbitModule, ProcedureCallback, make_trainer, on_gpu, quiet
from lowbit.training.log import Row
from lowbit.training.memory_order import channels_last
from lowbit.training.optimizers import make_optimizer
from lowbit.training.pl import pl
from lowbit.training.progress import EpochProgress
from lowbit.training.recipes import OptimizerPart, SchedulePart
from lowbit.training.recorder import Recorder
from lowbit.training.starts import CHECKPOINT


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The numbers of a training."""

    epochs: int
    optimizer: OptimizerPart
    schedule: SchedulePart
    evaluate_every: int = 1


def fit(
    model: nn.Module,
    batches: Batches,
    plan: Plan,
    *,
    procedure: Procedure,
    evaluate: Callable[[], Score],
    folder: Path | None = None,
    title: str | None = None,
    accelerator: str = "auto",
) -> list[Row]:
    """Train a network in place, through Lightning.

    Args:
        model: float or prepared and calibrated.
        batches: of the training set; those of one rank where torchrun started several processes.
        plan: epochs, optimizer, schedule.
        procedure: what happens beside the optimizer.
        evaluate: scores the network, called as epochs end.
        folder: of the run. Holds the checkpoint, which a later call continues, and the log. None keeps nothing.
        title: shown with the progress; None shows none.
        accelerator: ``"auto"``, ``"cpu"`` or ``"gpu"``.

    Returns:
        One row an epoch: epoch, step, lr, train_loss, train_accuracy, test_loss, test_accuracy, seconds, and the
        procedure's figures.

    Raises:
        LowbitError: the loss becomes NaN.
        InvalidInput: the data holds NaN, or the checkpoint cannot be read or does not fit.
        KeyboardInterrupt: Ctrl-C; all finished epochs are saved.
    """
    from lowbit.training.schedules import make_schedule

    callback = ProcedureCallback(procedure)
    recorder = Recorder(folder, evaluate, plan.evaluate_every)
    callbacks: list[pl.Callback] = [callback, recorder]
    if title is not None:
        callbacks.append(EpochProgress(recorder, title))
    module = LowbitModule(
        model,
        callback,
        optimizer=lambda network: make_optimizer(network, **plan.optimizer.model_dump()),
        schedule=lambda optimizer: make_schedule(
            optimizer, **plan.schedule.model_dump(), epochs=plan.epochs, epoch_steps=len(batches)
        ),
    )
    trainer = make_trainer(
        epochs=plan.epochs, callbacks=callbacks, accelerator=accelerator, folder=str(folder) if folder else None,
        find_unused=procedure.leaves_unused,
    )  # fmt: skip
    loader = EpochBatches(batches, lambda: trainer.current_epoch)
    checkpoint = folder / CHECKPOINT if folder else None
    resumed = str(checkpoint) if checkpoint and checkpoint.exists() else None
    before = signal.getsignal(signal.SIGINT)
    try:
        with quiet(), channels_last(model, wanted=not on_gpu(accelerator)):
            trainer.fit(module, loader, ckpt_path=resumed, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into an exit of the process and leaves the signal ignored.
        raise KeyboardInterrupt from None
    except Exception as error:
        # Whatever torch and Lightning make of a file that is none of theirs, before the first step.
        if resumed and trainer.global_step == 0 and not isinstance(error, LowbitError):
            raise InvalidInput(
                f"{checkpoint}: cannot be continued, it is damaged or of another network ({type(error).__name__}); "
                f"delete {folder} to train again"
            ) from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    model.to(torch.device("cpu"))
    return recorder.rows
