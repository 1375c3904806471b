"""The command line of separation, with the same options in every package."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO, get_args

from common import __suite__, __version__, audio
from common.audio.pipes import RAW_TYPES, Raw, parse_raw
from common.download import DownloadError
from common.errors import exit_code
from common.separation import live
from common.separation.batch import Outcome, Settings, check_outputs
from common.separation.files import check_latency
from common.separation.inputs import (
    PREVIEW_SECONDS,
    STANDARD_INPUT,
    Inputs,
    Part,
    find,
)
from common.separation.outputs import (
    FIELDS,
    FOLDERS,
    INPUT,
    Form,
    Rate,
    check_pattern,
    check_targets,
    working_folder,
)
from common.separation.separator import SeparationError, Separator
from common.separation.workers import InProcess, Loader, WorkerPool
from common.weights import bundled, registry

SHARED = (
    "input", "model", "output", "name", "format", "segment", "overlap", "targets",
    "two_stems", "start", "duration", "preview", "rate", "overwrite", "skip_done",
    "device", "jobs", "json", "live", "raw", "activity",
)  # fmt: skip
"""Options that every package has."""

SEPARATING = (
    "segment", "overlap", "targets", "two_stems", "start", "duration", "preview",
    "rate",
)  # fmt: skip
"""Options that affect the samples of the stems."""

NONE: Mapping[str, Sequence[str]] = {}

RATE_HELP = (
    "rate of the stems: that of the input, with the sound above the model's band "
    "divided among the sources, or that of the model, as published (default: input)"
)


class Names(argparse.Action):
    """Reads names of sources, separated by commas or spaces, and passes on files.

    After the first word, a word with a folder or a suffix is an input file. A parser
    with this action sets the default of ``named_input`` to ``[]``.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the names in the namespace, and files in ``named_input``."""
        files = [word for word in values[1:] if is_file(word)]
        words = [word for word in values if word not in files]
        names = [
            name.strip() for word in words for name in word.split(",") if name.strip()
        ]
        if not names:
            parser.error(f"argument {option_string}: expected names of sources")
        setattr(namespace, self.dest, names)
        namespace.named_input = [*namespace.named_input, *files]


def is_file(word: str) -> bool:
    """Return whether a word after names of sources is an input file.

    >>> is_file("songs/a"), is_file("a.wav"), is_file("vocals"), is_file("-")
    (True, True, False, True)
    """
    return word == STANDARD_INPUT or os.sep in word or bool(Path(word).suffix)


class Listing(argparse.Action):
    """Prints the models of the package named by ``const``, and exits.

    An empty name prints those of all packages.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Print one line for each model, and exit."""
        models = [
            entry for entry in registry.entries() if self.const in ("", entry.pillar)
        ]
        sys.stdout.write(registry.table(models))
        parser.exit()


def command(  # noqa: PLR0913 (each is one choice of a package)
    load: Callable[..., Separator],
    argv: Sequence[str] | None,
    description: str,
    *,
    pillar: str = "",
    model: str | None = None,
    configure: Callable[[argparse.ArgumentParser], None] | None = None,
    form: Callable[[Mapping[str, Any]], Form] | None = None,
    words: Mapping[str, Sequence[str]] = NONE,
) -> int:
    """Run the command line that all packages share.

    Args:
        load: ``load(model, **options)`` returns the separator of a name or a folder,
            or raises ``ValueError`` or ``OSError`` with one sentence.
        argv: Arguments without the program's name; None takes those of the process.
        description: First line of the help.
        pillar: Name of the package, whose models ``--list`` prints.
        model: Default of ``--model``; None makes it required.
        configure: Adds the package's own options to the parser; their values become
            the ``options`` of ``load``.
        form: Returns the :class:`Form` for the values of the options.
        words: Further flags by option, such as ``{"output": ["-o"]}``; those
            of ``input`` take one file each.

    Returns:
        0 if every input is separated, else 1; 130 when interrupted.
    """
    parser = make_parser(description, pillar, model, words)
    if configure:
        configure(parser)
    options = vars(parse_files(parser, sys.argv[1:] if argv is None else argv))
    named = options.pop("named_input", [])
    shared = {name: options.pop(name) for name in SHARED}
    shared["input"] = [*shared["input"], *named]
    if not shared["input"]:
        parser.error("no sound file is named; expected at least one INPUT")
    _refuse_empty(parser, shared)
    if shared["preview"] and (shared["start"] or shared["duration"]):
        parser.error("--preview chooses its part itself; leave out --start, --duration")
    plain = replace(FOLDERS, rate=shared["rate"])
    shared["form"] = form(options) if form else plain
    shared["rate"] = shared["form"].rate
    if options["checkpoint"] is None:
        del options["checkpoint"]

    def separate() -> int:
        try:
            return _run(load, shared, options)
        except DownloadError as error:
            if not pillar:
                raise
            names = ", ".join(bundled.names(pillar))
            raise DownloadError(
                f"{error}; no network is needed for --model {names}"
            ) from error

    return exit_code("separate", separate)


def _refuse_empty(parser: argparse.ArgumentParser, shared: Mapping[str, Any]) -> None:
    """Refuse an empty path, which would mean the current folder."""
    for name in ("input", "model", "output"):
        if "" in ([shared[name]] if isinstance(shared[name], str) else shared[name]):
            parser.error(f"{name} is empty; is the variable that should name it set?")


def parse_files(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> argparse.Namespace:
    """Parse files and options in any order; all words after ``--`` are files.

    Python's own parser takes a file after ``--`` that begins with a dash for an option
    if files and options are mixed.

    >>> parser = argparse.ArgumentParser()
    >>> _ = parser.add_argument("input", nargs="*")
    >>> parse_files(parser, ["a.wav", "--", "-b.wav"]).input
    ['a.wav', '-b.wav']
    """
    words, files = list(words), []
    if "--" in words:
        end = words.index("--")
        words, files = words[:end], words[end + 1 :]
    options, unknown = parser.parse_known_intermixed_args(words)
    # Path.exists raises an error for a name that is too long.
    dashed = [w for w in unknown if w.startswith("-") and os.path.exists(w)]  # noqa: PTH110
    if dashed:
        parser.error(
            f"the name of the file {dashed[0]} begins with a dash, as an option; write "
            f"./{dashed[0]}"
        )
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    options.input = [*options.input, *files]
    return options


def make_parser(
    description: str,
    pillar: str,
    model: str | None,
    words: Mapping[str, Sequence[str]] = NONE,
) -> argparse.ArgumentParser:
    """Make the parser of the options that all packages share.

    Args:
        description: First line of the help.
        pillar: See :func:`command`.
        model: See :func:`command`.
        words: See :func:`command`.

    >>> parser = make_parser("Separate.", "unmix", "mini")
    >>> parser.parse_args(["a.wav", "--two-stems", "vocals"]).two_stems
    'vocals'
    """
    # A package may add values to --sample-rate.
    parser = argparse.ArgumentParser(
        description=description, conflict_handler="resolve"
    )
    _add_inputs(parser, words)
    _add_model(parser, pillar, model, words)
    _add_stems(parser, words)
    _add_batch(parser)
    return parser


def _add_inputs(
    parser: argparse.ArgumentParser, words: Mapping[str, Sequence[str]]
) -> None:
    parser.set_defaults(named_input=[])
    add = parser.add_argument_group("input").add_argument
    add(
        "input",
        nargs="*",
        metavar="INPUT",
        help="sound files of any format and rate; folders, whose sound files at any "
        "depth are separated; or - for standard input in any format that ffmpeg reads. "
        "Stems of files with equal names keep the folders of their inputs",
    )
    if "input" in words:
        add(
            *words["input"],
            dest="named_input",
            action="append",
            metavar="INPUT",
            help="another input",
        )
    add(
        "--raw",
        type=_raw,
        metavar="TYPE,HZ,CHANNELS",
        help="standard input holds raw samples, such as s16le,44100,2; types: "
        + ", ".join(RAW_TYPES),
    )
    add(
        "--start",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="start of the part to separate, in seconds (default: 0)",
    )
    add(
        "--duration",
        type=float,
        metavar="SECONDS",
        help="length of the part to separate, in seconds (default: to the end)",
    )
    add(
        "--preview",
        action="store_true",
        help=f"separate only the loudest {PREVIEW_SECONDS:g} s",
    )


def _raw(text: str) -> Raw:
    try:
        return parse_raw(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_model(
    parser: argparse.ArgumentParser,
    pillar: str,
    model: str | None,
    words: Mapping[str, Sequence[str]],
) -> None:
    group = parser.add_argument_group("model")
    add = group.add_argument
    add(
        "--model",
        *words.get("model", ()),
        default=model,
        required=model is None,
        help="name of a model (see --list), run folder or checkpoint "
        + ("(required)" if model is None else "(default: %(default)s)"),
    )
    add_checkpoint(group)
    add(
        "--list",
        action=Listing,
        nargs=0,
        const=pillar,
        default=argparse.SUPPRESS,
        help="list the pretrained and bundled models, and exit",
    )
    add(
        "--segment",
        type=float,
        metavar="SECONDS",
        help="longest sound that goes through the network in one pass, in seconds "
        "(default: the model's own)",
    )
    add(
        "--overlap",
        type=float,
        metavar="FRACTION",
        help="fraction of a segment by which neighbouring chunks overlap, from 0 to "
        "below 1 (default: the model's own, mostly 0.25)",
    )
    add(
        "--device",
        metavar="DEVICE",
        help="cpu, gpu, or gpu:1 for the second GPU (default: a GPU if there is one)",
    )


def _add_stems(
    parser: argparse.ArgumentParser, words: Mapping[str, Sequence[str]]
) -> None:
    parser.set_defaults(rate="input")
    group = parser.add_argument_group("stems")
    add = group.add_argument
    add(
        "--output",
        *words.get("output", ()),
        default="separated",
        metavar="FOLDER",
        help="folder of the stems, or - to write the one stem that --targets names to "
        "standard output, as wav (default: %(default)s)",
    )
    add(
        "--live",
        action="store_true",
        help="write each chunk as soon as it is final, to NAME.part.wav until all "
        "stems are complete; standard input is separated as it arrives",
    )
    add(
        "--name",
        metavar="PATTERN",
        help="path of a stem in the output folder, without suffix, such as "
        "{parent}/{track}/{source}; fields: "
        + "; ".join(f"{{{field}}}: {what}" for field, what in FIELDS.items()),
    )
    add(
        "--format",
        default="wav",
        choices=[*audio.FORMATS, INPUT],
        help="format of the stems; wav is 32-bit float, flac and aiff have 24 bits, "
        "input is container and bit depth of the input (default: %(default)s)",
    )
    add("--sample-rate", dest="rate", choices=get_args(Rate), help=RATE_HELP)
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--targets",
        nargs="+",
        action=Names,
        metavar="SOURCE,...",
        help="write only these sources, such as vocals,drums (default: all)",
    )
    which.add_argument(
        "--two-stems",
        metavar="SOURCE",
        help="write this source and the mixture minus it, such as vocals and no_vocals",
    )


def _add_batch(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("batch")
    again = group.add_mutually_exclusive_group()
    again.add_argument(
        "--overwrite", action="store_true", help="replace stems that exist"
    )
    again.add_argument(
        *("--skip-done", "--skip-existing"),
        action="store_true",
        help="skip files whose report.json states the same input, model and options, "
        "and replace the stems of the others",
    )
    add = group.add_argument
    add(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="files to separate at the same time, each in its own process with its own "
        "model (default: %(default)s)",
    )
    add(
        "--json",
        action="store_true",
        help="print one line of JSON for each file to standard output, and nothing "
        "else there",
    )
    add(
        "--activity",
        type=float,
        nargs="?",
        const=1.0,
        metavar="SECONDS",
        help="add to report.json the level of mixture and stems in windows of this "
        "length (default: 1), and when each stem is active",
    )
    add(
        "--version",
        action="version",
        version=f"{__suite__} {__version__}",
        help="print the version, and exit",
    )


def add_checkpoint(parser: argparse._ActionsContainer) -> None:
    """Add the option that chooses among the checkpoints of a run folder.

    >>> parser = argparse.ArgumentParser()
    >>> add_checkpoint(parser)
    >>> parser.parse_args(["--checkpoint", "latest"]).checkpoint
    'latest'
    """
    parser.add_argument(
        "--checkpoint",
        metavar="WHICH",
        help="which checkpoint of a run folder: latest, best or step-N (default: best "
        "if there is one, else latest)",
    )


def _run(
    load: Callable[..., Separator], shared: dict[str, Any], options: dict[str, Any]
) -> int:
    if shared["jobs"] < 1:
        raise SeparationError(f"jobs is {shared['jobs']}; expected 1 or more")
    live.check(shared)
    settings = _settings(shared, options)
    parts = {"segment_seconds": shared["segment"], "overlap": shared["overlap"]}
    options |= {name: value for name, value in parts.items() if value is not None}
    loader = Loader(load, shared["model"], options, shared["device"])
    with ExitStack() as stack:
        scratch: Path | None = None
        to_stdout = shared["output"] == live.STANDARD_OUTPUT
        if STANDARD_INPUT in shared["input"] and not (settings.live or to_stdout):
            scratch = stack.enter_context(working_folder(settings.folder))
        inputs = find(
            shared["input"],
            settings.folder,
            scratch,
            shared["raw"],
            is_suffix_kept="{ext}" in settings.form.pattern,
        )
        if to_stdout:
            return live.write_to_stdout(loader, inputs.files, settings)
        lines = stack.enter_context(_lines(shared["json"]))
        workers = _workers(loader, min(shared["jobs"], len(inputs.files)))
        stack.callback(workers.close)
        check_targets(workers.separator, shared["targets"])
        if settings.live:
            check_latency(workers.separator)
        check_outputs(workers.separator, inputs, settings)
        _say_left_out(inputs)
        return _report(workers.run(inputs.files, settings), len(inputs.files), lines)


def _settings(shared: Mapping[str, Any], options: Mapping[str, Any]) -> Settings:
    """Collect the settings for all files."""
    form = shared["form"]
    if shared["name"] is not None:
        check_pattern(shared["name"])
        form = replace(form, pattern=shared["name"])
    model = Path(shared["model"]).name or str(shared["model"])
    decisive = {name: shared[name] for name in SEPARATING}
    if shared["activity"] is not None:  # which a report without it lacks
        decisive["activity"] = shared["activity"]
    own = {name: value for name, value in options.items() if name != "checkpoint"}
    seconds = PREVIEW_SECONDS if shared["preview"] else shared["duration"]
    return Settings(
        folder=Path(shared["output"]),
        format=shared["format"],
        targets=shared["targets"],
        form=replace(form, model=model, two_stems=shared["two_stems"]),
        part=Part(shared["start"], seconds, shared["preview"]),
        overwrite=shared["overwrite"],
        skip_done=shared["skip_done"],
        live=shared["live"],
        activity_seconds=shared["activity"],
        model=str(shared["model"]),
        options={**own, **decisive},
    )


@contextlib.contextmanager
def _lines(are_json: bool) -> Iterator[Callable[[Outcome], None]]:
    """Yield a function that prints outcomes; with JSON all else goes to stderr."""
    output: TextIO = sys.stdout
    if hasattr(output, "reconfigure"):  # names may hold bytes that are not UTF-8
        output.reconfigure(errors="backslashreplace")

    def line(outcome: Outcome) -> None:
        one_line = outcome.line.replace("\r", r"\r").replace("\n", r"\n")
        if outcome.status == "failed":
            sys.stderr.write(f"separate: {one_line}\n")
        if are_json or outcome.status != "failed":
            text = json.dumps(outcome.report) if are_json else one_line
            output.write(f"{text}\n")
            output.flush()

    with contextlib.redirect_stdout(sys.stderr) if are_json else ExitStack():
        yield line


def _workers(loader: Loader, jobs: int) -> InProcess | WorkerPool:
    if jobs <= 1:
        return InProcess(loader)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    return WorkerPool(replace(loader, threads=threads), jobs)


def _say_left_out(inputs: Inputs) -> None:
    if inputs.left_out:
        count = len(inputs.left_out)
        sys.stderr.write(
            f"separate: {count} file{'s are' if count > 1 else ' is'} left out, not "
            f"sound by their suffix, such as {inputs.left_out[0]}\n"
        )


def _report(
    outcomes: Iterator[Outcome], files: int, line: Callable[[Outcome], None]
) -> int:
    """Print the outcome of each file and the counts; return the exit code."""
    counts = {"done": 0, "skipped": 0, "failed": 0}
    try:
        for outcome in outcomes:
            counts[outcome.status] += 1
            line(outcome)
    finally:
        if files > 1 and counts["done"] < files:
            skipped = f", {counts['skipped']} of them before" * bool(counts["skipped"])
            failed = f", {counts['failed']} failed" * bool(counts["failed"])
            sys.stderr.write(
                f"separate: {counts['done'] + counts['skipped']} of {files} files are "
                f"done{skipped}{failed}\n"
            )
    return 1 if counts["failed"] else 0
