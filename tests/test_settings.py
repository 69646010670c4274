"""Settings of procedures as recipes give them: texts of numbers are numbers, anything else is refused by name."""

import pytest

from lowbit.errors import InvalidInput, UnknownName
from lowbit.models import build
from lowbit.procedures import procedure


def test_yaml_reads_some_numbers_as_text():
    assert procedure("lipschitz", strength="1e-4").strength == 1e-4
    assert procedure("dqa", g=["1e-1", 1]).g == [0.1, 1.0]
    assert procedure("admm", extragradient="false").extragradient is False


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lipschitz", {"strength": "x"}, "strength of modifier 'lipschitz' is 'x': it should be a number"),
        ("progressive", {"bits": 4}, "bits of procedure 'progressive' is 4: it should be a list"),
        ("inq", {"fractions": 1}, "fractions of procedure 'inq' is 1: it should be a list"),
        (
            "distill",
            {"temperature": float("inf")},
            "temperature of procedure 'distill' is inf: it should be a finite number",
        ),
        (
            "hwang-sung",
            {"float_derivative": "x"},
            "float_derivative of procedure 'hwang-sung' is 'x': it should be a bool",
        ),
    ],
)
def test_other_types_are_refused(name, settings, message):
    with pytest.raises(InvalidInput, match=message):
        procedure(name, **settings)


def test_an_unknown_setting_has_a_nearest_name():
    with pytest.raises(UnknownName, match="strength"):
        procedure("lipschitz", strenght=1)


def test_networks_check_their_options_too():
    with pytest.raises(InvalidInput, match="width of model 'digits_net' is 'abc': it should be an integer"):
        build("digits_net", width="abc")
    with pytest.raises(UnknownName, match="unknown option of model 'digits_net' 'widht'"):
        build("digits_net", widht=4)
