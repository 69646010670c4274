"""The commands of the base install: numpy and safetensors are all they need."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing here multiplies matrices; its pool costs 100 ms to start

import numpy as np
from numpy.typing import NDArray

from lowbit.errors import InvalidInput, UnknownName, unknown

MOST_INPUTS = 65536
"""Of one run of `inspect`."""


class Parser(argparse.ArgumentParser):
    """Raises in place of exiting, so that errors look the same everywhere."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found."""
        raise InvalidInput(f"{message}; see {self.prog} --help")

    def checked(self, words: list[str]) -> argparse.Namespace:
        """Parse, naming the nearest option for an unknown one."""
        given, rest = self.parse_known_args(words)
        options = [option for action in self._actions for option in action.option_strings]
        for word in rest:
            if word.startswith("-"):
                raise UnknownName(str(unknown("option", word.partition("=")[0], options)))
            raise InvalidInput(f"unexpected argument {word!r}; see {self.prog} --help")
        return given


def _parser(name: str, what: str, example: str) -> Parser:
    return Parser(
        prog=f"lowbit {name}",
        description=what,
        epilog=f"Example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def run_base(words: list[str]) -> int:
    """Run `run`, `inspect` or `doctor`."""
    command = {"run": run, "inspect": inspect, "doctor": doctor}[words[0]]
    try:
        return command(words[1:])
    except SystemExit as stop:  # argparse after --help
        return int(stop.code or 0)


def run(words: list[str]) -> int:
    """`lowbit run`: a file, an array in, an array out."""
    parser = _parser(
        "run",
        "Run a .lowbit file on a .npy array of inputs [batch, ...]; write the outputs, or print the best classes.",
        "lowbit run net.lowbit --input x.npy -o y.npy",
    )
    parser.add_argument("file", help="the network, a .lowbit file")
    parser.add_argument("--input", "-i", required=True, metavar="X.npy", help="inputs, [batch, ...] or one input")
    parser.add_argument("--output", "-o", metavar="Y.npy", help="where to write the outputs, float32 [batch, ...]")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads to use (default 1)")
    parser.add_argument(
        "--isa", metavar="NAME", help="instruction set: scalar, avx2, avx512bw, avx512, amx or neon (default: best)"
    )
    parser.add_argument("--json", action="store_true", help="print the outputs as JSON")
    given = parser.checked(words)

    from lowbit import runtime
    from lowbit.atomic import replacing, require_writable

    if given.output:
        require_writable(given.output)
    require_program(given.file)
    net = runtime.load(given.file, threads=given.threads, isa=given.isa)
    x = read_array(given.input)
    if x.shape == tuple(net.program.input_shape):
        x = x[None]
    y = net.run(x)
    if given.output:
        with replacing(given.output) as place, place.open("wb") as file:
            np.save(file, y)
    if given.json:
        print(json.dumps({"output": y.tolist()}))
    elif not given.output:
        for row, values in enumerate(y.reshape(len(y), -1)):
            print(f"{row}: class {int(values.argmax())} ({float(values.max()):.4g})")
    return 0


def require_program(path: str | Path) -> None:
    """Refuse what cannot be a `.lowbit` file before it is opened.

    Raises:
        InvalidInput: there is nothing of that name, or a folder.
    """
    if Path(path).is_dir():
        raise InvalidInput(f"{path}: is a folder; give a .lowbit file, as lowbit convert writes it")
    if not Path(path).exists():
        raise InvalidInput(f"{path}: there is no such file; write one with: lowbit convert RUN -o {path}")


def read_array(path: str) -> NDArray[Any]:
    """The array of a .npy file.

    Raises:
        InvalidInput: it is not there, damaged, or would run code when read.
    """
    try:
        with Path(path).open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such file; give an array written by numpy.save") from None
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInput(f"{path}: is not a .npy array ({reason}); write it with numpy.save") from None
    if not isinstance(array, np.ndarray):
        raise InvalidInput(f"{path}: is an archive of arrays; write one array with numpy.save")
    return array


def inspect(words: list[str]) -> int:
    """`lowbit inspect`: layers, bits, grids, kernels, provenance; with --profile what each step costs here."""
    parser = _parser("inspect", "Show what is in a .lowbit file.", "lowbit inspect net.lowbit --profile")
    parser.add_argument("file", help="a .lowbit file")
    parser.add_argument("--profile", action="store_true", help="time every step, and measure the processor's peaks")
    parser.add_argument("--isa", metavar="NAME", help="instruction set of the profile (default: best)")
    parser.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="inputs of a run; from 4 on fully connected networks take them together, with other kernels (default 1)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.checked(words)

    from lowbit.cli.inspection import describe, profile_of, text

    if given.isa and not given.profile:
        raise InvalidInput("--isa chooses what --profile times; add --profile")
    if not 1 <= given.batch <= MOST_INPUTS:
        raise InvalidInput(f"--batch is {given.batch}, allowed is 1..{MOST_INPUTS}")
    require_program(given.file)
    found = describe(given.file, given.batch, given.isa)
    profile = profile_of(given.file, given.isa, given.batch) if given.profile else None
    if given.json:
        print(json.dumps(found if profile is None else {**found, "profile": profile.to_dict()}, indent=2))
    else:
        print(text(given.file, found) + ("" if profile is None else f"\n\n{profile}"))
    return 0


def doctor(words: list[str]) -> int:
    """`lowbit doctor`: what works here and what does not."""
    parser = _parser("doctor", "Check this installation and say what is missing.", "lowbit doctor")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.checked(words)

    from lowbit.doctor import examine, text

    found = examine()
    print(json.dumps(found, indent=2) if given.json else text(found), file=sys.stdout)
    return 0 if found["healthy"] else 1
