"""Training procedures and their modifiers, one a file; `procedure(name, **settings)` makes either by name."""

from __future__ import annotations

from typing import Any

from lowbit.errors import unknown
from lowbit.procedures.admm import ADMMTraining
from lowbit.procedures.base import LEARNING_RATE, Modifier, Procedure, Run
from lowbit.procedures.binary_relax import BinaryRelax
from lowbit.procedures.bit_learning import BitLearning
from lowbit.procedures.bn_reestimate import Reestimate
from lowbit.procedures.clr import CyclicalRate
from lowbit.procedures.combine import Combination, combine
from lowbit.procedures.distill import Distill
from lowbit.procedures.dqa import DQA
from lowbit.procedures.hwang_sung import HwangSung
from lowbit.procedures.inq import INQTraining
from lowbit.procedures.lipschitz import Lipschitz
from lowbit.procedures.loss_aware import LossAwareTraining
from lowbit.procedures.progressive import Progressive
from lowbit.procedures.ptq import PTQ
from lowbit.procedures.quantization_networks import QuantizationNetworks
from lowbit.procedures.retrain import Retrain
from lowbit.procedures.shin import Shin
from lowbit.procedures.sign_flips import SignFlips
from lowbit.procedures.two_stage import TwoStage
from lowbit.settings import typed_settings

__all__ = [
    "DQA",
    "LEARNING_RATE",
    "MODIFIERS",
    "PROCEDURES",
    "PTQ",
    "ADMMTraining",
    "BinaryRelax",
    "BitLearning",
    "Combination",
    "CyclicalRate",
    "Distill",
    "HwangSung",
    "INQTraining",
    "Lipschitz",
    "LossAwareTraining",
    "Modifier",
    "Procedure",
    "Progressive",
    "QuantizationNetworks",
    "Reestimate",
    "Retrain",
    "Run",
    "Shin",
    "SignFlips",
    "TwoStage",
    "combine",
    "procedure",
]

PROCEDURES: dict[str, type[Procedure]] = {
    kind.name: kind
    for kind in (
        Procedure,
        Retrain,
        PTQ,
        BinaryRelax,
        DQA,
        QuantizationNetworks,
        Distill,
        Progressive,
        TwoStage,
        LossAwareTraining,
        INQTraining,
        ADMMTraining,
        HwangSung,
        Shin,
        BitLearning,
    )
}
MODIFIERS: dict[str, type[Procedure]] = {
    kind.name: kind
    for kind in (
        CyclicalRate,
        Lipschitz,
        Reestimate,
        SignFlips,
    )
}


def procedure(name: str, **settings: Any) -> Procedure:
    """Make a procedure or modifier by name, as recipes and the command line do.

    Args:
        name: a key of ``PROCEDURES`` or ``MODIFIERS``.
        settings: the procedure's own.

    Raises:
        UnknownName: there is none of that name, or no such setting of it; the message holds the nearest name.
        InvalidInput: a setting is of another type, infinite or NaN.

    Example:
        >>> procedure("retrain").needs_float_start
        True
    """
    known = PROCEDURES | MODIFIERS
    if name not in known:
        raise unknown("procedure", name, known)
    kind = known[name]
    return kind(**typed_settings(f"{'modifier' if kind.modifier else 'procedure'} {name!r}", "setting", kind, settings))
