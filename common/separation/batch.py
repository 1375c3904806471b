"""Separation of many files: skips finished ones, and reports those that fail."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.audio.decoding import inspect
from common.errors import is_expected, sentence
from common.files import digest, write_json
from common.overwriting import refuse_overwriting
from common.separation import report as reports
from common.separation.files import separate_file
from common.separation.inputs import WHOLE, Input, Inputs, Part, refuse_mixing
from common.separation.outputs import (
    INPUT,
    Form,
    format_for,
    outputs_of,
    part_path,
    report_path,
)
from common.separation.report import Report
from common.separation.separator import SeparationError, Separator


@dataclass(frozen=True)
class Settings:
    """Settings for all files of a batch.

    Attributes:
        folder: Output folder.
        format: As `separate_file` takes it.
        targets: Sources to write; None writes all.
        form: Which files are written, and their paths.
        part: Part of each file to separate.
        overwrite: Replace stems that exist.
        skip_done: Skip files with a valid report, and replace the stems of others.
        live: As `separate_file` takes it.
        activity_seconds: As `separate_file` takes it.
        model: Name of the model as the user gave it.
        model_sha256: SHA-256 of the model; None if it is unknown.
        options: Options that affect the samples of the stems.
    """

    folder: Path
    format: str = "wav"
    targets: Sequence[str] | None = None
    form: Form = field(default_factory=Form)
    part: Part = WHOLE
    overwrite: bool = False
    skip_done: bool = False
    live: bool = False
    activity_seconds: float | None = None
    model: str = ""
    model_sha256: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """Result of one file of a batch.

    Attributes:
        line: One line of text for the user.
        report: The same as values of JSON.
    """

    line: str
    report: Report

    @property
    def status(self) -> str:
        """``"done"``, ``"skipped"`` or ``"failed"``."""
        return str(self.report["status"])


def check_outputs(separator: Separator, inputs: Inputs, settings: Settings) -> None:
    """Refuse a batch that would write two files to one path, or over an input.

    Args:
        separator: The model; its network is not used.
        inputs: The files to separate.
        settings: Settings of the batch.

    Raises:
        SeparationError: Two outputs have one path, or would lie in a folder of inputs.
        OverwriteError: An output is an input.

    >>> files = [Input(Path("a.wav"), "a", "a.wav")]
    >>> separator = Separator(lambda x: x[:, None], ["all"], 8000)
    >>> check_outputs(separator, Inputs(files, [], []), Settings(Path("out")))
    """
    owners: dict[str, str] = {}
    outputs: list[Path] = []
    for file in inputs.files:
        paths = _outputs(separator, file, settings)
        outputs += paths
        for path in paths:
            owner = owners.setdefault(str(path).casefold(), file.label)
            if owner != file.label or paths.count(path) > 1:
                raise SeparationError(
                    f"{path} would be written twice, for {owner} and for {file.label}; "
                    "add {source}, {folders} or {ext} to --name, or give a folder as "
                    "--output"
                )
    refuse_overwriting(outputs, [file.path for file in inputs.files])
    refuse_mixing(inputs, outputs, settings.folder)


def _outputs(separator: Separator, item: Input, settings: Settings) -> list[Path]:
    """List the paths of all files that are written for an input."""
    chosen = settings.format
    if chosen == INPUT:
        try:
            chosen = format_for(item.path, INPUT)
        except ValueError:  # attempt reports it
            chosen = "wav"
    form = replace(settings.form, name=item.name)
    paths = outputs_of(
        item.path,
        separator,
        settings.folder,
        chosen,
        settings.targets,
        form,
        whole=settings.part == WHOLE,
    ).paths
    if settings.live:
        paths += [part_path(path) for path in paths]
    return [*paths, report_path(item.path, settings.folder, form)]


def attempt(separator: Separator, item: Input, settings: Settings) -> Outcome:
    """Separate or skip a file; return a failure as an outcome instead of raising.

    Args:
        separator: The model.
        item: The file.
        settings: Settings of the batch.

    >>> import tempfile
    >>> separator = Separator(lambda x: x[:, None], ["all"], 8000)
    >>> folder = Path(tempfile.mkdtemp())
    >>> bad = Input(folder / "a.wav", "a", "a.wav")
    >>> attempt(separator, bad, Settings(folder)).report["status"]
    'failed'
    """
    try:
        return _separate(separator, item, settings)
    except Exception as error:
        expected = is_expected(error)
        if not expected or os.environ.get("SEPARATION_TRACEBACK"):
            traceback.print_exc()
        # After a bug, too, other files may succeed.
        named = f"{type(error).__name__}: {error}".splitlines()[0]
        text = sentence(error) if expected else named
    return failure(item, text)


def failure(item: Input, text: str) -> Outcome:
    """Make the outcome of a file that could not be separated.

    >>> failure(Input(Path("a.wav"), "a", "a.wav"), "a.wav is empty").line
    'a.wav is empty'
    """
    text = text.replace(str(item.path), item.label)
    line = text if item.label in text else f"{item.label}: {text}"
    return Outcome(line, reports.failed(item.label, text))


def _separate(separator: Separator, item: Input, settings: Settings) -> Outcome:
    if not item.pipe and not item.path.is_file():
        inspect(item.path)  # says what is wrong with it
    form = replace(settings.form, name=item.name)
    report = report_path(item.path, settings.folder, form)
    outputs = outputs_of(
        item.path, separator, settings.folder, settings.format, settings.targets, form
    )
    stems, format_ = outputs.stems, outputs.format
    facts = {
        "input": _describe(item),
        "model": {"name": settings.model, "sha256": settings.model_sha256},
        "options": {**settings.options, "format": format_},
    }
    before = reports.read(report)
    if settings.skip_done and reports.holds(
        before, report.parent, item.path, facts, stems
    ):
        line = f"{item.label}: skipped, done in {report.parent}"
        return Outcome(line, before | {"status": "skipped"})
    _remove(report, before, stems, settings)
    if settings.live:
        _announce(separator, item, stems)
    summary = separate_file(
        separator,
        item.pipe or item.path,
        settings.folder,
        format=format_,
        targets=settings.targets,
        overwrite=settings.overwrite or settings.skip_done,
        form=form,
        part=settings.part,
        live=settings.live,
        activity_seconds=settings.activity_seconds,
    )
    facts["input"] |= _content(item, facts["input"])
    made = reports.done(summary, facts, report.parent)
    report.parent.mkdir(parents=True, exist_ok=True)
    write_json(made, report)
    _say_left(item, reports.other_stems(before, report.parent, stems), report)
    return Outcome(str(summary), made)


def _say_left(item: Input, others: Sequence[str], report: Path) -> None:
    """Print which stems of an earlier separation stay beside the new ones."""
    if others:
        sys.stderr.write(
            f"separate: {item.label}: {', '.join(sorted(others))} in {report.parent} "
            f"{'stay' if len(others) > 1 else 'stays'} from an earlier separation; "
            f"{report.name} describes only the new stems\n"
        )


def _describe(item: Input) -> dict[str, Any]:
    """Describe an input before it is read."""
    if item.pipe:
        return {"path": item.label}
    return reports.describe_input(item.path, item.label)


def _announce(separator: Separator, item: Input, stems: Mapping[str, Path]) -> None:
    """Print where stems grow, and how far they lie behind the sound."""
    names = ", ".join(str(part_path(path)) for path in stems.values())
    sys.stderr.write(
        f"separate: {item.label}: {names} can be read from now on, "
        f"{describe_latency(separator)}\n"
    )


def describe_latency(separator: Separator) -> str:
    """Describe how far the stems lie behind the sound.

    >>> describe_latency(Separator(abs, ["a"], 8000, segment_seconds=2.0))
    'about 2.0 s of sound behind the input; a shorter --segment is closer'
    """
    return (
        f"about {separator.latency_seconds:.1f} s of sound behind the input; a shorter "
        "--segment is closer"
    )


def _remove(
    report: Path, before: Report, stems: Mapping[str, Path], settings: Settings
) -> None:
    """Remove the report on stems that are about to be replaced."""
    if report.exists() and not before and not settings.overwrite:
        raise SeparationError(
            f"{report} exists and is not a report of this program; give --overwrite to "
            "replace it, or choose another --output"
        )
    there = any(path.exists() for path in stems.values())
    replaces = settings.overwrite or settings.skip_done
    others = reports.other_stems(before, report.parent, stems)
    if others and not replaces and not there:
        raise SeparationError(
            f"{report} describes {', '.join(others)} beside it; give --overwrite to "
            "replace the report, or choose another --output or --name"
        )
    if (replaces or not there) and report.exists():
        report.unlink()


def _content(item: Input, before: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the SHA-256 of an input, which must not have changed meanwhile."""
    if item.pipe:
        return item.pipe.facts()
    sha256 = digest(item.path)
    if reports.describe_input(item.path, item.label) != before:
        raise SeparationError(
            f"{item.label} changed while it was separated; separate it again"
        )
    return {"sha256": sha256}
