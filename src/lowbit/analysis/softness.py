"""What sigmoid quantizers give while they are soft against what they give as the steps that are shipped.

Source: Yang et al., "Quantization Networks", 2019, Figure 3: the gap closes as the temperature rises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from lowbit.analysis.samples import Samples
from lowbit.analysis.split import agreement
from lowbit.analysis.sqnr import sqnr
from lowbit.quantizers.sigmoid import Sigmoid
from lowbit.table import Table
from lowbit.training.evaluate import logits, score

TEMPERATURES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
COLUMNS = ("temperature", "soft accuracy", "hard accuracy", "agreement", "sqnr")


def softness_table(model: nn.Module, data: Samples, temperatures: Sequence[float] = TEMPERATURES) -> Table:
    """Answers with soft levels beside those with hard ones, the weights as they are.

    Args:
        model: prepared and calibrated; temperatures are put back.
        data: inputs, and labels where there are any.
        temperatures: T of all sigmoid quantizers alike, each above 0.

    Returns:
        A row for each temperature: `soft accuracy` and `hard accuracy` in percent (None without labels), `agreement`
        of the classes in percent, `sqnr` in dB of the hard logits with the difference as noise. Without sigmoid
        quantizers, no rows.

    Example:
        >>> import lowbit, torch
        >>> _ = torch.manual_seed(0)
        >>> net = lowbit.prepare(nn.Sequential(nn.Linear(4, 3)), "sigmoid:2", first="same", last="same")
        >>> x = torch.randn(9, 4)
        >>> table = softness_table(lowbit.calibrate(net, [x]), Samples(x, None), [1, 1e6])
        >>> table.rows[1]["agreement"]
        100.0
    """
    quantizers = [module for module in model.modules() if isinstance(module, Sigmoid)]
    rows = []
    hard = logits(model, data.x) if quantizers else data.x
    for temperature in temperatures if quantizers else ():
        with _softened(quantizers, temperature):
            soft = logits(model, data.x, soft=True)
        rows.append({
            "temperature": float(temperature), "soft accuracy": _accuracy(soft, data.y),
            "hard accuracy": _accuracy(hard, data.y),
            "agreement": agreement(soft, hard),
            "sqnr": sqnr(hard, soft),
        })  # fmt: skip
    return Table(COLUMNS, rows)


def _accuracy(output: Tensor, y: Tensor | None) -> float | None:
    return None if y is None else score(output, y.cpu()).accuracy


@contextmanager
def _softened(quantizers: Sequence[Sigmoid], temperature: float) -> Iterator[None]:
    before = [(q.temperature.clone(), q.ended.clone()) for q in quantizers]
    try:
        for quantizer in quantizers:
            quantizer.temperature.fill_(temperature)
            quantizer.ended.fill_(False)
        yield
    finally:
        for quantizer, (old, ended) in zip(quantizers, before, strict=True):
            quantizer.temperature.copy_(old)
            quantizer.ended.copy_(ended)
