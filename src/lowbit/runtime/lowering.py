"""Turns a program into the native plan of `lowbit.runtime.engine`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbit.grid import Codebook, Uniform
from lowbit.infer import Value, acc_terms
from lowbit.program import Op, Program
from lowbit.runtime import _kernels, float_layers
from lowbit.runtime.magnitude import magnitude_factor
from lowbit.runtime.operands import Operand, coefficients, operands
from lowbit.runtime.windows import layout, shape_of, window_of

Array = NDArray[Any]

INNER, INPUT, OUTPUT = 0, 1, 2  # native Role
ACC, FLOATS, IMAGE, LOOKUP, DEQUANTIZE, ADD_FLOATS, ADD_CODES = range(7)  # native Source
STAGES = ("rescale", "affine", "activation", "quantize", "threshold")
JOINED, POOLS = ("conv", "float_conv"), {"max_pool", "avg_pool"}  # a layer, and one pool, can share a step
PLANES = {"bits", "nibbles1"}
"""Kernel kinds that read bit planes; the others read bytes."""
NO_INTS, NO_FLOATS, NO_BYTES = np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.uint8)
MEMORY = 10 * 2**20  # loading may allocate 4 x the file + 16 MB, of which the program itself is one


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Kernel kind of a layer and the operands it reads."""

    kind: str
    inputs: list[Operand]


class Lowering:
    """One plan under construction; see the module docstring of `engine`."""

    def __init__(self, program: Program, types: dict[str, Value], isa: int, threads: int, *, fuse: bool,
                 images: int = 1) -> None:  # fmt: skip
        self.program, self.fuse, self.isa = program, fuse, isa
        # Images of one pixel each are the pixels of one: [images, channels] is [pixels, channels].
        self.rowwise = images > 1
        self.types = {name: replace(value, shape=(value.shape[0], images)) for name, value in types.items()}
        self.types = self.types if self.rowwise else types
        self.plan = _kernels.Plan(isa, threads)
        self.kinds: list[tuple[str, ...]] = []
        self.step_of: dict[str, int] = {}
        self.ids: dict[str, int] = {}
        self.alias: dict[str, str] = {}
        self.forms: dict[tuple[Any, ...], int] = {}
        self.readers: dict[str, list[Op]] = {}
        for op in program.ops:
            for name in op.inputs:
                self.readers.setdefault(name, []).append(op)
        self.done: set[str] = set()
        self.choices = self._choose()
        channels, pixels = layout(self.types[program.output])
        self.direct_output = channels == 1 or pixels == 1 or self.rowwise
        self.delivered = False  # the output is in the caller's array, in its layout
        for op in program.ops:
            self._find_alias(op)
        self._enter()
        for op in program.ops:
            if op.output not in self.done:
                self._lower(op)
        self._leave()
        self.plan.finish(not fuse, self._input_bytes() // images, 4 * channels * pixels // images, images)

    def exports(self) -> list[tuple[str, tuple[int, int, int, int, int, int], tuple[int, ...]]]:
        """What `export_values` needs for every operation's value: (name, native record, shape)."""
        rows = []
        for op in self.program.ops:
            value = self.types[op.output]
            kind = {"float": 0, "codes": 1, "acc": 2}[value.kind]
            terms = acc_terms(value) if kind == 2 else 1
            low = value.grid.code_range[0] if kind == 1 and value.grid is not None else 0
            rows.append((op.output, (self._id(op.output), kind, terms, *layout(value), low), value.shape))
        return rows

    # -- values --------------------------------------------------------------------------------------------------

    def _input_bytes(self) -> int:
        return self.types["input"].size * (4 if self.program.input_dtype == "float32" else 1)

    def _root(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        return name

    def _id(self, name: str) -> int:
        return self.ids[self._root(name)]

    def _find_alias(self, op: Op) -> None:
        """Flattening one pixel or one channel moves nothing."""
        if op.kind == "flatten" and (self.rowwise or 1 in layout(self.types[op.inputs[0]])):
            self.alias[op.output] = op.inputs[0]

    def _new(self, name: str) -> int:
        """A place for a value in its plain form."""
        value = self.types[name]
        width = {"float": 4, "codes": 1, "acc": 4 * (acc_terms(value) if value.kind == "acc" else 1)}[value.kind]
        role = OUTPUT if name == self._root(self.program.output) and self.direct_output else INNER
        self.ids[name] = self.plan.value(value.size * width, role)
        return self.ids[name]

    def _enter(self) -> None:
        """Give the input a form: as it comes where [C, H, W] and [H, W, C] are the same, else as a step."""
        value = self.types["input"]
        outside = self.plan.value(self._input_bytes(), INPUT)
        self.outside = outside
        if value.kind == "bytes" or self.rowwise or 1 in layout(value):
            self.ids["input"] = outside
            return
        epilogue = _kernels.Epilogue(*layout(value))
        ops, end = self._chain("input", epilogue)
        self._sink(epilogue, end)
        if self.types[end].kind == "codes" and epilogue.floats < 0 and all(same_for_channels(op) for op in ops):
            self.plan.image("input", outside, epilogue)
        else:
            self.plan.map("input", IMAGE, [outside], 1, NO_INTS, NO_BYTES, epilogue)
        self._step(ops)

    def _leave(self) -> None:
        """Bring the output into the caller's array where no step wrote it there."""
        name = self._root(self.program.output)
        if name == "input" and self.direct_output:
            self.ids["output"] = self.plan.value(4 * self.types[name].size, OUTPUT)
            channels, pixels = layout(self.types[name])
            self.plan.copy("output", self.ids[name], 4 * channels, pixels, self.ids["output"])
            self._step([])
        elif not self.direct_output and not self.delivered:
            outside = self.plan.value(4 * self.types[name].size, OUTPUT)
            self.plan.transpose("output", self.ids[name], *layout(self.types[name]), 4, outside)
            self._step([])

    def _step(self, ops: list[Op], extra: tuple[str, ...] = ()) -> None:
        """Remember which operations the step just added executes."""
        for op in ops:
            self.step_of[op.output] = len(self.kinds)
        self.kinds.append(tuple(op.kind for op in ops) + extra)

    # -- fusion --------------------------------------------------------------------------------------------------

    def _chain(self, name: str, epilogue: Any) -> tuple[list[Op], str]:
        """Append the stages that may follow value `name` in its step; returns their operations and the last value."""
        ops: list[Op] = []
        added = False
        while self.fuse and name != self.program.output and self.types[name].kind != "codes":
            op, kept = self._next(name, added)
            if op is None:
                break
            same = op.output in self.alias
            if kept:
                epilogue.floats = self._new(name)
                epilogue.keep_floats()
            if op.kind == "add":
                added = True
                epilogue.add(self._id(next(other for other in op.inputs if other != name)))
            elif not same:
                self._stage(op, epilogue)
            ops.append(op)
            self.done.add(op.output)
            self.alias.pop(op.output, None)
            name = op.output
        return ops, name

    def _next(self, name: str, added: bool) -> tuple[Op | None, bool]:
        """The operation that follows value `name` within a step, and whether floats have to be kept for its others."""
        readers = self.readers.get(name, [])
        if len(readers) != 1:
            # The stream of a residual network: floats for the next addition, codes for the next layer.
            coded = [op for op in readers if op.kind in ("quantize", "threshold") and op.output not in self.done]
            return (coded[0], True) if coded and self.types[name].kind == "float" else (None, False)
        op = readers[0]
        if op.kind == "add":
            # An addition belongs to the later of the two steps it adds.
            here = not added and self.types[name].kind == "float" and len(set(op.inputs)) == 2
            others = [self._root(other) for other in op.inputs if other != name]
            return (op, False) if here and all(other in self.ids for other in others) else (None, False)
        same = op.output in self.alias and layout(self.types[op.output]) == layout(self.types[name])
        return (op, False) if op.kind in STAGES or same else (None, False)

    def _stage(self, op: Op, epilogue: Any) -> None:
        x = self.types[op.inputs[0]]
        if op.kind == "rescale":
            epilogue.rescale(coefficients(x), op.arrays.get("bias"))
        elif op.kind == "affine":
            epilogue.affine(op.arrays["scale"], op.arrays["shift"])
        elif op.kind == "activation":
            function, attrs = op.attrs["function"], op.attrs
            if function == "hardswish":
                epilogue.hardswish()
            elif function == "leaky_relu":
                epilogue.leaky(attrs["slope"])
            else:
                limits = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}.get(function)
                epilogue.clip(*(limits or (attrs["low"], attrs["high"])))
        elif op.kind == "threshold":
            add = epilogue.threshold_int if x.kind == "acc" else epilogue.threshold_float
            add(np.ascontiguousarray(op.arrays["thresholds"]), op.arrays["descending"])
        elif isinstance(op.grid, Uniform):
            grid, (low, high) = op.grid, op.grid.code_range
            if grid.odd:
                epilogue.quantize(np.float32(2) * grid.scale, 0.5, 2.0 ** (grid.bits - 1), low, high)
            else:
                epilogue.quantize(grid.scale, 0.0, grid.zero, low, high)
        else:
            epilogue.sign()

    def _sink(self, epilogue: Any, name: str, aligned: bool = True) -> None:
        """Store the end of a chain: floats, accumulators, or codes in the forms that their readers want."""
        value = self.types[name]
        if value.kind == "float" and self.fuse and not self.direct_output and name == self.program.output:
            epilogue.image, self.delivered = self.plan.value(4 * value.size, OUTPUT), True
        if value.kind == "float":
            if epilogue.image < 0 or self.readers.get(name):
                epilogue.floats = self._new(name)
        elif value.kind == "acc":
            epilogue.acc = self._new(name)
        else:
            planes, plain = self._wanted(name) if aligned and self.fuse else (0, True)
            if planes:
                channels, pixels = layout(value)
                words = (channels + 31) // 32
                key = (name, "planes", channels, None, planes)
                self.forms[key] = self.plan.value(4 * pixels * words * planes, INNER)
                epilogue.planes, epilogue.plane_count, epilogue.plane_words = self.forms[key], planes, words
            if plain or not planes:
                epilogue.codes = self._new(name)

    def _wanted(self, name: str) -> tuple[int, bool]:
        """(planes that an epilogue can store directly for some reader, whether anything reads plain codes)."""
        planes, plain = 0, False
        for reader in self._all_readers(name):
            choice = self.choices.get(reader.output)
            dense = choice is not None and choice.kind in PLANES and choice.inputs[0].table is None
            if dense and len(choice.inputs) == 1 and self._dense(reader):  # type: ignore[union-attr]
                planes = choice.inputs[0].planes  # type: ignore[union-attr]
            else:
                plain = True
        return planes, plain

    def _all_readers(self, name: str) -> list[Op]:
        """Readers of a value, through flattenings that move nothing (those of another layout read plain codes)."""
        found = []
        for op in self.readers.get(name, []):
            if op.output in self.alias and layout(self.types[op.output]) == layout(self.types[name]):
                found += self._all_readers(op.output)
            else:
                found.append(op)
        return found

    def _dense(self, op: Op) -> bool:
        """Whether a layer's planes of one pixel are all channels in a row."""
        groups, inner, _ = shape_of(op)
        return groups == 1 or inner % 32 == 0

    def _form(self, name: str, op: Op, operand: Operand, kind: str) -> int:
        """Id of a code value in the form that a layer reads, made by a step of its own where no producer stored it."""
        root, (channels, pixels) = self._root(name), layout(self.types[name])
        inner = shape_of(op)[1]
        if kind not in PLANES:
            if operand.table is None:
                return self.ids[root]
            key: tuple[Any, ...] = (root, "table", operand.table)
            size, planes = channels * pixels, 0
        else:
            planes = operand.planes
            group = channels if self._dense(op) else inner
            key = (root, "planes", group, operand.table, planes)
            if channels != layout(self.types[root])[0]:
                key += (channels,)
            size = 4 * pixels * (channels // group) * ((group + 31) // 32) * planes
        if key not in self.forms:
            self.forms[key] = self.plan.value(size, INNER)
            table = np.frombuffer(operand.table or b"", np.uint8)
            group = channels if kind not in PLANES or self._dense(op) else inner
            self.plan.split(name, self.ids[root], table, channels, pixels, group, planes, self.forms[key])
            self._step([], ("pack",))
        return self.forms[key]

    # -- operations ----------------------------------------------------------------------------------------------

    def _choose(self) -> dict[str, Choice]:
        """Kernel kind of every integer layer, within the memory that loading may take."""
        layers = [op for op in self.program.ops if op.kind in ("conv", "linear")]
        budget = MEMORY + 3 * sum(op.weight.packed.size for op in layers if op.weight is not None)
        choices = {}
        for op in layers:
            assert op.weight is not None
            grid = self.types[op.inputs[0]].grid
            assert grid is not None
            inputs = operands(grid)
            window, (groups, inner, outer) = window_of(op, self.types), shape_of(op)
            classes = 0
            if any(window[8:10]) and window[12] == 0 and any(o.first for o in inputs):
                classes = min(window[2], 2 * window[4] + 1) * min(window[3], 2 * window[5] + 1)
                # Numbering the classes visits every row, column and tap: not for windows that nobody trains.
                if window[2] * window[4] + window[3] * window[5] > 2**20 or classes * window[4] * window[5] > 2**17:
                    inputs = []
            shape = [groups, inner, outer, window[4] * window[5], window[2] * window[3], classes]
            planes, wg = [o.planes for o in inputs], op.weight.grid
            ones = getattr(wg, "offset", None) is not None
            kind, size = _kernels.choose_layer(
                self.isa, shape, wg.unit_table(), planes, ones, isinstance(wg, Codebook), budget
            )
            budget -= size
            choices[op.output] = Choice(kind=kind, inputs=inputs)
        return choices

    def _lower(self, op: Op) -> None:
        if op.output in self.alias:
            return
        channels, pixels = layout(self.types[op.output])
        if channels == 1 and not self.rowwise and op.kind in ("quantize", "activation"):
            self._lower_plane(op, pixels)
            return
        epilogue = _kernels.Epilogue(channels, pixels)
        if op.kind in ("concat", "flatten"):
            self._move(op)
            return
        if op.kind in ("gain", "magnitude"):
            self._gain(op)
            return
        sources = [self.types[name] for name in op.inputs]
        started = [op]
        if op.kind in STAGES:
            self._stage(op, epilogue)
        elif op.kind == "add" and sources[0].grid is not None:
            epilogue.dequantize(sources[0].grid.term_scales()[0])
        elif op.kind.startswith("float_"):
            float_layers.start(op, epilogue)
        ops, end = self._chain(op.output, epilogue) if self.types[op.output].kind != "codes" else ([], op.output)
        ops = started + ops
        forms: list[int] = []
        choice = self.choices.get(op.output)
        aligned = True
        if choice is not None and choice.kind != "direct":
            forms = [self._form(op.inputs[0], op, operand, choice.kind) for operand in choice.inputs]
        if op.kind in ("conv", "linear", "float_conv", "float_linear"):
            groups, _, outer = shape_of(op)
            depthwise = choice is not None and choice.kind == "depthwise"
            aligned = groups == 1 or outer % 16 == 0 or depthwise
        self._sink(epilogue, end, aligned)
        if choice is not None:
            self._layer(op, choice, forms, epilogue)
        elif op.kind.startswith("float_"):
            float_layers.add(self.plan, op, window_of(op, self.types), self._id(op.inputs[0]), epilogue)
        elif op.kind in ("max_pool", "avg_pool", "mean"):
            self._pool(op, epilogue)
        else:
            self._map(op, sources, epilogue)
        self._step(ops)
        if op.kind in POOLS and self._alone(op.inputs[0]):
            self._join()

    def _alone(self, name: str) -> bool:
        """Whether the step before the last wrote this value and no other, and only the last one reads it."""
        before = len(self.kinds) - 2
        written = [value for value, step in self.step_of.items() if step == before]
        return (
            self.fuse
            and layout(self.types[name])[1] > 1
            and bool(written)
            and name == written[-1]
            and name != self.program.output
            and len(self.readers[name]) == 1
            and self.kinds[before][0] in JOINED
            and not POOLS & set(self.kinds[before])
            and not any(len(self.readers.get(value, ())) > 1 for value in written)
        )

    def _join(self) -> None:
        self.plan.join()
        last = len(self.kinds) - 1
        self.step_of = {name: min(step, last - 1) for name, step in self.step_of.items()}
        self.kinds[-2:] = [self.kinds[-2] + self.kinds[-1]]

    def _lower_plane(self, op: Op, pixels: int) -> None:
        """One channel, and nothing that depends on it: its pixels take the lanes of channels."""
        epilogue = _kernels.Epilogue(pixels, 1)
        self._stage(op, epilogue)
        self._sink(epilogue, op.output, aligned=False)
        self._map(op, [self.types[op.inputs[0]]], epilogue)
        self._step([op])

    def _layer(self, op: Op, choice: Choice, forms: list[int], epilogue: Any) -> None:
        assert op.weight is not None
        grid = op.weight.grid
        window, channels = window_of(op, self.types), shape_of(op)
        packed, units = np.ascontiguousarray(op.weight.packed), grid.unit_table()
        ones = getattr(grid, "offset", None) is not None
        if choice.kind == "direct":
            x = self.types[op.inputs[0]].grid
            assert x is not None
            self.plan.direct(op.name, window, channels, packed, grid.bits, units, ones, self._id(op.inputs[0]),
                             x.unit_table(), isinstance(grid, Codebook), epilogue)  # fmt: skip
            return
        inputs = [
            (form, o.slope, o.first, o.largest, o.planes if choice.kind in PLANES else 0)
            for form, o in zip(forms, choice.inputs, strict=True)
        ]
        self.plan.layer(op.name, choice.kind, window, channels, packed, grid.bits, units, ones, inputs, epilogue)

    def _pool(self, op: Op, epilogue: Any) -> None:
        x = self.types[op.inputs[0]]
        _, height, width = x.shape
        if op.kind == "mean":
            window = [height, width, 1, 1, height, width, 1, 1, 0, 0, 1, 1, 0]
        else:
            a, (_, out_h, out_w) = op.attrs, self.types[op.output].shape
            window = [height, width, out_h, out_w, *a["kernel"], *a["stride"], *a["padding"],
                      *a.get("dilation", (1, 1)), 0]  # fmt: skip
        units, scales = NO_INTS, NO_FLOATS
        if x.grid is not None:
            units, scales = x.grid.unit_table().reshape(-1), np.ascontiguousarray(x.grid.term_scales())
        divisor, count_pad = float(op.attrs.get("divisor", 0)), bool(op.attrs.get("count_pad", 0))
        self.plan.pool(op.name, self._id(op.inputs[0]), op.kind == "max_pool", x.grid is not None, count_pad, divisor,
                       window, units, scales, epilogue)  # fmt: skip

    def _map(self, op: Op, sources: list[Value], epilogue: Any) -> None:
        inputs, grid = [self._id(name) for name in op.inputs], sources[0].grid
        terms, table, data = 1, NO_INTS, NO_BYTES
        if op.kind == "lookup":
            source, data = LOOKUP, np.ascontiguousarray(op.arrays["table"])
            if epilogue.planes < 0:
                self.plan.lookup(op.name, inputs[0], data, *layout(self.types[op.output]), epilogue.codes)
                return
        elif op.kind == "dequantize":
            assert grid is not None
            low, high = grid.code_range
            source, table = DEQUANTIZE, np.zeros(256, np.int32)
            table[: high - low + 1] = grid.values(np.arange(low, high + 1)).view(np.int32)
        elif op.kind == "add":
            source = ADD_FLOATS
            if grid is not None:
                source, table = ADD_CODES, np.zeros(256, np.int32)
                units = grid.unit_table()[0]
                table[: len(units)] = units
        else:
            source, terms = (ACC, acc_terms(sources[0])) if sources[0].kind == "acc" else (FLOATS, 1)
        self.plan.map(op.name, source, inputs, terms, table, data, epilogue)

    def _gain(self, op: Op) -> None:
        x, (channels, pixels) = self.types[op.inputs[0]], layout(self.types[op.output])
        source, output = self._id(op.inputs[0]), self._new(op.output)
        if op.kind == "magnitude":
            a, window = op.attrs, [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0]
            if a:
                sides = (x.shape[1:], self.types[op.output].shape[1:], a["kernel"], a["stride"], a["padding"])
                window = [*(n for pair in sides for n in pair), *a["dilation"], 0]
            self.plan.magnitude(op.name, source, x.shape[0], window, magnitude_factor(op, x.shape[0]), output)
        elif len(op.inputs) == 2:
            self.plan.gain(op.name, source, self._id(op.inputs[1]), NO_FLOATS, channels, pixels, output)
        else:
            factors = op.arrays["map"].reshape(channels, pixels).T
            self.plan.gain(op.name, source, source, np.ascontiguousarray(factors), channels, pixels, output)
        self._step([op])

    def _move(self, op: Op) -> None:
        value = self.types[op.output]
        element = 4 if value.kind == "float" else 1
        if op.kind == "flatten":
            channels, pixels = layout(self.types[op.inputs[0]])
            self.plan.transpose(op.name, self._id(op.inputs[0]), channels, pixels, element, self._new(op.output))
        else:
            inputs = [self._id(name) for name in op.inputs]
            widths = [self.types[name].shape[0] for name in op.inputs]
            self.plan.concat(op.name, inputs, widths, layout(value)[1], element, self._new(op.output))
        self._step([op])


def same_for_channels(op: Op) -> bool:
    """Whether a stage needs nothing but the value itself."""
    return op.kind in ("activation", "quantize") or (op.kind == "threshold" and len(op.arrays["thresholds"]) == 1)
