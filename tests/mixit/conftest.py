"""A miniature that is built in a moment, and a network that is trained in one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common import training
from common.synthetic import miniature
from mixit.config import TINY, MixitConfig, Network
from mixit.train import build

MICRO = Network(
    sample_rate=8000,
    num_sources=4,
    window_samples=64,
    hop_samples=32,
    num_coeffs=16,
    bottleneck=8,
    conv_channels=16,
    num_dilations=2,
    num_repeats=1,
)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A FUSS folder of 8 + 3 + 4 examples of one second."""
    folder = tmp_path_factory.mktemp("corpus") / "fuss"
    return miniature.write_fuss(folder, seconds=1.0, train=8, validation=3, eval=4)


def micro(corpus, output) -> MixitConfig:
    """Two epochs of three steps, saved after the second step of each."""
    schedule = replace(
        TINY.train, epochs=2, steps_per_epoch=3, checkpoint_steps=2, log_steps=1
    )
    return replace(
        TINY,
        model=MICRO,
        train=schedule,
        data_root=str(corpus),
        records=str(corpus.parent / "records"),
        output=str(output),
        segment_seconds=0.5,
        batch_size=4,
    )


@pytest.fixture
def config(corpus, tmp_path) -> MixitConfig:
    """The configuration of a run that takes a moment."""
    return micro(corpus, tmp_path / "run")


@pytest.fixture(scope="session")
def run(corpus, tmp_path_factory):
    """The folder of a finished run."""
    finished = micro(corpus, tmp_path_factory.mktemp("runs") / "run")
    training.train(finished, build)
    return Path(finished.output)


@pytest.fixture
def unpack(tmp_path):
    """Lay out a checkpoint of Google's program; gives its folder and signals."""

    def unpack(name, *leave_out):
        folder = tmp_path / name
        folder.mkdir()
        golden = Path(__file__).parents[1] / "golden" / "mixit" / "restore"
        signals = {}
        with np.load(golden / f"{name}.npz") as packed:
            for key in packed.files:
                if key.startswith(("in_", "out_")):
                    signals[key] = packed[key]
                elif key not in leave_out:
                    (folder / key).write_bytes(packed[key].tobytes())
        lengths = [key.removeprefix("in_") for key in signals if key.startswith("in_")]
        pairs = [(signals[f"in_{n}"], signals[f"out_{n}"]) for n in lengths]
        return folder, pairs

    return unpack
