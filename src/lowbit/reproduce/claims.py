"""What a table claims, and whether results of several seeds support it.

A claim compares two sums of results, ``"dqa >= plain"`` or ``"w2-d20 - float-d20 >= w2-d8 - float-d8"``. A term is
the key of a row, or a number. ``key@2`` is the row's result after epoch 2, ``key.soft_accuracy`` another column of its
log, ``key.noise_index`` a measure of the table (see `lowbit.reproduce.measures`). Terms are separated by spaces, so
that keys may hold hyphens.

The claim's value is left minus right, of the means over seeds; its deviation is the root of the summed variances
(sample variances over seeds, times the squared factors). The claim holds where the value is above the deviation, is
contradicted where it is below minus the deviation, and is undecided between.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lowbit.errors import InvalidInput

HELD, CONTRADICTED, UNDECIDED = "held", "contradicted", "undecided"
_TERM = re.compile(r"(?P<key>[^.@\s]+)(?:\.(?P<column>[a-z_]+))?(?:@(?P<epoch>[1-9]\d*))?")


@dataclass(frozen=True, order=True)
class Term:
    """One result of a row: a column of its log or a measure (None: the accuracy) after an epoch (None: the last)."""

    key: str
    column: str | None = None
    epoch: int | None = None

    def __str__(self) -> str:
        column = f".{self.column}" if self.column else ""
        return f"{self.key}{column}" + (f"@{self.epoch}" if self.epoch else "")


@dataclass(frozen=True)
class Comparison:
    """sum of factor * term + constant >= 0."""

    factors: dict[Term, float]
    constant: float


@dataclass(frozen=True)
class Verdict:
    """Whether a claim is supported: left minus right in points, its deviation, and a reason where there is none."""

    verdict: str
    value: float | None = None
    deviation: float | None = None
    reason: str = ""


def parse_comparison(text: str) -> Comparison:
    """Read a comparison.

    Raises:
        InvalidInput: it is not of the form above.

    Example:
        >>> comparison = parse_comparison("w2 + 0.3 >= float@4")
        >>> {str(term): factor for term, factor in comparison.factors.items()}, comparison.constant
        ({'w2': 1.0, 'float@4': -1.0}, 0.3)
    """
    left, at_least, right = text.partition(">=")
    if not at_least or ">=" in right:
        raise InvalidInput(f"claim {text!r}: write two sums with >= between, for example 'dqa >= plain'")
    factors: dict[Term, float] = {}
    constant = 0.0
    for side, words in ((1.0, left.split()), (-1.0, right.split())):
        if len(words) % 2 == 0 or not set(words[1::2]) <= {"+", "-"}:
            raise InvalidInput(f"claim {text!r}: write terms with + or - between, and spaces around these")
        for sign, word in zip(["+", *words[1::2]], words[0::2], strict=True):
            factor = side if sign == "+" else -side
            match = _TERM.fullmatch(word)
            try:
                constant += factor * float(word)
            except ValueError:
                if not match:
                    raise InvalidInput(f"claim {text!r}: {word!r} is neither a number nor key.column@epoch") from None
                term = Term(match["key"], match["column"], int(match["epoch"]) if match["epoch"] else None)
                factors[term] = factors.get(term, 0.0) + factor
    if not factors:
        raise InvalidInput(f"claim {text!r}: names no row")
    return Comparison(factors, constant)


def judge(comparison: Comparison, results: Callable[[Term], Sequence[float]]) -> Verdict:
    """Decide a claim.

    Args:
        comparison: of the claim.
        results: gives a term's results over seeds; fewer than two decide nothing.

    Example:
        >>> found = {"a": [90.0, 90.2], "b": [89.0, 89.2]}
        >>> verdict = judge(parse_comparison("a >= b"), lambda term: found[term.key])
        >>> verdict.verdict, round(verdict.value, 3), round(verdict.deviation, 3)
        ('held', 1.0, 0.2)
    """
    value, variance = comparison.constant, 0.0
    for term, factor in comparison.factors.items():
        numbers = results(term)
        if len(numbers) < 2:
            lacks = "not run" if not numbers else "run with one seed only"
            return Verdict(UNDECIDED, reason=f"{term} is {lacks}")
        value += factor * statistics.fmean(numbers)
        variance += factor**2 * statistics.variance(numbers)
    deviation = math.sqrt(variance)
    # Means of decimal percentages carry rounding errors of some 1e-14; a difference of that size decides nothing.
    beyond = abs(value) > deviation + 1e-9
    verdict = UNDECIDED if not beyond else HELD if value > 0 else CONTRADICTED
    return Verdict(verdict, value, deviation, "" if beyond else "the difference is within one standard deviation")
