"""The command line of separation, the same words in every pillar."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import audio
from common.errors import exit_code
from common.separation import SeparationError, Separator
from common.stem_files import FOLDERS, Form, check_targets
from common.stems import separate_file

SHARED = (
    "input", "model", "output", "format", "segment", "overlap", "targets", "overwrite"
)  # fmt: skip
"""Options that mean the same in every pillar."""

NONE: Mapping[str, Sequence[str]] = {}


def command(
    load: Callable[..., Separator],
    argv: Sequence[str] | None,
    description: str,
    *,
    model: str | None = None,
    configure: Callable[[argparse.ArgumentParser], None] | None = None,
    form: Callable[[Mapping[str, Any]], Form] | None = None,
    words: Mapping[str, Sequence[str]] = NONE,
) -> int:
    """Run the command line that all pillars share.

    Args:
        load: ``load(model, **options)`` makes the separator of a name or a folder;
            bad models are ``ValueError`` or ``OSError`` with one sentence.
        argv: Arguments without the program's name; None takes those of the process.
        description: First line of the help.
        model: Default of ``--model``; None makes it required.
        configure: Adds the pillar's own options to the parser; their values are the
            ``options`` of ``load``.
        form: Tells, by these options, what is written and where.
        words: Further flags by option, such as ``{"model": ["--checkpoint"]}``; those
            of ``input`` take one file each.

    Returns:
        0 if every input was separated, else 1; 130 when interrupted.
    """
    parser = _parser(description, model, words)
    if configure:
        configure(parser)
    options = vars(parser.parse_args(argv))
    named = options.pop("named_input", [])
    shared = {name: options.pop(name) for name in SHARED}
    shared["input"] = [*shared["input"], *named]
    if not shared["input"]:
        parser.error("no sound file is named; expected at least one INPUT")
    shared["form"] = form(options) if form else FOLDERS
    if options["checkpoint"] is None:
        del options["checkpoint"]
    return exit_code("separate", lambda: _run(load, shared, options))


def _parser(
    description: str, model: str | None, words: Mapping[str, Sequence[str]]
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description,
        epilog="Put INPUT before --targets, which takes all words that follow.",
    )
    add = parser.add_argument
    inputs = "sound files, of any format and rate"
    if "input" in words:
        add("input", nargs="*", metavar="INPUT", help=inputs)
        add(
            *words["input"],
            dest="named_input",
            action="append",
            default=[],
            metavar="INPUT",
            help="one more of them",
        )
    else:
        add("input", nargs="+", metavar="INPUT", help=inputs)
    add(
        "--model",
        *words.get("model", ()),
        default=model,
        required=model is None,
        help="name of a published model, run folder or checkpoint "
        + ("(required)" if model is None else "(default: %(default)s)"),
    )
    add_checkpoint(parser)
    add(
        "--output",
        *words.get("output", ()),
        default="separated",
        metavar="FOLDER",
        help="folder of the stems (default: %(default)s)",
    )
    add(
        "--format",
        default="wav",
        choices=list(audio.FORMATS),
        help="of the stems; wav is 32-bit float (default: %(default)s)",
    )
    add(
        "--segment",
        type=float,
        metavar="SECONDS",
        help="longest sound in one pass, in seconds (default: the model's own)",
    )
    add(
        "--overlap",
        type=float,
        metavar="FRACTION",
        help="part of a segment that neighbours share, 0 to below 1 (default: the "
        "model's own, mostly 0.25)",
    )
    add(
        "--targets", nargs="+", metavar="SOURCE", help="write these only (default: all)"
    )
    add("--overwrite", action="store_true", help="replace stems that exist")
    return parser


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses among the checkpoints of a run folder."""
    parser.add_argument(
        "--checkpoint",
        metavar="WHICH",
        help="of a run folder: latest, best or step-N (default: best, where there is "
        "none latest)",
    )


def _run(load: Callable[..., Separator], shared: dict, options: dict) -> int:
    inputs = [Path(name) for name in shared["input"]]
    _check_distinct(inputs)
    separator = load(shared["model"], **options)
    changes = {"segment_seconds": shared["segment"], "overlap": shared["overlap"]}
    given = {name: value for name, value in changes.items() if value is not None}
    separator = dataclasses.replace(separator, **given)
    check_targets(separator, shared["targets"])

    def one(path: Path) -> int:
        summary = separate_file(
            separator,
            path,
            shared["output"],
            format=shared["format"],
            targets=shared["targets"],
            overwrite=shared["overwrite"],
            form=shared["form"],
        )
        sys.stdout.write(f"{summary}\n")
        sys.stdout.flush()
        return 0

    codes = []
    for path in inputs:
        codes.append(exit_code("separate", lambda path=path: one(path)))  # type: ignore[misc]
        if codes[-1] not in (0, 1):
            break
    return max(codes)


def _check_distinct(inputs: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in inputs:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            raise SeparationError(
                f"{other} and {path} would both be written under the name "
                f"{path.stem}; rename one or separate them into different --output"
            )
