"""Devices and processes share a training; a process of them dies and comes back."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.training.checkpoint import find

pytestmark = pytest.mark.slow
PROGRAM = str(Path(__file__).with_name("replicas.py"))
TRAININGS = (
    "adversarial_tiny",
    "adversarial_tiny_semisup",
    "clustering_tiny",
    "mixit_tiny",
    "unmix_tiny",
)
LAYOUTS = ("mirrored2", "mirrored4", "workers2", "workers3")
CLOSENESS = 1e-4
"""Of weights after three steps, and of losses: sums in another order."""
SECONDS = 900


def program(folder, *layouts):
    """The command that trains in a process."""
    return [
        sys.executable,
        PROGRAM,
        str(folder),
        ",".join(TRAININGS),
        ",".join(layouts),
    ]


def end(processes):
    return [process.wait(timeout=SECONDS) for process in processes]


@pytest.fixture(scope="module")
def trainings(tmp_path_factory, start_workers):
    """Folders of every process, by the layout of its devices."""
    base = tmp_path_factory.mktemp("trainings")
    here = ("one", "mirrored2", "mirrored4")
    folders = {layout: [base] for layout in here}
    for count in (2, 3):
        own = [base / f"{index}_of_{count}" for index in range(count)]
        for folder in own:
            folder.mkdir()
        started = start_workers(
            lambda i, own=own: program(own[i], "multiworker"), count
        )
        assert end(started) == [0] * count
        folders[f"workers{count}"] = own
    assert end(start_workers(lambda _: program(base, *here), 1)) == [0]
    return folders


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", TRAININGS)
def test_replicas_give_the_numbers_of_one(trainings, name, layout):
    one = np.load(trainings["one"][0] / f"one-{name}.npz")
    for folder in trainings[layout]:
        file = layout if layout.startswith("mirrored") else "multiworker"
        several = np.load(folder / f"{file}-{name}.npz")
        assert {*several} == {*one}
        for key in one:
            np.testing.assert_allclose(
                several[key], one[key], atol=CLOSENESS, rtol=CLOSENESS, err_msg=key
            )


@pytest.mark.parametrize("dead", [0, 1], ids=["chief", "other"])
def test_a_worker_that_dies_and_comes_back(
    pillar_case, dead, prepared_command, tmp_path, start_workers
):
    schedule = ["epochs=2", "steps_per_epoch=8", "checkpoint_steps=3"]
    module, *words = prepared_command(pillar_case, *schedule)

    def command(folder):
        return [sys.executable, "-m", module, *words, f"output={folder}"]

    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert end(start_workers(lambda _: command(straight), 2)) == [0, 0]
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        workers = start_workers(lambda _: command(broken), 2, stderr=file)
    killed, left = workers[dead], workers[1 - dead]
    while not list((broken / pillar_case.phase).glob("latest/step-*.index")):
        assert left.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert left.wait(timeout=SECONDS) == 1  # ends by itself, in a sentence
    assert "another worker of this run has ended; start" in errors.read_text()
    assert "Traceback" not in errors.read_text()
    assert end(start_workers(lambda _: command(broken), 2)) == [0, 0]
    ends = [saved(folder / pillar_case.phase) for folder in (straight, broken)]
    assert ends[0].keys() == ends[1].keys()
    for key, tensor in ends[0].items():
        np.testing.assert_array_equal(ends[1][key], tensor, err_msg=key)


def saved(folder):
    """Every tensor of the latest checkpoint, without the paths it was saved at."""
    reader = tf.train.load_checkpoint(str(find(folder, "latest")))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith("/VARIABLE_VALUE") and "save_counter" not in name
    }
