"""Save and restore checkpoints of a run, with everything that the next step needs.

A checkpoint holds the model with its optimizers and metric accumulators, the step, and
the state of the callbacks. A run resumes from ``latest``, separation uses ``best``, and
``kept`` is never removed.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from common.files import sync, user_path, write_text
from common.training import network_file
from common.training.averages import Averages
from common.training.network_file import Networks

FOLDERS = ("latest", "best", "kept")
"""Folders of a run that hold checkpoints."""

STEP = re.compile(r"(step-(\d+))\.(index|data-\d+-of-\d+)")

CONFIG = "config.json"

LIST = "checkpoint"
"""File in which TensorFlow lists the checkpoints of a folder."""

SPECIAL = frozenset("[]*?\\")
"""Characters that TensorFlow takes for patterns in the paths of checkpoints."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or of another model."""


class Restored(NamedTuple):
    """Checkpoint from which a run resumes.

    Attributes:
        step: Number of steps taken.
        state: State that was saved with it.
        skipped: One sentence for each newer checkpoint that cannot be read.
    """

    step: int
    state: dict[str, Any]
    skipped: tuple[str, ...]


class _Json(tf.train.experimental.PythonState):
    """Plain values inside a TensorFlow checkpoint."""

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
        keep: Number of latest checkpoints to keep.
        chief: Whether this process writes the checkpoints. All workers save together,
            so the others write to a temporary folder.
        averages: Averages of the weights, which the network has in every checkpoint.

    Attributes:
        averages: As the argument.
    """

    def __init__(
        self,
        folder: str | Path,
        model: keras.Model,
        keep: int = 2,
        chief: bool = True,
        averages: Averages | None = None,
    ) -> None:
        self.averages = averages or Averages(model, 0.0)
        self._folder = Path(folder)
        self._state = _Json()
        self._step = tf.Variable(tf.zeros([], tf.int64), trainable=False)
        self._checkpoint = tf.train.Checkpoint(
            model=model, network=model.network, state=self._state, step=self._step
        )
        self._model = model
        self._keep = keep
        self._scratch = None if chief else TemporaryDirectory(prefix="worker-")
        self._latest = self._manager("latest", keep)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Save everything as the latest checkpoint.

        Raises:
            CheckpointError: A weight is not finite; nothing is written.
        """
        self._write(self._latest, step, state)

    def save_best(self, step: int, state: Mapping[str, Any]) -> None:
        """Save everything as the best checkpoint, which replaces the last one."""
        self._write(self._manager("best", 1), step, state)

    def save_kept(self, step: int, state: Mapping[str, Any]) -> None:
        """Save everything as a checkpoint that is never removed."""
        self._write(self._manager("kept", None), step, state)

    def restore_latest(self) -> Restored | None:
        """Restore the newest readable checkpoint, if the folder has any.

        The latest ones are tried first: after a kill between the best or kept
        checkpoint of an epoch and its latest one, the epoch saves all of them again.

        Returns:
            The step and the state of :meth:`save`, or None for a new run.

        Raises:
            CheckpointError: There are checkpoints, but none can be restored. The
                folder is not changed.
        """
        problems: dict[Path, str] = {}
        for path in _newest_first(self._folder):
            try:
                _restore(self._checkpoint, str(path))
            except CheckpointError as error:
                problems[path] = str(error)
                continue
            self._list_intact(problems)
            self.averages.restored()
            step, skipped = int(self._step.numpy()), tuple(problems.values())
            return Restored(step, self._state.values, skipped)
        # A run that was killed while it wrote its first checkpoint begins anew.
        lists = [self._folder / name / LIST for name in FOLDERS]
        if problems and any(file.exists() for file in lists):
            raise CheckpointError(
                f"{next(iter(problems.values()))}; none of the {len(problems)} "
                f"checkpoints in {self._folder} can be restored and nothing was "
                "changed: copy the folder again, or name another output"
            )
        return None

    def _list_intact(self, damaged: Collection[Path]) -> None:
        """Bring the list that ``keep`` counts in line with the checkpoints.

        Damaged ones are left out, and their files stay until the run reaches their step
        again; one that was written just before a kill may not be in the list yet.
        """
        folder = self._folder / "latest"
        intact = [prefix.name for prefix in _prefixes(folder) if prefix not in damaged]
        if self._scratch or intact[::-1] == _listed(folder):
            return
        if intact:
            write_text(folder / LIST, _list(folder, intact[::-1]))
        else:
            (folder / LIST).unlink(missing_ok=True)
        self._latest = self._manager("latest", self._keep)

    def _write(
        self, manager: tf.train.CheckpointManager, step: int, state: Mapping[str, Any]
    ) -> None:
        _check_finite(self._model, step)
        self._state.values = dict(state)
        self._step.assign(step)
        folder = Path(manager.directory)
        try:
            _remove_drafts(folder)
            with self.averages.used():
                manager.save(checkpoint_number=step)
            for file in folder.glob(f"step-{step}.*"):
                sync(file)
            sync(folder)
        except (tf.errors.OpError, OSError) as error:
            reason = getattr(error, "strerror", None) or _first_line(error)
            raise OSError(
                f"checkpoint of step {step} cannot be written to {self._folder} "
                f"({reason}); free space or choose another output, then "
                "run the same command again to continue from the checkpoint before"
            ) from error

    def _manager(self, name: str, keep: int | None) -> tf.train.CheckpointManager:
        root = Path(self._scratch.name) if self._scratch else self._folder
        folder = literal(root / name)
        return tf.train.CheckpointManager(
            self._checkpoint, folder, max_to_keep=keep, checkpoint_name="step"
        )


def restore_network(
    folder: str | Path, network: Networks, checkpoint: str | None = None
) -> Path:
    """Restore a built network from a run folder, the best checkpoint before the latest.

    Args:
        folder: A run folder, the prefix of one of its checkpoints, or the folder of a
            bundled or published model.
        network: Built network of the architecture in the folder's config.json.
        checkpoint: Choice among those of a run folder, see :func:`find`.

    Returns:
        The prefix of the checkpoint, or the file of weights, that was restored.

    Raises:
        CheckpointError: There is none, it is damaged, or it is of another model.
    """
    path = find(folder, checkpoint)
    if path.name != network_file.NAME:
        _restore(tf.train.Checkpoint(network=network), str(path))
        return path
    try:
        network_file.restore(path, network)
    except network_file.NetworkFileError as error:
        raise CheckpointError(str(error)) from error
    return path


def restore_training(folder: str | Path, model: keras.Model) -> Path:
    """Restore the network of a model and, if it was saved, the state of its optimizer.

    Args:
        folder: A run folder, or the prefix of one of its checkpoints.
        model: Built model of the same architecture, compiled with an optimizer that is
            built too.

    Returns:
        The prefix of the checkpoint that was restored.

    Raises:
        CheckpointError: There is none, it is damaged, or it is of another model.
    """
    path = restore_network(folder, model.network)
    if any(name.startswith("model/optimizer/") for name in variables(path)):
        inner = tf.train.Checkpoint(optimizer=model.optimizer)
        _restore(tf.train.Checkpoint(model=inner), str(path))
    return path


def literal(path: str | Path) -> str:
    r"""Return a path to the same file or folder for TensorFlow.

    TensorFlow finds the files of a checkpoint by a pattern, and no escaping of the
    characters of :data:`SPECIAL` both matches and opens them. Instead, a folder whose
    path has some is opened by a symbolic link in a temporary folder.

    Args:
        path: Prefix of a checkpoint, or a folder of checkpoints. Its parent must exist.

    Returns:
        The path itself, or a path by a link to its parent, which lasts as long as the
        process.

    >>> literal("runs/mine/latest")
    'runs/mine/latest'
    >>> Path(literal("runs/mine[1]/latest")).name
    'latest'
    """
    absolute = Path(path).absolute()
    # On Windows a backslash separates folders and is not special.
    if SPECIAL.isdisjoint(absolute.parent.as_posix()):
        return str(path)
    return str(_link(absolute.parent) / absolute.name)


@functools.cache
def _link(folder: Path) -> Path:
    """Return a link to a folder, which is removed with the process."""
    scratch = TemporaryDirectory(prefix="link-")
    atexit.register(scratch.cleanup)
    link = Path(scratch.name, "folder")
    link.symlink_to(folder, target_is_directory=True)
    return link


def variables(prefix: str | Path) -> list[str]:
    """Return the names of the variables in a checkpoint or a file of weights."""
    if Path(prefix).name == network_file.NAME:
        return [*network_file.read(Path(prefix))]
    return [*tf.train.load_checkpoint(literal(prefix)).get_variable_to_shape_map()]


def save_network(folder: str | Path, network: Networks) -> None:
    """Save only a network, as the best checkpoint of a run folder.

    Raises:
        OSError: It cannot be written.
    """
    best = literal(Path(folder) / "best")
    checkpoint = tf.train.Checkpoint(network=network)
    manager = tf.train.CheckpointManager(checkpoint, best, 1, checkpoint_name="step")
    try:
        manager.save(0)
    except tf.errors.OpError as error:
        reason = error.message.rpartition("; ")[2]
        raise OSError(
            f"the weights of a network cannot be written ({reason}); free space or "
            "choose another folder"
        ) from error


def run_of(path: str | Path) -> Path | None:
    """Return the run folder of a path, which may be one of its checkpoints.

    Args:
        path: A run folder, or the prefix of one of its checkpoints.

    Returns:
        The folder of config.json, or None if the path is neither.
    """
    path = user_path(path)
    folder = path.parent.parent if Path(f"{path}.index").is_file() else path
    return folder if (folder / CONFIG).exists() else None


def not_a_run(path: str | Path, checkpoint: str) -> CheckpointError:
    """Return the error for a choice of checkpoint where there is no run folder."""
    return CheckpointError(
        f"{path} is no run folder, so {checkpoint} cannot be chosen in it; leave out "
        "the choice of a checkpoint"
    )


def scores_folder(
    path: str | Path, checkpoint: str | None, name: str = "evaluation"
) -> str:
    """Return the name of the folder of scores, one for each choice of checkpoint.

    Args:
        path: The run folder, or the prefix of one of its checkpoints.
        checkpoint: Choice of checkpoint, if any.
        name: Name of the folder without a choice.

    >>> scores_folder("run", None), scores_folder("run", "latest")
    ('evaluation', 'evaluation-latest')
    """
    run = run_of(path)
    prefix = Path(path).name if run and Path(f"{path}.index").is_file() else None
    return "-".join(filter(None, (name, checkpoint or prefix)))


def is_choice(word: str) -> bool:
    """Return whether a word is a choice of checkpoint and not a path.

    >>> [is_choice(word) for word in ("latest", "best", "step-300", "runs/mine")]
    [True, True, True, False]
    """
    return word in ("latest", "best") or bool(re.fullmatch(r"step-\d+", word))


def find(folder: str | Path, checkpoint: str | None = None) -> Path:
    """Return the prefix of a checkpoint of a run folder: by default best, else latest.

    A first best one that a kill cut off does not count.

    Args:
        folder: A run folder, the prefix of one checkpoint, which is returned, or the
            folder of a bundled or published model, whose file of weights is returned.
        checkpoint: ``latest``, ``best``, or ``step-N`` in any folder of checkpoints; by
            default the best, else the latest.

    Raises:
        CheckpointError: The folder has no such checkpoint.
    """
    folder = user_path(folder)
    if checkpoint is not None:
        return _chosen(folder, checkpoint)
    is_weights = folder.name == network_file.NAME and folder.is_file()
    if is_weights or Path(f"{folder}.index").is_file():
        return folder
    for name in ("best", "latest"):
        prefixes = _current_first(Path(folder) / name)
        if prefixes and not (name == "best" and _is_cut_off(prefixes[0])):
            return prefixes[0]
    if (folder / network_file.NAME).is_file():
        return folder / network_file.NAME
    raise CheckpointError(
        f"{folder} holds no checkpoint (looked for best/ and latest/) and no "
        f"{network_file.NAME}; expected the output folder of a training run"
    )


def _chosen(folder: Path, checkpoint: str) -> Path:
    """Return the prefix of a checkpoint of a run folder by its name."""
    if not is_choice(checkpoint):
        raise CheckpointError(
            f"checkpoint is {checkpoint!r}; expected latest, best or step-N"
        )
    if Path(f"{folder}.index").is_file():
        raise CheckpointError(
            f"{folder} is one checkpoint, so {checkpoint} cannot be chosen in it; "
            "name its run folder, or leave out the choice"
        )
    by_folder = {name: _prefixes(folder / name) for name in FOLDERS}
    if checkpoint in by_folder:
        matches = _current_first(folder / checkpoint)
    else:
        prefixes = [prefix for group in by_folder.values() for prefix in group]
        matches = [prefix for prefix in prefixes if prefix.name == checkpoint]
    if matches:
        return matches[0]
    names = (
        f"{name} ({', '.join(path.name for path in reversed(paths))})"
        for name, paths in by_folder.items()
        if paths
    )
    raise CheckpointError(
        f"{folder} holds no checkpoint {checkpoint}; it holds "
        f"{', '.join(names) or 'none'}"
    )


def exist(folder: str | Path) -> bool:
    """Return whether a run folder holds any checkpoint, damaged ones included."""
    return any(_prefixes(Path(folder) / name) for name in FOLDERS)


def _newest_first(folder: Path) -> list[Path]:
    """Return the latest checkpoints of a run folder, and then all others."""
    latest, *others = (_prefixes(folder / name) for name in FOLDERS)
    rest = sorted(itertools.chain(*others), key=_step, reverse=True)
    return [*latest, *rest]


def _list(folder: Path, names: Sequence[str]) -> str:
    """Return the content of TensorFlow's list of checkpoints, oldest first.

    TensorFlow never removes a checkpoint without a time.
    """
    lines = [f'model_checkpoint_path: "{names[-1]}"']
    for name in names:
        time = max(file.stat().st_mtime for file in folder.glob(f"{name}.*"))
        lines.append(f'all_model_checkpoint_paths: "{name}"')
        lines.append(f"all_model_checkpoint_timestamps: {time!r}")
    return "\n".join(lines) + "\n"


def _listed(folder: Path) -> list[str]:
    """Return the names in TensorFlow's list of checkpoints, oldest first."""
    state = tf.train.get_checkpoint_state(literal(folder))
    paths = state.all_model_checkpoint_paths if state else ()
    return [Path(path).name for path in paths]


def _remove_drafts(folder: Path) -> None:
    """Remove the unfinished files of a write that was killed."""
    for draft in folder.glob("step-*_temp"):
        shutil.rmtree(draft)
    for draft in folder.glob(f"{LIST}.tmp*"):
        draft.unlink()


def _current_first(folder: Path) -> list[Path]:
    """Return the checkpoint in TensorFlow's list, or all if there is no list."""
    listed = tf.train.latest_checkpoint(literal(folder))
    return [folder / Path(listed).name] if listed else _prefixes(folder)


def _is_cut_off(prefix: Path) -> bool:
    """Return whether a kill interrupted the first checkpoint of a folder.

    TensorFlow writes its list last, and the index after the data.
    """
    if (prefix.parent / LIST).exists():
        return False
    try:
        tf.train.load_checkpoint(literal(prefix))
    except (tf.errors.OpError, ValueError):
        return True
    return False


def _prefixes(folder: Path) -> list[Path]:
    """Return checkpoints by their files, newest first.

    The list of TensorFlow in the file ``checkpoint`` may be lost, or name files that do
    not exist.
    """
    files = folder.glob("step-*") if folder.is_dir() else ()
    names = {match[1] for file in files if (match := STEP.fullmatch(file.name))}
    return sorted((folder / name for name in names), key=_step, reverse=True)


def _step(prefix: Path) -> int:
    return int(prefix.name.rpartition("-")[2])


def _restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    try:
        status = checkpoint.restore(literal(path))
        status.assert_existing_objects_matched()
        status.expect_partial()
    except AssertionError as error:
        raise CheckpointError(
            f"checkpoint {path} lacks variables of this model "
            f"({_first_line(error)}); it was saved by another configuration"
        ) from error
    except (tf.errors.OpError, OSError, IndexError) as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged or incomplete ({_first_line(error)})"
        ) from error
    except ValueError as error:
        raise CheckpointError(
            f"checkpoint {path} does not fit this model ({_first_line(error)}); it was "
            "saved by another configuration"
        ) from error


def _check_finite(model: keras.Model, step: int) -> None:
    bad = [v.name for v in model.trainable_variables if not _finite(v)]
    if bad:
        raise CheckpointError(
            f"{len(bad)} weights are not finite after step {step}, the first "
            f"{bad[0]}; the last good checkpoint is kept, lower the learning rate"
        )


def _finite(variable: tf.Variable) -> bool:
    return bool(np.isfinite(variable.numpy()).all())


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
