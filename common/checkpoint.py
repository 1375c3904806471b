"""Checkpoints of a run: everything that the next step depends on, saved at once.

A checkpoint holds the model with its optimizers and metric accumulators, the step, and
the state of the callbacks. ``latest`` goes on after a kill, ``best`` is what is used
afterwards, ``kept`` stays for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf

FOLDERS = ("latest", "best", "kept")
"""Folders of a run that hold checkpoints."""

STEP = re.compile(r"(step-(\d+))\.(index|data-\d+-of-\d+)")

CONFIG = "config.json"


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or of another model."""


class _Json(tf.train.experimental.PythonState):
    """Plain values that travel inside a TensorFlow checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Any] = {}

    def serialize(self) -> str:
        return json.dumps(self.values)

    def deserialize(self, string_value: str | bytes) -> None:
        self.values = json.loads(string_value)


class Checkpoints:
    """The checkpoints of one run folder.

    Args:
        folder: The run folder.
        model: A built model, with its optimizers built too; its ``network`` is the
            part that separates.
        keep: Number of latest checkpoints that stay.
        chief: Whether this process writes for good; the others, because all workers
            save together, write to a temporary folder of their own.
    """

    def __init__(
        self, folder: str | Path, model: Any, keep: int = 2, chief: bool = True
    ) -> None:
        self._folder = Path(folder)
        self._state = _Json()
        self._step = tf.Variable(tf.zeros([], tf.int64), trainable=False)
        self._checkpoint = tf.train.Checkpoint(
            model=model, network=model.network, state=self._state, step=self._step
        )
        self._model = model
        self._scratch = None if chief else TemporaryDirectory(prefix="worker-")
        self._latest = self._manager("latest", keep)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Save everything as the latest checkpoint.

        Raises:
            CheckpointError: A weight is not finite; nothing is written.
        """
        self._write(self._latest, step, state)

    def save_best(self, step: int, state: Mapping[str, Any]) -> None:
        """Save everything as the best checkpoint in the place of the one before."""
        self._write(self._manager("best", 1), step, state)

    def save_kept(self, step: int, state: Mapping[str, Any]) -> None:
        """Save everything as a checkpoint that is never removed."""
        self._write(self._manager("kept", None), step, state)

    def restore_latest(self) -> tuple[int, dict[str, Any]] | None:
        """Restore the latest checkpoint, if the folder has one.

        Returns:
            The step and the state given to :meth:`save`, or None.

        Raises:
            CheckpointError: The checkpoint is damaged or of another model.
        """
        path = tf.train.latest_checkpoint(str(self._folder / "latest"))
        if path is None:
            return None
        _restore(self._checkpoint, path)
        return int(self._step.numpy()), self._state.values

    def _write(self, manager: Any, step: int, state: Mapping[str, Any]) -> None:
        _demand_finite(self._model, step)
        self._state.values = dict(state)
        self._step.assign(step)
        try:
            manager.save(checkpoint_number=step)
        except (tf.errors.OpError, OSError) as error:
            raise OSError(
                f"checkpoint of step {step} cannot be written to {self._folder} "
                f"({_first_line(error)}); free space or choose another output, then "
                "run the same command again to go on from the checkpoint before"
            ) from error

    def _manager(self, name: str, keep: int | None) -> tf.train.CheckpointManager:
        root = Path(self._scratch.name) if self._scratch else self._folder
        folder = root / name
        return tf.train.CheckpointManager(
            self._checkpoint, str(folder), max_to_keep=keep, checkpoint_name="step"
        )


def restore_network(
    folder: str | Path, network: Any, checkpoint: str | None = None
) -> Path:
    """Restore a built network from a run folder, the best checkpoint before the latest.

    Args:
        folder: A run folder, or the prefix of one of its checkpoints.
        network: Built network of the architecture that the folder's config.json tells.
        checkpoint: Which one of a run folder, see :func:`find`.

    Returns:
        The prefix of the checkpoint that was restored.

    Raises:
        CheckpointError: There is none, it is damaged, or it is of another model.
    """
    path = find(folder, checkpoint)
    _restore(tf.train.Checkpoint(network=network), str(path))
    return path


def save_network(folder: str | Path, network: Any) -> None:
    """Save a network alone, for use, as the best checkpoint of a run folder."""
    place = str(Path(folder) / "best")
    checkpoint = tf.train.Checkpoint(network=network)
    tf.train.CheckpointManager(checkpoint, place, 1, checkpoint_name="step").save(0)


def run_of(path: str | Path) -> Path | None:
    """Find the run folder that a path names or, being a checkpoint, lies in.

    Args:
        path: A run folder, or the prefix of one of its checkpoints.

    Returns:
        The folder of config.json, or None where the path is neither.
    """
    path = Path(path).expanduser()
    folder = path.parent.parent if Path(f"{path}.index").is_file() else path
    return folder if (folder / CONFIG).exists() else None


def not_a_run(path: str | Path, checkpoint: str) -> CheckpointError:
    """Make the error of a choice among the checkpoints of what is no run folder."""
    return CheckpointError(
        f"{path} is no run folder, so {checkpoint} cannot be chosen of it; leave out "
        "the choice of a checkpoint"
    )


def scores_folder(
    path: str | Path, checkpoint: str | None, name: str = "evaluation"
) -> str:
    """Name the folder of scores in a run folder, one for each checkpoint chosen.

    Args:
        path: The run folder, or the prefix of one of its checkpoints.
        checkpoint: Which one of the run folder.
        name: Name of the folder where nothing is chosen.

    >>> scores_folder("run", None), scores_folder("run", "latest")
    ('evaluation', 'evaluation-latest')
    """
    run = run_of(path)
    prefix = Path(path).name if run and Path(f"{path}.index").is_file() else None
    return "-".join(filter(None, (name, checkpoint or prefix)))


def is_choice(word: str) -> bool:
    """Say whether a word chooses among the checkpoints of a run, as no path does.

    >>> [is_choice(word) for word in ("latest", "best", "step-300", "runs/mine")]
    [True, True, True, False]
    """
    return word in ("latest", "best") or bool(re.fullmatch(r"step-\d+", word))


def find(folder: str | Path, checkpoint: str | None = None) -> Path:
    """Find the checkpoint of a run folder that is to be used: best, else latest.

    Args:
        folder: A run folder, or the prefix of one checkpoint, which is given back.
        checkpoint: Which one of a run folder: ``latest``, ``best``, or ``step-N``,
            also one that was kept; by default the best, else the latest.

    Raises:
        CheckpointError: The folder has no such checkpoint.
    """
    folder = Path(folder).expanduser()
    if checkpoint is not None:
        return _chosen(folder, checkpoint)
    if Path(f"{folder}.index").is_file():
        return folder
    for name in ("best", "latest"):
        path = tf.train.latest_checkpoint(str(folder / name))
        if path is not None:
            return Path(path)
    raise CheckpointError(
        f"{folder} holds no checkpoint (looked for best/ and latest/); expected the "
        "output folder of a training run"
    )


def _chosen(folder: Path, checkpoint: str) -> Path:
    """Find a checkpoint of a run folder by its name."""
    if not is_choice(checkpoint):
        raise CheckpointError(
            f"checkpoint is {checkpoint!r}; expected latest, best or step-N"
        )
    if Path(f"{folder}.index").is_file():
        raise CheckpointError(
            f"{folder} is one checkpoint, so {checkpoint} cannot be chosen of it; "
            "name its run folder, or leave out the choice"
        )
    held = {name: _prefixes(folder / name) for name in FOLDERS}
    if checkpoint in held:
        listed = tf.train.latest_checkpoint(str(folder / checkpoint))
        found = [Path(listed)] if listed else held[checkpoint]
    else:
        found = [p for each in held.values() for p in each if p.name == checkpoint]
    if found:
        return found[0]
    names = (
        f"{name} ({', '.join(path.name for path in reversed(each))})"
        for name, each in held.items()
        if each
    )
    raise CheckpointError(
        f"{folder} holds no checkpoint {checkpoint}; it holds "
        f"{', '.join(names) or 'none'}"
    )


def _prefixes(folder: Path) -> list[Path]:
    """List checkpoints by their files, newest first.

    TensorFlow's own list in the file ``checkpoint`` may be lost or name what is gone.
    """
    files = folder.glob("step-*") if folder.is_dir() else ()
    names = {match[1] for file in files if (match := STEP.fullmatch(file.name))}
    return sorted((folder / name for name in names), key=_step, reverse=True)


def _step(prefix: Path) -> int:
    return int(prefix.name.rpartition("-")[2])


def _restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    try:
        status = checkpoint.restore(path)
        status.assert_existing_objects_matched()
        status.expect_partial()
    except AssertionError as error:
        raise CheckpointError(
            f"checkpoint {path} lacks variables of this model "
            f"({_first_line(error)}); it was saved by another configuration"
        ) from error
    except (tf.errors.OpError, OSError, IndexError) as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged or incomplete ({_first_line(error)}); "
            "remove its files to go on from an earlier one, or copy it again"
        ) from error
    except ValueError as error:
        raise CheckpointError(
            f"checkpoint {path} does not fit this model ({_first_line(error)}); it was "
            "saved by another configuration"
        ) from error


def _demand_finite(model: Any, step: int) -> None:
    bad = [v.name for v in model.trainable_variables if not _finite(v)]
    if bad:
        raise CheckpointError(
            f"{len(bad)} weights are not finite after step {step}, the first "
            f"{bad[0]}; the last good checkpoint is kept, lower the learning rate"
        )


def _finite(variable: Any) -> bool:
    return bool(np.isfinite(variable.numpy()).all())


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
