"""The contract of all quantizers: a method is one subclass.

A quantizer maps a real tensor onto a grid. Subclasses write `scales`, `units`, `grid` and, where they have state,
`start`; everything else is here and final:

    scales(x)     float [terms] or [terms, channels], differentiable where learned
    units(x)      integer-valued float [terms, *x.shape], with the surrogate gradient inside
    forward(x)    sum_i scales_i * units_i (+ offset), what training multiplies with
    encode(x)     integer codes, no gradient
    grid(x)       the same numbers without torch

so that `grid(x).values(encode(x))` equals `forward(x)` bit for bit. Gradients of `units` are in the value domain
(see `ste`): dL/dq arrives, dL/dx leaves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from lowbit.errors import InvalidInput, NotCalibrated
from lowbit.grid import MAX_BITS, Grid, Levels, Planes, Uniform
from lowbit.quantizers.fused import applies
from lowbit.quantizers.ste import Scaled, along
from lowbit.quantizers.surrogates import Slopes, Surrogate, surrogate

ROLES = ("weight", "activation", "output", "gradient")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the catalogue says of a method.

    Args:
        name: as in ``"lsq:2"``.
        family: methods that share an idea.
        kind: which roles, letters of "WAG".
        min_bits, max_bits: legal widths; equal where the method fixes its width.
        grid: name of the grid class of weights / activations.
        learned: what is trained besides the weights, or "".
        paper, equation: source.
        channel: whether weights have one scale a channel unless ``@tensor`` is asked for.
        per_channel: whether weights can have one scale a channel at all.
        min_signed_bits: narrowest width for weights, and for activations that can be negative; None: `min_bits`.
    """

    name: str
    family: str
    kind: str
    min_bits: int
    max_bits: int = MAX_BITS
    grid: str = "Uniform"
    learned: str = ""
    paper: str = ""
    equation: str = ""
    channel: bool = False
    per_channel: bool = True
    min_signed_bits: int | None = None


def number(tensor: Tensor) -> np.ndarray:
    """A float32 numpy copy of a tensor."""
    return tensor.detach().to(device="cpu", dtype=torch.float32).numpy().copy()


def wide(x: Tensor) -> Tensor:
    """x in the precision that scales and codes are computed in: half types become float32.

    Raises:
        ValueError: x is no floating point tensor.
    """
    if not x.is_floating_point():
        raise ValueError(f"is {x.dtype}; quantizers take floating point tensors")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def all_reduce_mean(value: Tensor) -> Tensor:
    """Mean over the processes of a distributed run; the value itself elsewhere."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        value = value.clone()
        dist.all_reduce(value)
        value = value / dist.get_world_size()
    return value


_BITS = re.compile(":[0-9]+")


def _identity(extra_state: Tensor) -> str:
    return bytes(extra_state[2:].tolist()).decode()


def without_identity(state: Mapping[str, Any]) -> dict[str, Any]:
    """A quantizer's state_dict for one of the same method that has other bits."""
    return {key: value[:2] if key.endswith("_extra_state") else value for key, value in state.items()}


def _fit_shapes(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before loading: refuse the state of another method or granularity, and give state its shape.

    State of other bits is let in, since a procedure that changes them restores the bits after the state; until then
    the quantizer refuses to be used. State with one number a channel gets its shape also where nothing was calibrated.
    """
    assert isinstance(module, Quantizer)
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    found = {name: (tensor, saved) for name, tensor in own if (saved := state_dict.get(prefix + name)) is not None}
    has = _identity(state_dict.get(prefix + "_extra_state", torch.empty(0)))
    if not has:  # of an older version: the shapes alone tell
        if any(saved.ndim and not tensor.ndim for tensor, saved in found.values()) and not module.channel:
            has = "one with a number for each channel"
        elif any(tensor.ndim and not saved.ndim for tensor, saved in found.values()):
            has = "one with a number for the tensor"
    elif _BITS.sub("", has) == _BITS.sub("", module.identity):
        has = ""  # other bits: see `require`
    if has:
        raise InvalidInput(f"{prefix.rstrip('.') or module.card.name}: {module.misfit(has)}")
    for tensor, saved in found.values():
        if saved.shape != tensor.shape:
            tensor.data = torch.empty(saved.shape, dtype=tensor.dtype, device=tensor.device)


def all_reduce_max(value: Tensor) -> Tensor:
    """Maximum over the processes of a distributed run; the value itself elsewhere."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        value = value.clone()
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return value


class Quantizer(nn.Module):
    """Base class of all methods.

    Args:
        bits: 1 to 16, within what the card allows.
        role: "weight", "activation", "output" or "gradient".
        channel: one scale for each slice of axis 0 (weights only) instead of one for the tensor.
        signed: whether activations can be negative; None lets `calibrate` look at the data.
        ste: a straight-through estimator by name (see `surrogates`) in place of the card's gradient of x.

    Gradients (role "gradient") are quantized sample by sample, axis 0, with one scale for each; nothing is calibrated.

    Raises:
        ValueError: for bits that the method cannot have.
    """

    card: ClassVar[Card]
    constant_behind_relu: ClassVar[bool] = False
    """Whether activations without negative values all get one code, as signs do."""
    gain_kind: ClassVar[str | None] = None
    """How a program computes `gain`: "magnitude" (XNOR-Net's K, from the input) or "map" (constant, [1, out, h, w])."""
    mixes: ClassVar[bool] = False
    """Whether training uses values off the grid, which only eval and conversion use (see `unfinished`)."""
    arithmetic: ClassVar[bool] = True
    """Whether `lowbit.grid.quantize` encodes activations; else `convert` finds thresholds by bisecting `encode`."""

    must_be_positive: ClassVar[tuple[str, ...]] = ()
    """Learned parameters that act as 1e-8 where training pushes them to zero or below."""

    def __init__(
        self,
        bits: int,
        *,
        role: str = "weight",
        channel: bool = False,
        signed: bool | None = None,
        ste: str | Mapping[str, Any] | Surrogate | None = None,
    ) -> None:
        super().__init__()
        if role not in ROLES or role[0].upper() not in self.card.kind.replace("A", "AO"):
            raise ValueError(f"{self.card.name} quantizes {self.card.kind}, not role {role!r}")
        if not self.card.min_bits <= bits <= self.card.max_bits:
            raise ValueError(
                f"{self.card.name} takes {self.card.min_bits} to {self.card.max_bits} bits, got {bits}"
                + ("; for one bit use bwn, sign or sawb" if bits == 1 else "")
            )
        if channel and role != "weight":
            raise ValueError(f"one scale a channel is for weights, not for role {role!r}")
        if ste is not None and role == "gradient":
            raise ValueError(f"{self.card.name}: a gradient has no straight-through estimator (ste), leave it out")
        self.bits, self.role, self.ste = bits, role, surrogate(ste)
        self.asked_bits = bits  # a mixture's `bits` change
        self.channel = channel or role == "gradient"  # one scale for each slice of axis 0: channels, or samples
        self.signed: bool | None = True if role in ("weight", "gradient") else signed
        self._look_at_sign = self.signed is None
        self.calibrated = role == "gradient"
        self.enabled = True
        self.relaxed = False  # whether training, but not eval, uses x itself
        self.replaces_relu = False  # whether `prepare` took a ReLU away in front of it
        self.spec: Any = None  # the `Spec` it was built from, if any
        self.where = ""  # path of the (first) layer that owns it, for messages
        self._batches = 0
        self._loaded = ""  # identity of the state that was loaded
        self.register_load_state_dict_pre_hook(_fit_shapes)

    # -- what a method writes ------------------------------------------------------------------------------------

    def start(self, x: Tensor) -> None:
        """Set the initial state from x (weights), or refine it by one more batch (activations)."""

    def track(self, x: Tensor) -> None:
        """Update running statistics; called without gradients, once in every training forward."""

    def scales(self, x: Tensor) -> Tensor:
        """Scales for x: [terms] or [terms, channels]."""
        raise NotImplementedError

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        """Integer units of x as floats [terms, *x.shape]; `scales` spares computing them again."""
        raise NotImplementedError

    def grid(self, x: Tensor | None = None) -> Grid:
        """The current grid in plain numbers; x is the weight, for methods whose scale is computed from it."""
        raise NotImplementedError

    def offset(self, x: Tensor) -> Tensor | None:
        """Real offset of min-max weights: [] or [channels]."""
        return None

    def fused(self, x: Tensor, scales: Tensor) -> Tensor | None:
        """The same value and gradients in one pass over memory (see `lowbit.quantizers.fused`), or None."""
        return None

    def unfinished(self) -> float:
        """Share of the training value that is not on the grid of eval; 0 when a mixture has ended."""
        return 0.0

    def harden(self) -> None:
        """End a mixture: from now on training uses the grid of eval. Nothing to do for other methods."""

    @property
    def folds_relu(self) -> bool:
        """Whether quantizing x equals quantizing relu(x), gradients included, so that a ReLU before it can go."""
        return False

    def gain(self, x: Tensor, layer: nn.Module) -> Tensor | None:
        """Factor of the layer's output before its bias; None: no factor.

        x is the layer's input before quantizing. Programs know two kinds, see `gain_kind`.
        """
        return None

    # -- what every method has -----------------------------------------------------------------------------------

    @final
    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set the state from data. Weights: from the tensor itself. Activations: once a batch; estimates are averaged.

        Args:
            x: the tensor to be quantized, floating point, without NaN or infinity.

        Raises:
            ValueError: for NaN, infinity or an empty tensor.
        """
        x = wide(x)
        if x.numel() == 0 or not torch.isfinite(x).all():
            raise ValueError("is empty" if x.numel() == 0 else "holds NaN or infinity")
        before = self.signed, self._batches
        if self._look_at_sign:
            negative = all_reduce_mean((x < 0).any().float()).item() > 0
            if negative and self.signed is False:
                self._batches = 0  # what was estimated for an unsigned range no longer holds
            self.signed = negative or bool(self.signed)
        if self.role == "weight":
            self._batches = 0
        try:
            self.start(x)
        except ValueError as error:
            self.signed, self._batches = before
            raise ValueError(f"cannot be quantized: {error}") from error
        self._batches += 1
        self.calibrated, self._loaded = True, ""

    def average(self, state: Tensor, estimate: Tensor) -> None:
        """Fold one batch's estimate into `state`: running mean over batches, mean over processes."""
        estimate = all_reduce_mean(estimate).to(state)
        if state.shape != estimate.shape:
            state.data = estimate.clone()
        elif self._batches:
            state.data += (estimate - state.data) / (self._batches + 1)
        else:
            state.data.copy_(estimate)

    @final  # type: ignore[misc]  # nn.Module declares forward as an attribute
    def forward(self, x: Tensor) -> Tensor:
        """x on the grid, in x's shape and dtype; while switched off, or relaxed in training, x, or what ReLU makes."""
        if not self.enabled or (self.relaxed and self.training):
            return x.relu() if self.replaces_relu else x
        self.require()
        dtype, x = x.dtype, wide(x)
        if self.training:
            with torch.no_grad():
                self.track(x)
        if self.ste is None:
            return self._value(x).to(dtype)
        return Slopes.apply(x, self._value(x.detach()), self.ste.slope).to(dtype)

    def _value(self, x: Tensor) -> Tensor:
        """The value with the gradients of the card."""
        scales = self.scales(x)
        one_pass = self.fused(x, scales) if applies(x) else None
        if one_pass is not None:
            return one_pass
        y = Scaled.apply(self.units(x, scales), scales)
        offset = self.offset(x)
        return y if offset is None else y + along(offset, x)

    @final
    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Integer codes of x on `grid`, int64, same shape; a mixture encodes as in eval."""
        self.require()
        if self.mixes and self.training:
            try:
                return self.eval().encode(x)
            finally:
                self.train()
        x = wide(x)
        grid, units = self.grid(x), self.units(x)
        if isinstance(grid, Uniform):
            return (units[0].long() + (2**grid.bits - 1)) // 2 if grid.odd else units[0].long() + grid.zero
        if isinstance(grid, Planes):
            weights = 2 ** torch.arange(len(units), device=x.device).reshape(-1, *(1,) * x.ndim)
            patterns = ((units > 0).long() * weights).sum(0)
            if grid.patterns is None:
                return patterns
            codes = torch.zeros(2 ** len(units), dtype=torch.long, device=x.device)
            codes[torch.tensor(grid.patterns)] = torch.arange(len(grid.patterns))
            return codes[patterns]
        if isinstance(grid, Levels):
            return torch.searchsorted(torch.tensor(grid.table, device=x.device), units[0].long().contiguous())
        return units.argmax(0)

    def require(self) -> None:
        """Raise unless the state is set, and of these bits."""
        if self._loaded and self._loaded != self.identity:
            raise InvalidInput(f"{self.where or self.card.name}: {self.misfit(self._loaded)}, or calibrate it")
        if not self.calibrated:
            raise NotCalibrated(
                f"{self.where + ': ' if self.where else ''}{self.card.name}:{self.bits} ({self.role}) has no scale "
                "yet; run lowbit.calibrate(model, batches) before the first forward pass"
            )

    @property
    def max_unit(self) -> int:
        """A bound of |unit| that holds whatever the state is; decides where float32 sums stay exact."""
        return 2 ** (self.bits - 1) if self.role == "weight" else 2**self.bits

    @property
    def identity(self) -> str:
        """Method, bits as asked for, and granularity, such as ``"lsq:2@channel"``: what its state fits."""
        channel = "@channel" if self.channel and self.role == "weight" else ""
        return f"{self.card.name}:{self.asked_bits}{channel}"

    def misfit(self, has: str) -> str:
        """Why the state of `has` does not fit, and what to do."""
        return (
            f"the state is that of {has}, the quantizer is {self.identity}; "
            "prepare the model with the methods that the state was saved with"
        )

    def get_extra_state(self) -> Tensor:
        """Calibrated or not, signed or not (2: unknown), `identity`: a tensor, since state_dicts hold tensors only."""
        signed = 2 if self.signed is None else int(self.signed)
        return torch.tensor([int(self.calibrated), signed, *self.identity.encode()])

    def set_extra_state(self, state: Tensor) -> None:
        """Undo `get_extra_state`."""
        self.calibrated = bool(state[0])
        self.signed = None if state[1] == 2 else bool(state[1])
        self._loaded = _identity(state)

    def groups(self, x: Tensor) -> Tensor:
        """x as [groups, elements]: one group for the tensor, or one a channel (of gradients: one a sample)."""
        return x.reshape(x.shape[0], -1) if self.channel else x.reshape(1, -1)

    @staticmethod
    def keep(state: Tensor, value: Tensor) -> None:
        """Move running state, in place, except where a batch with NaN or infinity has spoiled the new value."""
        value = value.to(state)
        state.copy_(torch.where(value.isfinite(), value, state))

    def mean_size(self, x: Tensor) -> Tensor:
        """mean|x| of each group, summed in float64: [groups]."""
        size = self.groups(x.detach()).abs()
        return size.sum(1, dtype=torch.float64) / size.shape[1]

    def ungroup(self, per_group: Tensor) -> Tensor:
        """[groups] -> [channels] or []."""
        return per_group if self.channel else per_group.reshape(())

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        per = "sample" if self.role == "gradient" else "channel" if self.channel else "tensor"
        ste = f", ste={self.ste}" if self.ste else ""
        return f"{self.card.name}:{self.bits}, {self.role}, one scale a {per}, signed={self.signed}{ste}"
