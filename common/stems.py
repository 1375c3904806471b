"""Sound files through a separator: one file per source.

The file is read, resampled, separated, resampled back and written block by block, so an
hour needs the memory of a few segments.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from common import audio
from common.resample import ResampleStream
from common.separation import Queue, SeparationError, Separator

Rate = Literal["input", "model"]


@dataclass(frozen=True)
class Form:
    """What is written of a file, and where.

    Attributes:
        pattern: Place of a stem below the output folder, without its suffix, of the
            input's ``{name}`` and the ``{source}``.
        original: Place of a copy of the input, byte for byte, of its ``{name}``; None:
            no copy.
        rate: Write at the sample rate of the ``"input"`` or of the ``"model"``.
        remainder: Source that takes what the others leave of the mixture instead of
            its estimate, so that stems add up to the mixture at its own rate.
    """

    pattern: str = "{name}/{source}"
    original: str | None = None
    rate: Rate = "input"
    remainder: str | None = None


FOLDERS = Form()
"""A folder for each input."""


@dataclass(frozen=True)
class Summary:
    """What became of one file; its ``str`` is one line for the reader.

    Attributes:
        name: File name of the input.
        folder: Where the stems are.
        samples: Length of the stems, in samples.
        sample_rate: Rate of the stems, in Hz.
        elapsed_seconds: Time taken, reading and writing included.
        residual_db: Energy of the mixture minus the sum of all the model's sources,
            relative to the mixture: -inf where they are equal, inf where only the
            mixture is silent. It holds what resampling to the model's rate cuts off.
        peaks: Largest absolute sample of each stem, 1 is full scale.
        levels_db: Mean power of each stem, in dB of full scale.
        clipped: Samples of each stem that an integer format cut at full scale.
    """

    name: str
    folder: Path
    samples: int
    sample_rate: int
    elapsed_seconds: float
    residual_db: float
    peaks: Mapping[str, float]
    levels_db: Mapping[str, float]
    clipped: Mapping[str, int]

    def __str__(self) -> str:
        seconds = self.samples / self.sample_rate
        stems = f"{len(self.peaks)} stem{'s' if len(self.peaks) > 1 else ''}"
        line = (
            f"{self.name}: {stems} of {seconds:.1f} s in {self.folder}, "
            f"{self.elapsed_seconds / seconds:.2g} x real time, {self._residual}"
        )
        cut = {name: count for name, count in self.clipped.items() if count}
        for name, count in cut.items():
            line += f", {count} samples of {name} clipped"
        return line

    @property
    def _residual(self) -> str:
        if self.residual_db == -math.inf:
            return "sum of stems equals the mixture"
        if self.residual_db == math.inf:
            return "the mixture is silent and the stems are not"
        return f"sum of stems differs from the mixture by {self.residual_db:.1f} dB"


def separate_file(
    separator: Separator,
    input: str | os.PathLike[str],  # noqa: A002
    output: str | os.PathLike[str],
    *,
    format: str = "wav",  # noqa: A002
    targets: Sequence[str] | None = None,
    overwrite: bool = False,
    form: Form = FOLDERS,
) -> Summary:
    """Separate a sound file, mostly to ``{output}/{input's stem}/{source}.{suffix}``.

    The stems have the channels and the exact length of the input, and appear all
    together or not at all.

    Args:
        separator: The model.
        input: Any file that `audio.blocks` reads.
        output: Folder for the results, made where it is missing.
        format: A key of `audio.FORMATS`.
        targets: Sources to write; None writes all.
        overwrite: Replace stems that exist.
        form: What is written, and where.

    Returns:
        What was written.

    Raises:
        SeparationError: A stem exists, or a target or format is not known.
        AudioError: The input cannot be read or a stem not be written.

    >>> folder = Path(tempfile.mkdtemp())
    >>> audio.write(folder / "a.wav", np.full((2, 800), 0.5, np.float32), 8000)
    >>> half = Separator(lambda x: np.stack([x / 2, x / 2], 1), ["b", "c"], 8000)
    >>> separate_file(half, folder / "a.wav", folder).peaks
    {'b': 0.25, 'c': 0.25}
    """
    began, source, folder = time.perf_counter(), Path(input), Path(output)
    stems = _stem_paths(separator, source, folder, format, targets, form)
    copy = _copy_path(source, folder, form)
    _check_stems([*stems.values(), *copy], source, overwrite)
    info = audio.probe(source)
    target_rate = separator.sample_rate if form.rate == "model" else info.sample_rate
    meter = _Meter(len(separator.sources))
    with _staging(folder) as staging:
        drafts = {staging / path.name: path for path in (*stems.values(), *copy)}
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(
                    audio.Writer(
                        staging / path.name, target_rate, info.channels, format
                    )
                )
                for name, path in stems.items()
            }
            for mixture, estimates in _walk(separator, source, info, target_rate):
                _complete(mixture, estimates, separator.sources, form.remainder)
                meter.add(mixture, estimates)
                for name, writer in writers.items():
                    writer.write(estimates[separator.sources.index(name)])
        if copy:
            shutil.copyfile(source, staging / copy[0].name)
        for draft, path in drafts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(path)
    places = {name: separator.sources.index(name) for name in stems}
    return Summary(
        source.name,
        next(iter(stems.values())).parent,
        meter.samples,
        target_rate,
        time.perf_counter() - began,
        meter.residual_db,
        {name: float(meter.peaks[place]) for name, place in places.items()},
        {name: meter.level_db(place) for name, place in places.items()},
        {name: writer.clipped for name, writer in writers.items()},
    )


def check_targets(separator: Separator, targets: Sequence[str] | None) -> None:
    """Refuse names that are not among the model's sources.

    >>> check_targets(Separator(np.copy, ["a", "b"], 8000), ["b"])
    """
    unknown = [name for name in targets or () if name not in separator.sources]
    if unknown:
        raise SeparationError(
            f"target {', '.join(unknown)} is not among the model's sources; "
            f"it has {', '.join(separator.sources)}"
        )


def _stem_paths(
    separator: Separator,
    source: Path,
    folder: Path,
    format: str,  # noqa: A002
    targets: Sequence[str] | None,
    form: Form,
) -> dict[str, Path]:
    check_targets(separator, targets)
    if format not in audio.FORMATS:
        raise SeparationError(
            f"format is {format!r}; expected one of {', '.join(audio.FORMATS)}"
        )
    suffix = audio.FORMATS[format].suffix
    return {
        name: folder / (form.pattern.format(name=source.stem, source=name) + suffix)
        for name in dict.fromkeys(targets or separator.sources)
    }


def _copy_path(source: Path, folder: Path, form: Form) -> list[Path]:
    """Place of the copy of the input, if there is to be one."""
    if form.original is None:
        return []
    return [folder / (form.original.format(name=source.stem) + source.suffix)]


def _complete(
    mixture: np.ndarray,
    estimates: np.ndarray,
    sources: Sequence[str],
    name: str | None,
) -> None:
    """Give one source, if any, what the others leave, in place."""
    if name is None:
        return
    place = sources.index(name)
    others = np.delete(estimates, place, axis=0)
    estimates[place] = mixture - others.sum(0, dtype=np.float64)


def _check_stems(paths: Sequence[Path], source: Path, overwrite: bool) -> None:
    for path in paths:
        if path.parent.exists() and not path.parent.is_dir():
            raise SeparationError(
                f"{path.parent} is a file where the folder of the stems should be; "
                "choose another --output"
            )
        if not path.exists():
            continue
        if source.exists() and path.samefile(source):
            raise SeparationError(
                f"{path} is the input and would be replaced by a stem; choose another "
                "--output"
            )
        if not overwrite or path.is_dir():
            raise SeparationError(f"{path} exists; give --overwrite to replace it")


@contextmanager
def _staging(output: Path) -> Iterator[Path]:
    """Make a hidden folder inside the output folder that goes away at the end."""
    made = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        staging = tempfile.TemporaryDirectory(prefix=".separate-", dir=output)
    except OSError as error:
        raise SeparationError(
            f"{output} cannot take stems: {error.strerror}; choose another --output"
        ) from error
    try:
        with staging as name:
            yield Path(name)
    finally:
        if made:
            with suppress(OSError):  # it is not empty, as it should be
                output.rmdir()


def _walk(
    separator: Separator, source: Path, info: audio.AudioInfo, rate: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield a file's [channels, n] and its [sources, channels, n] at a sample rate.

    The mixture waits in a queue until its estimates are there.
    """
    waiting, ready = Queue(), Queue()

    def kept(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            waiting.push(block)
            yield block

    blocks = audio.blocks(source, info.sample_rate)
    if rate == info.sample_rate:
        blocks = kept(blocks)
    blocks = _resampled(blocks, info.sample_rate, separator.sample_rate)
    if rate != info.sample_rate:
        blocks = kept(blocks)
    estimates = _resampled(separator.stream(blocks), separator.sample_rate, rate)
    seconds = info.samples / info.sample_rate
    for block in _progress(estimates, source.name, seconds, rate):
        ready.push(block)
        here = min(ready.samples, waiting.samples)
        if here:
            yield waiting.take(here), ready.take(here)
    if waiting.samples:
        raise RuntimeError(f"estimates of {source} end {waiting.samples} samples early")


def _resampled(
    blocks: Iterator[np.ndarray], source_rate: int, target_rate: int
) -> Iterator[np.ndarray]:
    """Resample blocks [..., n], all leading axes alike."""
    if source_rate == target_rate:
        yield from blocks
        return
    stream: ResampleStream | None = None
    for block in blocks:
        lead = block.shape[:-1]
        if stream is None:
            stream = ResampleStream(source_rate, target_rate, math.prod(lead))
        flat = stream.push(block.reshape(-1, block.shape[-1]))
        yield flat.reshape(*lead, flat.shape[-1])
    if stream is not None:
        flat = stream.push(np.zeros((math.prod(lead), 0), np.float32), last=True)
        yield flat.reshape(*lead, flat.shape[-1])


def _progress(
    blocks: Iterator[np.ndarray], name: str, seconds: float, rate: int
) -> Iterator[np.ndarray]:
    """Show seconds of sound on stderr where somebody watches."""
    shape = "{desc}: {percentage:3.0f}% {bar} {n:.0f}/{total:.0f} s [{remaining} left]"
    with tqdm(
        total=seconds, desc=name, disable=None, leave=False, bar_format=shape
    ) as bar:
        for block in blocks:
            yield block
            bar.update(block.shape[-1] / rate)


class _Meter:
    """Sums over a file as it goes by."""

    def __init__(self, sources: int) -> None:
        self.samples = 0
        self.peaks = np.zeros(sources)
        self._values = 0
        self._energies = np.zeros(sources)
        self._mixture = self._residual = 0.0

    def add(self, mixture: np.ndarray, estimates: np.ndarray) -> None:
        residual = mixture - estimates.sum(0, dtype=np.float64)
        self.samples += mixture.shape[1]
        self._values += mixture.size
        self.peaks = np.maximum(self.peaks, np.abs(estimates).max((1, 2)))
        self._energies += np.square(estimates, dtype=np.float64).sum((1, 2))
        self._mixture += float(np.square(mixture, dtype=np.float64).sum())
        self._residual += float(np.square(residual).sum())

    def level_db(self, source: int) -> float:
        return _decibel(self._energies[source], self._values)

    @property
    def residual_db(self) -> float:
        return _decibel(self._residual, self._mixture)


def _decibel(part: float, whole: float) -> float:
    if not part:
        return -math.inf
    return 10 * math.log10(part / whole) if whole else math.inf
