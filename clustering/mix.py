"""Mixtures of clean sounds on disk: ``python -m clustering.mix SOUNDS --output DIR``.

SOUNDS is a folder with a folder of sounds for each speaker or kind of sound, or a
corpus with ``--dataset``. Every mixture depends on the seed and its number alone; what
it is made of stands in ``annotations/<split>/<name>.json``. Stopped at any time, the
same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clustering.mixing.clean_sounds import SPLITS, Pool, Rules, of_folder, of_tracks
from clustering.mixing.layouts import LAYOUTS, Mixed, Name
from clustering.mixing.mixtures import Recipe, draw
from common import files
from common.corpora.track import CorpusError
from common.corpora.waveforms import fingerprint, identity, modified
from common.errors import exit_code
from common.files import user_path, write_json

MARKER = "mixtures.json"
ANNOTATIONS = "annotations"


def make(
    pools: Mapping[str, Pool],
    output: Path,
    counts: Mapping[str, int],
    recipe: Recipe,
    *,
    layout: Name = "wsj0_2mix",
    jobs: int | None = None,
) -> bool:
    """Write mixtures in the layout of a corpus, all of them or none.

    What is done stays in a hidden folder beside the output until all is there, so that
    the same call goes on after a kill.

    Args:
        pools: What each split is drawn from.
        output: Folder to make.
        counts: Number of mixtures of each split; a split of 0 is left out.
        recipe: How they are made.
        layout: A key of ``LAYOUTS``.
        jobs: Threads; none: one a processor. The files do not depend on it.

    Returns:
        Whether anything was to do; not where the same set stands there already.

    Raises:
        CorpusError: The recipe or the sounds allow no mixture, or the output is in use.
    """
    counts = {split: counts[split] for split in SPLITS if counts.get(split)}
    _check(pools, counts, recipe)
    facts = {"layout": layout, "counts": counts, "recipe": asdict(recipe)}
    digest = _digest(facts, pools)
    output = user_path(output).resolve()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        _expect_same(output, facts, pools, digest)
        return False
    work = output.with_name(f".{output.name}.{digest[:12]}.partial")
    with files.locked(work):
        work.mkdir(parents=True, exist_ok=True)
        tasks = [(split, index) for split in counts for index in range(counts[split])]
        write = partial(_write, work, pools, recipe, layout)
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            done = pool.map(lambda task: write(*task), tasks)
            list(tqdm(done, "mix", len(tasks), disable=None, leave=False))
        shutil.rmtree(work / ".done")
        sounds = {split: _sizes(pools[split]) for split in counts}
        write_json({**facts, "sounds": sounds, "digest": digest}, work / MARKER)
        if output.is_dir():
            output.rmdir()
        work.replace(output)
    return True


def _write(
    work: Path,
    pools: Mapping[str, Pool],
    recipe: Recipe,
    layout: Name,
    split: str,
    index: int,
) -> None:
    """Draw and write one mixture, unless a run before did."""
    done = work / ".done" / f"{split}-{index}"
    if done.exists():
        return
    rng = np.random.default_rng([recipe.seed, SPLITS.index(split), index])
    told, sources = draw(pools[split], recipe, rng)
    mixed = Mixed(split, index, told, sources, recipe.labels == "classes")
    name = LAYOUTS[layout](work, mixed)
    annotation = work / ANNOTATIONS / split / f"{name}.json"
    annotation.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(annotation, json.dumps(told, indent=1) + "\n")
    done.parent.mkdir(exist_ok=True)
    done.touch()


def _check(
    pools: Mapping[str, Pool], counts: Mapping[str, int], recipe: Recipe
) -> None:
    if not counts or min(counts.values()) < 0:
        raise CorpusError(f"the numbers of mixtures are {dict(counts)}; ask for some.")
    if recipe.sources < 2:
        raise CorpusError(f"--sources is {recipe.sources}; a mixture has 2 or more.")
    if recipe.sample_rate < 1:
        raise CorpusError(f"--sample-rate is {recipe.sample_rate} Hz; it must be 1 up.")
    for name in ("seconds", "snr_db"):
        bounds = getattr(recipe, name)
        least = 0.0 if name == "seconds" else -np.inf
        if bounds and not least < bounds[0] <= bounds[1]:
            raise CorpusError(
                f"--{name.removesuffix('_db')} is {bounds[0]:g} {bounds[1]:g}; "
                "expected the lower bound first, and lengths above 0."
            )
    empty = [split for split in counts if not pools.get(split)]
    if empty:
        raise CorpusError(
            f"the split {empty[0]} has no sounds to mix, {counts[empty[0]]} mixtures "
            f"were asked for; tell them apart by --{empty[0]}-files, or ask for 0."
        )


def _digest(
    facts: Mapping, pools: Mapping[str, Pool], stamp: Callable = fingerprint
) -> str:
    """Fingerprint of all that decides the files, the sounds included."""
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
    """See that a folder in use holds this very set.

    Raises:
        CorpusError: It holds anything else.
    """
    try:
        there = json.loads((output / MARKER).read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        there = None
    # Releases up to 0.1.0 knew sounds by the times of their files.
    if there not in (digest, _digest(facts, pools, modified)):
        raise CorpusError(
            f"{output} holds {'other mixtures' if there else 'something else'}; name "
            "another --output, or remove it."
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Mix clean sounds to disk; returns the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("clustering.mix", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    recipe = Recipe(
        sources=options.sources,
        labels=options.labels,
        coherent=options.coherent,
        seconds=_range(options.seconds, "--seconds"),
        snr_db=_range(options.snr, "--snr"),
        sample_rate=options.sample_rate,
        seed=options.seed,
    )
    rules = Rules(
        speaker=options.speaker,
        test=options.test_files,
        valid=options.valid_files,
        match=options.match,
        exclude=options.exclude,
        by_label=options.labels == "speakers",
        least=options.sources,
        seed=options.seed,
    )
    counts = {split: getattr(options, split) for split in SPLITS}
    if options.dataset:
        pools = _of_corpus(options, [split for split in SPLITS if counts[split]])
    else:
        pools = of_folder(options.sounds, rules)
    layout, jobs = options.layout, options.num_workers
    new = make(pools, options.output, counts, recipe, layout=layout, jobs=jobs)
    for split in [split for split in SPLITS if counts[split]]:
        heard = ", ".join(f"{k} ({len(v)})" for k, v in sorted(pools[split].items()))
        sys.stdout.write(f"{split}: {counts[split]} mixtures of {heard}\n")
    sys.stdout.write(f"{options.output}{'' if new else ': there already'}\n")
    return 0


def _range(given: Sequence[float] | None, flag: str) -> tuple[float, float] | None:
    """One number, or a lower and an upper bound."""
    if given is None:
        return None
    if len(given) > 2:
        raise CorpusError(f"{flag} takes one number or two, not {len(given)}.")
    return given[0], given[-1]


def _of_corpus(options: argparse.Namespace, splits: Sequence[str]) -> dict[str, Pool]:
    """Sources of the tracks of a corpus, by its own splits."""
    # TensorFlow comes with it, which folders of sounds need not wait for.
    from clustering import corpus
    from clustering.config import ClusteringConfig
    from common.config import override

    given = {"dataset": options.dataset, "root": str(options.sounds)}
    given |= {"sample_rate": options.corpus_rate or options.sample_rate}
    given |= {"allow_cut": options.allow_cut}
    given |= {"sources": options.group} if options.group else {}
    config = override(ClusteringConfig(), given)
    place = corpus.root(config)
    return {split: of_tracks(corpus.tracks(config, place, split)) for split in splits}


def _parser() -> argparse.ArgumentParser:
    usual = Recipe()
    parser = argparse.ArgumentParser("clustering.mix", description=__doc__)
    add = parser.add_argument
    add("sounds", type=Path, help="folder of sounds by label, or of the corpus")
    add("--output", type=Path, required=True, help="folder to make")
    add("--layout", default="wsj0_2mix", choices=list(LAYOUTS), help="of the output")
    add("--dataset", help="the folder is a corpus of this kind, as in training")
    add("--group", help="sources of the corpus, such as vocals,drums+bass+other")
    add("--allow-cut", action="store_true", help="cut tracks to their shortest file")
    add("--corpus-rate", type=int, help="rate that the corpus names its folders by")
    add("--sources", type=int, default=usual.sources, help="sources of a mixture")
    add("--labels", default=usual.labels, choices=["speakers", "classes"])
    add("--coherent", action="store_true", help="sounds of one name, from one place")
    add("--seconds", type=float, nargs="+", help="length, or shortest and longest")
    add("--snr", type=float, nargs="+", help="level against the first source, in dB")
    add("--sample-rate", type=int, default=usual.sample_rate, help="in Hz")
    add("--speaker", help="pattern whose group is the label; else the first folder")
    add("--test-files", help="pattern, or @FILE of paths: sounds of the test alone")
    add("--valid-files", help="the same for the validation")
    add("--match", help="pattern of the sounds to use")
    add("--exclude", help="pattern of sounds to leave out")
    for split, count in zip(SPLITS, (2000, 100, 200), strict=True):
        add(f"--{split}", type=int, default=count, help=f"number of mixtures: {count}")
    add("--seed", type=int, default=usual.seed)
    add("--num-workers", type=int, help="threads; none: one a processor")
    return parser


if __name__ == "__main__":
    sys.exit(main())
