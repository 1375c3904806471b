"""The command line of separation, the same words in every pillar."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from common import audio
from common.errors import exit_code
from common.files import refuse_overwriting
from common.separation.files import separate_file
from common.separation.outputs import (
    FOLDERS,
    Form,
    Rate,
    check_targets,
    copy_path,
    output_names,
    stem_paths,
)
from common.separation.separator import SeparationError, Separator

SHARED = (
    "input", "model", "output", "format", "segment", "overlap", "targets", "overwrite",
    "skip_existing", "rate",
)  # fmt: skip
"""Options that mean the same in every pillar."""

NONE: Mapping[str, Sequence[str]] = {}

RATE_HELP = (
    "of the stems: input, with all that lies above the model's band divided among the "
    "sources, or model, as published (default: input)"
)


class Names(argparse.Action):
    """Takes names of sources, after commas or spaces, and leaves files to the inputs.

    What follows the first word and has a folder or a suffix is a file. A parser that
    uses it sets the default of ``named_input`` to ``[]``.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Put the names into the namespace, and files to ``named_input``."""
        files = [word for word in values[1:] if os.sep in word or Path(word).suffix]
        words = [word for word in values if word not in files]
        names = [
            name.strip() for word in words for name in word.split(",") if name.strip()
        ]
        if not names:
            parser.error(f"argument {option_string}: expected names of sources")
        setattr(namespace, self.dest, names)
        namespace.named_input = [*namespace.named_input, *files]


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
        form: Returns, by these options, what is written and where.
        words: Further flags by option, such as ``{"output": ["-o"]}``; those
            of ``input`` take one file each.

    Returns:
        0 if every input was separated, else 1; 130 when interrupted.
    """
    parser = _parser(description, model, words)
    if configure:
        configure(parser)
    options = vars(parser.parse_intermixed_args(argv))
    named = options.pop("named_input", [])
    shared = {name: options.pop(name) for name in SHARED}
    shared["input"] = [*shared["input"], *named]
    if not shared["input"]:
        parser.error("no sound file is named; expected at least one INPUT")
    plain = replace(FOLDERS, rate=shared["rate"])
    shared["form"] = form(options) if form else plain
    if options["checkpoint"] is None:
        del options["checkpoint"]
    return exit_code("separate", lambda: _run(load, shared, options))


def _parser(
    description: str, model: str | None, words: Mapping[str, Sequence[str]]
) -> argparse.ArgumentParser:
    # A pillar may give --sample-rate further values.
    parser = argparse.ArgumentParser(
        description=description, conflict_handler="resolve"
    )
    parser.set_defaults(named_input=[])
    add = parser.add_argument
    add(
        "input",
        nargs="*",
        metavar="INPUT",
        help="sound files, of any format and rate; stems of files that share a name go "
        "to the folders that the files are in",
    )
    if "input" in words:
        add(
            *words["input"],
            dest="named_input",
            action="append",
            metavar="INPUT",
            help="one more of them",
        )
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
        "--sample-rate",
        dest="rate",
        choices=get_args(Rate),
        help=RATE_HELP,
    )
    parser.set_defaults(rate="input")
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
        "--targets",
        nargs="+",
        action=Names,
        metavar="SOURCE,...",
        help="write these only, such as vocals,drums (default: all)",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--overwrite", action="store_true", help="replace stems that exist"
    )
    again.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out files of which all stems exist",
    )
    return parser


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses among the checkpoints of a run folder.

    >>> parser = argparse.ArgumentParser()
    >>> add_checkpoint(parser)
    >>> parser.parse_args(["--checkpoint", "latest"]).checkpoint
    'latest'
    """
    parser.add_argument(
        "--checkpoint",
        metavar="WHICH",
        help="of a run folder: latest, best or step-N (default: best, where there is "
        "none latest)",
    )


def _run(
    load: Callable[..., Separator], shared: dict[str, Any], options: dict[str, Any]
) -> int:
    names = output_names([Path(name) for name in shared["input"]])
    parts = {"segment_seconds": shared["segment"], "overlap": shared["overlap"]}
    options |= {name: value for name, value in parts.items() if value is not None}
    separator = load(shared["model"], **options)
    check_targets(separator, shared["targets"])
    folder, chosen = Path(shared["output"]), (shared["format"], shared["targets"])
    forms = {path: replace(shared["form"], name=name) for path, name in names.items()}
    stems = {
        path: [
            *stem_paths(separator, path, folder, *chosen, form).values(),
            *copy_path(path, folder, form),
        ]
        for path, form in forms.items()
    }
    outputs = [stem for each in stems.values() for stem in each]
    if len(set(outputs)) < len(outputs):
        raise SeparationError(
            f"{len(names)} inputs would be written to {outputs[0]}; separate them one "
            "by one, or give a folder as --output"
        )
    refuse_overwriting(outputs, names)

    def one(path: Path) -> str:
        if shared["skip_existing"] and all(stem.exists() for stem in stems[path]):
            return f"{path.name}: skipped, its stems exist in {stems[path][0].parent}"
        summary = separate_file(
            separator,
            path,
            folder,
            format=shared["format"],
            targets=shared["targets"],
            overwrite=shared["overwrite"],
            form=forms[path],
        )
        return str(summary)

    return separate_all(list(names), one)


def separate_all(inputs: Sequence[Path], separate: Callable[[Path], object]) -> int:
    """Separate files one after another; a bad one does not stop the others.

    Args:
        inputs: Sound files.
        separate: Separates one and returns the line to print.

    Returns:
        0 if every file is done, else 1; 130 when interrupted.

    >>> separate_all([Path("a.wav")], lambda path: f"{path.stem}: done")
    a: done
    0
    """

    def one(path: Path) -> int:
        sys.stdout.write(f"{separate(path)}\n")
        sys.stdout.flush()
        return 0

    codes = []
    for path in inputs:
        codes.append(exit_code("separate", lambda path=path: one(path)))  # type: ignore[misc]
        if codes[-1] not in (0, 1):
            break
    if any(codes) and len(inputs) > 1:
        sys.stderr.write(
            f"separate: {codes.count(0)} of {len(inputs)} files are done\n"
        )
    return max(codes)
