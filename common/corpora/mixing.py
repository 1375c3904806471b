"""Make a set in the layout of FUSS from your recordings.

``python -m common.corpora.mixing SOURCE... --output DIR``: every SOURCE, a folder or a
file of any audio format, is one class of sound. A mixture has at most one source of
each class: a background over its whole length, and foregrounds placed at an offset. No
recording, or with ``--by-time`` no part of one, is used in two splits. Short recordings
are joined, excerpts are taken of long ones, and silent excerpts are skipped.

A mixture is a function of the seed, its split and its number. It draws a kind of sound
again where an excerpt turns out silent, so it reads files between its draws. Two other
programs mix by rules of their own and share no draw with this one: ``mixit.augment``
follows lists drawn without reading, ``clustering.mix`` sets levels against the first
speaker.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from scipy import signal

from common import audio, cpus
from common.audio.resample import resample
from common.corpora import fuss
from common.corpora.recordings import Kinds, Recording, divide, find_kinds
from common.corpora.track import CorpusError
from common.errors import exit_code
from common.files import replacing_folder
from common.overwriting import refuse_replacing_folder
from common.synthetic.synthesis import ramps

BACKGROUND_DB = -25.0
"""Level of the background, root mean square relative to full scale."""
SILENCE_DB = -60.0
"""An excerpt below this level, relative to full scale, is silent."""
ACTIVE_SHARE = {"background": 0.5, "foreground": 0.25}
"""Share of an excerpt's 25 ms frames that must lie within 40 dB of its loudest."""
TRIES = 20


@dataclass(frozen=True)
class MixingOptions:
    """Parameters of the mixtures.

    Attributes:
        seconds: Length of every mixture.
        sample_rate: Rate of the written files, in Hz.
        max_sources: Most sources in a mixture, one of which is the background.
        single_share: Share of training mixtures with only a background; the others
            have 2 to max_sources, uniformly. Validation and eval draw 1 to max_sources
            uniformly.
        snr_range: Lowest and highest level of a foreground over the background, in dB.
        by_time: Cut each recording in time (first part for training, last quarter for
            eval) if a kind has few recordings.
        seed: Equal seeds and sources give equal files.
    """

    seconds: float = 4.0
    sample_rate: int = 8000
    max_sources: int = 2
    single_share: float = 0.1
    snr_range: tuple[float, float] = (-5.0, 5.0)
    by_time: bool = False
    seed: int = 0


def make(
    sources: Sequence[Path],
    output: Path,
    counts: Mapping[str, int],
    options: MixingOptions,
    *,
    jobs: int | None = None,
    overwrite: bool = False,
) -> Counter[str]:
    """Write a set in the layout of FUSS, atomically.

    Args:
        sources: Folders or files, each one kind of sound.
        output: Folder to make.
        counts: Number of mixtures of each split; a split of 0 is left out.
        options: Parameters of the mixtures.
        jobs: Threads; None takes one for each CPU. The result does not depend on
            it.
        overwrite: Replace an earlier set in that folder.

    Returns:
        Counts: ``"train 2"`` is the number of training mixtures of two sources,
        ``"silent <source>"`` that of the silent excerpts of a source.

    Raises:
        CorpusError: The sources are missing, too few or silent, or the options are
            impossible.
        FileExistsError: The output folder is in use.
    """
    counts = {split: counts[split] for split in fuss.SPLITS if counts.get(split)}
    _check(options, counts)
    kinds = find_kinds(sources)
    if len(kinds) < options.max_sources:
        raise CorpusError(
            f"Mixtures of {options.max_sources} sources need as many kinds of sound; "
            f"{len(kinds)} given; name more folders or lower --max-sources."
        )
    splits = divide(kinds, list(counts), by_time=options.by_time, seed=options.seed)
    lists = [output / fuss.list_name(split) for split in fuss.SPLITS]
    refuse_replacing_folder(output, sources)
    replace = overwrite and any(path.is_file() for path in lists)
    made: Counter[str] = Counter()
    with (
        replacing_folder(output, overwrite=replace) as root,
        ThreadPoolExecutor(cpus.threads(jobs)) as pool,
    ):
        for split, count in counts.items():
            work = partial(_make_example, root, split, splits[split], options)
            results = list(pool.map(work, range(count)))
            fuss.write_list(root, split, [line for line, _ in results])
            for line, silent in results:
                made[f"{split} {line.count(chr(9))}"] += 1
                made.update(silent)
    return made


def draw_sound(
    recordings: Sequence[Recording],
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
    *,
    active_share: float,
) -> tuple[np.ndarray | None, int]:
    """Draw a sound of one kind: an excerpt, or several joined ones.

    Args:
        recordings: Recordings of that kind.
        samples: Length; the sound is shorter if the recordings are.
        sample_rate: Rate of the result, in Hz.
        rng: Seeded generator.
        active_share: Share of frames that must not be silent.

    Returns:
        The sound, [samples], or None if 20 excerpts were silent; and the number of
        silent excerpts.
    """
    for silent in range(TRIES):
        sound = _join(recordings, samples, sample_rate, rng)
        level = 20 * np.log10(np.std(sound) + 1e-12)
        if level > SILENCE_DB and _active_share(sound, sample_rate) >= active_share:
            fade = sample_rate // 200
            return sound * ramps(len(sound), fade, fade), silent
    return None, TRIES


def _join(
    recordings: Sequence[Recording],
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return excerpts with short pauses between, each recording at most once."""
    lengths = np.array(
        [recording.samples / recording.sample_rate for recording in recordings]
    )
    order = rng.choice(
        len(recordings), len(recordings), replace=False, p=lengths / lengths.sum()
    )
    sound = np.zeros(0)
    for index in order:
        if len(sound) >= samples:
            break
        excerpt = _read(recordings[index], samples - len(sound), sample_rate, rng)
        fade = sample_rate // 200
        sound = np.append(sound, excerpt * ramps(len(excerpt), fade, fade))
        pause = round(rng.uniform(0.0, 0.1) * sample_rate)
        sound = np.append(sound, np.zeros(min(pause, samples - len(sound))))
    return sound[:samples]


def _read(
    recording: Recording, samples: int, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Return a random excerpt of a recording, mono and resampled."""
    length = -(-samples * recording.sample_rate // sample_rate)
    start = int(rng.integers(max(0, recording.samples - length) + 1))
    waveform, rate = audio.read(
        recording.path, recording.start + start, min(length, recording.samples)
    )
    mono = waveform.mean(axis=0, keepdims=True)
    # An offset or a rumble would dominate the level of the audible sound.
    rumble = signal.butter(2, 20.0, "highpass", fs=rate, output="sos")
    mono = signal.sosfilt(rumble, mono - mono.mean())
    return resample(mono.astype(np.float32), rate, sample_rate)[0, :samples]


def _active_share(sound: np.ndarray, sample_rate: int) -> float:
    """Return the share of 25 ms frames that lie within 40 dB of the loudest."""
    frame = max(1, sample_rate // 40)
    frames = np.pad(sound, (0, -len(sound) % frame)).reshape(-1, frame)
    power = np.mean(frames**2, axis=1)
    return float(np.mean(power > 1e-4 * power.max()))


def _make_example(
    root: Path, split: str, kinds: Kinds, options: MixingOptions, index: int
) -> tuple[str, Counter[str]]:
    """Write one example; return its line of the list and its silent excerpts."""
    rng = np.random.default_rng([options.seed, fuss.SPLITS.index(split), index])
    samples = round(options.seconds * options.sample_rate)
    count = _draw_count(split, options, rng)
    sources = np.zeros((count, samples))
    names, skipped = list(kinds), Counter[str]()
    for row in range(count):
        role = "foreground" if row else "background"
        length = round(samples * rng.uniform(0.5, 1.0)) if row else samples
        level = BACKGROUND_DB + (rng.uniform(*options.snr_range) if row else 0.0)
        candidates = _candidates(names, kinds, 0.0 if row else options.seconds)
        for name in map(str, rng.permutation(candidates)):
            names.remove(name)
            sound, silent = draw_sound(
                kinds[name],
                length,
                options.sample_rate,
                rng,
                active_share=ACTIVE_SHARE[role],
            )
            skipped[f"silent {name}"] += silent
            if sound is not None:
                break
        else:
            raise CorpusError(
                f"No source is left for a {role} of {options.seconds:g} s in split "
                f"{split}: too short or silent; lower --seconds or add recordings."
            )
        offset = int(rng.integers(samples - len(sound) + 1))
        sound = sound * 10 ** (level / 20) / np.sqrt(np.mean(sound**2))
        sources[row, offset : offset + len(sound)] = sound
    return fuss.write_example(root, split, index, sources, options.sample_rate), skipped


def _candidates(names: Sequence[str], kinds: Kinds, seconds: float) -> list[str]:
    """Return the kinds with recordings of at least that length together."""
    return [
        name
        for name in names
        if sum(recording.seconds for recording in kinds[name]) >= seconds
    ]


def _draw_count(split: str, options: MixingOptions, rng: np.random.Generator) -> int:
    """Return the number of sources of an example."""
    if options.max_sources == 1:
        return 1
    if split != "train":
        return int(rng.integers(1, options.max_sources + 1))
    if rng.random() < options.single_share:
        return 1
    return int(rng.integers(2, options.max_sources + 1))


def _check(options: MixingOptions, counts: Mapping[str, int]) -> None:
    """Raise an error for parameters out of range."""
    if not counts or min(counts.values()) < 0:
        raise CorpusError(f"The numbers of mixtures are {dict(counts)}; ask for some.")
    for name in ("seconds", "sample_rate", "max_sources"):
        if not 0 < getattr(options, name) < math.inf:
            raise CorpusError(
                f"{name} is {getattr(options, name)}; it must be above 0 and finite."
            )
    if options.seed < 0:
        raise CorpusError(f"seed is {options.seed}; it must be 0 or more.")
    low, high = options.snr_range
    if not -math.inf < low <= high < math.inf:
        raise CorpusError(
            f"snr_range is {low:g}, {high:g}; the lower level comes first, and "
            "both must be finite, in dB."
        )
    if not 0 <= options.single_share <= 1:
        raise CorpusError(
            f"single_share is {options.single_share}; it must lie between 0 and 1."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line; None takes that of the process.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    return exit_code("python -m common.corpora.mixing", partial(_run, options))


def _run(options: argparse.Namespace) -> int:
    """Write the set of the command line and print its counts."""
    names = [field.name for field in fields(MixingOptions)]
    mixing = MixingOptions(**{name: getattr(options, name) for name in names})
    made = make(
        options.sources,
        options.output,
        {split: getattr(options, split) for split in fuss.SPLITS},
        mixing,
        jobs=cpus.threads(getattr(options, "jobs", None)),
        overwrite=options.overwrite,
    )
    for split in fuss.SPLITS:
        parts = sorted(key for key in made if key.startswith(f"{split} "))
        text = ", ".join(f"{made[key]} of {key.split()[1]} source(s)" for key in parts)
        sys.stdout.write(f"{split}: {text or 'left out'}\n")
    for key in sorted(made):
        if key.startswith("silent ") and made[key]:
            name = key.removeprefix("silent ")
            sys.stdout.write(f"{made[key]} silent excerpts of {name} skipped\n")
    sys.stdout.write(f"{options.output}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    defaults = MixingOptions()
    parser = argparse.ArgumentParser(
        prog="python -m common.corpora.mixing",
        description=__doc__.split("\n\n")[1],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    suppressed = argparse.SUPPRESS  # keeps "default: None" out of the help
    add("sources", nargs="+", type=Path, help="folder or file, each one class of sound")
    add(
        "--output",
        type=Path,
        required=True,
        default=suppressed,
        help="folder to make",
    )
    add("--seconds", type=float, default=defaults.seconds, help="length of a mixture")
    rate = defaults.sample_rate
    add("--rate", dest="sample_rate", type=int, default=rate, help="sample rate in Hz")
    add("--train", type=int, default=200, help="mixtures for training")
    add("--validation", type=int, default=20, help="mixtures for validation")
    add("--eval", type=int, default=40, help="mixtures for evaluation")
    add(
        "--max-sources",
        type=int,
        default=defaults.max_sources,
        help="largest number of sources of a mixture",
    )
    add(
        "--single-share",
        type=float,
        default=defaults.single_share,
        help="fraction of training mixtures that have one source",
    )
    add(
        "--snr-range",
        type=float,
        nargs=2,
        default=defaults.snr_range,
        metavar=("LOW", "HIGH"),
        help="level of a foreground relative to the background, in dB",
    )
    add(
        "--by-time",
        action="store_true",
        help="where a class has few recordings, divide them in time among the splits",
    )
    add("--seed", type=int, default=defaults.seed, help="seed of every draw")
    add(
        "--jobs",
        type=int,
        default=suppressed,
        help="threads (default: one for each CPU)",
    )
    add("--overwrite", action="store_true", help="replace a set that exists")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
