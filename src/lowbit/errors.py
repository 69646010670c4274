"""Every exception that lowbit raises on purpose.

    LowbitError
    ├── InvalidProgram      a program or .lowbit file that is damaged, hostile or of a newer version
    ├── NotCalibrated       a forward pass or conversion before `lowbit.calibrate`
    ├── ConversionError     `convert` met modules it has no integer form for; lists all of them
    ├── InvalidInput        data of the wrong shape, dtype or content (NaN, empty)   (also a ValueError)
    ├── UnknownName         a method, option, rule or file key nobody knows          (also a ValueError)
    ├── DataSetMissing      a data set that is not on this machine
    └── MissingExtra        a feature of an optional install                          (also an ImportError)

A message is one sentence (or a list) that says where, what was given, what is allowed, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable


class LowbitError(Exception):
    """Base of every error that lowbit raises on purpose."""


class InvalidProgram(LowbitError):
    """A program or `.lowbit` file breaks a rule of the format."""


class NotCalibrated(LowbitError):
    """A quantizer has no scale yet; `lowbit.calibrate(model, batches)` gives it one."""


class ConversionError(LowbitError):
    """`convert` cannot express the model as integers; the message lists every reason."""


class InvalidInput(LowbitError, ValueError):
    """Data of the wrong shape, dtype or content."""


class UnknownName(LowbitError, ValueError):
    """A name that is not among the allowed ones."""


class DataSetMissing(LowbitError):
    """A data set is not on this machine."""


class MissingExtra(LowbitError, ImportError):
    """A feature needs an optional part of the installation."""


def unknown(what: str, name: object, known: Iterable[str]) -> UnknownName:
    """The error for an unknown name, with the nearest known one.

    Args:
        what: what the name was meant to be, e.g. ``"method"``.
        name: the name as given.
        known: every allowed name.

    Example:
        >>> str(unknown("method", "lqs", ["lq", "lsq", "pact"]))
        "unknown method 'lqs'; did you mean 'lsq'? Known: lq, lsq, pact"
    """
    import difflib

    names, given = sorted(known), str(name).lower()
    lowered = {known.lower(): known for known in reversed(names)}
    # letters in another order are the likeliest slip: 'lqs' is 'lsq', though 'lq' shares more of it
    near = [n for low, n in lowered.items() if sorted(low) == sorted(given)][:1]
    near = near or [lowered[low] for low in difflib.get_close_matches(given, lowered, n=1, cutoff=0.5)]
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UnknownName(f"unknown {what} {name!r}{hint} Known: {', '.join(names) or 'none'}")
