"""TensorFlow starts silently, and shows its messages where something fails."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import common
from common.startup import choose_device, is_command, replace_closed_streams

ROOT = str(Path(common.__file__).parents[1])
NOISY = """
import os, sys
os.write(2, b"noise of the C library\\n")
{}
class config:
    @staticmethod
    def list_physical_devices(name):
        os.write(2, b"failed call to cuInit\\n")
        return []
"""


def run(tmp_path, code, *, broken="", command=(sys.executable, "-c"), **environment):
    (tmp_path / "tensorflow.py").write_text(NOISY.format(broken))
    keep = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}
    return subprocess.run(
        [*command, code],
        env={**keep, "PYTHONPATH": f"{tmp_path}:{ROOT}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


IMPORT = (
    "import common, sys\nimport tensorflow\nsys.stderr.write('ours')\n"
    "print(tensorflow.__name__)"
)


def test_the_start_is_silent_and_our_messages_are_not(tmp_path):
    done = run(tmp_path, IMPORT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "tensorflow\n", "ours")


def test_processes_that_a_process_starts_are_silent_too(tmp_path):
    code = "import common, subprocess, sys\n"
    code += f"subprocess.run([sys.executable, '-c', {IMPORT!r}])"
    assert run(tmp_path, code).stderr == "ours"


def test_a_failing_import_shows_everything(tmp_path):
    done = run(tmp_path, IMPORT, broken="raise ImportError('no AVX')")
    assert done.returncode == 1
    assert "noise of the C library" in done.stderr
    assert "no AVX" in done.stderr


def test_a_gpu_that_is_not_seen_shows_everything(tmp_path):
    code = IMPORT.replace(
        "import tensorflow",
        "import pathlib; common.startup.NVIDIA = pathlib.Path('/'); import tensorflow",
    )
    assert "failed call to cuInit" in run(tmp_path, code).stderr


def start(tmp_path, way, module, command):
    """Words of a shell that start a module, or the command that pip makes of it."""
    if way == "module":
        return f"'{sys.executable}' -m {module}"
    script = tmp_path / command
    script.write_text(f"import sys\nfrom {module} import main\nsys.exit(main())\n")
    return f"'{sys.executable}' '{script}'"


@pytest.mark.parametrize("way", ["module", "installed"])
@pytest.mark.parametrize("closed", ["<&- >&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_runs_with_closed_streams(tmp_path, closed, way):
    code = start(tmp_path, way, "common.weights.registry", "separation-registry")
    done = run(tmp_path, f"{code} list {closed}", command=("sh", "-c"))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-m", "mixit.train", "with", "tiny"], True),
        (["-mharmony_split"], True),
        (["-m", "theirs.train", "mixit.train"], False),
        (["/a folder/unmix-separate", "song.wav"], True),
        (["unmix-batch", "song.wav"], False),
        (["mixit-train.py"], False),
        ([""], False),
    ],
)
def test_commands_are_told_from_programs_of_users(monkeypatch, words, expected):
    monkeypatch.setattr(sys, "orig_argv", ["python", *words])
    is_module = words[0].startswith("-m")
    arguments = words[1 if words[0] == "-m" else 0 :][1:]
    monkeypatch.setattr(sys, "argv", ["-m" if is_module else words[0], *arguments])
    assert is_command() == expected


def test_a_replaced_stream_takes_any_name_and_reaches_child_processes(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mixit-train"])
    monkeypatch.setattr(sys, "stderr", None)
    replace_closed_streams()
    with sys.stderr as stream:
        stream.write("caf\udce9.wav\n")
        assert os.get_inheritable(stream.fileno())


@pytest.mark.parametrize("way", ["module", "installed"])
def test_an_interruption_of_the_imports_is_one_line(tmp_path, way):
    # The shell gives the exit code that users see. A test run in the background ignores
    # SIGINT, and so would the command.
    code = start(tmp_path, way, "mixit.separate", "mixit-separate") + " --list; exit $?"
    interrupt = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "os.kill(os.getpid(), signal.SIGINT)"
    )
    done = run(tmp_path, code, broken=interrupt, command=("sh", "-c"))
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("level", ["0", "3"])
def test_a_level_of_the_user_is_left_alone(tmp_path, level):
    done = run(tmp_path, IMPORT, TF_CPP_MIN_LOG_LEVEL=level)
    assert "noise of the C library" in done.stderr


def test_separation_needs_neither_keras_3_nor_matplotlib():
    code = (
        "import sys, mixit.separate, unmix.separate, adversarial.separate\n"
        "import clustering.separate\n"
        "print([name for name in ('keras', 'matplotlib') if name in sys.modules])\n"
        "import tensorflow as tf\n"
        "print(tf.keras.__version__[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["[]", "3"], done.stderr


@pytest.fixture
def chosen(monkeypatch):
    """Two GPUs of a TensorFlow that records its calls."""
    calls = []
    experimental = SimpleNamespace(
        set_memory_growth=lambda gpu, grows: calls.append((gpu, grows))
    )
    config = SimpleNamespace(
        experimental=experimental,
        list_physical_devices=lambda name: ["first", "second"],
        set_visible_devices=lambda devices, name: calls.append(devices),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    return calls


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu", [[]]),
        ("gpu", ["first", ("first", True)]),
        ("gpu:1", ["second", ("second", True)]),
    ],
)
def test_a_device_is_chosen(chosen, name, expected):
    choose_device(name)
    assert chosen == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpu:2", "device is 'gpu:2', but TensorFlow sees 2 GPUs; leave it out"),
        ("tpu", "device is 'tpu'; expected cpu, gpu or gpu:1"),
        ("gpu:", "device is 'gpu:'; expected"),
        ("gpu1", "device is 'gpu1'; expected"),
        ("gpu:one", "device is 'gpu:one'; expected"),
        ("cpu:0", "device is 'cpu:0'; expected"),
    ],
)
def test_a_device_that_is_not_there_is_reported_in_one_sentence(chosen, name, words):
    with pytest.raises(ValueError, match=words):
        choose_device(name)
    assert not chosen
