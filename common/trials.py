"""Trials of what cannot be known by looking: do GPUs compute, do sound files work."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """What is wrong, its cure, and whether the suite cannot work with it."""

    what: str
    cure: str
    needed: bool


def first_line(error: BaseException) -> str:
    r"""Name an error in one line.

    >>> first_line(ValueError("one\ntwo")), first_line(KeyError())
    ('ValueError: one', 'KeyError: ')
    """
    return f"{type(error).__name__}: {error}".splitlines()[0]


def gpus(tf: Any, problems: list[Problem]) -> list[str]:
    """Multiply matrices on every GPU that TensorFlow sees.

    Args:
        tf: The module, or None where it does not load.
        problems: What fails is appended.

    Returns:
        A line for each GPU.
    """
    if tf is None:
        return []
    try:
        devices = tf.config.list_logical_devices("GPU")
    except Exception as error:
        problems.append(
            Problem(
                f"TensorFlow cannot open the GPUs ({first_line(error)})",
                "update the driver, or set CUDA_VISIBLE_DEVICES=-1 to use the CPU",
                False,
            )
        )
        return []
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"-1", ""}
    if not devices and not hidden and Path("/dev/nvidia0").exists():
        what = "this machine has an NVIDIA GPU that TensorFlow does not use"
        cure = f"pip install 'tensorflow[and-cuda]=={tf.__version__}', check nvidia-smi"
        problems.append(Problem(what, cure, False))
    return [multiply(tf, device.name, problems) for device in devices]


def multiply(tf: Any, name: str, problems: list[Problem]) -> str:
    """Compute a product on a device and see where it came from.

    Args:
        tf: The module.
        name: The device, such as ``"/device:GPU:0"``.
        problems: What fails is appended.

    Returns:
        A line for the device.
    """
    try:
        with tf.device(name):
            ones = tf.ones([256, 256])
            product = ones @ ones
            right = float(tf.reduce_sum(product)) == 256.0**3
        reason = "" if right else "a wrong product"
        if not product.device.endswith(name):  # TensorFlow moves it without a word
            reason = f"the product came from {product.device}"
    except Exception as error:
        reason = first_line(error)
    if not reason:
        return f"{name}: computes"
    cure = "update the driver, or set CUDA_VISIBLE_DEVICES=-1 to use the CPU"
    problems.append(Problem(f"{name} does not compute ({reason})", cure, False))
    return f"{name}: fails"


def ffmpeg(problems: list[Problem]) -> str | None:
    """Tell version and place of ffmpeg.

    Args:
        problems: A missing ffmpeg or ffprobe is appended with its cure.

    Returns:
        None where one of the two is missing.
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


def formats(possible: Any, problems: list[Problem]) -> dict[str, str]:
    """Write and read a tone in every format, and read m4a where ffmpeg is.

    Args:
        possible: Whether numpy and soundfile load; else nothing is tried.
        problems: What fails is appended.

    Returns:
        What works, by the name of the format.
    """
    if not possible:
        return {}
    import numpy as np

    from common import audio

    tone = 0.5 * np.sin(np.arange(8000, dtype=np.float32) / 8)[np.newaxis]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in audio.FORMATS.items():
            path = Path(folder, name + kind.suffix)
            results[name] = _attempt(
                f"{name} files",
                lambda path=path, name=name: audio.write(path, tone, 16000, name),
                lambda path=path: audio.read(path),
                problems,
            )
        if shutil.which("ffmpeg") and shutil.which("ffprobe"):
            path = Path(folder, "tone.m4a")
            command = ["ffmpeg", "-v", "error", "-nostdin", "-i", f"{folder}/wav.wav"]
            results["m4a"] = _attempt(
                "m4a files through ffmpeg",
                lambda: subprocess.run([*command, path], check=True, timeout=60),
                lambda: audio.read(path),
                problems,
            )
    return results


def _attempt(what: str, write: Any, read: Any, problems: list[Problem]) -> str:
    """Write and read back; the tone must keep its length and level."""
    try:
        write()
        waveform, rate = read()
        error = abs(float((waveform**2).mean()) - 0.125)
        if rate == 16000 and 8000 <= waveform.shape[1] < 12000 and error < 0.03:
            return "reads" if "ffmpeg" in what else "reads and writes"
        reason = f"came back as {list(waveform.shape)} at {rate} Hz"
    except Exception as error:
        reason = first_line(error)
    cure = "pip install --upgrade soundfile, which brings a newer libsndfile"
    if "ffmpeg" in what:
        cure = "install a complete build of ffmpeg"
    problems.append(Problem(f"{what} do not work ({reason})", cure, False))
    return "fails"
