"""`lowbit.diagnose`: all measurements of a prepared network, and what they recommend."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lowbit.analysis.advice import LOST, Advice, advise
from lowbit.analysis.cache import Cache, digest
from lowbit.analysis.findings import Context, Findings
from lowbit.analysis.gradients import gradient_table
from lowbit.analysis.kappa import kappa_table
from lowbit.analysis.lipschitz import lipschitz_table
from lowbit.analysis.noise import noise_table
from lowbit.analysis.samples import Samples, first, samples
from lowbit.analysis.sensitivity import sensitivity
from lowbit.analysis.softness import softness_table
from lowbit.analysis.split import split, split_by_layer
from lowbit.analysis.sqnr import sqnr_table
from lowbit.analysis.surface import loss_surface
from lowbit.analysis.switches import quantizing, weight_layers
from lowbit.analysis.temperature import temperature_table
from lowbit.analysis.trials import trials
from lowbit.analysis.usage import usage_table
from lowbit.quantizers.base import Quantizer
from lowbit.table import Table
from lowbit.training.evaluate import logits

NOISE_INPUTS = 64
SURFACE_INPUTS = 128
EXAMPLES = 12
WIDTHS = (2, 4, 8)
STEPS: Mapping[str, str] = {
    "methods": "methods of the layers",
    "split": "weights, activations, both",
    "parts": "one tensor at a time",
    "sqnr": "signal to quantization noise",
    "kappa": "decibels a bit",
    "usage": "use of the levels",
    "noise": "distortion and noise",
    "lipschitz": "Lipschitz constants",
    "sensitivity": "sensitivity to bits",
    "trials": "remedies on trial",
    "flipped": "inputs that changed their class",
    "surface": "loss around the weights",
    "temperature": "error of mixtures against temperature",
    "softness": "soft levels against hard ones",
    "gradients": "updates under quantized gradients",
}
"""Measurements in order, with what they measure in words."""
Show = Callable[[str, int, int], None]
"""Called with a measurement's name, how many are done, and how many there are."""


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What was measured and what to do.

    Attributes:
        tables: by the names of `STEPS`.
        advice: recommendations, the most promising first; none where nothing was lost.
        images: inputs that were measured on.
        context: of the network.
    """

    tables: Mapping[str, Table]
    advice: list[Advice]
    images: int
    context: Context

    @property
    def healthy(self) -> bool:
        """Whether less was lost than is worth speaking of."""
        return Findings(tables=self.tables, context=self.context).lost < LOST

    @property
    def cause(self) -> str:
        """One sentence: how much was lost, and what to."""
        findings = Findings(tables=self.tables, context=self.context)
        modes = findings.modes
        unit = "points of agreement" if modes["both"]["accuracy"] is None else "points of accuracy"
        if self.healthy:
            return f"Quantization costs {max(findings.lost, 0):.2f} {unit} on {self.images} inputs: nothing to repair."
        who = (
            "almost all of it the weights" if findings.weights_rule
            else "almost all of it the activations" if findings.activations_rule
            else "weights and activations together"
        )  # fmt: skip
        first = f" First: {self.advice[0].title}" if self.advice else ""
        return f"Quantization costs {findings.lost:.2f} {unit} on {self.images} inputs, {who}.{first}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: `cause`, `healthy`, `images`, `advice` and every table."""
        return {
            "cause": self.cause,
            "healthy": self.healthy,
            "images": self.images,
            "advice": [advice.to_dict() for advice in self.advice],
            "tables": {name: table.to_dict() for name, table in self.tables.items()},
        }

    def __str__(self) -> str:
        lines = [self.cause, "", str(self.tables["split"]), "", str(self.tables["sqnr"])]
        for number, advice in enumerate(self.advice, 1):
            lines += ["", f"{number}. {advice.title}", f"   {advice.evidence}", *_indented(advice.action)]
        return "\n".join(lines)

    def save(self, path: str | Path) -> None:
        """Write everything as JSON.

        Args:
            path: ending in .json.

        Raises:
            InvalidInput: it cannot be written.
        """
        from lowbit.atomic import write_text

        write_text(path, json.dumps(self.to_dict(), indent=1) + "\n")


def _indented(text: str) -> list[str]:
    return [f"   {line}" for line in text.splitlines()]


def diagnose(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    context: Context | None = None,
    cache: str | Path | None = None,
    show: Show = lambda name, done, total: None,
) -> Diagnosis:
    """Measure where a prepared network loses accuracy, name the cause, and recommend.

    Args:
        model: prepared and calibrated, trained or not; it is left as it was.
        batches: yields (inputs, labels), or inputs alone, which leaves accuracy out; some hundred inputs are enough.
        context: what is known of its training.
        cache: folder where finished measurements are kept, by the content of model and data, so that an interrupted
            diagnosis goes on; None keeps none.
        show: called before each measurement and at the end.

    Returns:
        A `Diagnosis`: ``str()`` for people, ``.to_dict()`` for programs, ``.save(path)``.

    Raises:
        InvalidInput: the model is not prepared or its weights are not finite; there is no data, or it is not finite or
            of a single class.
        NotCalibrated: a quantizer has no scale.

    Example:
        >>> import lowbit, torch
        >>> torch.manual_seed(0) and None
        >>> net, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), torch.randn(64, 8)
        >>> y = net(x).argmax(1)
        >>> net = lowbit.prepare(net, weight="affine:8", activation="affine:8", example=x)
        >>> diagnose(net, [(x, y)]).advice
        []
    """
    data = samples(model, batches)
    found: dict[str, Table] = {}
    kept = Cache(cache, digest(model, data)) if cache is not None else None
    for index, name in enumerate(STEPS):
        show(STEPS[name], index, len(STEPS))
        table = kept.read(name) if kept else None
        if table is None:
            table = _measure(name, model, data, found)
            if kept:
                kept.write(name, table)
        found[name] = table
    show("done", len(STEPS), len(STEPS))
    known = context or Context()
    advice = advise(Findings(tables=found, context=known))
    return Diagnosis(found, advice, len(data.x), known)


def _measure(name: str, model: nn.Module, data: Samples, found: Mapping[str, Table]) -> Table:
    measurements: dict[str, Callable[[], Table]] = {
        "methods": lambda: methods_table(model),
        "split": lambda: split(model, data),
        "parts": lambda: split_by_layer(model, data),
        "sqnr": lambda: sqnr_table(model, data.x),
        "kappa": lambda: kappa_table(model, data.x[:NOISE_INPUTS]),
        "usage": lambda: usage_table(model, data.x),
        "noise": lambda: noise_table(model, data.x[:NOISE_INPUTS]),
        "lipschitz": lambda: lipschitz_table(model, data.x),
        "sensitivity": lambda: sensitivity(model, data, widths=WIDTHS),
        "trials": lambda: trials(model, data, found["parts"]),
        "flipped": lambda: flipped_table(model, data),
        "surface": lambda: loss_surface(model, first(data, SURFACE_INPUTS)),
        "temperature": lambda: temperature_table(model),
        "softness": lambda: softness_table(model, data),
        "gradients": lambda: gradient_table(model, first(data, SURFACE_INPUTS)),
    }
    return measurements[name]()


def methods_table(model: nn.Module) -> Table:
    """Method of every layer's weight and input, as rules write them; None for floats."""

    def written(quantizer: Quantizer | None) -> Any:
        return None if quantizer is None or quantizer.spec is None else quantizer.spec.written()

    rows = [
        {"layer": name, "weight": written(layer.weight_quantizer), "activation": written(layer.input_quantizer)}
        for name, layer in weight_layers(model).items()
    ]
    return Table(("layer", "weight", "activation"), rows)


def flipped_table(model: nn.Module, data: Samples) -> Table:
    """Inputs that the quantized network puts into another class than the float one, the surest of the latter first.

    Columns: `input` (its number), `label`, `float` and `quantized` (classes), `margin` (of the float logits).
    """
    with quantizing(model, weights=False, activations=False):
        real = logits(model, data.x)
    with quantizing(model):
        made = logits(model, data.x)
    if real.shape[1] < 2:
        return Table(("input", "label", "float", "quantized", "margin"), [])
    top = real.topk(2, dim=1).values
    margin = top[:, 0] - top[:, 1]
    changed = (real.argmax(1) != made.argmax(1)).nonzero().flatten()
    order = changed[margin[changed].argsort(descending=True)][:EXAMPLES]
    rows = [
        {
            "input": int(i), "label": None if data.y is None else int(data.y[i]), "float": int(real[i].argmax()),
            "quantized": int(made[i].argmax()), "margin": float(margin[i]),
        }
        for i in order
    ]  # fmt: skip
    return Table(("input", "label", "float", "quantized", "margin"), rows, totals={"changed": len(changed)})
