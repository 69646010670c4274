"""The commands that need ``lowbit[train]``, as a typer application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lowbit.cli.base import require_program
from lowbit.errors import InvalidInput

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

INTERRUPTED = 130
"""What typer makes of Ctrl-C."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Threads = Annotated[int | None, typer.Option(help="Threads of torch; default: all cores.")]


def run_full(words: list[str]) -> int:
    """Run one command of this module.

    Raises:
        InvalidInput: wrong options.
        KeyboardInterrupt: Ctrl-C.
    """
    try:
        code = app(words, prog_name="lowbit", standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        # Usage errors of typer; their class is not public, their message is.
        describe = getattr(error, "format_message", None)
        if describe is None:
            raise
        message = describe().rstrip(".")
        raise InvalidInput(f"{message[:1].lower() + message[1:]}; see lowbit {words[0]} --help") from None
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return int(code or 0)


def _say(found: dict[str, Any], as_json: bool, text: str) -> None:
    print(json.dumps(found, indent=2) if as_json else text)


def _check_accelerator(name: str) -> None:
    if name not in ("auto", "cpu", "gpu"):
        raise InvalidInput(f"--accelerator is {name!r}; use auto, cpu or gpu")


def _use_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        if threads < 1:
            raise InvalidInput(f"--threads is {threads}; use 1 or more")
        torch.set_num_threads(threads)


@app.command(epilog="Example: lowbit demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/demo"),
    json_: Json = False,
) -> None:
    """Train a network in floats and in 2 bits, convert it, run it from one file, and write a report.

    Takes about a minute on two cores. Leaves net.lowbit, report.html and summary.json in the folder.
    """
    from lowbit.demo import run_demo

    run_demo(out, as_json=json_)


@app.command(epilog="Example: lowbit methods --json")
def methods(json_: Json = False) -> None:
    """List the quantization methods: bits, grid, what they are for, and the paper."""
    from lowbit.cli.tables import methods_text
    from lowbit.quantizers.catalog import methods as catalogue

    records = catalogue()
    print(json.dumps(records, indent=2) if json_ else methods_text(records))


@app.command(epilog="Example: lowbit train recipes/digits/lsq-w2a2.yaml epochs=20 --out runs/digits")
def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    changes: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it.")] = None,
    out: Annotated[Path, typer.Option(help="The run's folder.")] = ...,  # type: ignore[assignment]
    threads: Threads = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json_: Json = False,
) -> None:
    """Train a float or low-bit network by a recipe.

    The same command goes on where an interrupted training stopped, and ends with the same result. Several
    processes: torchrun --nproc-per-node 2 -m lowbit train ...
    """
    from lowbit.training.recipes import read_recipe
    from lowbit.training.runs import RESULT
    from lowbit.training.runs import train as train_run

    _check_accelerator(accelerator)
    plan = read_recipe(recipe, changes or [])
    _use_threads(threads)
    finished = (out / RESULT).exists()
    done = train_run(plan, out, progress=not (quiet or json_), accelerator=accelerator)
    line = f"{out}: {done.result['accuracy']:.2f} % of {done.result['images']} {done.result['evaluated_on']} images"
    _say(done.result, json_, line + (" (finished before; nothing was trained)" if finished else ""))


@app.command(epilog="Example: lowbit quantize runs/float --weight affine:8 --activation affine:8")
def quantize(
    run: Annotated[Path, typer.Argument(help="Folder of a finished float run.")],
    weight: Annotated[str | None, typer.Option(help="Method of the weights, e.g. minmax:4.")] = None,
    activation: Annotated[str | None, typer.Option(help="Method of the activations, e.g. affine:8.")] = None,
    first: Annotated[str, typer.Option(help="Method of the first layer, 'none' or 'same'.")] = "affine:8",
    last: Annotated[str, typer.Option(help="Method of the last layer, 'none' or 'same'.")] = "affine:8",
    add: Annotated[str | None, typer.Option(help="Method of the sums of residual branches.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the result as a run in this folder.")] = None,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Quantize a trained run without training: insert quantizers, calibrate, evaluate."""
    from lowbit.training.post import quantize_run

    _use_threads(threads)
    methods = {"weight": weight, "activation": activation, "add": add,
               "first": None if first == "none" else first, "last": None if last == "none" else last}  # fmt: skip
    result, table = quantize_run(run, methods, out)
    change = result["accuracy"] - result["float_accuracy"]
    line = f"{result['accuracy']:.2f} % of {result['images']} {result['evaluated_on']} images, {change:+.2f} to float"
    _say(result, json_, f"{table}\n\n{line}" + (f"\nkept in {out}" if out else ""))


@app.command("eval", epilog="Example: lowbit eval net.lowbit --data digits")
def evaluate(
    target: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="Folder of a run, or a .lowbit file.")],
    data: Annotated[str | None, typer.Option(help="Data set; a run knows its own.")] = None,
    folder: Annotated[str | None, typer.Option(help="Where the data lies.")] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="As recipes' data.normalize.")] = False,
    threads: Annotated[int, typer.Option(help="Threads.")] = 1,
    json_: Json = False,
) -> None:
    """Accuracy on the test set of a run (by torch, on integers) or of a .lowbit file (by the runtime)."""
    from lowbit.cli.evaluation import evaluate_target

    _use_threads(threads)
    found = evaluate_target(target, data, folder, normalize, threads)
    _say(found, json_, f"{target}: {found['accuracy']:.2f} % of {found['images']} images, loss {found['loss']:.4f}")


@app.command(epilog="Example: lowbit convert runs/digits -o net.lowbit")
def convert(
    run: Annotated[Path, typer.Argument(help="Folder of a finished low-bit run.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .lowbit file to write.")],
    allow_inexact: Annotated[bool, typer.Option("--allow-inexact", help="Accept layers that multiply floats.")] = False,
    check: Annotated[int, typer.Option(help="Test images whose logits are compared bit for bit.")] = 256,
    pixels: Annotated[bool, typer.Option("--pixels", help="The file takes uint8 pixels, not floats.")] = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Turn a trained run into one packed file, and compare its answers with the network's."""
    from lowbit.cli.conversion import convert_run

    _use_threads(threads)
    found, table = convert_run(run, output, allow_inexact=allow_inexact, check=check, pixels=pixels)
    line = (
        f"{output}: {found['bytes']:,} bytes; {found['agreement']:.1%} of {found['checked']} images agree bit for bit"
    )
    _say(found, json_, f"{table}\n\n{line}")


@app.command(epilog="Example: lowbit bench net.lowbit --against onnxruntime")
def bench(
    file: Annotated[Path | None, typer.Argument(help="A .lowbit file.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Time single layers of common shapes.")] = False,
    against: Annotated[
        str | None,
        typer.Option(help="Others, comma separated: onnxruntime, openvino, torch; default: all that are installed."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Run whose float network the others execute.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images at a time; default: 1.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of every runtime.")] = 1,
    isa: Annotated[
        str | None,
        typer.Option(help="Instruction set of lowbit: scalar, avx2, avx512bw, avx512, amx or neon; default: best."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time to spend on each contender.")] = 1.0,
    json_: Json = False,
) -> None:
    """Time a .lowbit file, or single layers, beside other runtimes, in interleaved rounds.

    Other runtimes execute a float network and its 8-bit version of the same layers; with --run, the network that
    was trained.
    """
    from lowbit.bench import bench_file, bench_layers, bench_text

    others = None if against is None else [name.strip() for name in against.split(",") if name.strip()]
    if layers == (file is not None):
        raise InvalidInput("give either a .lowbit file or --layers; see lowbit bench --help")
    if layers:
        if run is not None or batch is not None:
            given = "--run" if run is not None else "--batch"
            raise InvalidInput(f"{given} is for a file; --layers measures layers of its own at batch 1")
        found = bench_layers(others, threads=threads, isa=isa, seconds=seconds)
    else:
        assert file is not None
        try:
            found = bench_file(
                file, others, run=run, batch=1 if batch is None else batch, threads=threads, isa=isa, seconds=seconds
            )
        except (FileNotFoundError, IsADirectoryError):
            require_program(file)
            raise
    _say(found, json_, bench_text(found))


@app.command(epilog="Example: lowbit diagnose runs/digits -o report.html")
def diagnose(
    run: Annotated[Path, typer.Argument(help="Folder of a finished low-bit run.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page; its numbers go beside it as .json.")],
    images: Annotated[int, typer.Option(help="Test inputs to measure on.")] = 512,
    threads: Annotated[int, typer.Option(help="Threads of torch; more help large networks only.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json_: Json = False,
) -> None:
    """See why a run lost accuracy: weights or activations, which layers, and what to do about it.

    Measurements are kept in the run's folder: the same command goes on where an interrupted one stopped.
    """
    from lowbit.cli.diagnosis import diagnose_run

    _use_threads(threads)
    found, content = diagnose_run(run, output, images=images, progress=not (quiet or json_))
    _say(content, json_, f"{found}\n\n{output}: everything that was measured")


@app.command(epilog="Example: lowbit report runs/float runs/digits -o report.html")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page; its numbers go beside it as .json.")],
    threads: Threads = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json_: Json = False,
) -> None:
    """Put one or several runs on one HTML page that opens offline: accuracy against size and measured time.

    Times are taken on one thread, in turns; a run that cannot be packed, or whose data is not here, is marked.
    """
    from lowbit.cli.diagnosis import report_runs

    _use_threads(threads)
    content, text = report_runs(runs, output, progress=not (quiet or json_))
    _say(content, json_, f"{text}\n\n{output}: {len(content['contenders'])} run(s), {len(content['layers'])} layers")


@app.command(epilog="Example: lowbit reproduce dqa-table1 --budget small --jobs 2")
def reproduce(
    name: Annotated[str | None, typer.Argument(help="A table, or a path (.yaml); none lists all.")] = None,
    budget: Annotated[str, typer.Option(help="small: minutes a run on one core; full: hours, for a GPU.")] = "small",
    seeds: Annotated[str | None, typer.Option(help="For example 0,1,2; default: the table's.")] = None,
    rows: Annotated[str | None, typer.Option(help="Keys of the rows to run, with commas; default: all.")] = None,
    jobs: Annotated[int, typer.Option(help="Trainings at a time.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the runs and of NAME.json.")] = Path("runs/reproduce"),
    show: Annotated[bool, typer.Option("--show", help="Train nothing, print and record what has finished.")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    threads: Annotated[int, typer.Option(help="Threads of each training.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json_: Json = False,
) -> None:
    """Run a paper's table or figure, and print ours beside the paper's with a verdict on every claim.

    Finished runs are kept: the same command goes on where an interrupted one stopped. A claim is held or contradicted
    where the difference is beyond one standard deviation over the seeds, else undecided.
    """
    from lowbit.cli.reproduction import list_tables, reproduce_table

    if name is None:
        list_tables(json_)
        return
    _check_accelerator(accelerator)
    _use_threads(threads)
    reproduce_table(
        name, budget=budget, seeds=seeds, rows=rows, processes=jobs, out=out, show=show, as_json=json_,
        progress=not (quiet or json_), accelerator=accelerator,
    )  # fmt: skip
