"""Check a set in the layout of FUSS: every mixture must be the sum of its sources.

The tolerances are those of FUSS: 1e-4 of a sample and 1e-5 of full scale.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from tqdm import tqdm

from common import audio, cpus
from common.corpora import fuss
from common.corpora.writing import quantise

RELATIVE, ABSOLUTE = 1e-4, 1e-5
FORMATS = {"PCM_16": "wav16", "PCM_24": "wav24"}
SHOWN = 5
"""Number of wrong examples that are listed; the others are counted."""


class Fault(NamedTuple):
    """A fault of a file, and whether it was repaired."""

    file: Path
    problem: str
    corrected: bool = False


def check(
    root: Path,
    samples: int,
    sample_rate: int,
    *,
    fix: bool = False,
    jobs: int | None = None,
) -> tuple[int, list[list[Fault]]]:
    """Check all examples of a set.

    Args:
        root: Folder of the lists.
        samples: Expected length of every file.
        sample_rate: In Hz.
        fix: Whether to pad or trim sources and to rewrite wrong mixtures.
        jobs: Threads; None takes one for each CPU.

    Returns:
        Number of examples, and the faults of each wrong one.

    Raises:
        CorpusError: A list is malformed or names missing sources.
    """
    lists = [name for name in fuss.SPLITS if (root / fuss.list_name(name)).is_file()]
    examples = [example for split in lists for example in fuss.read_list(root, split)]
    examine = partial(_examine, samples=samples, sample_rate=sample_rate, fix=fix)
    with ThreadPoolExecutor(cpus.threads(jobs)) as pool:
        results = tqdm(
            pool.map(examine, examples),
            desc="check",
            total=len(examples),
            unit="mixture",
            disable=None,
        )
        return len(examples), [faults for faults in results if faults]


def report(root: Path, count: int, faults: Sequence[Sequence[Fault]]) -> int:
    """Print the faults of a check.

    Args:
        root: Folder of the lists.
        count: Number of examples.
        faults: Faults from :func:`check`.

    Returns:
        The exit code: 1 if faults remain.
    """
    for group in faults[:SHOWN]:
        for fault in group:
            end = "; corrected" if fault.corrected else ""
            sys.stdout.write(f"{fault.file}: {fault.problem}{end}\n")
    if len(faults) > SHOWN:
        sys.stdout.write(f"... and {len(faults) - SHOWN} more\n")
    left = sum(not all(fault.corrected for fault in group) for group in faults)
    corrected = len(faults) - left
    outcome = f", {corrected} corrected, {left} left" if corrected else ""
    checked = f"{count} examples checked, {len(faults)} wrong{outcome}"
    sys.stdout.write(f"{root}: {checked}\n")
    return 1 if left else 0


def _examine(
    example: fuss.Example, *, samples: int, sample_rate: int, fix: bool
) -> list[Fault]:
    """Find the faults of an example, and repair them."""
    waveforms: list[np.ndarray] = []
    faults, lost, misfit = [], [], []
    for number, path in enumerate(example.sources):
        waveform, problem = _read(path, sample_rate)
        if problem:
            lost.append(Fault(path, problem))
        elif waveforms and len(waveform) != len(waveforms[0]):
            lost.append(Fault(path, f"{len(waveform)} channels instead of the others'"))
        elif waveform.shape[1] != samples:
            faults.append(Fault(path, f"{waveform.shape[1]} samples, not {samples}"))
            misfit.append(number)
        waveforms.append(_fit(waveform, samples))
    if lost:
        return lost + faults
    sources = np.stack(waveforms)
    mixture, problem = _read(example.mixture, sample_rate)
    problem = problem or _compare(mixture, sources.sum(axis=0))
    if problem:
        faults.append(Fault(example.mixture, problem))
    if not (fix and faults):
        return faults
    _correct(example, sources, misfit, sample_rate)
    return [fault._replace(corrected=True) for fault in faults]


def _read(path: Path, sample_rate: int) -> tuple[np.ndarray, str]:
    """Return the sound of a file and its fault."""
    try:
        waveform, rate = audio.read(path)
    except (audio.AudioError, OSError) as error:
        reason = str(error).removeprefix(f"{path} ")
        return np.zeros((1, 0)), f"unreadable, {reason}"
    problem = f"{rate} Hz instead of {sample_rate} Hz" if rate != sample_rate else ""
    return waveform.astype(np.float64), problem


def _fit(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Pad or trim the end of a waveform."""
    waveform = waveform[:, :samples]
    return np.pad(waveform, ((0, 0), (0, samples - waveform.shape[1])))


def _compare(mixture: np.ndarray, total: np.ndarray) -> str:
    """Describe the difference of a mixture from the sum of its sources."""
    if mixture.shape[1] != total.shape[1]:
        return f"{mixture.shape[1]} samples, not {total.shape[1]}"
    if len(mixture) != len(total):
        return f"{len(mixture)} channels, its sources have {len(total)}"
    if np.allclose(mixture, total, rtol=RELATIVE, atol=ABSOLUTE):
        return ""
    return f"differs from the sum by up to {np.abs(mixture - total).max():.2g}"


def _correct(
    example: fuss.Example, sources: np.ndarray, changed: list[int], sample_rate: int
) -> None:
    """Rewrite wrong files, the mixture last.

    If the sum would clip, all files are scaled down and written with 16 bits.
    """
    formats = {FORMATS.get(soundfile.info(p).subtype, "wav") for p in example.sources}
    file_format = formats.pop() if len(formats) == 1 else "wav"
    if file_format != "wav" and np.abs(sources.sum(axis=0)).max() > 32767 / 32768:
        file_format, changed = "wav16", list(range(len(sources)))
        sources = quantise(sources) / 32768
    for number in changed:
        audio.write(example.sources[number], sources[number], sample_rate, file_format)
    audio.write(example.mixture, sources.sum(axis=0), sample_rate, file_format)
