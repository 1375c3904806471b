"""Limits of the server, each an option of the command line, and refusals."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000


def _limit(default: float, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Limits:
    """Limits on uploads and jobs; each attribute is an option of the same name.

    >>> Limits(upload_megabytes=2).upload_bytes
    2000000
    """

    upload_megabytes: float = _limit(50, "largest file, in MB")
    song_minutes: float = _limit(10, "longest decoded sound, in minutes")
    channels: int = _limit(8, "largest number of channels")
    uploads: int = _limit(64, "uploads at the same time")
    upload_rate: float = _limit(2000, "slowest upload after 10 s, in bytes per second")
    queue: int = _limit(100, "jobs that wait in the queue")
    job_minutes: float = _limit(30, "longest separation of one song, in minutes")
    attempts: int = _limit(3, "attempts at a job whose worker dies")
    disk_gigabytes: float = _limit(20, "disk space for all jobs together, in GB")
    keep_hours: float = _limit(24, "hours after which a finished job is removed")
    decoder_megabytes: int = _limit(2000, "memory of a decoding process, in MB")
    decoder_seconds: int = _limit(120, "CPU time of a decoding process, in seconds")
    preview_seconds: float = _limit(20, "length of the preview, in seconds")

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value:g}; expected a number above 0")

    @property
    def upload_bytes(self) -> int:
        """Largest file, in bytes."""
        return int(self.upload_megabytes * MEGABYTE)

    @property
    def song_seconds(self) -> float:
        """Longest sound, in seconds."""
        return self.song_minutes * 60


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each limit."""
    group = parser.add_argument_group("limits")
    for limit in fields(Limits):
        group.add_argument(
            f"--{limit.name.replace('_', '-')}",
            type=_number,
            default=limit.default,
            metavar="N",
            help=f"{limit.metadata['help']} (default: {limit.default:g})",
        )


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def from_options(options: Mapping[str, Any]) -> Limits:
    """Make the limits from parsed options."""
    return Limits(**{limit.name: options[limit.name] for limit in fields(Limits)})


STATUS = {
    "bad_request": 400,
    "not_authorised": 401,
    "cross_origin": 403,
    "not_found": 404,
    "not_ready": 409,
    "model_missing": 409,
    "too_slow": 408,
    "too_large": 413,
    "not_audio": 415,
    "too_long": 422,
    "unreadable": 422,
    "broken_upload": 400,
    "busy": 503,
    "disk_full": 507,
    "failed": 500,
}
"""HTTP status by the code of a refusal."""


class RefusedError(ValueError):
    """A request or a job that is refused, with a message for the user.

    Args:
        code: A key of `STATUS`, for programs.
        message: One sentence: what is wrong, what was expected, what to do.

    >>> RefusedError("too_long", "The song plays for 11 minutes.").status
    422
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = STATUS[code]

    @property
    def body(self) -> dict[str, Any]:
        """Return the JSON of the answer."""
        return {"error": {"code": self.code, "message": str(self)}}


def duration(seconds: float) -> str:
    """Format a length of time for people.

    >>> duration(40), duration(600), duration(3600 * 24)
    ('40 seconds', '10 minutes', '24 hours')
    """
    for size, unit in ((3600, "hour"), (60, "minute")):
        if seconds >= 2 * size or seconds == size:
            return count(seconds / size, unit)
    return count(seconds, "second")


def size(bytes_: float) -> str:
    """Format a number of bytes for people.

    >>> size(52_000_000), size(20e9), size(512)
    ('52 MB', '20 GB', '512 bytes')
    """
    for unit, name in ((GIGABYTE, "GB"), (MEGABYTE, "MB"), (1000, "kB")):
        if bytes_ >= unit:
            return f"{bytes_ / unit:.3g} {name}"
    return f"{bytes_:.0f} bytes"


def count(value: float, unit: str) -> str:
    """Write a number of things.

    >>> count(1, "song"), count(100, "song")
    ('1 song', '100 songs')
    """
    number = f"{value:.3g}"
    return f"{number} {unit}{'' if number == '1' else 's'}"
