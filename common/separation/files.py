"""Sound files through a separator: one file per source.

The file is read, resampled, separated, resampled back and written block by block, so an
hour needs the memory of a few segments.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common import audio
from common.audio.resample import ResampleStream
from common.separation.outputs import (
    FOLDERS,
    Form,
    check_new,
    copy_path,
    staged,
    stem_paths,
)
from common.separation.separator import Queue, Separator
from common.separation.summary import Meter, Summary
from common.separation.upper_band import Pair, complete


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
        SeparationError: A stem exists, or a target or format is unknown.
        OverwriteError: A stem would replace the input.
        AudioError: The input cannot be read or a stem not be written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> audio.write(folder / "a.wav", np.full((2, 800), 0.5, np.float32), 8000)
    >>> half = Separator(lambda x: np.stack([x / 2, x / 2], 1), ["b", "c"], 8000)
    >>> separate_file(half, folder / "a.wav", folder).peaks
    {'b': 0.25, 'c': 0.25}
    """
    began, source, folder = time.perf_counter(), Path(input), Path(output)
    stems = stem_paths(separator, source, folder, format, targets, form)
    copies = copy_path(source, folder, form)
    paths = [*stems.values(), *copies]
    check_new(paths, source, overwrite)
    info = audio.probe(source)
    rate = separator.sample_rate if form.rate == "model" else info.sample_rate
    indices = {name: separator.sources.index(name) for name in stems}
    meter = Meter(len(separator.sources))
    with staged(folder, paths) as drafts, ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                audio.Writer(drafts[path], rate, info.channels, format)
            )
            for name, path in stems.items()
        }
        for mixture, estimates in _walk(separator, source, info, form):
            _complete(mixture, estimates, separator.sources, form.remainder)
            meter.add(mixture, estimates)
            for name, writer in writers.items():
                writer.write(estimates[indices[name]])
        for path in copies:
            shutil.copyfile(source, drafts[path])
    return Summary(
        source.name,
        paths[0].parent,
        meter.samples,
        rate,
        time.perf_counter() - began,
        meter.residual_db,
        {name: float(meter.peaks[index]) for name, index in indices.items()},
        {name: meter.level_db(index) for name, index in indices.items()},
        {name: writer.clipped for name, writer in writers.items()},
    )


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


def _walk(
    separator: Separator, source: Path, info: audio.AudioInfo, form: Form
) -> Iterator[Pair]:
    """Yield a file's [channels, n] and its [sources, channels, n] as it is written.

    What a model of a lower rate leaves of the sound is divided among its sources. Of
    sources that are not all, the rest is one more until that is done.
    """
    model = separator.sample_rate
    if form.rate == "model" or model >= info.sample_rate or form.remainder:
        rate = model if form.rate == "model" else info.sample_rate
        yield from _separated(separator, source, info, rate)
        return
    pairs = _separated(
        separator, source, info, info.sample_rate, not separator.complete
    )
    for mixture, estimates in complete(pairs, info.sample_rate, model):
        yield mixture, estimates[: len(separator.sources)]


def _separated(
    separator: Separator,
    source: Path,
    info: audio.AudioInfo,
    rate: int,
    with_rest: bool = False,
) -> Iterator[Pair]:
    """Yield a file's [channels, n] and its [sources, channels, n] at a sample rate.

    The mixture waits in a queue until its estimates are there.
    """
    waiting, ready = Queue(), Queue()
    blocks = audio.blocks(source, info.sample_rate)
    if rate == info.sample_rate:
        blocks = _kept(blocks, waiting)
    blocks = _resampled(blocks, info.sample_rate, separator.sample_rate)
    if rate != info.sample_rate:
        blocks = _kept(blocks, waiting)
    streamed = _with_rest(separator, blocks) if with_rest else separator.stream(blocks)
    estimates = _resampled(streamed, separator.sample_rate, rate)
    seconds = info.samples / info.sample_rate
    for block in _progress(estimates, source.name, seconds, rate):
        ready.push(block)
        here = min(ready.samples, waiting.samples)
        if here:
            yield waiting.take(here), ready.take(here)
    if waiting.samples:
        raise RuntimeError(f"estimates of {source} end {waiting.samples} samples early")


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
    with tqdm(
        total=seconds, desc=name, disable=None, leave=False, bar_format=shape
    ) as bar:
        for block in blocks:
            yield block
            bar.update(block.shape[-1] / rate)
