"""The run folder: the configuration, the record of how it came about, its place."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import __version__
from common.config import flatten, save, to_dict
from common.files import write_json

MAY_CHANGE = (
    "output",
    "train.epochs",
    "train.strategy",
    "train.replicas",
    "train.keep",
    "train.log_steps",
)
"""Keys that may differ when a run goes on, because the numbers stay the same."""

PACKAGES = ("tensorflow", "tf-keras", "numpy", "soundfile", "soxr", "tensorflow-io")


class RunFolderError(ValueError):
    """A run folder that holds another run than the one that is asked for."""


def date() -> str:
    """Tell the date and time, as folders of runs are named by it."""
    return dt.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def name(output: str | None, pillar: str, preset: str) -> str:
    """Name the folder of a run: as asked, else by pillar, preset and date.

    >>> name("runs/mine", "mixit", "tiny")
    'runs/mine'
    """
    if output:
        return output
    return str(Path(os.environ.get("ROOT_DIR") or "runs") / pillar / preset / date())


def prepare(folder: Path, config: Any) -> None:
    """Make a run folder, or make sure that it holds this very run.

    A run that failed before its first checkpoint leaves nothing to protect.

    Args:
        folder: The run folder.
        config: The configuration of the run.

    Raises:
        OSError: The folder cannot be written.
        RunFolderError: It holds a run of another configuration, or its path holds a
            letter that TensorFlow takes for a pattern.
    """
    # TensorFlow would write checkpoints there, and then not find them again.
    letters = sorted(set(str(folder.absolute())) & set("[]*?\\"))
    if letters:
        raise RunFolderError(
            f"output={folder} has {' '.join(letters)} in its path, which TensorFlow "
            "takes for a pattern when it looks for checkpoints; name another folder"
        )
    path = folder / "config.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists() or not any(folder.glob("*/checkpoint")):
            save(config, path)
    except OSError as error:
        raise OSError(
            f"output={folder} cannot be written ({error.strerror}); name a folder that "
            "you may write to"
        ) from error
    _demand_same(path, flatten(to_dict(config)))
    save(config, path)


def record(folder: Path, step: int, digest: str, **facts: Any) -> None:
    """Write down with what and from where a run started or went on, in run.json.

    Raises:
        RunFolderError: The run goes on with other data than it started with.
    """
    path = folder / "run.json"
    past = json.loads(path.read_text("utf-8")) if path.exists() else {"starts": []}
    if step and past.get("data_digest", digest) != digest:
        raise RunFolderError(
            f"{folder} was trained on other data (digest {past['data_digest'][:12]}, "
            f"now {digest[:12]}); name another output, or bring the old data back"
        )
    start = {
        "time": dt.datetime.now(dt.timezone.utc).isoformat("T", "seconds"),
        "step": step,
        "command": sys.argv,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "packages": {package: _version(package) for package in PACKAGES},
        "suite": __version__,
        "commit": _commit(),
        **facts,
    }
    write_json({"data_digest": digest, "starts": [*past["starts"], start]}, path)


def _demand_same(path: Path, now: dict[str, Any]) -> None:
    try:
        then = flatten(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise RunFolderError(
            f"{path} is damaged ({error}); remove the folder or name another output"
        ) from error
    changed = [
        key for key in now if key not in MAY_CHANGE and then.get(key) != now[key]
    ]
    if changed:
        key = changed[0]
        raise RunFolderError(
            f"{path.parent} holds a run with {key}={then.get(key)!r}, now "
            f"{key}={now[key]!r}; use the same value to go on, or another output"
        )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Name the commit of the code, where it runs from a clone."""
    place = Path(__file__).resolve().parent
    command = [
        "git",
        "-C",
        str(place),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
    ]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
