"""The contract of every quantizer, one plain function a clause. `CHECKS` lists them; a check raises AssertionError."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from contract.cases import SHAPES, Case, edges, ties
from contract.gradients import reference, state_of
from torch import Tensor

from lowbit.errors import NotCalibrated
from lowbit.grid import Grid
from lowbit.pack import pack, packed_bytes, unpack
from lowbit.quantizers import METHODS, Quantizer
from lowbit.quantizers.base import ROLES

Array = np.ndarray[Any, Any]


def bits_of(x: Tensor | Array) -> Array:
    """The bit pattern of float32 numbers, so that 0.0 differs from -0.0."""
    array = x.detach().numpy() if isinstance(x, Tensor) else x
    return np.ascontiguousarray(array, dtype=np.float32).view(np.int32)


def value(q: Quantizer, x: Tensor) -> Tensor:
    """q(x) without a graph; methods that draw numbers draw the same ones each time."""
    torch.manual_seed(0)
    return q(x).detach()


def codes_of(q: Quantizer, x: Tensor) -> Tensor:
    """q.encode(x), with the numbers drawn by `value`."""
    torch.manual_seed(0)
    return q.encode(x)


def decoded(q: Quantizer, x: Tensor) -> tuple[Grid, Array, Array]:
    """Grid, codes and their values for x, without forward()."""
    grid, codes = q.grid(x), codes_of(q, x).numpy()
    return grid, codes, grid.values(codes)


def all_values(grid: Grid) -> Array:
    """Every value of a grid, ascending: [levels], or [levels, channels]."""
    low, high = grid.code_range
    codes = np.arange(low, high + 1)
    if grid.channels is None:
        return np.sort(grid.values(codes))
    return np.sort(grid.values(np.broadcast_to(codes, (grid.channels, len(codes)))), axis=1).T


def after_forward(case: Case, x: Tensor, training: bool, state: Tensor | None = None) -> tuple[Quantizer, Tensor]:
    """A calibrated quantizer and its value of x; in training, running statistics have moved to where the value is."""
    q = case.calibrated(x if state is None else state).train(training)
    return q, value(q, x)


def inputs(case: Case) -> dict[str, tuple[Tensor, Tensor]]:
    """name -> (what to calibrate on, what to quantize)."""
    found = {name: (x, x) for name, x in edges(case).items()}
    state = case.data(seed=3)
    if not case.computed:
        found |= {f"{name}, calibrated elsewhere": (state, x) for name, x in edges(case).items()}
        levels = torch.from_numpy(all_values(case.calibrated(state).grid()))
        found["ties"] = (state, ties(levels[:: max(1, len(levels) // 64)]))
    return found


def each_input(case: Case) -> list[tuple[str, Quantizer, Tensor, Tensor]]:
    """(name, quantizer, x, its value) for every input in eval and in training mode."""
    return [
        (
            f"{name}, {'train' if training else 'eval'}",
            *(lambda q, y: (q, x, y))(*after_forward(case, x, training, state)),
        )
        for name, (state, x) in inputs(case).items()
        for training in ((False,) if METHODS[case.method].mixes else (False, True))  # a mixture is on its grid in eval
    ]


def check_values_lie_on_the_grid(case: Case) -> None:
    for name, q, x, y in each_input(case):
        assert y.shape == x.shape and y.dtype == x.dtype, name
        assert torch.isfinite(y).all(), f"{name}: {y}"
        grid, codes, _ = decoded(q, x)
        low, high = grid.code_range
        assert codes.min() >= low and codes.max() <= high, name
        levels = all_values(grid)
        if levels.ndim == 1:
            assert np.isin(y.numpy(), levels).all(), name
        else:
            assert all(np.isin(slice_.numpy(), levels[:, i]).all() for i, slice_ in enumerate(y)), name


def check_forward_equals_the_decoded_codes(case: Case) -> None:
    for name, q, x, y in each_input(case):
        _, _, values = decoded(q, x)
        assert np.array_equal(bits_of(y), bits_of(values)), f"{name}: {y.reshape(-1)[:9]} {values.reshape(-1)[:9]}"


def check_codes_are_integers_of_the_width(case: Case) -> None:
    q = case.calibrated(case.data())
    codes, grid = q.encode(case.data()), q.grid(case.data())
    assert codes.dtype == torch.int64 and not codes.requires_grad
    assert grid.bits == case.bits or grid.bits == (grid.code_range[1] - grid.code_range[0]).bit_length()
    assert grid.max_unit <= q.max_unit, "max_unit decides where float32 sums are exact: it must bound every unit"


def check_grid_is_of_the_declared_class(case: Case) -> None:
    grid = case.calibrated(case.data()).grid(case.data())
    assert type(grid).__name__ in METHODS[case.method].card.grid.split("/")
    per_channel = grid.channels is not None
    assert per_channel == case.sliced


def check_zeros_stay_zero(case: Case) -> None:
    """A scale computed from zeros is 0, and the value is 0, never NaN."""
    for training in (False, True):
        _, y = after_forward(case, torch.zeros(3, 4), training)
        assert torch.equal(y, torch.zeros(3, 4))


def check_nan_stays_nan(case: Case) -> None:
    """NaN stays where it was; only where the range is computed from x, its group may become NaN as a whole."""
    state = case.data(seed=1)
    x = case.data(seed=2)
    x[1, 0, 0, 0] = torch.nan
    for training in (False, True):
        q = case.calibrated(state).train(training)
        before = [t.clone() for t in q.state_dict().values()]
        y = q(x).detach()
        clean = torch.ones_like(x, dtype=torch.bool)
        clean[1, 0, 0, 0] = False
        assert y[1, 0, 0, 0].isnan()
        follows = case.computed or not all(
            torch.equal(a, b) for a, b in zip(before, q.state_dict().values(), strict=True)
        )
        if not y[clean].isnan().any():
            continue
        assert follows, "the range is fixed, yet NaN spread"
        group = y[1] if case.sliced else y
        assert group.isnan().all(), "a range computed from NaN makes the whole group NaN, not a part of it"
        assert not case.sliced or not y[[0, 2]].isnan().any(), "NaN spread to another channel"


def check_infinity_saturates_or_spoils_its_group(case: Case) -> None:
    """With a fixed range infinity is the outermost level; a range computed from it makes the whole group NaN."""
    state = case.data(seed=1)
    for value in (torch.inf, -torch.inf) if case.signed else (torch.inf,):
        x = state.clone()
        x[0, 0, 0, 0] = value
        q = case.calibrated(state)
        y = q(x).detach()
        if y.isnan().any():
            assert case.computed
            assert (y[0] if case.sliced else y).isnan().all()
            continue
        levels = all_values(q.grid(state))
        levels = levels if levels.ndim == 1 else levels[:, 0]
        assert y[0, 0, 0, 0] == float(levels[-1] if value > 0 else levels[0])


def check_idempotence(case: Case) -> None:
    """q(q(x)) has the codes of q(x), and its values but for the last bit of a range that is computed again."""
    for shape in (SHAPES["conv3x3"], SHAPES["linear"]):
        q = case.calibrated(case.data(shape))
        y = q(case.data(shape)).detach()
        assert torch.equal(q.encode(y), q.encode(case.data(shape)))
        # 4 ulp: a range computed again from y is rounded once for the scale and once for each of its ends
        torch.testing.assert_close(q(y), y, rtol=4 * 2**-23, atol=0)


def _same(a: Quantizer, b: Quantizer, x: Tensor) -> None:
    for training in (False, True):
        a, b = copy.deepcopy(a).train(training), copy.deepcopy(b).train(training)
        assert np.array_equal(bits_of(value(a, x)), bits_of(value(b, x)))
        assert torch.equal(codes_of(a, x), codes_of(b, x)) and a.grid(x).same(b.grid(x))


def check_state_dict_round_trip(case: Case) -> None:
    q = case.calibrated(case.data())
    q.train()
    q(case.data(seed=5))
    state = q.state_dict()
    assert all(isinstance(t, Tensor) for t in state.values())
    again = case.calibrated(torch.ones(2, 2))  # other numbers, and shapes where they are per channel
    again.load_state_dict(state)
    _same(q, again, case.data())


def check_state_dict_into_a_fresh_quantizer(case: Case) -> None:
    q = case.calibrated(case.data())
    fresh = METHODS[case.method](case.bits, role=case.role, channel=case.channel)
    fresh.load_state_dict(q.state_dict())
    assert fresh.calibrated and fresh.signed == q.signed
    _same(q, fresh, case.data())


def check_deepcopy(case: Case) -> None:
    q = case.calibrated(case.data())
    twin = copy.deepcopy(q)
    _same(q, twin, case.data())
    twin.calibrate(3 * case.data(seed=4))
    _same(q, case.calibrated(case.data()), case.data())  # the original did not move


def check_pickle(case: Case) -> None:
    q = case.calibrated(case.data())
    _same(q, pickle.loads(pickle.dumps(q)), case.data())


def compiles(case: Case, backend: str, modes: tuple[bool, ...] = (False, True)) -> None:
    """fullgraph in training and eval; compiled codes, values and gradients are those of eager."""
    x, g = case.data(seed=6), case.data(seed=7)
    for training in modes:
        eager = case.calibrated(case.data()).train(training)
        traced = copy.deepcopy(eager)
        torch.compiler.reset()
        results = []
        for q, call in ((eager, eager), (traced, torch.compile(traced, fullgraph=True, backend=backend))):
            w = x.clone().requires_grad_()
            torch.manual_seed(0)
            y = call(w)
            y.backward(g)
            results.append((y.detach(), w.grad, codes_of(q, x)))
        assert torch.equal(results[0][2], results[1][2])
        # a compiler may contract the multiplication and addition of a sum of terms: 2 ulp of the largest term
        largest = results[0][0].abs().max().item()
        torch.testing.assert_close(results[1][0], results[0][0], rtol=2**-22, atol=2**-22 * largest)
        torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-6, atol=1e-6)


def check_traces_as_one_graph(case: Case) -> None:
    compiles(case, "aot_eager", (True,))  # seconds a graph: eval, and compiled code, in the slow tests


def check_packs_at_odd_sizes(case: Case) -> None:
    q = case.calibrated(case.data())
    bits, low = q.grid(case.data()).bits, q.grid(case.data()).code_range[0]
    for size in (1, 3, 7, 11, 65):
        x = case.data((3, size), seed=size)
        codes = q.encode(x).numpy() - low
        packed = pack(codes, bits)
        assert packed.nbytes == packed_bytes(codes.size, bits) == -(-codes.size * bits // 8)
        assert np.array_equal(unpack(packed, bits, codes.size).reshape(codes.shape), codes)


def check_half_inputs(case: Case) -> None:
    """float16 and bfloat16 values are the float32 values of the same numbers, rounded once at the end."""
    for dtype in (torch.float16, torch.bfloat16):
        x = case.data().to(dtype)
        q = case.calibrated(x)
        assert all(t.dtype != dtype for t in q.state_dict().values()), "scales are kept in float32"
        y = q(x)
        assert y.dtype == dtype
        assert torch.equal(y, q(x.float()).to(dtype))
        assert torch.equal(q.encode(x), q.encode(x.float()))
        assert q.grid(x).same(q.grid(x.float()))


def check_half_gradients(case: Case) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        x = case.data().to(dtype).requires_grad_()
        y = case.calibrated(x.detach())(x)
        y.sum().backward()
        assert x.grad is not None and x.grad.dtype == dtype and torch.isfinite(x.grad).all()


def check_float64(case: Case) -> None:
    """float64 stays float64, with the codes of float32 where x is no tie, and gradients in float64."""
    shape = (8, 8, 5, 5)  # more numbers than 8 bits have levels: k-means must not put its edges onto the data
    x = case.data(shape, dtype=torch.float64).requires_grad_()
    q = case.calibrated(x.detach(), torch.float64)
    y = q(x)
    assert y.dtype == torch.float64 and torch.isfinite(y).all()
    y.sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.float64
    single = case.calibrated(case.data(shape))
    step = float(np.diff(np.unique(all_values(single.grid(case.data(shape))))).min())
    near = (y.detach() - single(case.data(shape)).detach().double()).abs() <= 1e-3 * step + 1e-5 * y.detach().abs()
    # rounding x and the scale to float32 moves only codes whose x is within about 1e-7 of a tie
    assert near.double().mean() >= (0.98 if case.bits <= 8 else 0.5)


def check_channel_equals_tensor_on_each_slice(case: Case) -> None:
    if not case.sliced:
        return
    for shape in SHAPES.values():
        x = case.data(shape)
        whole = case.calibrated(x)
        for i in range(shape[0]):
            alone = Case(case.method, case.bits, case.role).calibrated(x[i : i + 1])
            assert np.array_equal(bits_of(whole(x)[i]), bits_of(alone(x[i : i + 1])[0]))
            assert torch.equal(whole.encode(x)[i], alone.encode(x[i : i + 1])[0])


def check_not_calibrated_raises(case: Case) -> None:
    if case.role == "gradient":
        assert case.build()(case.data()).shape == case.data().shape, "gradients need no calibration"
        return
    q = case.build()
    q.where = "layer3.conv2"
    text = rf"layer3\.conv2: {re.escape(case.method)}:{case.bits} \({case.role}\) has no scale.*lowbit\.calibrate"
    for call in (q, q.encode):
        with pytest.raises(NotCalibrated, match=text):
            call(torch.ones(2, 2))


def check_calibrate_refuses_bad_data(case: Case) -> None:
    with pytest.raises(ValueError, match="is empty"):
        case.build().calibrate(torch.zeros(0, 3))
    for bad in (torch.nan, torch.inf, -torch.inf):
        q = case.build()
        with pytest.raises(ValueError, match="holds NaN or infinity"):
            q.calibrate(torch.tensor([[1.0, bad]]))
        assert q.calibrated == (case.role == "gradient")


def check_eval_changes_no_state(case: Case) -> None:
    q = case.calibrated(case.data())
    before = {k: v.clone() for k, v in q.state_dict().items()}
    first = q(case.data())
    x = 5 * case.data(seed=8)
    given = x.clone()
    q(x)
    q.encode(x)
    q.grid(x)
    assert torch.equal(x, given), "the input was written to"
    assert all(torch.equal(v, before[k]) for k, v in q.state_dict().items())
    assert torch.equal(q(case.data()), first)


def check_calibration_over_batches(case: Case) -> None:
    """The same batch again changes nothing; several batches give a state between those of each."""
    x, other = case.data(seed=1), 2 * case.data(seed=2)
    once, twice, both, last = case.calibrated(x), case.calibrated(x), case.calibrated(x), case.calibrated(other)
    twice.calibrate(x)
    _same(once, twice, x)
    both.calibrate(other)
    numbers = [q.state_dict() for q in (once, both, last)]
    for name in numbers[0]:
        if name != "_extra_state":
            a, b, c = (n[name].double() for n in numbers)
            slack = 1e-6 * (a.abs() + c.abs())  # running means are rounded to float32
            assert ((b >= torch.minimum(a, c) - slack) & (b <= torch.maximum(a, c) + slack)).all(), name
    assert torch.isfinite(both(x)).all()


def check_surrogate_gradient(case: Case) -> None:
    """dL/dx and dL/dp in both modes and both precisions are those of the published formula."""
    for dtype, tolerance in ((torch.float32, 2e-5), (torch.float64, 1e-11)):
        for training in (False, True):
            x = case.data(SHAPES["depthwise"], 11, dtype)
            q = case.calibrated(case.data(SHAPES["depthwise"], 12, dtype), dtype).train(training)
            if not case.computed:  # the outermost levels themselves, and beyond
                x.view(-1)[:4] = torch.tensor([0.0, 9.0, -9.0 * case.signed, 1.0])
            g = torch.randn(x.shape, generator=torch.Generator().manual_seed(13), dtype=dtype)
            x.requires_grad_()
            q(x).backward(g)
            levels = all_values(q.grid(x.detach())).astype(np.float64)
            state = state_of(q, levels[0], levels[-1])
            expected = reference(case.method)(state, x.detach().double().numpy(), g.double().numpy())
            parameters = dict(q.named_parameters())
            assert expected.keys() == {"x", *parameters}, "the formula must cover every trained parameter"
            assert x.grad is not None
            got = {"x": x.grad, **{name: p.grad for name, p in parameters.items()}}
            for name, gradient in got.items():
                if expected[name] is None:
                    assert gradient is None, f"{name} has a gradient in a mode where the formula has none"
                    continue
                assert gradient is not None, f"no gradient reaches {name}"
                # float32 sums of 63 products of size about 1; float64 the same with its own epsilon
                np.testing.assert_allclose(
                    gradient.numpy(), expected[name], rtol=tolerance, atol=tolerance, err_msg=name
                )


def check_gradient_passes_through_zeros(case: Case) -> None:
    """An all-zero tensor still trains: its scale is 0, its gradient is not."""
    x = torch.zeros(3, 4, requires_grad=True)
    case.calibrated(torch.zeros(3, 4))(x).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    if case.computed:
        assert (x.grad != 0).all()


def check_memory_order_changes_nothing(case: Case) -> None:
    base = case.data((4, 3, 5, 6), 14)
    g = torch.randn(base.shape, generator=torch.Generator().manual_seed(15))
    views = {
        "channels_last": base.contiguous(memory_format=torch.channels_last),
        "transposed": base.transpose(1, 3).contiguous().transpose(1, 3),
        "sliced": torch.stack([base, base + 1], -1)[..., 0],
    }
    results = {}
    for name, view in {"plain": base, **views}.items():
        q = case.calibrated(base)
        x = view.detach().requires_grad_()
        y = q(x)
        y.backward(g)
        assert x.grad is not None
        results[name] = (y.detach(), x.grad, q.encode(view))
    for name in views:
        (y, gradient, codes), (plain, plain_gradient, plain_codes) = results[name], results["plain"]
        assert torch.equal(y, plain) and torch.equal(codes, plain_codes), name
        if METHODS[case.method].mixes:  # soft gradients go through exp, whose last bit follows the memory order
            torch.testing.assert_close(gradient, plain_gradient, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(gradient, plain_gradient), name


def check_a_folded_relu_changes_nothing(case: Case) -> None:
    """Where a method says that it does a ReLU's work, its value and gradients with and without one are equal."""
    q = case.calibrated(case.data())
    if not q.folds_relu:
        return
    found = []
    for before in (torch.relu, lambda x: x):
        x = torch.randn(200, generator=torch.Generator().manual_seed(1))
        x[:4] = torch.tensor([0.0, -0.0, 1e-30, 9.0])
        x.requires_grad_()
        q.zero_grad()
        y = q(before(x))
        y.backward(torch.linspace(-1, 2, 200))
        found.append([y.detach(), x.grad, *(p.grad for p in q.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def check_two_forwards_before_one_backward(case: Case) -> None:
    """As in an addition, a shared layer, or a siamese network: state that moves between them breaks no graph."""
    q = case.calibrated(case.data()).train()
    x = case.data(seed=9).requires_grad_()
    (q(x).sum() + q(0.5 * x).sum()).backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def check_switched_off_is_the_identity(case: Case) -> None:
    q = case.build()
    q.enabled = False
    x = case.data()
    assert q(x) is x


def check_illegal_choices_raise(case: Case) -> None:
    method, card = METHODS[case.method], METHODS[case.method].card
    for bits in (card.min_bits - 1, card.max_bits + 1):
        with pytest.raises(
            ValueError, match=f"{re.escape(card.name)} takes {card.min_bits} to {card.max_bits} bits, got {bits}"
        ):
            method(bits, role=case.role)
    for role in ROLES:
        if role[0].upper().replace("O", "A") not in card.kind:
            with pytest.raises(ValueError, match=rf"{re.escape(card.name)} quantizes {card.kind}, not role '{role}'"):
                method(case.bits, role=role)
    if case.role != "weight" or not card.per_channel:
        with pytest.raises(ValueError, match=r"one scale a channel|for each channel"):
            method(case.bits, role=case.role, channel=True)


def check_docstring_is_a_card(case: Case) -> None:
    method = METHODS[case.method]
    text = method.__doc__ or ""
    for part in (
        "Forward",
        "Gradient",
        "Grid:",
        "Learned state:",
        "Initialisation:",
        "Cost:",
        "Fails:",
        "Source:",
        ">>>",
    ):
        assert part in text, f"{method.__name__}'s docstring lacks {part!r}"
    assert method.card.paper and method.card.family


CHECKS: tuple[Callable[[Case], None], ...] = tuple(
    value for name, value in list(globals().items()) if name.startswith("check_")
)
"""Every clause, in the order in which this file states them."""
