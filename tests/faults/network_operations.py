"""Short runs of what writes files by TensorFlow, or with a network."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
import tf_keras as keras
from file_operations import noise
from operation import OUT, Operation, digest

from adversarial import evaluate
from clustering.config import ClusteringConfig
from clustering.models import shapes
from clustering.models.network import network
from common import audio, records
from common.config import save
from common.corpora.track import Track
from common.errors import exit_code
from common.files import replacing_folder, write_text
from common.separation.separator import Separator
from common.training.checkpoint import CheckpointError, Checkpoints, save_network
from common.weights import bundled, card
from common.weights.bundled import Form
from common.weights.card import Card
from unmix import config as unmix_config
from unmix import convert
from unmix.model import OpenUnmix

RATE = 8192
STACK = shapes.Recurrent(hidden=3, layers=1, dropout=0.0)
SMALL = ClusteringConfig(
    spectral=shapes.Spectral(shapes.Features(), STACK, 2, ("tanh",))
)


def constant(model: Any) -> Any:
    """Give every variable values that need no random generator."""
    for number, variable in enumerate(model.variables):
        count = int(np.prod(variable.shape))
        wave = np.sin(np.arange(count) * 0.7 + number).reshape(variable.shape)
        variable.assign(wave.astype(variable.dtype.as_numpy_dtype))
    return model


@contextmanager
def complete_if_refused(out: Path | None) -> Iterator[None]:
    """Let a command refuse a folder that its killed run has completed."""
    existed = out is not None and out.exists()
    try:
        yield
    except (FileExistsError, CheckpointError):
        if not existed:
            raise


def write_sounds(folder: Path) -> None:
    (folder / "in").mkdir()
    for seed in range(3):
        audio.write(folder / "in" / f"{seed}.wav", noise(seed), RATE, "wav16")


def write_records(folder: Path) -> int:
    def run() -> int:
        paths = sorted((folder / "in").glob("*.wav"))
        tracks = [Track(path.stem, RATE, 900, {"x": path}) for path in paths]
        records.write(tracks, folder / OUT, piece_samples=400, shards=2, jobs=1)
        records.verify(folder / OUT)
        return 0

    return exit_code("records", run)


def score(folder: Path) -> int:
    def measure(references: Any, estimates: Any, *rest: Any) -> Any:
        values = np.log10(estimates.std(axis=1))
        return dict.fromkeys(evaluate.MEASURES, values)

    def halves(batch: np.ndarray) -> np.ndarray:
        return np.stack([0.75 * batch, 0.25 * batch], 1)

    def run() -> int:
        songs = [
            Track(f"song {seed}", RATE, 900, {"vocals": noise(seed)})
            for seed in range(2)
        ]
        separator = Separator(halves, ("vocals", "accompaniment"), RATE, named=True)
        with mock.patch.object(evaluate, "scores", measure):
            evaluate.evaluate(separator, songs, folder / OUT)
        return 0

    return exit_code("evaluate", run)


def scored_before(folder: Path) -> None:
    """Leave the table of an earlier model."""
    (folder / OUT).mkdir()
    for name in ("scores.csv", "scores.json", "summary.json", "summary.md"):
        write_text(folder / OUT / name, "of an earlier model\n")


def to_original(folder: Path) -> int:
    """Convert a network to the files of the original."""
    config = replace(unmix_config.TINY.model, hidden_size=4)

    def run() -> int:
        models = {"vocals": constant(OpenUnmix(config))}
        with complete_if_refused(folder / OUT / "umx"):
            convert.export(models, folder / OUT / "umx")
        return 0

    return exit_code("convert", run)


def to_run(folder: Path) -> int:
    """Convert weights to a run folder, with a checkpoint of TensorFlow."""

    def run() -> int:
        out = folder / OUT / "run"
        with complete_if_refused(out), replacing_folder(out) as work:
            save(SMALL, work / "config.json")
            save_network(work, constant(network(SMALL)))
        return 0

    return exit_code("convert", run)


def write_model(folder: Path, form: Form) -> int:
    def load(work: Path) -> Separator:
        return Separator(lambda batch: batch[:, None], ["vocals"], RATE)

    def run() -> int:
        out = folder / OUT / "model"
        parts = {"": (constant(network(SMALL)), SMALL)}
        with complete_if_refused(out if form.publish else None):
            bundled.write(folder / "run", out, parts, load, form, lambda summary: [])
        return 0

    return exit_code("convert", run)


def bundled_before(folder: Path) -> None:
    model = folder / OUT / "model"
    model.mkdir(parents=True)
    card.write(Card("An earlier model", ("vocals",), RATE, 1), model)
    write_text(model / "README.md", "Of an earlier model\n")


def save_steps(folder: Path) -> int:
    """Take three steps and save after each, one also as the best and a kept one."""

    def run() -> int:
        model = keras.Model()
        model.network = tf.Module()
        model.network.weight = tf.Variable(np.zeros(50, np.float32))
        store = Checkpoints(folder / OUT, model, keep=1)
        restored = store.restore_latest()
        for step in range(restored.step if restored else 0, 3):
            model.network.weight.assign(np.sin(model.network.weight.numpy() + step))
            if step == 1:
                store.save_best(step + 1, {"step": step})
                store.save_kept(step + 1, {"step": step})
            store.save(step + 1, {"step": step})
        return 0

    return exit_code("train", run)


def tensors(path: Path) -> Any:
    """Read a checkpoint by its index, without its count of saves, or a list of them."""
    if path.name == "checkpoint":
        return path.read_text("utf-8").splitlines()[0]  # the newest one
    if path.suffix != ".index":
        return path.suffix
    reader = tf.train.load_checkpoint(str(path.with_suffix("")))
    return {
        name: digest(np.asarray(reader.get_tensor(name)).tobytes())
        for name in sorted(reader.get_variable_to_shape_map())
        if name.endswith("VALUE") and "save_counter" not in name
    }


def nothing(folder: Path) -> None:
    """Prepare nothing."""


OPERATIONS = {
    "records": Operation(
        write_sounds,
        write_records,
        # A shard counts once the index names it. Until then it may lack tracks that
        # could not be read, which its report beside it names.
        unfinished=lambda name: fnmatch.fnmatch(name, "records-*-of-*.*"),
        leftover=lambda name: fnmatch.fnmatch(name, "*/records-*-of-*.json"),
    ),
    "evaluation": Operation(scored_before, score),
    "conversion": Operation(nothing, to_original),
    "conversion to a run": Operation(nothing, to_run, content=tensors),
    "publish": Operation(
        nothing, lambda folder: write_model(folder, Form(publish=True))
    ),
    "bundle": Operation(bundled_before, lambda folder: write_model(folder, Form())),
    "checkpoint": Operation(
        nothing,
        save_steps,
        unfinished=lambda name: True,
        content=tensors,
        # What a kill leaves after the last step, no later step removes.
        leftover=lambda name: bool(re.search(r"latest/(step-2|.*temp|.*tmp)", name)),
        synced=False,
    ),
}
