"""A procedure with modifiers: order of hooks, sum of losses, state by name, refusals."""

import pytest
import torch

from lowbit.errors import InvalidInput
from lowbit.procedures import LEARNING_RATE, Combination, Modifier, Procedure, Run, combine, procedure


class Part(Modifier):
    """Writes down its hooks and adds a penalty."""

    def __init__(self, name, calls, penalty=0.0):
        self.name, self.calls, self.penalty, self.kept = name, calls, penalty, None

    def start(self, run):
        self.calls.append((self.name, "start"))

    def loss(self, run, batch, output):
        return super().loss(run, batch, output) + self.penalty

    def after_backward(self, run):
        self.calls.append((self.name, "after_backward"))

    def after_step(self, run):
        self.calls.append((self.name, "after_step"))

    def epoch_end(self, run):
        self.calls.append((self.name, "epoch_end"))

    def state_dict(self):
        return {"of": self.name}

    def load_state_dict(self, state):
        self.kept = state["of"]

    def report(self, model):
        return {self.name: 1}


def run_of():
    model = torch.nn.Linear(2, 2)
    return Run(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), steps_total=1)


def test_hooks_are_called_in_order_and_penalties_added():
    calls = []
    both = combine(Procedure(), [Part("a", calls, 0.25), Part("b", calls, 0.5)])
    run = run_of()
    batch, output = (torch.zeros(1, 2), torch.tensor([0])), torch.zeros(1, 2, requires_grad=True)
    both.start(run)
    loss = both.loss(run, batch, output)
    torch.testing.assert_close(loss, Procedure().loss(run, batch, output) + 0.75)
    loss.backward()
    both.after_backward(run)
    both.after_step(run)
    both.epoch_end(run)
    hooks = ("start", "after_backward", "after_step", "epoch_end")
    assert calls == [(name, hook) for hook in hooks for name in "ab"]
    assert both.report(run.model) == {"a": 1, "b": 1}


def test_state_is_kept_by_name():
    saved = combine(Procedure(), [Part("a", []), Part("b", [])]).state_dict()
    again = combine(Procedure(), [Part("b", []), Part("a", [])])
    again.load_state_dict(saved)
    assert isinstance(again, Combination)
    assert [part.kept for part in again.parts[1:]] == ["b", "a"]


def test_without_modifiers_it_is_the_procedure_itself():
    base = Procedure()
    assert combine(base) is base


def test_requirements_of_any_part_are_those_of_the_whole():
    unused = Part("a", [])
    unused.leaves_unused = True
    assert combine(Procedure(), [unused]).leaves_unused
    assert combine(procedure("retrain"), [Part("a", [])]).needs_float_start
    assert not combine(Procedure(), [Part("a", [])]).leaves_unused


def owner(name):
    part = Part(name, [])
    part.owns = frozenset({LEARNING_RATE})
    return part


def excluding(name, other):
    part = Part(name, [])
    part.excludes = {other: "they undo each other"}
    return part


@pytest.mark.parametrize(
    ("base", "modifiers", "message"),
    [
        (Part("a", []), [], "a is a modifier and trains nothing alone; write `modifiers: "),
        (Procedure(), [procedure("retrain")], "retrain is a procedure, of which a training has one"),
        (Procedure(), [Part("a", []), Part("a", [])], "a is given twice; keep one"),
        (Procedure(), [owner("a"), owner("b")], "a and b cannot be combined: both set the learning rate"),
        (Procedure(), [excluding("a", "plain")], "a and plain cannot be combined: they undo each other"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(base, modifiers, message):
    with pytest.raises(InvalidInput, match=message):
        combine(base, modifiers)
