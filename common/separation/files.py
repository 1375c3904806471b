"""Sound files through a separator: one file per source.

The file is read, resampled, separated, resampled back and written block by block, so an
hour needs the memory of a few segments.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from common import audio
from common.audio.resample import ResampleStream
from common.audio.tags import read_tags
from common.separation.outputs import (
    FOLDERS,
    Form,
    check_new,
    copy_path,
    format_for,
    staged,
    stem_paths,
)
from common.separation.separator import Queue, SeparationError, Separator
from common.separation.summary import Meter, Summary
from common.separation.upper_band import Pair, complete

PREVIEW_SECONDS = 20.0
"""Length of a preview."""


@dataclass(frozen=True)
class Part:
    """The part of a sound that is separated.

    Attributes:
        start: First second.
        seconds: Length at most; None reaches to the end.
        loudest: Take the loudest part of that length instead, wherever it starts.

    Raises:
        SeparationError: A number is out of range.
    """

    start: float = 0.0
    seconds: float | None = None
    loudest: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start >= 0):
            raise SeparationError(f"start is {self.start:g} s; expected 0 or more")
        if self.seconds is None:
            return
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise SeparationError(
                f"duration is {self.seconds:g} s; expected more than 0"
            )


WHOLE = Part()
"""All of a sound."""


class _Excerpt(NamedTuple):
    """What is read of a file."""

    path: Path
    sample_rate: int
    channels: int
    start: int
    samples: int

    def blocks(self) -> Iterator[np.ndarray]:
        yield from audio.blocks(self.path, self.sample_rate, self.start, self.samples)


def separate_file(  # noqa: PLR0913 (each is one independent choice)
    separator: Separator,
    input: str | os.PathLike[str],  # noqa: A002
    output: str | os.PathLike[str],
    *,
    format: str = "wav",  # noqa: A002
    targets: Sequence[str] | None = None,
    overwrite: bool = False,
    form: Form = FOLDERS,
    part: Part = WHOLE,
    progress: Callable[[float], object] | None = None,
) -> Summary:
    """Separate a sound file, mostly to ``{output}/{input's stem}/{source}.{suffix}``.

    The stems have the channels and the exact length of the input, and its tags where
    their format has them. They appear all together or not at all.

    Args:
        separator: The model.
        input: Any file that `audio.blocks` reads.
        output: Folder for the results, made where it is missing.
        format: A key of `audio.FORMATS`, or ``"input"`` for container and bit depth of
            the input.
        targets: Sources to write; None writes all.
        overwrite: Replace stems that exist.
        form: What is written, and where.
        part: What of the input is separated.
        progress: Takes the fraction that is done, from 0 to 1, at the beginning and
            after each chunk; what it raises ends the separation, and nothing is left.

    Returns:
        What was written.

    Raises:
        SeparationError: A stem exists, or a target or format is unknown.
        OverwriteError: A stem would replace the input.
        AudioError: The input cannot be read or a stem not be written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> audio.write(folder / "a.wav", np.full((2, 800), 0.5, np.float32), 8000)
    >>> half = Separator(lambda x: np.stack([x / 2, x / 2], 1), ["b", "c"], 8000)
    >>> separate_file(half, folder / "a.wav", folder, progress=print).peaks
    0.0
    1.0
    {'b': 0.25, 'c': 0.25}
    """
    began, source, folder = time.perf_counter(), Path(input), Path(output)
    format = format_for(source, format)  # noqa: A001
    stems = stem_paths(separator, source, folder, format, targets, form)
    # A copy of the whole would not lie beside stems of a part.
    suffix = None if part == WHOLE else audio.FORMATS[format].suffix
    copies = copy_path(source, folder, form, suffix)
    paths = [*stems.values(), *copies]
    check_new(paths, source, overwrite)
    sound = _excerpt(source, part)
    rate = separator.sample_rate if form.rate == "model" else sound.sample_rate
    tags = read_tags(source)
    sources = [*stems] if form.two_stems else [*separator.sources]
    meter = Meter(len(sources))
    with staged(folder, paths) as drafts, ExitStack() as stack:

        def open_writer(path: Path) -> audio.Writer:
            writer = audio.Writer(drafts[path], rate, sound.channels, format, tags)
            return stack.enter_context(writer)

        writers = {name: open_writer(path) for name, path in stems.items()}
        mixed = [open_writer(path) for path in copies if part != WHOLE]
        for mixture, estimates in _walk(separator, sound, form, progress):
            meter.add(mixture, estimates)
            for name, writer in writers.items():
                writer.write(estimates[sources.index(name)])
            for writer in mixed:
                writer.write(mixture)
        for path in copies if part == WHOLE else ():
            shutil.copyfile(source, drafts[path])
    return Summary(
        name=source.name,
        folder=paths[0].parent,
        samples=meter.samples,
        sample_rate=rate,
        elapsed_seconds=time.perf_counter() - began,
        residual_db=meter.residual_db,
        peaks={name: float(meter.peaks[sources.index(name)]) for name in stems},
        levels_db={name: meter.level_db(sources.index(name)) for name in stems},
        clipped={name: writer.clipped for name, writer in writers.items()},
        channels=sound.channels,
        paths=stems,
        start_seconds=sound.start / sound.sample_rate,
        rest_of=form.two_stems,
    )


def _excerpt(path: Path, part: Part) -> _Excerpt:
    """Choose what is read of a file."""
    info = audio.probe(path)
    start, samples = round(part.start * info.sample_rate), info.samples
    if part.loudest:
        start = audio.loudest(path, part.seconds or PREVIEW_SECONDS)
    if part.seconds is not None:
        samples = max(1, round(part.seconds * info.sample_rate))
    if start >= info.samples:
        raise SeparationError(
            f"start {part.start:g} s leaves nothing of {path}, which lasts "
            f"{info.samples / info.sample_rate:.2f} s; start before its end"
        )
    samples = min(samples, info.samples - start)
    return _Excerpt(path, info.sample_rate, info.channels, start, samples)


def _walk(
    separator: Separator,
    sound: _Excerpt,
    form: Form,
    progress: Callable[[float], object] | None,
) -> Iterator[Pair]:
    """Yield the mixture [channels, n] and [stems, channels, n] as they are written."""
    tell = progress or (lambda _: None)
    tell(0.0)
    done = 0
    rate = separator.sample_rate if form.rate == "model" else sound.sample_rate
    total = math.ceil(sound.samples * rate / sound.sample_rate)
    for mixture, estimates in _rated(separator, sound, form):
        _complete(mixture, estimates, separator.sources, form.remainder)
        if form.two_stems:
            target = estimates[separator.sources.index(form.two_stems)]
            yield mixture, np.stack([target, mixture - target])
        else:
            yield mixture, estimates
        done += mixture.shape[1]
        tell(min(1.0, done / total))


def _complete(
    mixture: np.ndarray,
    estimates: np.ndarray,
    sources: Sequence[str],
    name: str | None,
) -> None:
    """Replace one source, if any, by what the others leave, in place."""
    if name is None:
        return
    index = sources.index(name)
    others = np.delete(estimates, index, axis=0)
    estimates[index] = mixture - others.sum(0, dtype=np.float64)


def _rated(separator: Separator, sound: _Excerpt, form: Form) -> Iterator[Pair]:
    """Yield [channels, n] and [sources, channels, n] at the rate of the stems.

    What a model of a lower rate leaves of the sound is divided among its sources. Of
    sources that are not all, the rest is one more until that is done.
    """
    model, rate = separator.sample_rate, sound.sample_rate
    if form.rate == "model" or model >= rate or form.remainder:
        at = model if form.rate == "model" else rate
        yield from _separated(separator, sound, at)
        return
    pairs = _separated(separator, sound, rate, not separator.complete)
    for mixture, estimates in complete(pairs, rate, model):
        yield mixture, estimates[: len(separator.sources)]


def _separated(
    separator: Separator, sound: _Excerpt, rate: int, with_rest: bool = False
) -> Iterator[Pair]:
    """Yield [channels, n] and [sources, channels, n] at a sample rate.

    The mixture waits in a queue until its estimates are there.
    """
    waiting, ready = Queue(), Queue()
    blocks = sound.blocks()
    if rate == sound.sample_rate:
        blocks = _kept(blocks, waiting)
    blocks = _resampled(blocks, sound.sample_rate, separator.sample_rate)
    if rate != sound.sample_rate:
        blocks = _kept(blocks, waiting)
    streamed = _with_rest(separator, blocks) if with_rest else separator.stream(blocks)
    estimates = _resampled(streamed, separator.sample_rate, rate)
    seconds = sound.samples / sound.sample_rate
    for block in _progress(estimates, sound.path.name, seconds, rate):
        ready.push(block)
        here = min(ready.samples, waiting.samples)
        if here:
            yield waiting.take(here), ready.take(here)
    if waiting.samples:
        raise RuntimeError(
            f"estimates of {sound.path} end {waiting.samples} samples early"
        )


def _kept(blocks: Iterator[np.ndarray], queue: Queue) -> Iterator[np.ndarray]:
    for block in blocks:
        queue.push(block)
        yield block


def _with_rest(
    separator: Separator, blocks: Iterator[np.ndarray]
) -> Iterator[np.ndarray]:
    """Separate blocks; what the sources leave of the mixture is one more source."""
    mixtures = Queue()
    for estimates in separator.stream(_kept(blocks, mixtures)):
        rest = mixtures.take(estimates.shape[-1]) - estimates.sum(0)
        yield np.concatenate([estimates, rest[np.newaxis]])


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
    if multiprocessing.parent_process():  # bars of several would overwrite each other
        yield from blocks
        return
    with tqdm(
        total=seconds, desc=name, disable=None, leave=False, bar_format=shape
    ) as bar:
        for block in blocks:
            yield block
            bar.update(block.shape[-1] / rate)
