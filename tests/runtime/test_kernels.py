"""Native kernels against their naive references, on random tiles, every instruction set."""

import pytest

from lowbit.runtime import _kernels
from lowbit.runtime.engine import ISAS, available


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("kernel", ["dot8", "bits", "nibbles", "tile8", "floats", "layer", "binary_layer"])
def test_kernel_equals_its_reference(isa, kernel):
    check = getattr(_kernels, f"check_{kernel}")
    assert [seed for seed in range(300) if not check(ISAS[isa], seed)] == []


@pytest.mark.parametrize("isa", available())
def test_networks_give_the_same_bits_on_every_set(isa):
    for seed in range(60):
        expected = _kernels.check_network(ISAS["scalar"], seed, 1)
        assert _kernels.check_network(ISAS[isa], seed, 1) == expected
        assert _kernels.check_network(ISAS[isa], seed, 3) == expected


def test_networks_differ_from_seed_to_seed():
    outputs = [tuple(_kernels.check_network(0, seed, 1)) for seed in range(60)]
    assert len(set(outputs)) == 60
    assert sum(len(set(words)) > len(words) / 2 for words in outputs) > 50  # images and classes differ too
