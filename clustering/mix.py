"""Mixtures of clean sounds on disk: ``python -m clustering.mix SOUNDS --output DIR``.

SOUNDS is a folder with a folder of sounds for each speaker or class, or a corpus with
``--dataset``. Every mixture depends only on the seed and its number, and
``annotations/<split>/<name>.json`` describes it. After an interruption the same command
continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clustering.mixtures import (
    LAYOUTS,
    Clean,
    Layout,
    Mixture,
    MixtureConfig,
    Pool,
    draw,
)
from common import audio, cpus, files
from common.corpora import reading, sound_files
from common.corpora.track import CorpusError, Track
from common.corpora.waveforms import fingerprint, identity, modified
from common.errors import exit_code
from common.files import user_path, write_json

SPLITS = ("train", "valid", "test")
ALIASES = {"tr": "train", "cv": "valid", "validation": "valid", "val": "valid"}
ALIASES |= {"tt": "test", "eval": "test"} | {split: split for split in SPLITS}
COUNTS = {"train": 2000, "valid": 100, "test": 200}
HELD_OUT = 0.1
LIST = "@"
MARKER = "mixtures.json"
ANNOTATIONS = "annotations"


@dataclass(frozen=True)
class SplitRules:
    """How the sounds of a folder are labelled and split; patterns match paths.

    Attributes:
        speaker: Pattern whose first group is the label; none: the first folder.
        test: Pattern of the sounds of the test split, or ``@`` and a file that lists
            their paths; none: no pattern.
        valid: The same for the validation, among the other sounds.
        match: Pattern of the sounds to use; none: all.
        exclude: Pattern of sounds to leave out; none: none.
        by_label: If neither folders nor patterns define the splits, whether whole
            labels (speakers) are held out, or names (songs).
        least: Least number of labels of a split.
        seed: Seed of the division.
    """

    speaker: str | None = None
    test: str | None = None
    valid: str | None = None
    match: str | None = None
    exclude: str | None = None
    by_label: bool = True
    least: int = 2
    seed: int = 0


def folder_pools(root: Path, rules: SplitRules) -> dict[str, Pool]:
    """List the clean sounds of a folder and divide them among the splits.

    Folders named as splits (``train``, ``valid``, ``test``, or ``tr``, ``cv``, ``tt``)
    divide them. Otherwise the patterns do, or else a tenth is held out for each of
    valid and test.

    Args:
        root: The folder, searched to any depth.
        rules: How sounds are labelled and split.

    Returns:
        A pool by split, without splits that the patterns leave empty.

    Raises:
        CorpusError: There is nothing to use, a sound has no label, or a pattern is
            invalid or matches nothing.
    """
    folder = reading.folder_of("clean sounds", user_path(root), "sounds by label")
    paths = _paths(folder, rules)
    heads = {path.split("/")[0] for path in paths}
    if heads <= set(ALIASES):
        splits = {path: ALIASES[path.split("/")[0]] for path in paths}
        return _pools(folder, splits, lambda path: path.partition("/")[2], rules)
    if rules.test or rules.valid:
        return _pools(folder, _split_by_pattern(paths, rules), str, rules)
    pools = _pools(folder, dict.fromkeys(paths, "train"), str, rules)
    return divide(pools["train"], rules)


def track_pool(tracks: Iterable[Track]) -> Pool:
    """Sort the sources of tracks by their names.

    Raises:
        CorpusError: A source is not a file.
    """
    pool: dict[str, dict[str, Clean]] = {}
    for track in tracks:
        for name, sound in track.sources.items():
            if isinstance(sound, np.ndarray):
                raise CorpusError(f"{track.name}/{name} is not a file; write it first.")
            clean = Clean(sound, track.sample_rate, track.samples)
            pool.setdefault(name, {})[track.name] = clean
    return pool


def divide(pool: Pool, rules: SplitRules) -> dict[str, Pool]:
    """Hold out a tenth of the labels, or of the names, for each of valid and test.

    Raises:
        CorpusError: There are too few.

    >>> a = Clean(Path("a.wav"), 8000, 100)
    >>> pools = divide({str(n): {"a.wav": a} for n in range(20)}, SplitRules())
    >>> [len(pools[split]) for split in SPLITS]
    [16, 2, 2]
    """
    names = {name for sounds in pool.values() for name in sounds}
    items = sorted(pool if rules.by_label else names)
    least = rules.least if rules.by_label else 1
    held = max(least, round(HELD_OUT * len(items)))
    if len(items) < 3 * least:
        raise CorpusError(
            f"The sounds have {len(items)} {'labels' if rules.by_label else 'names'}, "
            f"too few for train, valid and test of {least} or more each; "
            "add more, or define the splits by --test-files and --valid-files."
        )
    order = np.random.default_rng(rules.seed).permutation(len(items))
    shuffled = [items[index] for index in order]
    parts = (shuffled[2 * held :], shuffled[held : 2 * held], shuffled[:held])
    return {
        split: _select(pool, set(part), rules.by_label)
        for split, part in zip(SPLITS, parts, strict=True)
    }


def make(
    pools: Mapping[str, Pool],
    output: Path,
    counts: Mapping[str, int],
    config: MixtureConfig,
    *,
    layout: Layout = "wsj0_2mix",
    jobs: int | None = None,
) -> bool:
    """Write mixtures in the layout of a corpus, all of them or none.

    Finished mixtures stay in a hidden folder beside the output until all are complete,
    so that the same call continues after a kill.

    Args:
        pools: Sounds of each split.
        output: Folder to make.
        counts: Number of mixtures of each split; a split of 0 is left out.
        config: Parameters of the mixtures.
        layout: A key of ``LAYOUTS``.
        jobs: Threads; none: one for each CPU. The files do not depend on it.

    Returns:
        Whether mixtures were written; False if the output holds the same set.

    Raises:
        CorpusError: The configuration or the sounds allow no mixture, or the output
            holds something else.
    """
    counts = {split: counts[split] for split in SPLITS if counts.get(split)}
    _validate(pools, counts, config)
    facts = {"layout": layout, "counts": counts, "recipe": asdict(config)}
    digest = _digest(facts, pools)
    output = user_path(output).resolve()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        _expect_same(output, facts, pools, digest)
        return False
    work = output.with_name(f".{output.name}.{digest[:12]}.partial")
    with files.locked(work):
        work.mkdir(parents=True, exist_ok=True)
        tasks = [(split, index) for split in counts for index in range(counts[split])]
        write = partial(_write, work, output, pools, config, layout)
        with ThreadPoolExecutor(cpus.threads(jobs)) as pool:
            done = pool.map(write, tasks)
            list(tqdm(done, "mix", len(tasks), disable=None, leave=False))
        shutil.rmtree(work / ".done")
        sounds = {split: _sizes(pools[split]) for split in counts}
        write_json({**facts, "sounds": sounds, "digest": digest}, work / MARKER)
        if output.is_dir():
            output.rmdir()
        work.replace(output)
    return True


def _select(pool: Pool, items: set[str], by_label: bool) -> Pool:
    if by_label:
        return {label: pool[label] for label in pool if label in items}
    kept = {
        label: {name: clean for name, clean in sounds.items() if name in items}
        for label, sounds in pool.items()
    }
    return {label: sounds for label, sounds in kept.items() if sounds}


def _paths(folder: Path, rules: SplitRules) -> list[str]:
    """Return the paths of the sounds to use, relative to the folder."""
    paths = sorted(
        file.relative_to(folder).as_posix()
        for file in sound_files.sounds_below(folder, audio.SUFFIXES)
    )
    used = _matcher(rules.match) if rules.match else lambda path: True
    excluded = _matcher(rules.exclude) if rules.exclude else lambda path: False
    kept = [path for path in paths if used(path) and not excluded(path)]
    if not kept:
        raise CorpusError(
            f"clean sounds: {folder} holds {len(paths)} sound(s), of which --match "
            f"{rules.match!r} and --exclude {rules.exclude!r} leave none; check them."
        )
    return kept


def _split_by_pattern(paths: Iterable[str], rules: SplitRules) -> dict[str, str]:
    """Return the split of each path; a match of both patterns is for the test."""
    splits = dict.fromkeys(paths, "train")
    for split, pattern in (("valid", rules.valid), ("test", rules.test)):
        if pattern is None:
            continue
        held = list(filter(_matcher(pattern), splits))
        if not held:
            raise CorpusError(
                f"clean sounds: --{split}-files {pattern!r} matches none of "
                f"{len(splits)} sounds, such as {next(iter(splits))}; check it."
            )
        splits |= dict.fromkeys(held, split)
    return splits


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Return the test whether a path matches a pattern or is in a list after ``@``."""
    if pattern.startswith(LIST):
        lines = Path(pattern[1:]).read_text(encoding="utf-8").splitlines()
        return {line.strip() for line in lines}.__contains__
    compiled = _compiled(pattern)
    return lambda path: compiled.search(path) is not None


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise CorpusError(
            f"the pattern {pattern!r} is no regular expression ({error}); put a "
            "backslash before a character that is meant literally."
        ) from error


def _pools(
    folder: Path,
    splits: Mapping[str, str],
    inner: Callable[[str], str],
    rules: SplitRules,
) -> dict[str, Pool]:
    """Measure sounds and sort them by split, label and name."""
    infos = reading.measure(folder / path for path in splits)
    pools: dict[str, dict[str, dict[str, Clean]]] = {}
    for path, split in splits.items():
        label, name = _label(inner(path), rules)
        info = infos[folder / path]
        clean = Clean(folder / path, info.sample_rate, info.samples)
        pools.setdefault(split, {}).setdefault(label, {})[name] = clean
    return dict(pools)


def _label(path: str, rules: SplitRules) -> tuple[str, str]:
    """Return the label of a sound and its name within the label."""
    if rules.speaker is None:
        label, _, name = path.partition("/")
        if not name:
            raise CorpusError(
                f"clean sounds: {path} is in no folder that would name its label; "
                "sort sounds into folders, or name a pattern with --speaker."
            )
        return label, name
    match = _compiled(rules.speaker).search(path)
    if match is None or not match.groups() or not match[1]:
        raise CorpusError(
            f"clean sounds: --speaker {rules.speaker!r} finds no speaker in {path}; "
            "expected a pattern with one group, such as '^([a-z]+)_'."
        )
    return match[1], path


def _write(
    work: Path,
    output: Path,
    pools: Mapping[str, Pool],
    config: MixtureConfig,
    layout: Layout,
    task: tuple[str, int],
) -> None:
    """Draw and write one mixture, unless an earlier run did."""
    split, index = task
    done = work / ".done" / f"{split}-{index}"
    if done.exists():
        return
    rng = np.random.default_rng([config.seed, SPLITS.index(split), index])
    annotation, sources = draw(pools[split], config, rng)
    by_label = config.labels == "classes"
    mixture = Mixture(split, index, annotation, sources, by_label, output)
    name = LAYOUTS[layout](work, mixture)
    file = work / ANNOTATIONS / split / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(file, json.dumps(annotation, indent=1) + "\n")
    done.parent.mkdir(exist_ok=True)
    done.touch()


def _validate(
    pools: Mapping[str, Pool], counts: Mapping[str, int], config: MixtureConfig
) -> None:
    if not counts or min(counts.values()) < 0:
        raise CorpusError(
            f"the numbers of mixtures are {dict(counts)}; expected 1 or more in a "
            "split, and none below 0."
        )
    if config.sources < 2:
        raise CorpusError(f"--sources is {config.sources}; a mixture has 2 or more.")
    if config.sample_rate < 1:
        raise CorpusError(f"--sample-rate is {config.sample_rate} Hz; expected 1 up.")
    if config.seed < 0:
        raise CorpusError(f"--seed is {config.seed}; expected 0 or more.")
    for flag, bounds, least, unit in (
        ("--seconds", config.seconds, 1 / config.sample_rate, "at least one sample"),
        ("--snr", config.snr_db, -np.finfo(float).max, "finite numbers of dB"),
    ):
        is_finite = not bounds or np.isfinite(bounds[1] - bounds[0])
        if bounds and not (is_finite and least <= bounds[0] <= bounds[1]):
            raise CorpusError(
                f"{flag} is {bounds[0]:g} {bounds[1]:g}; expected the lower bound "
                f"first, and {unit}."
            )
    empty = [split for split in counts if not pools.get(split)]
    if empty:
        raise CorpusError(
            f"the split {empty[0]} has no sounds for its {counts[empty[0]]} mixtures; "
            f"name its sounds by --{empty[0]}-files, or ask for 0 of them."
        )


def _digest(
    facts: Mapping, pools: Mapping[str, Pool], stamp: Callable = fingerprint
) -> str:
    """Return the digest of all that the files depend on, the sounds included."""
    sounds = [
        (split, label, name, clean.samples, identity(clean.sound, stamp))
        for split in facts["counts"]
        for label, row in sorted(pools[split].items())
        for name, clean in sorted(row.items())
    ]
    text = json.dumps([facts, sounds], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _sizes(pool: Pool) -> dict[str, int]:
    return {label: len(row) for label, row in sorted(pool.items())}


def _expect_same(
    output: Path, facts: Mapping, pools: Mapping[str, Pool], digest: str
) -> None:
    """Refuse a folder that does not hold the same set."""
    try:
        present = json.loads((output / MARKER).read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        present = None
    # Releases up to 0.1.0 identified sounds by the times of their files.
    if present not in (digest, _digest(facts, pools, modified)):
        raise CorpusError(
            f"{output} holds {'other mixtures' if present else 'something else'}; name "
            "another --output, or remove it."
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Write mixtures of clean sounds; return the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("clustering.mix", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    jobs = cpus.threads(options.jobs)
    config = MixtureConfig(
        sources=options.sources,
        labels=options.labels,
        coherent=options.coherent,
        seconds=_range(options.seconds, "--seconds"),
        snr_db=_range(options.snr, "--snr"),
        sample_rate=options.sample_rate,
        seed=options.seed,
    )
    counts = {split: getattr(options, split) for split in SPLITS}
    used = [split for split in SPLITS if counts[split]]
    if options.dataset:
        pools = _corpus_pools(options, used)
    else:
        pools = folder_pools(options.sounds, _rules(options))
    layout = options.layout
    is_new = make(pools, options.output, counts, config, layout=layout, jobs=jobs)
    for split in used:
        labels = ", ".join(f"{k} ({len(v)})" for k, v in sorted(pools[split].items()))
        sys.stdout.write(f"{split}: {counts[split]} mixtures of {labels}\n")
    sys.stdout.write(
        f"To train on them: python -m clustering.train with PRESET dataset={layout} "
        f"data_root={shlex.quote(str(options.output))} "
        f"sample_rate={config.sample_rate}\n"
    )
    sys.stdout.write(f"{options.output}{'' if is_new else ': already complete'}\n")
    return 0


def _rules(options: argparse.Namespace) -> SplitRules:
    return SplitRules(
        speaker=options.speaker,
        test=options.test_files,
        valid=options.valid_files,
        match=options.match,
        exclude=options.exclude,
        by_label=options.labels == "speakers",
        least=options.sources,
        seed=options.seed,
    )


def _range(bounds: Sequence[float] | None, flag: str) -> tuple[float, float] | None:
    """Return one number, or a lower and an upper bound."""
    if bounds is None:
        return None
    if len(bounds) > 2:
        raise CorpusError(f"{flag} takes one number or two, not {len(bounds)}.")
    return bounds[0], bounds[-1]


def _corpus_pools(
    options: argparse.Namespace, splits: Sequence[str]
) -> dict[str, Pool]:
    """Return the sources of the tracks of a corpus, by its own splits."""
    # These import TensorFlow, which folders of sounds do not need.
    from clustering import corpus
    from clustering.config import ClusteringConfig
    from common.config import override

    values = {"dataset": options.dataset, "data_root": str(options.sounds)}
    values |= {"sample_rate": options.corpus_rate or options.sample_rate}
    values |= {"allow_cut": options.allow_cut}
    values |= {"sources": options.group} if options.group else {}
    config = override(ClusteringConfig(), values)
    root = corpus.root(config)
    return {split: track_pool(corpus.tracks(config, root, split)) for split in splits}


def _parser() -> argparse.ArgumentParser:
    default = MixtureConfig()
    parser = argparse.ArgumentParser("clustering.mix", description=__doc__)
    add = parser.add_argument
    add("sounds", type=Path, help="folder of sounds by label, or of the corpus")
    add("--output", type=Path, required=True, help="folder to make")
    add(
        "--layout",
        default="wsj0_2mix",
        choices=list(LAYOUTS),
        help="layout of the output (default: %(default)s)",
    )
    add("--dataset", help="corpus that the folder holds, named as in training")
    add("--group", help="sources of the corpus, such as vocals,drums+bass+other")
    add("--allow-cut", action="store_true", help="trim tracks to their shortest file")
    add("--corpus-rate", type=int, help="rate in the names of the corpus's folders")
    add(
        "--sources",
        type=int,
        default=default.sources,
        help="sources of a mixture (default: %(default)s)",
    )
    add(
        "--labels",
        default=default.labels,
        choices=["speakers", "classes"],
        help="what the labels are (default: %(default)s)",
    )
    add("--coherent", action="store_true", help="same excerpt of files of equal names")
    add(
        "--seconds",
        type=float,
        nargs="+",
        help="length of a mixture, or shortest and longest",
    )
    add(
        "--snr",
        type=float,
        nargs="+",
        help="level relative to the first source in dB, or lowest and highest",
    )
    add(
        "--sample-rate",
        type=int,
        default=default.sample_rate,
        help="rate of the mixtures, in Hz (default: %(default)s)",
    )
    add(
        "--speaker",
        help="regular expression whose group is the label (default: the first folder)",
    )
    add(
        "--test-files",
        help="regular expression, or @FILE of paths: sounds for the test split only",
    )
    add("--valid-files", help="the same for the validation split")
    add("--match", help="regular expression of the sounds to use")
    add("--exclude", help="regular expression of the sounds to leave out")
    for split, count in COUNTS.items():
        about = f"number of mixtures of {split} (default: {count})"
        add(f"--{split}", type=int, default=count, help=about)
    add("--seed", type=int, default=default.seed, help="default: %(default)s")
    add("--jobs", "--num-workers", type=int, help="threads (default: one for each CPU)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
