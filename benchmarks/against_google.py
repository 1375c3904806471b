"""Training and separation beside Google's program, in one run and in turn.

``python benchmarks/against_google.py --source DIR --python PYTHON``: DIR holds the
folder ``models`` of google-research/sound-separation, and PYTHON is the interpreter of
an environment in which that program can run (TensorFlow 2.15, attrs, immutabledict,
six, pandas, soundfile). Both programs read the same files and hold the same weights;
each runs in its own process, and they work in turn. The table is printed; ``--quick``
takes two turns on 10 s.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import turns

RATE = 16_000
SECONDS = 2.0
"""Length of the training examples."""
MIXTURES = 4
"""Mixtures of a training step; two make a mixture of mixtures."""
TITLES = {
    "train": "{} training steps with their data",
    "separate": "Separation of a file of {} s",
}
Work = Callable[[str], Any]


@dataclass
class Workspace:
    """Where both programs find the data and the weights."""

    folder: Path
    source: Path

    @property
    def corpus(self) -> Path:
        """Mixtures in the layout of FUSS."""
        return self.folder / "corpus"

    @property
    def model(self) -> Path:
        """Google's checkpoint and meta graph."""
        return self.folder / "model"

    def sound(self, seconds: str) -> Path:
        """Sound to separate."""
        return self.folder / f"sound{seconds}.wav"

    def worker(self, python: str, role: str) -> turns.Worker:
        """Start a program, one of ROLES."""
        words = [python, __file__, "--source", str(self.source), "--role", role]
        ours = role.startswith(("our", "data"))
        return turns.Worker([*words, "--folder", str(self.folder)], ours)


def google_parts(workspace: Workspace) -> tuple[Any, dict[str, Any]]:
    """Import Google's program; its modules and the parameters of its own driver."""
    import tensorflow.compat.v1 as tf  # noqa: TID251 (Google's program is TF1)

    tf.keras.layers.Layer.apply = lambda layer, inputs: layer(inputs)
    for folder in ("models", "models/neurips2020_mixit"):
        sys.path.insert(0, str(workspace.source / folder))
    import model  # type: ignore[import-not-found]
    from train import data_io, inference_graph  # type: ignore[import-not-found]

    tf.disable_eager_execution()
    hparams = model.get_model_hparams()
    hparams.sr = float(RATE)
    samples = int(RATE * SECONDS)
    spec = data_io.get_roomsim_spec(len(hparams.signal_names), 1, samples)
    parameters = {
        "feature_spec": spec,
        "inference_spec": data_io.get_inference_spec(),
        "hparams": hparams,
        "io_params": {"parallel_readers": 512, "num_samples": samples},
        "batch_size": MIXTURES,
        "randomize_order": True,
    }
    return (tf, model, data_io, inference_graph), parameters


def make_google_model(workspace: Workspace) -> None:
    """Write the meta graph and a checkpoint of the default network."""
    (tf, model, data_io, inference_graph), parameters = google_parts(workspace)
    workspace.model.mkdir()
    inference_graph.write(
        model.model_fn, data_io.input_fn, parameters, str(workspace.model)
    )
    with tf.Graph().as_default(), tf.Session() as session:
        saver = tf.train.import_meta_graph(str(workspace.model / "inference.meta"))
        tf.set_random_seed(0)
        session.run([variable.initializer for variable in tf.global_variables()])
        saver.save(session, str(workspace.model / "model.ckpt"))


def google_training(workspace: Workspace) -> Work:
    """Google's training step, fed by its own pipeline."""
    (tf, model, data_io, _), parameters = google_parts(workspace)
    lines = str(workspace.corpus / "train_example_list.txt")
    parameters["input_data"] = data_io.read_lines_from_file(lines, skip_fields=1)
    features = data_io.input_fn(parameters)
    mode = tf.estimator.ModeKeys.TRAIN
    spec = model.model_fn(features, None, mode, parameters)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return lambda steps: [
        float(session.run([spec.loss, spec.train_op])[0]) for _ in range(int(steps))
    ]


def google_separation(workspace: Workspace) -> Work:
    """Google's separation of a file: read, separate, write every source."""
    google_parts(workspace)
    import numpy as np
    import soundfile
    from tools import inference  # type: ignore[import-not-found]

    graph = str(workspace.model / "inference.meta")
    program = inference.SeparationModel(str(workspace.model / "model.ckpt"), graph)

    def separate(seconds: str) -> None:
        mixture, rate = soundfile.read(workspace.sound(seconds), dtype="float32")
        sources = program.separate(mixture)
        for number, source in enumerate(np.clip(sources, -1.0, 1.0)):
            soundfile.write(
                workspace.folder / f"google{number}.wav", source, rate, "PCM_16"
            )

    return separate


def our_training(workspace: Workspace) -> Work:
    """Our training step of the same size, fed by records."""
    from dataclasses import replace

    from common.training import distribution
    from mixit import train
    from mixit.config import PRESETS

    config = replace(
        PRESETS["fuss"],
        data_root=str(workspace.corpus),
        records=str(workspace.folder / "records"),
        segment_seconds=SECONDS,
        batch_size=MIXTURES,
    )
    distribution.prepare(0)
    strategy = distribution.choose("auto", 0)
    with strategy.scope():
        job = train.build(config, strategy)
    step = job.model.make_train_function()
    batches = iter(job.train(0))
    return lambda steps: [float(step(batches)["loss"]) for _ in range(int(steps))]


def our_separation(workspace: Workspace) -> Work:
    """Our separation of a file, with Google's weights."""
    import mixit
    from common.separation.files import separate_file

    separator = mixit.load(str(workspace.model / "model.ckpt"), sample_rate=RATE)

    def separate(seconds: str) -> None:
        output = str(workspace.folder / "ours")
        sound = workspace.sound(seconds)
        separate_file(separator, sound, output, format="wav16", overwrite=True)

    return separate


def make_data(workspace: Workspace) -> None:
    """Write the corpus and the sounds."""
    import numpy as np

    from common import audio
    from common.synthetic import miniature

    seconds = int(SECONDS)
    miniature.write_fuss(
        workspace.corpus,
        sample_rate=RATE,
        seconds=seconds,
        train=200,
        validation=4,
        eval=4,
        max_sources=4,
    )
    files = sorted((workspace.corpus / "train").glob("*.wav"))[:60]
    joined = np.concatenate([audio.read(file)[0] for file in files], axis=1)
    for length in (10, 60):
        audio.write(
            workspace.sound(str(length)), joined[:, : length * RATE], RATE, "wav16"
        )


ROLES: dict[str, Callable[[Workspace], Any]] = {
    "data": make_data,
    "model": make_google_model,
    "google-train": google_training,
    "google-separate": google_separation,
    "our-train": our_training,
    "our-separate": our_separation,
}


def main() -> int:
    """Make data and weights, then compare training and separation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--role", choices=list(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        turns.serve(ROLES[options.role](Workspace(options.folder, options.source)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), options.source.resolve())
        workspace.worker(sys.executable, "data").end()
        workspace.worker(options.python, "model").end()
        work = {"train": [2], "separate": [10] if options.quick else [10, 60]}
        runs = 2 if options.quick else options.runs
        for task, amounts in work.items():
            workers = {
                "ours": workspace.worker(sys.executable, f"our-{task}"),
                "Google's": workspace.worker(options.python, f"google-{task}"),
            }
            for amount in amounts:
                results = turns.compare(workers, runs, amount)
                sys.stdout.write(turns.table(TITLES[task].format(amount), results))
                sys.stdout.flush()
            for worker in workers.values():
                worker.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
