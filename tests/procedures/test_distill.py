"""distill: the loss, the teacher, and what it is for."""

import copy

import pytest
import torch
from torch.nn import functional as F

import lowbit
from lowbit.errors import InvalidInput
from lowbit.procedures import Procedure, procedure
from lowbit.procedures.distill import divergence
from tests.procedures.plain import float_net, images, run_of, started, train

METHODS = {"weight": "lsq:2", "activation": "lsq:2"}


def test_the_loss_is_the_formula():
    distill = procedure("distill", lam=0.25, temperature=2)
    run = run_of(started(distill, METHODS))
    distill.start(run)
    x, y = images(8)
    student = torch.randn(8, 3, requires_grad=True)
    with torch.no_grad():
        p = (distill.teacher(x) / 2).softmax(1)
        q = (student / 2).softmax(1)
        far = (p * (p.log() - q.log())).sum(1).mean()
    loss = distill.loss(run, (x, y), student)
    torch.testing.assert_close(loss, 0.75 * F.cross_entropy(student, y) + 0.25 * 4 * far)
    assert run.figures["teacher_kl"] == pytest.approx(far.item(), rel=1e-5)
    loss.backward()
    assert student.grad is not None


def test_the_teacher_is_the_float_network_in_eval_and_stays():
    distill = procedure("distill")
    run = run_of(started(distill, METHODS))
    distill.start(run)
    before = {name: value.clone() for name, value in distill.teacher.state_dict().items()}
    train(distill, run)
    after = distill.teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not distill.teacher.training
    assert not any("quantizer" in name for name in before)
    assert {id(p) for p in distill.teacher.parameters()}.isdisjoint({id(p) for p in run.model.parameters()})


def distance_to_teacher(make):
    """KL, softened as in training, between the trained float network and its low-bit form after some more steps."""
    teacher = float_net()
    train(Procedure(), run_of(teacher, 8), 8)
    model = copy.deepcopy(teacher)
    distill = make()
    distill.before_prepare(model)
    lowbit.prepare(model, **METHODS, first="same", last="same")
    run = run_of(lowbit.calibrate(model, [images()[0]]), 8, lr=0.003)
    distill.start(run)
    train(distill, run, 8)
    x = images()[0]
    with torch.no_grad():
        return divergence(model.eval()(x), teacher.eval()(x), 4).item()


def test_it_comes_nearer_to_the_teacher_than_labels_alone():
    assert distance_to_teacher(lambda: procedure("distill")) < 0.85 * distance_to_teacher(Procedure)


def test_it_refuses():
    with pytest.raises(InvalidInput, match=r"distill: lam is 2, temperature 4\.0; allowed are lam from 0 to 1"):
        procedure("distill", lam=2)
    with pytest.raises(InvalidInput, match=r"distill: there is no teacher; call before_prepare\(model\)"):
        procedure("distill").start(run_of(lowbit.prepare(torch.nn.Sequential(torch.nn.Linear(2, 2)))))
