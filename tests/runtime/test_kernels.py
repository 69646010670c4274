"""Native kernels against their naive references, on random tiles, every instruction set."""

import pytest

from lowbit.runtime import _kernels
from lowbit.runtime.engine import ISAS, available


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("kernel", ["dot8", "bits", "tile8", "floats"])
def test_kernel_equals_its_reference(isa, kernel):
    check = getattr(_kernels, f"check_{kernel}")
    assert [seed for seed in range(300) if not check(ISAS[isa], seed)] == []
