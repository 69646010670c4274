"""The `lowbit` command: finds the command's module, runs it, and turns errors into one sentence.

`run`, `inspect` and `doctor` are in `lowbit.cli.base` and need the base install only; the others are in
`lowbit.cli.full` and need ``lowbit[train]``. Neither is imported before it is asked for.

Exit codes: 0 done, 1 the work failed, 2 wrong use.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise

from lowbit.errors import InvalidInput, LowbitError, MissingExtra, UnknownName, unknown

COMMANDS = {
    "demo": "train a network in floats and 2 bits, convert it, run it, and write a report",
    "methods": "list the quantization methods",
    "train": "train a float or low-bit network by a recipe",
    "quantize": "quantize a trained run without training",
    "eval": "accuracy of a run or of a .lowbit file",
    "convert": "turn a trained run into a .lowbit file",
    "run": "run a .lowbit file on an array",
    "inspect": "show what is in a .lowbit file",
    "bench": "time a .lowbit file, or single layers, beside other runtimes",
    "diagnose": "see why a run lost accuracy, and what to do",
    "report": "put runs on one HTML page",
    "reproduce": "run a paper's table and compare",
    "doctor": "check this installation",
}
BASE = ("run", "inspect", "doctor")

EPILOG = """\
Every command explains itself:  lowbit COMMAND --help
A traceback in place of the sentence:  lowbit --debug COMMAND ...

Example:
  lowbit demo"""

DONE, FAILED, WRONG_USE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        argv: without the program's name; None takes this process's.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        return _fail(words, "interrupted; everything finished before is saved, the same command goes on", FAILED)
    except BrokenPipeError:
        # The reader has what it wanted (`| head`); python would complain once more when it flushes.
        sys.stderr.close()
        return DONE
    except (InvalidInput, UnknownName, MissingExtra, ValueError) as error:
        if debug:
            raise
        return _fail(words, str(error), WRONG_USE)
    except (LowbitError, OSError) as error:
        if debug:
            raise
        return _fail(words, str(error), FAILED)
    except ImportError as error:
        if debug:
            raise
        return _fail(words, _missing(error), WRONG_USE)
    except Exception as error:
        if debug:
            raise
        what = f"unexpected {type(error).__name__}: {error}"
        return _fail(words, f"{what}; this is a fault in lowbit, --debug shows where", FAILED)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return DONE if words else WRONG_USE
    if words[0] == "--version":
        from lowbit import __version__

        print(f"lowbit {__version__}")
        return DONE
    command = words[0]
    if command not in COMMANDS:
        raise unknown("command", command, COMMANDS)
    if "--out=" in words or ("--out", "") in pairwise(words):
        # A path of no characters is the current folder to everything below.
        raise InvalidInput("--out is empty; is a variable in the command not set? The current folder is '.'")
    if command in BASE:
        from lowbit.cli.base import run_base

        return run_base(words)
    from lowbit.cli.full import run_full

    return run_full(words)


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{what}" for name, what in COMMANDS.items()]
    return "\n".join(["usage: lowbit COMMAND ...", "", "commands:", *lines, "", EPILOG])


def _fail(words: list[str], message: str, code: int) -> int:
    name = f"lowbit {words[0]}" if words and words[0] in COMMANDS else "lowbit"
    print(f"{name}: {message.strip()}", file=sys.stderr)
    return code


def _missing(error: ImportError) -> str:
    """What to install for a module that is not there."""
    name = (error.name or "").partition(".")[0]
    if not name or name == "lowbit":
        return f"the installation is damaged ({error}); install lowbit again"
    extra = "bench" if name in ("onnx", "onnxruntime") else "train"
    return f"this needs {name}, which is not installed; run: pip install 'lowbit[{extra}]'"
