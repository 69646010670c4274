"""The content of a report about finished runs: each one's accuracy, bytes, time, layers and curve."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from lowbit.analysis.sqnr import layer_errors
from lowbit.errors import ConversionError, InvalidInput
from lowbit.report.content import contender, layer_kernels, layer_rows, size

ERROR_IMAGES = 256
RUNTIME = "the .lowbit file, one thread"


def content_of(folders: list[Path]) -> dict[str, Any]:
    """What a page about these runs shows; the layers are those of the last low-bit run.

    Raises:
        InvalidInput: no folder was given, or one holds no finished run.
    """
    from lowbit.training.runs import MODEL, load_run

    if not folders:
        raise InvalidInput("a report needs at least one run; give the folders of finished runs")
    contenders, curves, cards, notes = [], [], [], []
    layers: list[dict[str, Any]] = []
    provenance: dict[str, Any] = {}
    for folder in folders:
        trained = load_run(folder)
        name = trained.recipe.title or folder.name
        numbers: dict[str, Any] = {"bytes": (folder / MODEL).stat().st_size}
        if trained.recipe.low_bit:
            try:
                measured, layers = measure(trained)
                numbers |= measured
            except ConversionError as error:
                notes.append(f"{name}: cannot be converted: {error}")
        contenders.append(contender(name, ours=trained.recipe.low_bit, accuracy=trained.result["accuracy"], **numbers))
        if trained.rows:
            curves.append({"name": name, "rows": trained.rows})
        cards.append({"label": name, "value": f"{trained.result['accuracy']:.2f} %", "note": size(numbers["bytes"])})
        provenance = {key: value for key, value in trained.result.items() if key in PROVENANCE}
    notes.append(f"Times are of {RUNTIME}; bytes are those of the file, or of the float weights.")
    return {
        "title": contenders[0]["name"] if len(contenders) == 1 else f"{len(contenders)} runs",
        "lead": "; ".join(f"{row['name']}: {row['accuracy']:.2f} % in {size(row['bytes'])}" for row in contenders)
        + ".",
        "cards": cards[:6],
        "contenders": contenders,
        "layers": layers,
        "curves": curves,
        "notes": notes,
        "provenance": provenance,
    }


PROVENANCE = ("seed", "commit", "command", "machine", "threads", "python", "versions", "date")


def measure(trained: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Bytes and time of a low-bit run's file, and the rows of its layers.

    Raises:
        ConversionError: the network has modules without an integer form.
    """
    import lowbit
    from lowbit import runtime
    from lowbit.bench import interleave

    program = lowbit.convert(trained.model, trained.data.test_x[:4])
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "net.lowbit"
        program.save(file)
        net = runtime.load(str(file))
        one, many = trained.data.test_x[:1].numpy(), trained.data.test_x[:64].numpy()
        timing = interleave({"lowbit": lambda: net.run(one)}, seconds=0.3)["lowbit"]
        batch = interleave({"lowbit": lambda: net.run(many)}, seconds=0.3)["lowbit"]
        numbers = {
            "bytes": file.stat().st_size,
            "us_1": 1e6 * timing.seconds,
            "us_64": 1e6 * batch.seconds / len(many),
            "spread": timing.spread,
        }
        errors = layer_errors(trained.model, trained.data.test_x[:ERROR_IMAGES])
        return numbers, layer_rows(program.summary().to_dict(), layer_kernels(net), errors)
