"""The headline of a diagnosis: each number beside what it is compared with, or why it is not."""

from lowbit.report.content import contender
from lowbit.report.headline import headline

FLOATS = contender("float", kind="float", accuracy=98.0, bytes=1000, us_1=30.0, timed_by="onnxruntime, float32")
OWN = contender("low", ours=True, accuracy=97.0, bytes=100, us_1=12.0, over_float=0.5, timed_by="lowbit")


def notes(own, floats, agreement=95.0):
    cards = headline(own, floats, images=360, on="test", agreement=agreement, inputs=64)
    return {card["label"]: (card["value"], card["note"]) for card in cards}


def test_everything_is_compared():
    found = notes(OWN, FLOATS)
    assert list(found) == ["Accuracy", "Agreement with float", "Size", "Speed"]
    assert found["Accuracy"] == ("97.00 %", "of 360 test images; float 98.00 %")
    assert found["Agreement with float"][0] == "95.0 %" and "of 64 inputs" in found["Agreement with float"][1]
    assert found["Size"] == ("100 B", "packed file, 10 times smaller than in floats")
    # the ratio is that within rounds, not that of the medians
    assert found["Speed"][0] == "12.0 µs" and "2.0 times faster" in found["Speed"][1]
    assert "onnxruntime, float32 (30.0 µs)" in found["Speed"][1]


def test_without_a_float_run_or_times():
    found = notes(OWN | {"us_1": None, "reason": "no data"}, None)
    assert found["Speed"] == ("not measured", "no data") and found["Accuracy"][1] == "of 360 test images"


def test_not_packed():
    found = notes(OWN | {"timed_by": "PyTorch, float32"}, FLOATS)
    assert "cannot be packed" in found["Size"][1] and "cannot be packed" in found["Speed"][1]
