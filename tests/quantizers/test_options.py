"""Options of a wrong type: one sentence, whatever the method."""

from __future__ import annotations

import inspect
import math
import typing

import pytest

from lowbit.quantizers import METHODS, quantizer
from lowbit.quantizers.options import check_options
from lowbit.quantizers.uniform import FixedStep


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        ("uniform:2", "rounding", [1]), ("uniform:2", "rounding", 0), ("uniform:2", "rounding", {}),
        ("affine:4", "rounding", [1]), ("mixture:2", "learned", "no"), ("hwgq:2", "zero_bin", "yes"),
        ("xnor++", "case", [1]),
        ("xnor++", "case", True), ("sawb:2", "clip", "no"), ("twobit", "learned", 1), ("ttq", "threshold", True),
        ("twn", "threshold", True), ("twn", "threshold", math.nan), ("pact:2", "init", True),
        ("pact:2", "init", math.inf), ("sigmoid:2", "learn_biases", "no"), ("sigmoid:2", "bwd_T", "1"),
    ],
)  # fmt: skip
def test_wrong_types_are_refused_in_one_sentence(method: str, option: str, value: object) -> None:
    name = method.partition(":")[0]
    with pytest.raises(ValueError, match=r"allowed (is|are)|takes") as caught:
        quantizer({"method": method, option: value}, "activation" if name in ("pact", "hwgq") else "weight")
    words = str(caught.value)
    assert words.startswith((f"{name}'s {option} ", f"{name} takes {option}")) and repr(value) in words


def test_every_option_takes_its_default_and_refuses_an_object() -> None:
    for name, method in METHODS.items():
        hints = typing.get_type_hints(method.__init__)
        for option in inspect.signature(method.__init__).parameters.values():
            if option.kind is option.KEYWORD_ONLY and option.name not in ("role", "channel", "ste"):
                check_options(name, method.__init__, {option.name: option.default})
                if "Sequence" in str(hints[option.name]):
                    continue  # lists are judged by the constructor
                with pytest.raises(ValueError, match=f"{option.name} is <object object"):
                    check_options(name, method.__init__, {option.name: object()})


def test_a_rounding_given_to_the_class_is_not_overlooked() -> None:
    for wrong in (0, "", {}):
        with pytest.raises(ValueError, match="uniform's rounding is"):
            FixedStep(2, rounding=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", ["0_2", "\uff12", "+2", " 2", "2.0"])
def test_bits_are_plain_digits(bits: str) -> None:
    with pytest.raises(ValueError, match="lsq takes 1 to 16 bits, got"):
        quantizer(f"lsq:{bits}")
