"""Mutation testing: plant one small error in the code and see whether a test fails.

``python benchmarks/mutants.py --count 400 --output DIR`` draws errors at random from
the modules in ``TESTS``: another operator or comparison, a wrong number, a negated
condition, a statement left out. Each is compiled in a process of its own, forked after
TensorFlow was imported, which runs the fast tests named for the module, doctests
included. An error that no test detects is a survivor. ``DIR/mutants.jsonl`` holds a
line for each; after an interruption the same command goes on. ``--report`` writes the
figures and the survivors in Markdown, each survivor with its verdict in
``mutants.csv``: why no test detects it.
"""

from __future__ import annotations

import argparse
import ast
import copy
import csv
import importlib.machinery
import json
import linecache
import os
import random
import signal
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from commands import ROOT

TESTS = {
    "common/signal/stft.py": "tests/common/signal/test_stft.py",
    "common/signal/numpy_stft.py": "tests/common/signal/test_numpy_stft.py",
    "common/signal/masking.py": "tests/common/signal/test_masking.py",
    "common/signal/permutation.py": "tests/common/signal/test_permutation.py",
    "common/signal/metrics.py": "tests/common/signal/test_metrics.py",
    "common/separation/separator.py": "tests/common/separation/test_separator.py",
    "common/separation/source_order.py": "tests/common/separation/test_source_order.py",
    "common/separation/upper_band.py": (
        "tests/common/separation/test_upper_band.py "
        "tests/common/separation/test_files.py"
    ),
    "common/separation/outputs.py": (
        "tests/common/separation/test_outputs.py tests/common/separation/test_files.py"
    ),
    "common/separation/files.py": "tests/common/separation/test_files.py",
    "common/separation/batch.py": "tests/common/separation/test_batch.py",
    "common/training/checkpoint.py": "tests/common/training/test_checkpoint.py",
    "common/training/resume.py": (
        "tests/common/training/test_resume.py tests/common/training/test_loop.py"
    ),
    "common/training/run_folder.py": "tests/common/training/test_run_folder.py",
    "common/training/loop.py": (
        "tests/common/training/test_loop.py tests/common/training/test_averages.py "
        "tests/unmix/test_train.py::test_an_early_stop_is_final"
    ),
    "common/corpora/musdb.py": "tests/common/corpora/test_musdb.py",
    "common/corpora/moisesdb.py": "tests/common/corpora/test_moisesdb.py",
    "common/corpora/fuss.py": "tests/common/corpora/test_fuss.py",
    "common/corpora/mixing.py": "tests/common/corpora/test_mixing.py",
    "common/corpora/reading.py": "tests/common/corpora/test_reading.py",
    "common/evaluation/table.py": "tests/common/evaluation/test_table.py",
    "common/evaluation/bss_eval/energies.py": "tests/common/evaluation/bss_eval",
    "common/evaluation/bss_eval/filters.py": "tests/common/evaluation/bss_eval",
    "mixit/loss.py": (
        "tests/mixit/test_loss.py tests/mixit/test_loss_least_squares.py "
        "tests/mixit/test_loss_log_mse.py tests/mixit/test_loss_sparsity.py "
        "tests/mixit/test_loss_supervised.py"
    ),
    "mixit/metrics.py": (
        "tests/mixit/test_metrics.py "
        "tests/mixit/test_evaluate.py::test_more_outputs_than_sources "
        "tests/mixit/test_evaluate.py::test_over_and_under_separation "
        "tests/mixit/test_evaluate.py::test_silent_examples_are_left_out "
        "tests/mixit/test_evaluate.py::test_too_few_outputs "
        "tests/mixit/test_evaluate.py::test_summary_pools_sources_not_examples "
        "tests/mixit/test_evaluate.py::test_more_sources_than_fuss_has_get_lines_of_their_own"
    ),
    "mixit/summaries.py": "tests/mixit/test_summaries.py tests/mixit/test_results.py",
    "unmix/loss.py": "tests/unmix/test_loss.py",
    "unmix/filtering/wiener.py": "tests/unmix/filtering/test_wiener.py",
    "unmix/scoring/tables.py": "tests/unmix/scoring",
    "adversarial/loss.py": "tests/adversarial/test_loss.py",
    "adversarial/songs/excerpts.py": "tests/adversarial/test_data.py",
    "clustering/losses/deep_clustering.py": (
        "tests/clustering/losses/test_deep_clustering.py"
    ),
    "clustering/losses/permutation_invariant.py": (
        "tests/clustering/losses/test_permutation_invariant.py"
    ),
    "clustering/losses/targets.py": "tests/clustering/losses/test_targets.py",
    "clustering/clusterers/kmeans.py": "tests/clustering/clusterers/test_kmeans.py",
}
"""A module and the tests that should detect an error in it."""

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
FUNCTIONS = {
    "min": "max",
    "max": "min",
    "minimum": "maximum",
    "maximum": "minimum",
    "argmin": "argmax",
    "argmax": "argmin",
    "reduce_sum": "reduce_mean",
    "reduce_mean": "reduce_sum",
    "reduce_max": "reduce_min",
    "reduce_min": "reduce_max",
    "sum": "mean",
    "mean": "sum",
    "floor": "ceil",
    "ceil": "floor",
    "any": "all",
    "all": "any",
}
VERDICTS = Path(__file__).with_suffix(".csv")
"""Why an error needs no test, by its module and its change."""
UNCHANGED = -1
"""Stands for a node where nothing is changed."""
SECONDS = 240
"""An error that lets the tests run longer than this is detected."""


class Mutant(NamedTuple):
    """An error: the changed node by its number in the walk of the module."""

    file: str
    node: int
    line: int
    change: str


def main() -> None:
    """Plant the errors that no line of the record holds yet, and report them all."""
    options = _options()
    record = options.output / "mutants.jsonl"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.touch()
    done = {_name(json.loads(line)) for line in record.read_text().splitlines()}
    chosen = [m for m in choose(options.count, options.seed) if _name(m) not in done]
    _import_heavy_packages()
    for file in dict.fromkeys(mutant.file for mutant in chosen):
        if run(Mutant(file, UNCHANGED, 0, "none")) != "survived":
            sys.exit(f"{file}: its tests fail without any error; expected them to pass")
    for mutant in chosen:
        began = time.monotonic()
        verdict = {"verdict": run(mutant), "seconds": time.monotonic() - began}
        with record.open("a") as file:
            file.write(json.dumps(mutant._asdict() | verdict) + "\n")
        sys.stderr.write(f"{verdict['verdict']}: {mutant}\n")
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    text = report(rows)
    sys.stdout.write(text)
    if options.report:
        options.report.write_text(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path)
    return parser.parse_args()


def _name(mutant: Mutant | dict) -> tuple:
    fields = mutant if isinstance(mutant, dict) else mutant._asdict()
    return tuple(fields[name] for name in Mutant._fields)


def _import_heavy_packages() -> None:
    """Import what the forked processes need, before TensorFlow starts threads."""
    os.environ.update(CUDA_VISIBLE_DEVICES="-1", MPLBACKEND="Agg")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import matplotlib.figure  # noqa: F401
    import pytest  # noqa: F401
    import scipy.signal  # noqa: F401
    import tensorflow  # noqa: F401, ICN001
    import tf_keras  # noqa: F401, ICN001


def choose(count: int, seed: int) -> list[Mutant]:
    """Draw errors, as many of each module as of any other while they last."""
    draw = random.Random(seed)
    modules = []
    for file in TESTS:
        mutants = [
            Mutant(file, number, node.lineno, change)
            for number, node, change in candidates(ast.parse((ROOT / file).read_text()))
        ]
        draw.shuffle(mutants)
        modules.append(mutants)
    rounds = max(map(len, modules))
    turns = [m[i] for i in range(rounds) for m in modules if i < len(m)]
    return turns[:count]


def candidates(tree: ast.Module) -> Iterator[tuple[int, ast.AST, str]]:
    """Give each node that can be changed, its number in the walk, and its error."""
    skipped = set(_without_effect(tree))
    for number, node in enumerate(ast.walk(tree)):
        if node in skipped or not hasattr(node, "lineno"):
            continue
        before = ast.unparse(node)
        after = mutated(copy.deepcopy(node))
        if after is not None and (text := ast.unparse(after)) != before:
            yield number, node, f"{_short(before)} -> {_short(text)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else f"{line[:67]}..."


def _without_effect(tree: ast.Module) -> Iterator[ast.AST]:
    """Give nodes whose change means nothing: texts, types, errors, decorators."""
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.JoinedStr | ast.Raise | ast.Assert):
            parts = [node]
        elif isinstance(node, ast.FunctionDef):
            parts = [node.returns, *node.decorator_list]
            parts += [argument.annotation for argument in node.args.args]
            parts += [argument.annotation for argument in node.args.kwonlyargs]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        for part in parts:
            if part is not None:
                yield from ast.walk(part)


def mutated(node: ast.AST) -> ast.AST | None:  # noqa: PLR0911
    """Give the node with an error in it, or None where there is none to plant."""
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()  # type: ignore[assignment]
        return node
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        node.ops[0] = OPERATORS[type(node.ops[0])]()  # type: ignore[call-overload]
        return node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        return node.operand
    if isinstance(node, ast.Constant):
        return _other_constant(node)
    if isinstance(node, ast.Attribute) and node.attr in FUNCTIONS:
        node.attr = FUNCTIONS[node.attr]
        return node
    if isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return node
    if isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        return ast.copy_location(ast.Pass(), node)
    return None


def _other_constant(node: ast.Constant) -> ast.AST | None:
    value = node.value
    if isinstance(value, bool):
        node.value = not value
    elif isinstance(value, int):
        node.value = value + 1
    elif isinstance(value, float):
        node.value = 2 * value or 1.0
    else:
        return None
    return node


def planted(mutant: Mutant) -> ast.Module:
    """Give the module with the error in it."""
    tree = ast.parse((ROOT / mutant.file).read_text())
    if mutant.node == UNCHANGED:
        return tree
    target = next(n for i, n in enumerate(ast.walk(tree)) if i == mutant.node)

    class Planter(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if node is target:
                return ast.copy_location(mutated(node) or node, node)
            return self.generic_visit(node)

    return ast.fix_missing_locations(Planter().visit(tree))


def compiled(mutant: Mutant) -> types.CodeType:
    """Compile the module with the error in it, and let its source be the same."""
    path, text = str(ROOT / mutant.file), ast.unparse(planted(mutant))
    lines = text.splitlines(keepends=True)
    # An entry without a time of modification is not read anew from the file.
    linecache.cache[path] = (len(text), None, lines, path)
    read = linecache.updatecache

    def updatecache(filename, module_globals=None):  # type: ignore[no-untyped-def]
        return lines if filename == path else read(filename, module_globals)

    # AutoGraph does read it anew, before it translates a function.
    linecache.updatecache = updatecache
    return compile(text, path, "exec")


def run(mutant: Mutant) -> str:
    """Run the tests with the error in a process of its own; give the verdict."""
    child = os.fork()
    if child == 0:
        _test(mutant)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return {0: "survived", 1: "killed"}.get(code, "crashed")
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def _test(mutant: Mutant) -> None:
    """Compile the error into the module, run its tests, and end this process."""
    import pytest

    os.setsid()
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    path = str(ROOT / mutant.file)
    loader = importlib.machinery.SourceFileLoader
    original = loader.get_code
    code = compiled(mutant)

    def get_code(self, name):  # type: ignore[no-untyped-def]
        return code if self.path == path else original(self, name)

    loader.get_code = get_code  # type: ignore[method-assign]
    status = 1
    try:
        # Plain assertions, as pytest would read the file anew to rewrite its own.
        options = ["-x", "--assert=plain", "-p", "no:cacheprovider"]
        status = pytest.main([*options, *TESTS[mutant.file].split(), mutant.file])
    finally:
        os._exit(int(status))


def report(rows: list[dict]) -> str:
    """Give the figures of each module and the list of survivors, in Markdown."""
    lines = [
        "# Mutation testing",
        "",
        "| module | errors | detected |",
        "|---|---|---|",
    ]
    for file in TESTS:
        verdicts = [row["verdict"] for row in rows if row["file"] == file]
        if verdicts:
            detected = sum(verdict != "survived" for verdict in verdicts)
            lines.append(f"| `{file}` | {len(verdicts)} | {detected} |")
    survivors = [row for row in rows if row["verdict"] == "survived"]
    share = 100 * (1 - len(survivors) / max(1, len(rows)))
    lines += ["", f"{share:.1f} % of {len(rows)} errors were detected. Survivors:", ""]
    verdicts = _verdicts()
    for row in survivors:
        verdict = verdicts.get((row["file"], row["change"]), "no verdict yet")
        lines.append(f"- `{row['file']}:{row['line']}` `{row['change']}`: {verdict}")
    return "\n".join(lines) + "\n"


def _verdicts() -> dict[tuple[str, str], str]:
    with VERDICTS.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {(row["file"], row["change"]): row["verdict"] for row in rows}


if __name__ == "__main__":
    main()
