"""Sound files through a separator: one file per source.

The file is read, resampled, separated, resampled back and written block by block, so an
hour needs the memory of a few segments, and stems can be read while they grow.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common import audio
from common.audio.pipes import PipedSound
from common.audio.resample import ResampleStream
from common.audio.tags import read_tags
from common.separation.inputs import (
    STANDARD_INPUT,
    WHOLE,
    Excerpt,
    Part,
    excerpt,
    path_or_pipe,
)
from common.separation.outputs import (
    FOLDERS,
    Form,
    check_new,
    growing,
    outputs_of,
    part_path,
    staged,
)
from common.separation.separator import Queue, SeparationError, Separator
from common.separation.summary import Activity, Meter, Summary
from common.separation.upper_band import Pair, complete


class Delay:
    """Measures how many seconds the written sound lags behind the sound read.

    >>> delay = Delay()
    >>> for _ in delay.reading([np.zeros([1, 800])] * 3, 8000):
    ...     delay.written += 0.0625
    >>> round(delay.most, 4)
    0.175
    """

    def __init__(self) -> None:
        self.read = self.written = self.most = 0.0

    def reading(
        self, blocks: Iterable[np.ndarray], sample_rate: int
    ) -> Iterator[np.ndarray]:
        """Pass on blocks [..., samples] as they are read."""
        for block in blocks:
            self.read += block.shape[-1] / sample_rate
            self.most = max(self.most, self.read - self.written)
            yield block


def separate_file(  # noqa: PLR0913 (each is one independent choice)
    separator: Separator,
    input: str | os.PathLike[str] | PipedSound,  # noqa: A002
    output: str | os.PathLike[str],
    *,
    format: str = "wav",  # noqa: A002
    targets: Sequence[str] | None = None,
    overwrite: bool = False,
    form: Form = FOLDERS,
    part: Part = WHOLE,
    live: bool = False,
    activity_seconds: float | None = None,
    progress: Callable[[float], object] | None = None,
) -> Summary:
    """Separate a sound file into ``{output}/{input without suffix}/{source}.{suffix}``.

    The stems have the channels and the exact length of the input, and its tags where
    their format has them. They appear all together or not at all.

    Args:
        separator: The model.
        input: Any file that `audio.blocks` reads, or the sound of a pipe.
        output: Folder for the results, made where it is missing.
        format: A key of `audio.FORMATS`, or ``"input"`` for container and bit depth of
            the input.
        targets: Sources to write; None writes all.
        overwrite: Replace stems that exist.
        form: Which files are written, and their paths.
        part: Part of the input to separate.
        live: Write each chunk as soon as it is certain, to stems that others may read
            and that end in ``.part`` before their suffix until all are complete.
        activity_seconds: Length of the windows in which the summary states the levels
            of mixture and stems over time; None: it does not.
        progress: Called with the fraction done, from 0 to 1, at the beginning and
            after each chunk; an exception in it ends the separation without a trace.
            If the length is unknown, it is called with 0, and with 1 at the end.

    Returns:
        The summary of what was written.

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
    began, whole = time.perf_counter(), part == WHOLE
    source, pipe = path_or_pipe(input)
    if pipe:  # its bytes are gone once they are decoded
        form = replace(form, original=False)
    outputs = outputs_of(
        source, separator, Path(output), format, targets, form, whole=whole
    )
    paths = outputs.paths
    check_new([*paths, *map(part_path, paths)] if live else paths, source, overwrite)
    sound = excerpt(input, part, counted=not live)
    if live:
        check_latency(separator)
    rate = separator.sample_rate if form.rate == "model" else sound.sample_rate
    tags = pipe.tags if pipe else read_tags(source)
    sources = [*outputs.stems] if form.two_stems else [*separator.sources]
    meter, delay = Meter(len(sources), _window_samples(activity_seconds, rate)), Delay()
    drafted = growing if live else staged
    with drafted(outputs.folder, paths) as drafts, ExitStack() as stack:

        def open_writer(path: Path) -> audio.Writer:
            writer = audio.Writer(
                drafts[path], rate, sound.channels, outputs.format, tags, growing=live
            )
            return stack.enter_context(writer)

        writers = {name: open_writer(path) for name, path in outputs.stems.items()}
        # Beside stems of a part, a copy of the whole input would be wrong.
        mixed = [] if whole else [open_writer(path) for path in outputs.copies]
        numbered = {sources.index(name): writer for name, writer in writers.items()}
        blocks = separated_blocks(separator, sound, form, progress, delay)
        _write(blocks, numbered, mixed, meter)
        for path in outputs.copies if whole else ():
            shutil.copyfile(source, drafts[path])
    return Summary(
        name=STANDARD_INPUT if pipe else source.name,
        folder=paths[0].parent,
        sample_rate=rate,
        elapsed_seconds=time.perf_counter() - began,
        clipped={name: writer.clipped for name, writer in writers.items()},
        channels=sound.channels,
        paths=outputs.stems,
        start_seconds=sound.start / sound.sample_rate,
        rest_of=form.two_stems,
        latency_seconds=delay.most if live else None,
        streams=sound.streams,
        **_levels(meter, rate, sources, outputs.stems),
    )


def _write(
    pairs: Iterable[Pair],
    stems: Mapping[int, audio.Writer],
    mixtures: Sequence[audio.Writer],
    meter: Meter,
) -> None:
    """Write blocks of stems, by the index of their source, and of the mixture."""
    for mixture, estimates in pairs:
        meter.add(mixture, estimates)
        for number, writer in stems.items():
            writer.write(estimates[number])
        for writer in mixtures:
            writer.write(mixture)


def _window_samples(seconds: float | None, rate: int) -> int | None:
    """Return the samples of a window of the levels over time; None without them."""
    if seconds is None:
        return None
    if not 1 <= seconds * rate < math.inf:
        raise SeparationError(
            f"activity is {seconds:g} s; expected the length of a window, such as 1"
        )
    return round(seconds * rate)


def _levels(
    meter: Meter, rate: int, sources: Sequence[str], stems: Iterable[str]
) -> dict[str, Any]:
    """Return the fields of a summary that the meter has measured."""
    numbers = {name: sources.index(name) for name in stems}
    activity = None
    if meter.window_samples:
        mixture, *levels = meter.levels_db().tolist()
        windows = {name: levels[number] for name, number in numbers.items()}
        activity = Activity(meter.window_samples / rate, mixture, windows)
    return {
        "samples": meter.samples,
        "residual_db": meter.residual_db,
        "peaks": {name: float(meter.peaks[number]) for name, number in numbers.items()},
        "levels_db": {name: meter.level_db(number) for name, number in numbers.items()},
        "activity": activity,
    }


def check_latency(separator: Separator) -> None:
    """Refuse a separator whose estimates are certain only at the end of the sound.

    >>> check_latency(Separator(abs, ["a"], 8000, segment_seconds=1.0))
    """
    if separator.latency_seconds == math.inf:
        raise SeparationError(
            "the model takes the whole sound at once, so nothing is certain before its "
            "end; set segment_seconds"
        )


def separated_blocks(
    separator: Separator,
    sound: Excerpt,
    form: Form = FOLDERS,
    progress: Callable[[float], object] | None = None,
    delay: Delay | None = None,
) -> Iterator[Pair]:
    """Separate a sound chunk by chunk, each as soon as it is certain.

    Args:
        separator: The model.
        sound: From :func:`excerpt`.
        form: Which files are written.
        progress: As `separate_file` takes it.
        delay: Follows the estimates.

    Yields:
        The mixture [channels, n] and the stems [stems, channels, n] at the rate of the
        stems, in blocks of any length.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.wav")
    >>> audio.write(path, np.ones([1, 800], np.float32), 8000)
    >>> same = Separator(lambda x: x[:, None], ["all"], 8000)
    >>> [stems.shape for _, stems in separated_blocks(same, excerpt(path))]
    [(1, 1, 800)]
    """
    delay = delay or Delay()
    rate = separator.sample_rate if form.rate == "model" else sound.sample_rate
    with _progress(separator, sound, progress, delay) as report:
        for mixture, estimates in _full_band(separator, sound, form, delay):
            _complete(mixture, estimates, separator.sources, form.remainder)
            delay.written += mixture.shape[1] / rate
            if form.two_stems:
                target = estimates[separator.sources.index(form.two_stems)]
                yield mixture, np.stack([target, mixture - target])
            else:
                yield mixture, estimates
            report(delay.written)


def _complete(
    mixture: np.ndarray,
    estimates: np.ndarray,
    sources: Sequence[str],
    name: str | None,
) -> None:
    """Replace one source, if any, by the mixture minus the others, in place."""
    if name is None:
        return
    index = sources.index(name)
    others = np.delete(estimates, index, axis=0)
    estimates[index] = mixture - others.sum(0, dtype=np.float64)


def _full_band(
    separator: Separator, sound: Excerpt, form: Form, delay: Delay
) -> Iterator[Pair]:
    """Yield [channels, n] and [sources, channels, n] at the rate of the stems.

    The sound above the band of a model of a lower rate is divided among its sources. If
    these do not add up to the mixture, the rest of it counts as one more source.
    """
    model, rate = separator.sample_rate, sound.sample_rate
    if form.rate == "model" or model >= rate or form.remainder:
        at = model if form.rate == "model" else rate
        yield from _separated(separator, sound, at, delay)
        return
    pairs = _separated(separator, sound, rate, delay, not separator.complete)
    for mixture, estimates in complete(pairs, rate, model):
        yield mixture, estimates[: len(separator.sources)]


def _separated(
    separator: Separator,
    sound: Excerpt,
    rate: int,
    delay: Delay,
    with_rest: bool = False,
) -> Iterator[Pair]:
    """Yield [channels, n] and [sources, channels, n] at a sample rate.

    The mixture waits in a queue for its estimates.
    """
    waiting, ready = Queue(), Queue()
    blocks = delay.reading(sound.blocks(), sound.sample_rate)
    if rate == sound.sample_rate:
        blocks = _tee(blocks, waiting)
    blocks = _resampled(blocks, sound.sample_rate, separator.sample_rate)
    if rate != sound.sample_rate:
        blocks = _tee(blocks, waiting)
    streamed = _with_rest(separator, blocks) if with_rest else separator.stream(blocks)
    estimates = _resampled(streamed, separator.sample_rate, rate)
    for block in estimates:
        ready.push(block)
        here = min(ready.samples, waiting.samples)
        if here:
            yield waiting.take(here), ready.take(here)
    if waiting.samples:
        raise RuntimeError(
            f"estimates of {sound.path} end {waiting.samples} samples early"
        )


def _tee(blocks: Iterator[np.ndarray], queue: Queue) -> Iterator[np.ndarray]:
    """Pass on blocks, and queue them too."""
    for block in blocks:
        queue.push(block)
        yield block


def _with_rest(
    separator: Separator, blocks: Iterator[np.ndarray]
) -> Iterator[np.ndarray]:
    """Separate blocks, with the mixture minus all sources as one more source."""
    mixtures = Queue()
    for estimates in separator.stream(_tee(blocks, mixtures)):
        rest = mixtures.take(estimates.shape[-1]) - estimates.sum(0)
        yield np.concatenate([estimates, rest[np.newaxis]])


def _resampled(
    blocks: Iterator[np.ndarray], source_rate: int, target_rate: int
) -> Iterator[np.ndarray]:
    """Resample blocks [..., n] along their last axis."""
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


@contextmanager
def _progress(
    separator: Separator,
    sound: Excerpt,
    progress: Callable[[float], object] | None,
    delay: Delay,
) -> Iterator[Callable[[float], None]]:
    """Yield a callback for the seconds done, which reports and draws the progress.

    During a pass through the network, the fraction of it that is done counts too.
    """
    seconds = sound.samples / sound.sample_rate if sound.samples else math.inf
    added = seconds
    if separator.latency_seconds < seconds:
        added = separator.hop_seconds
    most = 0.0
    progress = progress or (lambda _: None)
    progress(0.0)
    with _bar(sound.path.name, seconds) as bar:

        def report(done: float) -> None:
            nonlocal most
            if most < done < seconds < math.inf:
                progress(done / seconds)
            if done > most:
                bar.update(done - most)
                most = done

        if separator.watch and seconds < math.inf:
            separator.watch(
                lambda part: report(min(seconds, delay.written + part * added))
            )
        try:
            yield report
        finally:
            if separator.watch:
                separator.watch(None)
    progress(1.0)


def _bar(name: str, seconds: float) -> tqdm:
    """Make a progress bar in seconds on standard error, shown on a terminal only."""
    shape = "{desc}: {n:.0f} s"
    if seconds < math.inf:
        shape = (
            "{desc}: {percentage:3.0f}% {bar} {n:.0f}/{total:.0f} s [{remaining} left]"
        )
    # Bars of several processes would overwrite each other.
    hidden = True if multiprocessing.parent_process() else None
    return tqdm(
        total=None if seconds == math.inf else seconds,
        desc=name,
        disable=hidden,
        leave=False,
        bar_format=shape,
    )
