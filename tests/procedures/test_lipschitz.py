"""The orthogonality penalty: worked values and gradients, both options, and what it does to singular values."""

import pytest
import torch
from torch import nn

from lowbit.errors import InvalidInput
from lowbit.procedures import Procedure, Run, combine, procedure
from lowbit.procedures.lipschitz import gap
from tests.procedures.loops import blobs, prepared, run_of, train


def test_worked_examples():
    """METHODS 4: diag(1, 2) gives 4.5 and the gradient diag(0, 12); W = ones(1, 3) gives 3."""
    weight = torch.diag(torch.tensor([1.0, 2.0])).requires_grad_()
    value = gap(weight)
    value.backward()
    assert value.item() == 4.5
    assert torch.equal(weight.grad, torch.diag(torch.tensor([0.0, 12.0])))
    assert float(gap(torch.ones(3, 1))) == 3  # layers hold W transposed


@pytest.mark.parametrize(("wide", "least"), [("literal", 1.5), ("transpose", 0.0)])
def test_wide_matrices_reach_zero_only_transposed(wide, least):
    """rows < columns: the minimum is (columns - rows) / 2, at orthonormal rows; 6 filters over 3 inputs."""
    weight = torch.linalg.qr(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)))[0]
    assert float(gap(weight, wide)) == pytest.approx(least, abs=1e-5)


def test_convolutions_are_reshaped_to_all_inputs_by_outputs():
    conv = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    w = conv.permute(2, 3, 1, 0).reshape(75, 4)  # (k k c_in, c_out)
    torch.testing.assert_close(gap(conv), 0.5 * (w.T @ w - torch.eye(4)).square().sum())


def test_the_penalty_is_over_all_layers_and_added_to_the_loss():
    model = prepared("lsq:2", "lsq:2")
    run, batch = run_of(model), tuple(part[:16] for part in blobs())
    modifier = procedure("lipschitz", strength=0.5)
    both = combine(Procedure(), [modifier])
    both.start(run)
    output = model(batch[0])
    expected = 0.5 * sum(gap(model[n].weight) for n in (0, 3, 5))
    torch.testing.assert_close(both.loss(run, batch, output) - Procedure().loss(run, batch, output), expected)


def test_quantized_weights_on_request():
    model = prepared("lsq:2", "lsq:2")
    run = run_of(model)
    modifier = procedure("lipschitz", strength=1.0, of="quantized")
    modifier.start(run)
    value = modifier.loss(run, (None, None), torch.zeros(1))
    expected = sum(gap(model[n].weight_quantizer(model[n].weight)) for n in (0, 3, 5))
    torch.testing.assert_close(value, expected)
    value.backward()
    assert model[3].weight.grad.abs().sum() > 0


def test_claim_the_largest_singular_value_nears_one():
    """What the penalty is for: no layer amplifies a perturbation of its input."""
    found = {}
    for strength in (0.0, 0.1):
        model = prepared("lsq:4", "lsq:4")
        train(combine(Procedure(), [procedure("lipschitz", strength=strength)]), run_of(model, 20), 20)
        found[strength] = float(torch.linalg.matrix_norm(model[3].weight.detach(), 2))
    assert abs(found[0.1] - 1) < 0.2 < abs(found[0.0] - 1)


@pytest.mark.parametrize("settings", [{"strength": -1}, {"wide": "both"}, {"of": "codes"}])
def test_bad_settings(settings):
    with pytest.raises(InvalidInput, match=r"lipschitz: .*allowed are"):
        procedure("lipschitz", **settings)


def test_networks_without_weights_are_refused():
    net = nn.Sequential(nn.BatchNorm1d(6))
    run = Run(model=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(InvalidInput, match="lipschitz: the network has no convolution or linear layer"):
        procedure("lipschitz").start(run)
    with pytest.raises(InvalidInput, match="lipschitz: no layer has quantized weights; use of='float'"):
        procedure("lipschitz", of="quantized").start(run_of(prepared()))
