"""The command line of evaluation, with the same options in every package."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from common.errors import exit_code
from common.evaluation.table import Row
from common.files import user_path
from common.separation.command import add_checkpoint
from common.training.checkpoint import run_of, scores_folder

Item = TypeVar("Item")
Result = TypeVar("Result")

SPLITS = ("train", "valid", "test")
NO_ALIASES: Mapping[str, Sequence[str]] = {}


class Evaluation(NamedTuple):
    """Scores of a model on tracks.

    Attributes:
        rows: Scores of each track, or of each source of it.
        summary: Their means or medians, as in ``summary.json``.
        failed: Tracks that could not be scored, by name.
    """

    rows: list[Row]
    summary: dict[str, Any]
    failed: tuple[str, ...] = ()


class OptionError(ValueError):
    """An invalid option of an evaluation."""


def parser(
    program: str,
    description: str | None,
    *,
    splits: Mapping[str, str] | None = None,
    aliases: Mapping[str, Sequence[str]] = NO_ALIASES,
) -> argparse.ArgumentParser:
    """Make the parser of an evaluation, to which a package adds its own options.

    Args:
        program: Name such as ``"unmix.evaluate"``.
        description: First line of the help.
        splits: The package's names of the splits by the words of the command line, of
            which the help shows the first ones; None: train, valid and test.
        aliases: Further flags by option, such as ``{"data": ["--corpus"]}``.

    Returns:
        A parser for :func:`command` with ``model``, ``checkpoint``, ``data``,
        ``split``, ``limit``, ``jobs`` and ``output``.
    """
    made = argparse.ArgumentParser(program, description=description)
    words = splits or {word: word for word in SPLITS}
    made.set_defaults(named_input=[], split_names=words)
    made.add_argument(
        "named_model", nargs="?", metavar="MODEL", help="the same as --model"
    )

    def add(name: str, *flags: str, **options: Any) -> None:
        made.add_argument(f"--{name}", *flags, *aliases.get(name, ()), **options)

    add(
        "model", help="run folder, checkpoint, or name of a pretrained or bundled model"
    )
    add_checkpoint(made)
    add("data", "--root", metavar="FOLDER", help="the corpus (default: the model's)")
    shown = [word for word in SPLITS if word in words]
    add(
        "split",
        dest="split_word",
        choices=list(words),
        metavar=f"{{{','.join(shown)}}}",
        help="part of the corpus (default: test)",
    )
    add("limit", type=int, metavar="N", help="score the first N tracks (default: all)")
    add("jobs", type=int, default=1, metavar="N", help="tracks at once (default: 1)")
    add(
        "output",
        metavar="FOLDER",
        help="folder of the results (default: evaluation in the run folder, or "
        "evaluation-SPLIT for another split than test)",
    )
    return made


def command(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None,
) -> int:
    """Run the command line of an evaluation.

    Args:
        parser: From :func:`parser`.
        run: Evaluates by the options and returns the exit code. ``model`` is None if
            there is none; ``split`` is the package's name, ``split_word`` the word of
            the command line.
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        What ``run`` returns; 1 after an error, which is printed in one sentence.
    """
    options = parser.parse_intermixed_args(argv)
    models = [options.model, options.named_model, *options.named_input]
    options.models = list(dict.fromkeys(filter(None, models)))
    return exit_code(parser.prog, lambda: run(_checked(options)))


def each(
    measure: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int = 1,
    unit: str = "track",
) -> Iterator[Result]:
    """Measure items, several at once, with a progress bar.

    Args:
        measure: Scores one item; safe to call from several threads.
        items: Tracks, or groups of them.
        jobs: Number of items at once.
        unit: Name of an item in the progress bar.

    Yields:
        The result of each item, in the order in which they finish.

    >>> sorted(each(abs, [-2, 1], jobs=2))
    [1, 2]
    """
    pending = list(items)
    with tqdm(total=len(pending), desc="evaluate", unit=unit, disable=None) as bar:
        for result in _results(measure, pending, jobs):
            bar.update()
            yield result


def _results(
    measure: Callable[[Item], Result], items: Sequence[Item], jobs: int
) -> Iterator[Result]:
    if jobs == 1:
        yield from map(measure, items)
        return
    with ThreadPool(jobs) as pool:
        yield from pool.imap_unordered(measure, items)


def _checked(options: argparse.Namespace) -> argparse.Namespace:
    """Check that there is at most one model and no count below 1."""
    if len(options.models) > 1:
        raise OptionError(
            f"two models are named, {options.models[0]} and {options.models[1]}; "
            "give one"
        )
    options.model = next(iter(options.models), None)
    for name in ("limit", "jobs"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise OptionError(f"--{name} is {value}; expected at least 1")
    options.split = options.split_names[options.split_word or "test"]
    return options


def results_folder(options: argparse.Namespace, model: Path | None) -> Path:
    """Return the folder of the results, by default one inside the run folder.

    Args:
        options: The options from :func:`command`.
        model: Run folder, checkpoint or folder of weights; None for a model that comes
            with the package, whose results go to the current folder.
    """
    if options.output:
        return user_path(options.output)
    usual = options.split == options.split_names["test"]
    name = "evaluation" if usual else f"evaluation-{options.split}"
    if model is None:
        return Path(name, options.model)
    folder = run_of(model) or (model if model.is_dir() else model.parent)
    return folder / scores_folder(model, options.checkpoint, name)
