"""Two logical CPUs and quiet TensorFlow for every test."""

import functools
import gc
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

from common import job, training
from common.config import flatten, to_dict
from common.corpora.augmentation import Augment

HERE = Path(__file__).parent
ONE_LANE = (
    # Texts, tables, command lines, pages, installation and other programs.
    *("benchmarks", "docs", "faults", "fuzz", "harmony_split"),
    *("test_architecture", "test_get_fuss", "test_packaging", "test_scripts"),
    *("common/test_child_processes", "common/test_config", "common/test_errors"),
    *("common/test_experiment", "common/test_files", "common/test_job"),
    *("common/test_plots", "common/test_startup"),
    *("common/weights/test_card", "common/test_download"),
    *("common/weights/test_registry", "common/evaluation/test_published"),
    # Files of sound, folders of corpora and of stems, and what is drawn from them.
    *("common/audio/test_files", "common/audio/test_pipes", "common/corpora"),
    *("common/synthetic", "common/separation/test_batch"),
    *("common/separation/test_files", "common/separation/test_inputs"),
    *("common/separation/test_live", "common/separation/test_odd_sound"),
    *("common/separation/test_outputs", "common/separation/test_workers"),
    *("conformance/test_corpora", "conformance/test_keys"),
    *("conformance/test_odd_sound", "conformance/test_separate"),
    *("adversarial/songs", "adversarial/test_data", "unmix/test_corpus"),
    *("unmix/test_data", "clustering/test_mix", "clustering/test_reorganize"),
    *("mixit/test_clip_list", "mixit/test_mixing_list", "mixit/test_video_sound"),
    "mixit/test_yfcc",
    # Commands around networks that the battery and the tests of models run.
    *("*/test_bundled", "*/test_job", "*/test_presets", "*/test_published"),
    *("adversarial/test_evaluate", "adversarial/test_separate"),
    *("clustering/test_analyze", "clustering/test_evaluate"),
    *("clustering/foreign/test_experiment_file", "clustering/test_extension"),
    *("clustering/test_separate", "clustering/test_sweep"),
    *("clustering/test_three_speakers", "clustering/test_visualize"),
    *("common/training/test_accumulation", "common/training/test_cluster"),
    *("common/training/test_logs", "mixit/test_augment", "mixit/test_evaluate"),
    *("mixit/test_results", "unmix/test_stream"),
)
"""Folders and modules that are tested on one lane.

They check what no version of TensorFlow, Keras or numpy changes, or use TensorFlow as
other tests of the second lane do. Single tests carry the mark themselves.
"""


@functools.cache
def is_of_one_lane(module: Path) -> bool:
    """Whether a module is among those of ``ONE_LANE``."""
    if not module.is_relative_to(HERE):
        return False  # the examples of the packages
    name = module.relative_to(HERE).with_suffix("").as_posix()
    return any(fnmatch(name, each) or fnmatch(name, f"{each}/*") for each in ONE_LANE)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of one lane, before a lane leaves them out."""
    for item in items:
        if is_of_one_lane(item.path):
            item.add_marker(pytest.mark.one_lane)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("dist", "no") != "no":
        return  # This process runs no test itself, and its workers wait for it.
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)


def pytest_collection_finish() -> None:
    """Leave millions of objects of modules out of every search for garbage."""
    gc.freeze()


class Killed(BaseException):
    """Stands for a kill that leaves nothing but the files."""


@pytest.fixture
def trained_twice(monkeypatch, tmp_path):
    """Train a run at once and broken off after a step; gives both models."""
    from common.training import resume

    def trained_twice(config: Any, build: training.Build, step: int) -> list[Any]:
        straight = training.train(config, build)
        broken = replace(config, output=str(tmp_path / "broken"))
        finite = resume.RequireFinite.on_train_batch_end

        def kill(self: Any, batch: int, logs: Any = None) -> None:
            finite(self, batch, logs)
            if int(self.model.optimizer.iterations.numpy()) == step:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(resume.RequireFinite, "on_train_batch_end", kill)
            with pytest.raises(Killed):
                training.train(broken, build)
        return [straight, training.train(broken, build)]

    return trained_twice


@pytest.fixture(scope="session", autouse=True)
def cache_outside_home(tmp_path_factory):
    """Keep the cache of all tests, and of their processes, out of the home folder."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEPARATION_CACHE", str(shared / "cache"))
        yield


@pytest.fixture(scope="session")
def train_command():
    """Write the training of a package with a configuration as a command."""

    def train_command(package: str, config: Any, **changes: Any) -> list[str]:
        values = {**flatten(to_dict(config)), **changes}
        words = [f"{key}={value}" for key, value in values.items()]
        return [sys.executable, "-m", f"{package}.train", "with", "tiny", *words]

    return train_command


@pytest.fixture(scope="session")
def start_workers():
    """Start the processes of one training over loopback, as on several machines.

    Each has the command that a function gives for its index. Those that still run at
    the end are killed.
    """
    running: list[Any] = []

    def start_workers(command: Any, count: int, **options: Any) -> list[Any]:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
        for each in sockets:
            each.close()
        paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        started = []
        for index in range(count):
            task = {"type": "worker", "index": index}
            cluster = json.dumps({"cluster": {"worker": addresses}, "task": task})
            variables = {**environment, **({"TF_CONFIG": cluster} if count > 1 else {})}
            process = subprocess.Popen(command(index), env=variables, **options)
            started.append(process)
            running.append(process)
        return started

    yield start_workers
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()


VARIABLES = (
    "FUSS_ROOT_DIR",
    "MUSDB18_ROOT_DIR",
    "MUSDB_PATH",
    "MOISESDB_ROOT_DIR",
    "WSJ0_2MIX_ROOT_DIR",
    "WHAM_ROOT_DIR",
    "RUN_DIR",
    "SONG",
    "LANE",
    "TF_CONFIG",
    "SLURM_PROCID",
    "JOB_COMPLETION_INDEX",
)
"""Variables that a script of a training reads."""


@dataclass
class ScriptRun:
    """Runs the program of a script, whose steps are recorded and not run.

    Attributes:
        steps: The steps as command lines, without the interpreter.
        codes: Exit codes by module, else 0.
    """

    monkeypatch: pytest.MonkeyPatch
    steps: list[str] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)

    def __call__(self, script: Any, *arguments: str, **environment: str) -> int:
        self.steps.clear()
        with self.monkeypatch.context() as patch:
            for name in VARIABLES:
                patch.setenv(name, "")  # so that it is restored if the script sets it
                patch.delenv(name)
            for name, value in {"ROOT_DIR": "/runs", **environment}.items():
                patch.setenv(name, value)
            patch.setattr(job, "run_step", self._record)
            return script.main(arguments)

    def _record(self, step: job.Step) -> int:
        self.steps.append(" ".join([step.module, *step.arguments]))
        return self.codes.get(step.module, 0)


@pytest.fixture
def run_script(monkeypatch):
    """Run a script without its trainings; gives what it would start."""
    return ScriptRun(monkeypatch)


@pytest.fixture
def half():
    """Give a configuration the half precision of training."""
    return lambda config: replace(
        config, train=replace(config.train, precision="bfloat16")
    )


@pytest.fixture
def every_tool():
    """Give a configuration averages, accumulation, warm-up, cosine, augmentations."""
    tools = {"accumulate": 2, "ema": 0.5, "lr_schedule": "cosine", "warmup_steps": 2}
    chain = Augment((0.95, 1.05), (-6.0, 3.0), polarity=True, swap=True)
    return lambda config: replace(
        config, train=replace(config.train, **tools), augment=chain
    )


@pytest.fixture
def run_onnx(tmp_path):
    """Run a graph of ONNX on arrays; gives its first output."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")

    def run(graph: Any, *inputs: Any) -> Any:
        path = tmp_path / "graph.onnx"
        graph.save(path)
        session = runtime.InferenceSession(str(path))
        names = [each.name for each in session.get_inputs()]
        return session.run(None, dict(zip(names, inputs, strict=True)))[0]

    return run
