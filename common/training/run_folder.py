"""The run folder: its path, its configuration, and the record of each start."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from common import __version__, files
from common.config import (
    ConfigError,
    Dataclass,
    flatten,
    key_types,
    load,
    override,
    removed_choices,
    save,
    to_dict,
)
from common.files import write_json
from common.training.schedule import Schedule


class RunConfig(Dataclass, Protocol):
    """The configuration of a run: a frozen dataclass with at least these two keys.

    It also has a key ``batch_size``, itself or in a dataclass within it: the examples
    of a batch on each replica.
    """

    @property
    def output(self) -> str | None:
        """The run folder; None lets the command line name one."""

    @property
    def train(self) -> Schedule:
        """Length of the run in epochs and steps, its checkpoints and its devices."""


Run = TypeVar("Run", bound=RunConfig)

MAY_CHANGE = (
    "output",
    "train.epochs",
    "train.strategy",
    "train.replicas",
    "train.keep",
    "train.log_steps",
    "records_encoding",
    "corpora.records_encoding",
)
"""Keys that may change when a run resumes, because the results stay the same.

Another encoding of the records is accepted if the digest of the data is the same. On
other devices the global batch is divided anew, see :func:`divided`. The number of
epochs may not change with a cosine learning rate, which depends on it.
"""

RECORD = "run.json"
LOCK = ".training.lock"
PACKAGES = ("tensorflow", "tf-keras", "numpy", "soundfile", "soxr", "tensorflow-io")

_held: set[Path] = set()


class RunFolderError(ValueError):
    """A run folder that holds another run."""


def date() -> str:
    """Return the date and time for the name of a run folder."""
    return dt.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def name(output: str | None, pillar: str, preset: str) -> str:
    """Return the path of a run folder: ``output``, else by pillar, preset and date.

    >>> name("runs/mine", "mixit", "tiny")
    'runs/mine'
    """
    if output:
        return output
    return str(Path(os.environ.get("ROOT_DIR") or "runs") / pillar / preset / date())


def path_of(config: RunConfig) -> Path:
    """Return the run folder that a configuration names.

    Raises:
        RunFolderError: It names none.
    """
    if config.output is None:
        raise RunFolderError("output is not set; name the run folder, as output=FOLDER")
    return Path(config.output)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let no other process train the same run; calls within one process may be nested.

    The lock is a hidden file in the folder, which blocks no process after a kill.
    Without it two processes would remove each other's checkpoints. There is none on
    Windows and on file systems without locks.

    Args:
        folder: The run folder.

    Raises:
        RunFolderError: Another process trains it.
    """
    key = folder.absolute()
    with contextlib.ExitStack() as stack:
        if key not in _held:
            stack.enter_context(_claimed(folder))
            _held.add(key)
            stack.callback(_held.remove, key)
        yield


def _claimed(folder: Path) -> contextlib.ExitStack:
    """Claim a run folder; one that cannot be written is refused by :func:`prepare`."""
    stack = contextlib.ExitStack()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(files.claimed(folder / LOCK))
    except BlockingIOError as error:
        raise RunFolderError(
            f"output={folder} is being trained by another process; wait for its end or "
            f"name another output (if its machine crashed, remove {folder / LOCK})"
        ) from error
    except OSError:
        pass
    return stack


def prepare(folder: Path, config: Dataclass) -> None:
    """Make a run folder, or check that it holds the same run.

    A run that failed before its first checkpoint is overwritten.

    Args:
        folder: The run folder.
        config: The configuration of the run.

    Raises:
        OSError: The folder cannot be written.
        RunFolderError: It holds a run of another configuration, or its configuration is
            missing or damaged; or it holds a bundled or published model.
    """
    path = folder / "config.json"
    _refuse_model(folder)
    if _is_started(folder):
        _check_same(path, config)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save(config, path)
    except OSError as error:
        raise OSError(
            f"output={folder} cannot be written ({error.strerror}); name a folder that "
            "you may write to"
        ) from error


def divided(folder: Path, config: Run, replicas: int) -> tuple[Run, int]:
    """Divide the global batch of a run among the current replicas and their batches.

    The position of the data is the step times the global batch, so another global batch
    would skip or repeat examples.

    Args:
        folder: The run folder.
        config: The configuration, with the batch size of each replica at the start of
            the run.
        replicas: Current number of replicas.

    Returns:
        The configuration with the batch size of each current replica, and the global
        batch size.

    Raises:
        RunFolderError: The global batch cannot be divided equally, or the configuration
            has no ``batch_size``.
    """
    key = _batch_key(config)
    values = flatten(to_dict(config))
    size, accumulate = int(values[key]), config.train.accumulate
    batches = replicas * accumulate
    total = _global_batch(folder, size) or size * batches
    if total % batches:
        raise RunFolderError(
            f"{folder} has a global batch of {total}, which {replicas} replicas cannot "
            "share equally; set train.replicas to a number that divides it"
            + (f" by {accumulate}" if accumulate > 1 else "")
        )
    if total != size * batches:
        config = override(config, {key: total // batches})
    return config, total


def _batch_key(config: Dataclass) -> str:
    names = [k for k in key_types(type(config)) if k.rpartition(".")[2] == "batch_size"]
    if not names:
        raise RunFolderError(
            f"{type(config).__name__} has no key batch_size; add one to the "
            "configuration, the examples of a batch on each replica"
        )
    return names[0]


def record(
    folder: Path,
    config: Dataclass,
    step: int,
    digest: str,
    earlier_digest: str = "",
    **facts: object,
) -> None:
    """Add a start of a run, with its environment, to run.json.

    Args:
        folder: The run folder.
        config: The configuration, in which keys of :data:`MAY_CHANGE` may differ.
        step: Step at which the run resumes.
        digest: Digest of its training data.
        earlier_digest: Digest of the same data by an earlier release.
        **facts: Further values to record.

    Raises:
        RunFolderError: The training data differ from those of the first start.
    """
    past = _read(folder)
    before = past.get("data_digest") or digest
    if step and before not in (digest, earlier_digest):
        raise RunFolderError(
            f"{folder} was trained on other data (digest {before[:12]}, "
            f"now {digest[:12]}); name another output, bring the old data back, or "
            "set records_encoding to what it was"
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
    starts = [*past.get("starts", []), start]
    write_json({"data_digest": digest, "starts": starts}, folder / RECORD)
    save(config, folder / "config.json")


def _refuse_model(folder: Path) -> None:
    from common.training import network_file

    if (folder / network_file.NAME).exists():
        raise RunFolderError(
            f"output={folder} holds the weights of a model ({network_file.NAME}) and "
            "no run; name another output"
        )


def _is_started(folder: Path) -> bool:
    """Return whether a run has saved a checkpoint."""
    # It imports TensorFlow, which the name of a run folder does not need.
    from common.training import checkpoint

    return checkpoint.exist(folder)


def _read(folder: Path) -> dict[str, Any]:
    """Return the content of run.json; empty if there is none."""
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise RunFolderError(
            f"{path} is damaged ({error}); copy it again or name another output"
        ) from error


def _global_batch(folder: Path, size: int) -> int | None:
    """Return the global batch of a run with a checkpoint, or None for a new run.

    Release 0.1.0 recorded only the number of replicas.
    """
    starts = _read(folder).get("starts", []) if _is_started(folder) else []
    if not starts:
        return None
    return int(starts[-1].get("global_batch") or size * starts[-1]["replicas"])


def _check_same(path: Path, config: Dataclass) -> None:
    try:
        then = flatten(to_dict(load(type(config), path)))
    except ConfigError as error:
        raise RunFolderError(
            f"{path.parent} holds a run whose configuration cannot be read: {error}; "
            "copy its config.json again, or name another output"
        ) from error
    for key, choice in removed_choices(type(config), path).items():
        raise RunFolderError(
            f"{path.parent} holds a run with {key}={choice!r}, which this release does "
            "not train; the run still separates, but name another output to train"
        )
    now = flatten(to_dict(config))
    may_change = set(MAY_CHANGE)
    if now.get("train.lr_schedule") == "cosine":
        may_change.remove("train.epochs")
    changed = [key for key in now if key not in may_change and then[key] != now[key]]
    if changed:
        key = changed[0]
        raise RunFolderError(
            f"{path.parent} holds a run with {key}={then[key]!r}, now "
            f"{key}={now[key]!r}; use the same value to go on, or another output"
        )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the code, or None outside a git clone."""
    folder = str(Path(__file__).resolve().parent)
    command = ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
