"""Quantization error of a mixture of quantizers against the temperature of its softmax.

Source: DNN Quantization with Attention, Figure 2: from the mean of all parts (hot) to the fewest bits (cold).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lowbit.analysis.switches import evaluating, weight_layers
from lowbit.errors import InvalidInput
from lowbit.quantizers.base import Quantizer
from lowbit.quantizers.mixture import Mixture
from lowbit.table import Table

TEMPERATURES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
FLOAT_BITS = 6
"""What a float counts as among the bits that preferences are made of; beside 2 bits this gives the paper's 3/4, 1/4."""


def preference(bits: Sequence[int]) -> list[float]:
    """The fixed alpha of the paper's figure: in inverse proportion to the bits, sum 1.

    Example:
        >>> [round(7 * share) for share in preference([2, 4, 8])], preference([2, FLOAT_BITS])
        ([4, 2, 1], [0.75, 0.25])
    """
    inverse = [1 / n for n in bits]
    return [share / sum(inverse) for share in inverse]


@torch.no_grad()
def mixture_error(
    x: Tensor, parts: Sequence[Quantizer | None], temperatures: Sequence[float] = TEMPERATURES
) -> list[float]:
    """Mean |x - sum_k a_k Q_k(x)| with a = softmax(alpha / T) and the alpha of `preference`.

    Args:
        x: a tensor, of weights for example.
        parts: calibrated quantizers; None stands for x itself.
        temperatures: T, each above 0.

    Returns:
        One error for each temperature, in the units of x.

    Raises:
        InvalidInput: a temperature is not above 0, or there are no parts.

    Example:
        >>> import lowbit
        >>> x = torch.tensor([-1.0, 0.4, 1.0])
        >>> q = lowbit.quantizer("minmax:2", role="weight")
        >>> q.calibrate(x)
        >>> [round(error, 3) for error in mixture_error(x, [q, None], [1e-3, 1e9])]
        [0.022, 0.011]
    """
    if not parts or not all(t > 0 for t in temperatures):
        raise InvalidInput(f"a mixture of {len(parts)} parts at temperatures {list(temperatures)}; allowed is one part "
                           "or more, at temperatures above 0")  # fmt: skip
    values = torch.stack([x if part is None else part(x) for part in parts]).double()
    alpha = torch.tensor(preference([FLOAT_BITS if part is None else part.bits for part in parts])).double()
    errors = []
    for temperature in temperatures:
        shares = torch.softmax(alpha / temperature, 0)
        errors.append(float((x.double() - torch.tensordot(shares, values, 1)).abs().mean()))
    return errors


def temperature_table(model: nn.Module, temperatures: Sequence[float] = TEMPERATURES) -> Table:
    """The curve of every layer whose weight has a mixture, beside that of its hard part mixed with the float.

    Args:
        model: prepared and calibrated; its mixtures may have ended.
        temperatures: T, each above 0.

    Returns:
        A row for each layer and list of parts: `layer`, `parts`, `coldest` and `hottest` (errors), and the curve,
        `temperatures` and `errors`. Without mixtures, no rows.
    """
    rows = []
    with evaluating(model):
        for name, layer in weight_layers(model).items():
            quantizer = layer.weight_quantizer
            if not isinstance(quantizer, Mixture):
                continue
            for parts in (quantizer.parts, [quantizer.hard, None]):
                errors = mixture_error(layer.weight, parts, temperatures)
                rows.append({
                    "layer": name, "parts": " + ".join(map(_named, parts)), "coldest": errors[0],
                    "hottest": errors[-1], "temperatures": list(temperatures), "errors": errors,
                })  # fmt: skip
    return Table(("layer", "parts", "coldest", "hottest"), rows)


def _named(part: Quantizer | None) -> str:
    return "float" if part is None else f"{part.card.name}:{part.bits}"
