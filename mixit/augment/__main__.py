"""Make new mixtures from the single sources and room responses of FUSS.

``python -m mixit.augment --sources RAW/fsd_data --rooms RAW/rir_data --output DIR``
draws mixing lists, then realises them as ``DIR/ssdata`` and ``DIR/ssdata_reverb``. The
same command continues after an interruption. ``--check ROOT`` compares every mixture of
a set with the sum of its sources, and ``--fix`` repairs differences.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common import cpus
from common.corpora import fuss
from common.corpora.track import CorpusError
from common.errors import exit_code
from common.files import replacing_folder, write_text
from mixit.augment import mixing_list, sums
from mixit.augment.mixing_list import Mixture, Recipe
from mixit.augment.realisation import REVERBERANT, Folders, realise
from mixit.augment.reverberation import assign_rooms, find_rooms, mix_info

RECIPE = "recipe.json"


def make(folders: Folders, recipe: Recipe, *, jobs: int | None = None) -> Counter[str]:
    """Make a set, or continue an unfinished one.

    Args:
        folders: Folders of the sources and the output, which is new, empty or of the
            same recipe.
        recipe: Parameters of the set.
        jobs: Threads; None takes one for each CPU. The result does not depend on it.

    Returns:
        Counts: ``"train made"``, ``"train kept"`` and ``"train of 2"`` count
        mixtures, ``"silent"`` the sources without a sound among those made.

    Raises:
        CorpusError: The sources or rooms are incomplete, or the output holds something
            else.
    """
    splits = [split for split, count in recipe.counts.items() if count]
    files = {s: mixing_list.find_sources(folders.sources, s, recipe) for s in splits}
    rooms = {s: find_rooms(folders.rooms, s) for s in splits} if folders.rooms else {}
    identity = {**asdict(recipe), "sources": _digest(files), "rooms": _digest(rooms)}
    if (folders.output / RECIPE).is_file():
        _check_same(folders.output, identity)
    else:
        with replacing_folder(folders.output) as folder:
            for split in splits:
                mixtures = mixing_list.draw(recipe, split, files[split])
                if rooms:
                    mixtures = assign_rooms(mixtures, rooms[split], recipe, split)
                    _write_mix_info(folder, mixtures)
                backgrounds, foregrounds = mixing_list.divide(
                    files[split], recipe.samples
                )
                _write_lines(folder / f"{split}_background.txt", backgrounds)
                _write_lines(folder / f"{split}_foreground.txt", foregrounds)
                mixing_list.write(folder / _list_name(split), mixtures)
            _write_lines(folder / RECIPE, [json.dumps(identity, indent=1)])
    done: Counter[str] = Counter()
    for split in splits:
        done += _realise_all(folders, recipe, split, jobs)
    return done


def _digest(held: Mapping[str, object]) -> str:
    """Return a short digest of the contents of a folder."""
    return hashlib.sha256(json.dumps(held).encode()).hexdigest() if held else ""


def _list_name(split: str) -> str:
    return f"{split}_mixing_list.jsonl"


def _check_same(output: Path, identity: Mapping[str, object]) -> None:
    """Refuse to continue a set of another recipe."""
    held = _read_recipe(output)
    for name, value in identity.items():
        if held.get(name) != value:
            said = f"was {held.get(name)}, now {value}"
            if name in ("sources", "rooms"):
                said = "are others now"
            raise CorpusError(
                f"{output} holds a set of another recipe ({name} {said}); choose "
                "another --output, or give the same command to continue."
            )


def _read_recipe(output: Path) -> dict[str, Any]:
    """Return the recipe of a set."""
    try:
        return dict(json.loads((output / RECIPE).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CorpusError(
            f"{output / RECIPE} is damaged ({error}); choose another --output."
        ) from error


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def _write_mix_info(folder: Path, mixtures: Sequence[Mixture]) -> None:
    """Add the mixtures of a split to the description of a reverberant set."""
    (folder / REVERBERANT).mkdir(exist_ok=True)
    with (folder / REVERBERANT / "mix_info.txt").open("a", encoding="utf-8") as file:
        file.writelines(f"{mix_info(mixture)}\n" for mixture in mixtures)


def _realise_all(
    folders: Folders, recipe: Recipe, split: str, jobs: int | None
) -> Counter[str]:
    """Realise the mixing list of a split, then write its example lists."""
    mixtures = mixing_list.read(folders.output / _list_name(split))
    done = Counter(f"{split} of {len(mixture.events)}" for mixture in mixtures)
    with ThreadPoolExecutor(cpus.threads(jobs)) as pool:
        results = pool.map(partial(realise, folders, recipe), mixtures)
        for silent in tqdm(
            results, desc=split, total=len(mixtures), unit="mixture", disable=None
        ):
            done[f"{split} {'kept' if silent is None else 'made'}"] += 1
            done["silent"] += silent or 0
    for root in folders.sets:
        fuss.write_list(root, split, ["\t".join(mixture.files) for mixture in mixtures])
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line; None takes those of the process.

    Returns:
        The exit code: 1 after bad input, or if wrong sums remain.
    """
    options = _parser().parse_args(arguments)
    return exit_code("python -m mixit.augment", partial(_run, options))


def _run(options: argparse.Namespace) -> int:
    """Make or check a set."""
    options.jobs = cpus.threads(options.jobs)
    if options.check is not None:
        return _check(options)
    if options.fix:
        raise CorpusError("--fix repairs what --check reports; give both.")
    if options.sources is None or options.output is None:
        raise CorpusError("Give --sources and --output, or --check with a set.")
    return _make(options)


def _make(options: argparse.Namespace) -> int:
    """Make the set of the options and print its counts."""
    values = {name: getattr(options, name) for name in asdict(Recipe())}
    recipe = Recipe(**{name: v for name, v in values.items() if v is not None})
    folders = Folders(options.sources, options.rooms, options.output)
    done = make(folders, recipe, jobs=options.jobs)
    for split in recipe.counts:
        parts = [
            f"{done[f'{split} of {count}']} of {count}"
            for count in range(1, recipe.max_foregrounds + 2)
        ]
        sys.stdout.write(
            f"{split}: {done[f'{split} made']} mixtures made, "
            f"{done[f'{split} kept']} there before; {', '.join(parts)} source(s)\n"
            if recipe.counts[split]
            else f"{split}: left out\n"
        )
    if done["silent"]:
        sys.stdout.write(f"{done['silent']} of the new sources are silent\n")
    sys.stdout.write(f"{options.output}\n")
    return 0


def _check(options: argparse.Namespace) -> int:
    """Check the set of the options and print its faults."""
    root = fuss.find_root(options.check)
    held = _read_recipe(root.parent) if (root.parent / RECIPE).is_file() else {}
    usual = {**asdict(Recipe()), **held}
    seconds = usual["seconds"] if options.seconds is None else options.seconds
    rate = options.sample_rate or usual["sample_rate"]
    samples = Recipe(seconds=seconds, sample_rate=rate).samples
    count, faults = sums.check(root, samples, rate, fix=options.fix, jobs=options.jobs)
    return sums.report(root, count, faults)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command; None stands for the default."""
    usual = Recipe()
    parser = argparse.ArgumentParser(
        prog="python -m mixit.augment",
        description="Make new mixtures from the single sources and room responses of "
        "FUSS, or check a set of mixtures.",
    )
    add = parser.add_argument
    add("--sources", type=Path, help="folder of single sources (fsd_data)")
    rooms = "folder of room impulse responses (rir_data); none: only dry mixtures"
    add("--rooms", type=Path, help=rooms)
    add("--output", type=Path, help="folder to make or to continue")
    for split in fuss.SPLITS:
        about = f"mixtures of {split} (default: {usual.counts[split]})"
        add(f"--{split}", type=int, help=about)
    add("--seed", type=int, help=f"seed of every draw (default: {usual.seed})")
    about = f"length of a mixture in seconds (default: {usual.seconds:g})"
    add("--seconds", type=float, help=about)
    about = f"rate of all files in Hz (default: {usual.sample_rate})"
    add("--sample-rate", type=int, help=about)
    about = f"most foregrounds of a mixture (default: {usual.max_foregrounds})"
    add("--max-foregrounds", type=int, help=about)
    add(
        "--unique-labels",
        action="store_true",
        help="use at most one file of a folder in a mixture",
    )
    add(
        "--align-sources",
        action="store_true",
        help="align reverberant sources with the dry ones",
    )
    add("--jobs", type=int, help="threads (default: one for each CPU)")
    add("--check", type=Path, metavar="ROOT", help="check the sums of a set instead")
    add("--fix", action="store_true", help="repair the faults that --check reports")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
