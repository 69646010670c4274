"""Everything that a diagnosis has measured, as the rules of the advice read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lowbit.analysis.trials import NOTHING, share_of
from lowbit.table import Table


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What the network itself does not tell.

    Attributes:
        trained: whether its low-bit weights were trained; None: unknown.
        recipe: of its run as plain data, or None.
        run: folder of the run as it was given, or "".
        float_accuracy: percent, of the float network that it started from, or None.
    """

    trained: bool | None = None
    recipe: Mapping[str, Any] | None = None
    run: str = ""
    float_accuracy: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """Tables by name (see `lowbit.analysis.diagnosis`) and the context.

    Attributes:
        tables: "split", "parts", "sqnr", "usage", "noise", "trials" and others.
        context: of the network.
    """

    tables: Mapping[str, Table]
    context: Context = field(default_factory=Context)

    @cached_property
    def modes(self) -> dict[str, Mapping[str, Any]]:
        """Rows of the split by "nothing", "weights", "activations" and "both"."""
        return {row["quantized"]: row for row in self.tables["split"].rows}

    @property
    def lost(self) -> float:
        """Points of accuracy to the float network, the trained one if it is known; without labels, of agreement."""
        accuracy = self.modes["both"]["accuracy"]
        if accuracy is None:
            return 100 - self.modes["both"]["agreement"]
        known = [self.modes["nothing"]["accuracy"], self.context.float_accuracy]
        return max(number for number in known if number is not None) - accuracy

    def error(self, mode: str) -> float:
        """|y - f|^2 / |f|^2 of the logits in a mode of the split."""
        decibels = self.modes[mode]["sqnr"]
        return 0.0 if decibels is None else 10 ** (-decibels / 10)

    @property
    def weights_rule(self) -> bool:
        """Whether the weights cause at least four times the error of the activations."""
        return self.error("weights") >= 4 * self.error("activations")

    @property
    def activations_rule(self) -> bool:
        """The other way round."""
        return self.error("activations") >= 4 * self.error("weights")

    @cached_property
    def shares(self) -> dict[tuple[str, str], float]:
        """Of the summed error of single tensors."""
        return share_of(self.tables["parts"])

    @property
    def depth(self) -> int:
        """Layers with weights."""
        return len(self.tables["sqnr"].rows)

    @property
    def amplified(self) -> float:
        """Decibels by which the activations' noise at the output exceeds the sum of what was put in."""
        rows = self.tables["sqnr"].rows
        predicted = rows[-1]["activations so far"] if rows else None
        measured = self.modes["activations"]["sqnr"]
        return 0.0 if predicted is None or measured is None else predicted - measured

    def trial(self, name: str, **which: Any) -> Mapping[str, Any] | None:
        """The row of a trial."""
        for row in self.tables["trials"].rows:
            if row["trial"] == name and all(row.get(key) == value for key, value in which.items()):
                return row
        return None

    def spared(self, name: str, **which: Any) -> float:
        """Share of the whole error that a trial takes away, 0 where it was not tried or harms.

        Trained weights have grown into their quantizers: nearer to the float network can then be less accurate, which
        is harm.
        """
        row, now = self.trial(name, **which), self.trial(NOTHING)
        if row is None or now is None or not now["error"]:
            return 0.0
        if row["accuracy"] is not None and row["accuracy"] < now["accuracy"]:
            return 0.0
        return max(0.0, 1 - row["error"] / now["error"])

    def best(self, name: str) -> tuple[float, Mapping[str, Any] | None]:
        """The most that a trial takes away from the error over all tensors, and its row."""
        rows = [row for row in self.tables["trials"].rows if row["trial"] == name and row.get("layer")]
        found = [(self.spared(name, layer=row["layer"], quantized=row["quantized"]), row) for row in rows]
        return max(found, key=lambda pair: pair[0], default=(0.0, None))

    def bits(self, role: str) -> list[int]:
        """Bits of all weights ("weight") or inputs ("activation")."""
        return [row["bits"] for row in self.tables["usage"].rows if row["role"] == role]
