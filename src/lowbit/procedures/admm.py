"""ADMM: float weights are drawn to a point of the grid, which moves with them.

Source: Leng et al. 2018, "Extremely Low Bit Neural Network: Squeeze the Last Bit Out with ADMM", Eq. 6-14 and
Algorithm 1. L(W) is minimised under W = G, G on the grid, with the scaled dual variable U.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Batch, Procedure, Run
from lowbit.procedures.bn_reestimate import KINDS
from lowbit.procedures.places import places
from lowbit.procedures.stages import stage
from lowbit.quantizers.admm import ADMM
from lowbit.quantizers.base import all_reduce_mean


class ADMMTraining(Procedure):
    """Train W on L(W) + rho / 2 * ||W - G + U||^2; in turn G = Proj(W + U) and U = U + W - G; end with W = G.

    Weights are floats in training; evaluation is hard. A step is extragradient: W' = W - lr * grad(W), then the
    optimizer moves W by grad(W'), of the same batch, which costs a second forward and backward pass.

    Args:
        rho: strength of the tie to the grid, above 0.
        interval: optimizer steps between updates of G and U; None: an epoch.
        extragradient: False takes the plain gradient.
        tune: share of the epochs, at the end, that train BatchNorm alone with W = G; 0 leaves it out.

    Raises:
        InvalidInput: a setting is out of range; in `start`, no layer has weights by admm.

    Example:
        >>> ADMMTraining(rho=1e-4).extragradient
        True
    """

    name = "admm"
    needs_float_start = True
    needs_method = "admm"
    excludes: Mapping[str, str] = {"lipschitz": "the second gradient of an extragradient step would lack its penalty"}

    def __init__(
        self, rho: float = 1e-2, interval: int | None = None, extragradient: bool = True, tune: float = 0.0
    ) -> None:
        if not rho > 0 or not 0 <= tune < 1:
            raise InvalidInput(f"admm: rho is {rho}, tune {tune}; allowed are rho above 0, tune from 0, below 1")
        if interval is not None and (isinstance(interval, bool) or not isinstance(interval, int) or interval < 1):
            raise InvalidInput(f"admm: interval is {interval}, allowed are whole numbers of steps from 1, or null")
        self.rho, self.interval, self.extragradient, self.tune = rho, interval, extragradient, tune

    def check(self, run: Run) -> None:
        """As `start`, on a network that may be thrown away."""
        self.start(run)

    def start(self, run: Run) -> None:
        """U = 0, G = Proj(W)."""
        self._quantizers = places(run.model, ADMM)
        if not self._quantizers:
            raise InvalidInput("admm: no layer has weights by admm; prepare it with weight='admm:2'")
        layers = {name: run.model.get_submodule(name.rpartition(".")[0]) for name in self._quantizers}
        self._weights: dict[str, Tensor] = {name: layer.weight for name, layer in layers.items()}  # type: ignore[misc]
        self._dual = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        self._norms = {id(p) for m in run.model.modules() if isinstance(m, KINDS) for p in m.parameters()}
        if self.tune and not self._norms:
            raise InvalidInput("admm: tune trains BatchNorm alone, but the network has none; use tune: 0")
        self._tuning = False
        self._relax(True)
        if run.step == 0:
            self._target = {name: self._projected(name, weight) for name, weight in self._weights.items()}

    def epoch_start(self, run: Run) -> None:
        """Leave the weights on the grid where tuning begins."""
        if self.tune and not self._tuning and stage(run, [1 - self.tune]):
            self._settle()
            self._tuning = True

    def loss(self, run: Run, batch: Batch, output: Tensor) -> Tensor:
        """Cross-entropy and the tie to the grid."""
        self._batch = batch
        loss = super().loss(run, batch, output)
        return loss if self._tuning else loss + self._tie()

    def after_backward(self, run: Run) -> None:
        """Replace the gradients by those at W'; in tuning, drop all but BatchNorm's."""
        if self._tuning:
            for parameter in run.model.parameters():
                if id(parameter) not in self._norms:
                    parameter.grad = None  # optimizers leave such parameters alone, momentum and decay included
        elif self.extragradient:
            self._look_ahead(run)

    def after_step(self, run: Run) -> None:
        """Move G and U where it is time."""
        if self.interval and run.step % self.interval == 0 and not self._tuning:
            self._outer()

    def epoch_end(self, run: Run) -> None:
        """Move G and U once an epoch; end with W = G."""
        if not self.interval and not self._tuning:
            self._outer()
        far = sum(float((w.detach() - self._target[name]).square().sum()) for name, w in self._weights.items())
        size = sum(float(w.detach().square().sum()) for w in self._weights.values())
        run.log("distance", (far / max(size, 1e-30)) ** 0.5)
        if run.step >= run.steps_total:
            if not self._tuning:
                self._settle()
            self._relax(False)

    def state_dict(self) -> dict[str, Any]:
        """G, U by layer, and whether BatchNorm alone is trained."""
        return {"target": self._target, "dual": self._dual, "tuning": self._tuning}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self._target, self._dual = (
            {name: state[what][name].to(weight.device) for name, weight in self._weights.items()}
            for what in ("target", "dual")
        )
        self._tuning = bool(state["tuning"])

    def _tie(self) -> Tensor:
        """rho / 2 * sum of ||W - G + U||^2 over the layers."""
        parts = [(w - self._target[name] + self._dual[name]).square().sum() for name, w in self._weights.items()]
        return self.rho / 2 * torch.stack(parts).sum()

    @torch.no_grad()
    def _projected(self, name: str, value: Tensor) -> Tensor:
        quantizer = self._quantizers[name]
        quantizer.calibrate(value.detach())
        training = quantizer.training
        projected = quantizer.eval()(value.detach())
        quantizer.train(training)
        return projected

    @torch.no_grad()
    def _outer(self) -> None:
        for name, weight in self._weights.items():
            self._target[name] = self._projected(name, weight + self._dual[name])
            self._dual[name] = self._dual[name] + weight - self._target[name]

    @torch.no_grad()
    def _settle(self) -> None:
        for name, weight in self._weights.items():
            weight.copy_(self._target[name])

    def _relax(self, relaxed: bool) -> None:
        for quantizer in self._quantizers.values():
            quantizer.relaxed = relaxed

    def _look_ahead(self, run: Run) -> None:
        moved = [
            (p, p.detach().clone(), group["lr"])
            for group in run.optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        with torch.no_grad():
            for parameter, _, lr in moved:
                parameter.sub_(parameter.grad, alpha=lr)
        x, y = self._batch
        with _statistics_kept(run.model):
            loss = super().loss(run, (x, y), run.model(x)) + self._tie()
        gradients = torch.autograd.grad(loss, [parameter for parameter, _, _ in moved])
        with torch.no_grad():
            for (parameter, before, _), gradient in zip(moved, gradients, strict=True):
                parameter.copy_(before)
                parameter.grad = all_reduce_mean(gradient)


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Let BatchNorm use a batch without remembering it."""
    found = [m for m in model.modules() if isinstance(m, KINDS) and m.track_running_stats]
    for norm in found:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in found:
            norm.track_running_stats = True
