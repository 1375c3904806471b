"""Check this machine and the installation, and print a remedy for each problem.

``python -m common.doctor`` prints a report, with ``--json`` for programs. It imports
every package, multiplies matrices on every GPU, and writes and reads sound in every
format. The exit code is 1 if something required is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import common
from common import cpus
from common.files import cache_folder

SUITE = "tf-separation-suite"
LANES = {
    "current": "current: TensorFlow 2.21 with numpy 2, without tensorflow-io",
    "tfio": "tfio: TensorFlow 2.16.2 with tensorflow-io 0.37.1 and numpy 1.26",
}
MODULES = {
    "tensorflow": "tensorflow",
    "tf-keras": "tf_keras",
    "numpy": "numpy",
    "librosa": "librosa",
    "museval": "museval",
    "sacred": "sacred",
    "ffmpeg-python": "ffmpeg",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "tensorboard": "tensorboard",
    "matplotlib": "matplotlib",
}
"""Module of each package; tensorflow-io is judged by the lane."""

OPTIONAL = {"matplotlib", "museval"}
FREE_BYTES = 2 * 10**9


def examine() -> dict[str, Any]:
    """Check everything that the suite uses.

    Returns:
        Facts by topic, as values of JSON; ``problems`` is a list of `Problem`.
    """
    problems: list[Problem] = []
    packages = {name: _version(name) for name in (*MODULES, "tensorflow-io")}
    loaded = {name: _load(name, packages[name], problems) for name in MODULES}
    lane = check_lane(
        packages["tensorflow"],
        packages["tf-keras"],
        packages["tensorflow-io"],
        problems,
    )
    if lane == LANES["tfio"]:
        _load_tfio(problems)
    return {
        "suite": _suite(problems),
        "python": f"{platform.python_version()} at {sys.executable}",
        "system": platform.platform(),
        "packages": packages,
        "lane": lane,
        "cpus": _cpus(),
        "gpus": gpus(loaded["tensorflow"], problems),
        "ffmpeg": ffmpeg(problems),
        "formats": formats(bool(loaded["soundfile"] and loaded["numpy"]), problems),
        "cache": cache(problems),
        "disk": {
            str(Path(folder).resolve()): _free(folder, problems)
            for folder in (".", tempfile.gettempdir())
        },
        "problems": problems,
    }


def check_lane(
    tensorflow: str | None,
    tf_keras: str | None,
    tensorflow_io: str | None,
    problems: list[Problem],
) -> str:
    """Describe the set of versions that is installed.

    Args:
        tensorflow: Version, or None if it is missing.
        tf_keras: Version of tf-keras, or None.
        tensorflow_io: Version of tensorflow-io, or None.
        problems: Mismatches are appended.

    Returns:
        The lane, or a description of another set of versions.

    >>> check_lane("2.21.0", "2.21.0", None, [])
    'current: TensorFlow 2.21 with numpy 2, without tensorflow-io'
    """
    if tensorflow is None:
        return "none: TensorFlow is not installed"
    minor = _minor(tensorflow)
    if not (2, 16) <= minor < (2, 22):
        what = f"TensorFlow {tensorflow} is outside the range 2.16 to 2.21"
        problems.append(Problem(what, "pip install 'tensorflow>=2.16,<2.22'", True))
    if tf_keras is not None and _minor(tf_keras) != minor:
        series = ".".join(map(str, minor))
        what = f"tf-keras {tf_keras} does not fit TensorFlow {tensorflow}"
        problems.append(Problem(what, f"pip install 'tf-keras=={series}.*'", True))
    if tensorflow_io is not None and minor > (2, 17):
        what = (
            f"tensorflow-io {tensorflow_io} cannot load beside TensorFlow {tensorflow}"
        )
        problems.append(Problem(what, "pip uninstall tensorflow-io", False))
    if minor == (2, 16) and tensorflow_io is not None:
        return LANES["tfio"]
    if minor == (2, 21):
        return LANES["current"]
    beside = f"tensorflow-io {tensorflow_io}" if tensorflow_io else "no tensorflow-io"
    return f"neither of the two tested: TensorFlow {tensorflow} with {beside}"


def _minor(version: str) -> tuple[int, int]:
    first, second = re.findall(r"\d+", version)[:2]
    return int(first), int(second)


def _version(name: str) -> str | None:
    names = [name]
    if name == "tensorflow":  # other builds have other package names
        names += ["tensorflow-cpu", "tensorflow-intel", "tensorflow-rocm"]
    for candidate in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(candidate)
    return None


def _import(module: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def _load(name: str, version: str | None, problems: list[Problem]) -> ModuleType | None:
    """Import a package; report any failure and return None."""
    try:
        return _import(MODULES[name])
    except Exception as error:
        reason = first_line(error)
    cure = f"pip install {name}, or run ./setup.sh"
    if version is None:
        what = f"{name} is not installed"
    else:
        what = f"{name} {version} does not load ({reason})"
        cure = f"pip install --force-reinstall {name}, or run ./setup.sh"
    if name == "museval" and version and not shutil.which("ffmpeg"):
        cure = "install ffmpeg, which museval asks for when it is imported"
    problems.append(Problem(what, cure, name not in OPTIONAL))
    return None


def _load_tfio(problems: list[Problem]) -> None:
    """Decode a sound in the graph, because half of tensorflow-io loads lazily."""
    try:
        tfio = _import("tensorflow_io")
        tf = _import("tensorflow")
        wav = tf.audio.encode_wav(tf.zeros([10, 1]), 8000)
        tfio.audio.decode_wav(wav, dtype=tf.int16).numpy()
    except Exception as error:
        what = f"tensorflow-io does not work ({first_line(error)})"
        cure = "pip install tensorflow-io==0.37.1 tensorflow==2.16.2"
        problems.append(Problem(what, cure, True))


def _suite(problems: list[Problem]) -> str:
    """Check that the package named common is that of this suite alone."""
    where = str(Path(common.__file__ or "?").parent)
    if getattr(common, "__suite__", None) != SUITE:
        what = f"the package common in {where} is not of {SUITE}"
        cure = "run from the suite's folder, or uninstall what brought the other one"
        problems.append(Problem(what, cure, True))
        return f"not {SUITE} in {where}"
    others = set(metadata.packages_distributions().get("common", [])) - {SUITE}
    if others:
        what = f"{', '.join(sorted(others))} also installs a package named common"
        cure = f"pip uninstall {' '.join(sorted(others))}, then reinstall the suite"
        problems.append(Problem(what, cure, False))
    return f"{SUITE} {common.__version__} in {where}"


def _cpus() -> str:
    machine = platform.machine()
    return f"{cpus.count()} usable of {os.cpu_count()} ({machine})"


def _free(folder: str, problems: list[Problem]) -> str:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        what = f"only {free / 1e9:.1f} GB are free in {Path(folder).resolve()}"
        problems.append(
            Problem(what, "make room, or set TMPDIR to another disk", False)
        )
    return f"{free / 1e9:.1f} GB free"


def describe(facts: dict[str, Any]) -> str:
    """Format the report of `examine`, with problems and their cures at the end.

    >>> facts = {"lane": "tfio", "gpus": [], "problems": []}
    >>> print(describe(facts))
    lane      tfio
    gpus      none
    <BLANKLINE>
    no problems
    """
    lines = []
    for topic, value in facts.items():
        if topic != "problems":
            rows = _rows(value) or ["none"]
            heads = [topic] + [""] * (len(rows) - 1)
            lines += [f"{h:9} {row}" for h, row in zip(heads, rows, strict=True)]
    lines += ["", "no problems" if not facts["problems"] else "problems"]
    for problem in facts["problems"]:
        need = "needed" if problem.needed else "optional"
        lines.append(f"- {problem.what} [{need}]: {problem.cure}")
    return "\n".join(lines)


def _rows(value: object) -> list[str]:
    if isinstance(value, dict):
        return [f"{key:16} {fact or 'not installed'}" for key, fact in value.items()]
    return value if isinstance(value, list) else [value or "none"]


class Problem(NamedTuple):
    """A problem, its cure, and whether the suite cannot work with it."""

    what: str
    cure: str
    needed: bool


def first_line(error: BaseException) -> str:
    r"""Return an error as one line.

    >>> first_line(ValueError("one\ntwo")), first_line(KeyError())
    ('ValueError: one', 'KeyError: ')
    """
    return f"{type(error).__name__}: {error}".splitlines()[0]


def gpus(tf: ModuleType | None, problems: list[Problem]) -> list[str]:
    """Multiply matrices on every GPU that TensorFlow sees.

    Args:
        tf: The module, or None if it does not load.
        problems: Failures are appended.

    Returns:
        A line for each GPU.
    """
    if tf is None:
        return []
    names = _open_gpus(tf, problems)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"-1", ""}
    if not names and not hidden and Path("/dev/nvidia0").exists():
        what = "this machine has an NVIDIA GPU that TensorFlow does not use"
        cure = f"pip install 'tensorflow[and-cuda]=={tf.__version__}', check nvidia-smi"
        problems.append(Problem(what, cure, False))
    return [multiply(tf, name, problems) for name in names]


def _open_gpus(tf: ModuleType, problems: list[Problem]) -> list[str]:
    """Return the names of the GPUs that TensorFlow opens."""
    try:
        return [device.name for device in tf.config.list_logical_devices("GPU")]
    except Exception as error:
        what = f"TensorFlow cannot open the GPUs ({first_line(error)})"
    cure = "update the driver, or set CUDA_VISIBLE_DEVICES=-1 to use the CPU"
    problems.append(Problem(what, cure, False))
    return []


def multiply(tf: ModuleType, name: str, problems: list[Problem]) -> str:
    """Compute a product on a device, and check that it was computed there.

    Args:
        tf: The module.
        name: The device, such as ``"/device:GPU:0"``.
        problems: Failures are appended.

    Returns:
        A line for the device.
    """
    try:
        with tf.device(name):
            ones = tf.ones([256, 256])
            product = ones @ ones
            right = float(tf.reduce_sum(product)) == 256.0**3
        reason = "" if right else "a wrong product"
        if not product.device.endswith(name):  # TensorFlow moves it silently
            reason = f"the product came from {product.device}"
    except Exception as error:
        reason = first_line(error)
    if not reason:
        return f"{name}: computes"
    cure = "update the driver, or set CUDA_VISIBLE_DEVICES=-1 to use the CPU"
    problems.append(Problem(f"{name} does not compute ({reason})", cure, False))
    return f"{name}: fails"


def ffmpeg(problems: list[Problem]) -> str | None:
    """Return version and path of ffmpeg.

    Args:
        problems: A missing ffmpeg or ffprobe is appended with its cure.

    Returns:
        None if one of the two is missing.
    """
    path = shutil.which("ffmpeg")
    if path and shutil.which("ffprobe"):
        text = subprocess.run([path, "-version"], capture_output=True, check=False)
        return (
            f"{text.stdout.decode(errors='replace').split(' Copyright')[0]} at {path}"
        )
    problems.append(
        Problem(
            "ffmpeg and ffprobe are not on PATH: m4a, mp4, stems and museval need them",
            "apt install ffmpeg, brew install ffmpeg or conda install -c conda-forge "
            "ffmpeg",
            False,
        )
    )
    return None


def cache(problems: list[Problem]) -> str | None:
    """Return the folder of records and downloads.

    Args:
        problems: A folder that cannot be made or written is appended with its cure.

    Returns:
        None if no home folder is known.
    """
    cure = "set SEPARATION_CACHE to a folder that you may write to"
    try:
        folder = cache_folder()
    except FileNotFoundError:
        what = "there is no home folder to keep records and downloads in"
        problems.append(Problem(what, cure, False))
        return None
    # Path.exists raises an error in folders without permission to search.
    there = next(at for at in (folder, *folder.parents) if os.path.exists(at))  # noqa: PTH110
    if not os.access(there, os.W_OK | os.X_OK):
        what = f"the cache {folder}, for records and downloads, cannot be written"
        problems.append(Problem(what, cure, False))
    return str(folder)


def formats(possible: bool, problems: list[Problem]) -> dict[str, str]:
    """Write and read a tone in every format, in some only with ffmpeg.

    Args:
        possible: Whether numpy and soundfile load; if not, nothing is tested.
        problems: Failures are appended.

    Returns:
        The result by the name of the format.
    """
    if not possible:
        return {}
    import numpy as np

    from common import audio

    tone = 0.5 * np.sin(np.arange(8000, dtype=np.float32) / 8)[np.newaxis]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, need in audio.FORMATS.items():
            by_ffmpeg = need.container == "FFMPEG"
            if by_ffmpeg and not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
                continue
            path = Path(folder, name + need.suffix)
            reason = _write_and_read(path, tone, name)
            results[name] = "fails" if reason else "reads and writes"
            if reason:
                what = f"{name} files{' through ffmpeg' * by_ffmpeg} do not work"
                cure = "pip install --upgrade soundfile, for a newer libsndfile"
                if by_ffmpeg:
                    cure = "install a complete build of ffmpeg"
                problems.append(Problem(f"{what} ({reason})", cure, False))
    return results


def _write_and_read(path: Path, tone: Any, name: str) -> str:
    """Write and read a tone; return what is wrong with it, empty if nothing is."""
    from common import audio

    try:
        audio.write(path, tone, 16000, name)
        waveform, rate = audio.read(path)
    except Exception as error:
        return first_line(error)
    difference = abs(float((waveform**2).mean()) - 0.125)
    if rate == 16000 and 8000 <= waveform.shape[1] < 12000 and difference < 0.03:
        return ""
    return f"came back as {list(waveform.shape)} at {rate} Hz"


def check_tensorflow() -> int:
    """Let TensorFlow compute in its own process, which may crash.

    Returns:
        The exit code: 0 if it computes.
    """
    program = "import sys; from common import doctor; sys.exit(doctor.compute())"
    command = [sys.executable, "-c", program]
    if subprocess.run(command, check=False).returncode == 0:
        return 0
    sys.stderr.write(
        f"TensorFlow cannot run an operation in {sys.prefix}: if no other cure is "
        "named above, delete that folder and start again.\n"
    )
    return 1


def compute() -> int:
    """Multiply matrices on every GPU, or on the CPU if there is none.

    Returns:
        The exit code: 0 if all products are right.
    """
    problems: list[Problem] = []
    tf = _load("tensorflow", _version("tensorflow"), problems)
    if tf is not None:
        names = _open_gpus(tf, problems)
        for name in names or ["/device:CPU:0"]:
            multiply(tf, name, problems)
        devices = f"{len(names)} GPU(s)" if names else "CPU"
        sys.stdout.write(f"TensorFlow {tf.__version__} on {devices}\n")
    for problem in problems:
        sys.stderr.write(f"{problem.what}: {problem.cure}\n")
    return int(bool(problems))


def main(arguments: list[str] | None = None) -> int:
    """Print the report; return 1 if something required is missing."""
    parser = argparse.ArgumentParser(prog="separation-doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--tensorflow",
        action="store_true",
        help="only check that TensorFlow works, on every GPU or else on the CPU",
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.tensorflow:
        return check_tensorflow()
    facts = examine()
    failed = any(problem.needed for problem in facts["problems"])
    if options.json:
        facts["problems"] = [problem._asdict() for problem in facts["problems"]]
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        sys.stdout.write(describe(facts) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
