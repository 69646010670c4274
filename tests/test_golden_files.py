"""Files that older versions wrote still run and still give the answers that they gave then."""

from pathlib import Path

import numpy as np
import pytest

from lowbit import file, runtime
from lowbit.program import FORMAT_VERSION
from lowbit.runtime import reference
from lowbit.runtime.engine import available

FILES = sorted((Path(__file__).parent / "golden").glob("*.lowbit"))


def test_every_format_has_a_file():
    assert {int(path.stem.rpartition("-")[2]) for path in FILES} == set(range(1, FORMAT_VERSION + 1)), (
        "run scripts/golden_files.py after the format has changed"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_then_gives_the_answers_of_then(path):
    program = file.load(path)
    with np.load(path.with_suffix(".npz")) as arrays:
        then = dict(arrays)
    assert then.keys() == {"input"} | {op.output for op in program.ops}
    assert sum(np.unique(value).size > 3 for value in then.values()) > len(then) / 2
    traces = {"reference": reference.run(program, then["input"], trace=True)[1]}
    for isa in available():
        net = runtime.load(path, isa=isa)
        traces[isa] = net.trace(then["input"])[1] | {program.output: net.run(then["input"])}
    floats_before = False  # layers of floats differ within their bound, and so does what follows
    for op in program.ops:
        floats_before |= op.kind.startswith("float_")
        for isa, now in traces.items():
            if floats_before and isa != "reference":
                np.testing.assert_allclose(now[op.output], then[op.output], rtol=1e-4, atol=1e-5, err_msg=isa)
            else:
                np.testing.assert_array_equal(now[op.output], then[op.output], err_msg=f"{isa} {op.output}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_this_format_is_written_as_it_was(path):
    if path.stem.endswith(f"-{FORMAT_VERSION}"):
        assert file.to_bytes(file.load(path)) == path.read_bytes()
