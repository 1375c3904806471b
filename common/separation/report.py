"""Reports on separated files, and whether their stems are still up to date.

A report is written last, beside the stems, and removed before any of them is replaced,
so the stems beside a report are always those that it describes. Its schema is
``report.schema.json``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from common import __version__
from common.files import digest
from common.separation.summary import Summary

FORMAT = 1
SCHEMA = Path(__file__).with_name("report.schema.json")
PACKAGES = ("tensorflow", "numpy", "soundfile", "soxr")
STATUS_KEYS = ("absolute_path", "bytes", "modified_ns", "changed_ns")

Report = dict[str, Any]


def describe_input(path: Path, label: str) -> dict[str, Any]:
    """Describe an input without reading it.

    Args:
        path: The file.
        label: Its path as the user gave it.

    Raises:
        OSError: The file cannot be examined.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.wav")
    >>> _ = file.write_bytes(bytes(44))
    >>> describe_input(file, "a.wav")["bytes"]
    44
    """
    status = path.stat()
    return {
        "path": printable(label),
        "absolute_path": printable(path.absolute()),
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "changed_ns": status.st_ctime_ns,
    }


def printable(name: str | os.PathLike[str]) -> str:
    r"""Return a path as text, with escapes for bytes that are not UTF-8.

    >>> printable(os.fsdecode(b"gr\xfcn.wav"))
    'gr\\udcfcn.wav'
    """
    return os.fspath(name).encode("utf-8", "backslashreplace").decode("utf-8")


def done(summary: Summary, facts: Mapping[str, Any], folder: Path) -> Report:
    """Make the report on a file that was separated.

    Args:
        summary: What was written.
        facts: ``input`` from :func:`describe_input` with its ``sha256``, ``model`` with
            ``name`` and ``sha256``, and ``options``: all that affects the samples of
            the stems.
        folder: Folder of the report.

    >>> import tempfile
    >>> stem = Path(tempfile.mkdtemp(), "bass.wav")
    >>> _ = stem.write_bytes(bytes(44))
    >>> parts = {"bass": 0.5}, {"bass": -math.inf}, {"bass": 0}
    >>> summary = Summary(
    ...     "a.wav", stem.parent, 8000, 8000, 2.0, -9.0, *parts, 1, {"bass": stem})
    >>> done(summary, {}, stem.parent)["stems"]["bass"]["level_db"]
    '-inf'
    """
    seconds = summary.samples / summary.sample_rate
    stems = {
        name: {
            "path": printable(os.path.relpath(path, folder)),
            "bytes": path.stat().st_size,
            "peak": summary.peaks[name],
            "level_db": _number(summary.levels_db[name]),
            "clipped": summary.clipped[name],
        }
        for name, path in summary.paths.items()
    }
    return {
        "format": FORMAT,
        "status": "done",
        "error": None,
        **facts,
        "stems": stems,
        "rest_of": summary.rest_of,
        "sample_rate": summary.sample_rate,
        "channels": summary.channels,
        "samples": summary.samples,
        "seconds": seconds,
        "start_seconds": summary.start_seconds,
        "elapsed_seconds": round(summary.elapsed_seconds, 4),
        "real_time_factor": round(summary.elapsed_seconds / seconds, 5),
        "residual_db": _number(summary.residual_db),
        "latency_seconds": summary.latency_seconds,
        "activity": _over_time(summary),
        "versions": _versions(),
    }


def _over_time(summary: Summary) -> dict[str, Any] | None:
    """Return the levels over time, and when each stem is active, in input time."""
    activity, start = summary.activity, summary.start_seconds
    if activity is None:
        return None
    end = start + summary.samples / summary.sample_rate
    stems = {
        name: {
            "levels_db": [_number(round(level, 2)) for level in levels],
            "active": [
                [round(start + first, 3), round(min(start + last, end), 3)]
                for first, last in activity.intervals(name)
            ],
        }
        for name, levels in activity.stems_db.items()
    }
    return {
        "window_seconds": activity.window_seconds,
        "mixture_db": [_number(round(level, 2)) for level in activity.mixture_db],
        "stems": stems,
    }


def failed(label: str, error: str) -> Report:
    """Make the report on a file that could not be separated.

    >>> failed("a.wav", "a.wav is empty")["status"]
    'failed'
    """
    return {
        "format": FORMAT,
        "status": "failed",
        "error": printable(error),
        "input": {"path": printable(label)},
    }


def read(path: Path) -> Report:
    """Read a report; return an empty one if there is none, or something else.

    Args:
        path: Its path.

    Raises:
        OSError: There is a file that cannot be read.

    >>> read(Path("no/report.json"))
    {}
    """
    try:
        report = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except (ValueError, RecursionError):
        return {}
    is_ours = isinstance(report, dict) and report.get("format") == FORMAT
    return report if is_ours else {}


def other_stems(report: Report, folder: Path, stems: Mapping[str, Path]) -> list[str]:
    """Name the stems of a report that exist and are not among others.

    Args:
        report: From :func:`read`.
        folder: Folder of the report.
        stems: Path of each other stem.

    >>> other_stems({"stems": {"a": {"path": "lost.wav"}}}, Path(), {})
    []
    """
    with suppress(KeyError, TypeError, AttributeError):  # The report was edited.
        paths = [folder / stem["path"] for stem in report["stems"].values()]
        return [
            path.name for path in paths if path.is_file() and path not in stems.values()
        ]
    return []


def holds(
    report: Report,
    folder: Path,
    source: Path,
    facts: Mapping[str, Any],
    stems: Mapping[str, Path],
) -> bool:
    """Return whether a report still describes an input, a model and the stems.

    The input is read only if its size or time has changed.

    Args:
        report: From :func:`read`.
        folder: Folder of the report.
        source: The input.
        facts: Those of :func:`done` as they are now, without the SHA-256 of the input.
        stems: Path of each stem.

    >>> holds({}, Path(), Path("a.wav"), {}, {})
    False
    """
    with suppress(KeyError, TypeError):  # The report was edited.
        return (
            report["options"] == json.loads(json.dumps(facts["options"]))
            and _is_of_model(report["model"], facts["model"])
            and _are_there(report["stems"], folder, stems)
            and _is_of_input(report["input"], facts["input"], source)
        )
    return False


def _is_of_model(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    key = "sha256" if now["sha256"] else "name"
    return bool(before[key] == now[key])


def _are_there(
    written: Mapping[str, Any], folder: Path, stems: Mapping[str, Path]
) -> bool:
    """Return whether all stems of a report exist, with the recorded sizes."""
    for name, path in stems.items():
        stated = printable(os.path.relpath(path, folder))
        if written[name]["path"] != stated or not path.is_file():
            return False
        if path.stat().st_size != written[name]["bytes"]:
            return False
    return set(written) == set(stems)


def _is_of_input(
    before: Mapping[str, Any], now: Mapping[str, Any], source: Path
) -> bool:
    if all(before[key] == now[key] for key in STATUS_KEYS):
        return True
    return bool(before["bytes"] == now["bytes"] and before["sha256"] == digest(source))


def _number(decibels: float) -> float | str:
    """Return a number, or a text for infinity, which JSON lacks."""
    return decibels if math.isfinite(decibels) else str(decibels)


@functools.cache
def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {name: _version(name) for name in PACKAGES}
    return {"suite": __version__, "python": platform.python_version(), **versions}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
