"""The tracks that a configuration trains on, whatever kind of corpus it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clustering import extension
from clustering.config import ClusteringConfig
from common import files
from common.corpora import (
    grouping,
    mir1k,
    mix_folders,
    musdb,
    reading,
    remixpacks600,
    scaper_output,
    slakh,
    speaker_mixtures,
)
from common.corpora.track import CorpusError, Track
from common.files import user_path
from common.synthetic.miniature import WRITERS
from common.training.loop import say

Layout = Callable[[ClusteringConfig, Path, Any], list[Track]]
"""Lists a split; None for all in the folder, of those that can lie in :data:`FLAT`."""
FLAT = ("scaper", "snippets", "mix_folders")

JOINED = "+"
REST = "*"
MINIATURE: Mapping[str, Mapping[str, int]] = {
    "wsj0_2mix": {"train": 400, "validation": 40, "test": 40},
    "wsj0_3mix": {"train": 400, "validation": 40, "test": 40},
    "wham": {"train": 400, "validation": 40, "test": 40},
    "musdb": {"train": 20, "test": 4},
    "mir1k": {"train": 40, "test": 10},
    "slakh": {"train": 20, "validation": 4, "test": 4},
    "remixpacks600": {"train": 20, "test": 4},
    "scaper": {"train": 60, "valid": 10, "test": 10},
    "snippets": {"test": 30},
    "mix_folders": {},
}
"""Numbers of tracks of the miniature of each kind of corpus."""


def root(config: ClusteringConfig) -> Path:
    """Find the corpus of a run, or make the miniature where none is named.

    Returns:
        Its folder; the current one where each split has a folder of its own.

    Raises:
        CorpusError: The folder does not exist.
    """
    if config.folders and config.root is None:
        return Path()
    if config.root is not None:
        place = user_path(config.root)
        if not place.is_dir():
            raise CorpusError(
                f"{config.dataset}: the root {place} does not exist; check its name"
            )
        return place
    name = config.dataset
    if extension.is_path(name):
        raise CorpusError(f"dataset={name} has no miniature; name its folder by root=")
    folder = files.cache_folder("miniature", f"{name}-{config.sample_rate}")
    say(
        f"no root: using the synthetic miniature corpus in {folder}; its numbers say "
        "nothing about real recordings"
    )
    return WRITERS[name](folder, sample_rate=config.sample_rate, **MINIATURE[name])


def tracks(config: ClusteringConfig, place: Path, split: str) -> list[Track]:
    """List the tracks of a split, all of the same sources.

    Args:
        config: Gives the kind of corpus and the sources to separate.
        place: Its folder, from :func:`root`.
        split: ``"train"``, ``"valid"`` or ``"test"``.

    Raises:
        CorpusError: The split is empty, a file is missing, or a source is not there.
    """
    with reading.cutting(config.allow_cut):
        found = _listed(config, place, split)
    if config.sources:
        groups = {n: n.split(JOINED) for n in config.sources if n != REST}
        rest = REST if REST in config.sources else None
        return grouping.group(found, groups, rest=rest, complete=True)
    if config.dataset in ("slakh", "scaper", "snippets"):
        return grouping.numbered(found)
    return found


def _listed(config: ClusteringConfig, place: Path, split: str) -> list[Track]:
    """List the tracks below the root, or in the folder that a split has by itself."""
    own = dict(each.split("=", 1) for each in config.folders if "=" in each)
    if len(own) < len(config.folders):
        raise CorpusError(
            f"folders={','.join(config.folders)}; expected a folder for each split, "
            "such as test=/data/test_set"
        )
    if split not in own:
        if own and config.root is None:
            raise CorpusError(
                f"{config.dataset}: no folder is named for the split {split!r}, only "
                f"for {', '.join(own)}; add {split}=FOLDER to folders"
            )
        return _layout(config)(config, place, split)
    if config.dataset not in FLAT:
        raise CorpusError(
            f"{config.dataset}: its splits lie below one root; expected root=..., "
            f"and folders=... only for {', '.join(FLAT)}"
        )
    return LAYOUTS[config.dataset](config, Path(own[split]), None)


def _layout(config: ClusteringConfig) -> Layout:
    if extension.is_path(config.dataset):
        return _own(extension.function("dataset", config.dataset))
    return LAYOUTS[config.dataset]


def _own(function: Callable[..., Any]) -> Layout:
    """Check what a function of the user's gives."""

    def layout(config: ClusteringConfig, place: Path, split: Any) -> list[Track]:
        found = list(function(config, place, split))
        if not all(isinstance(track, Track) for track in found):
            raise CorpusError(
                f"dataset={config.dataset} gave something else; expected a list of "
                "tracks of common.corpora.track"
            )
        if not found:
            raise CorpusError(
                f"dataset={config.dataset}: no track of {split} in {place}"
            )
        return found

    return layout


def noisy(config: ClusteringConfig) -> bool:
    """Tell whether mixtures may hold more than their sources, such as noise."""
    noise = config.dataset == "wham" and config.task != "mix_clean"
    return noise or config.dataset == "mix_folders"


def _speakers(config: ClusteringConfig, place: Path, split: str) -> list[Track]:
    task = config.task if config.dataset == "wham" else "mix"
    return speaker_mixtures.tracks(
        place,
        split,
        task=task,
        sample_rate=config.sample_rate,
        length=config.length,
        speakers=3 if config.dataset == "wsj0_3mix" else 2,
        skip=config.skip,
    )


def _musdb(config: ClusteringConfig, place: Path, split: str) -> list[Track]:
    return musdb.tracks(musdb.find_root(place), split)


def _mir1k(config: ClusteringConfig, place: Path, split: str) -> list[Track]:
    return mir1k.tracks(place, split)


def _slakh(config: ClusteringConfig, place: Path, split: str) -> list[Track]:
    return slakh.tracks(place, split, skip=config.skip)


def _remixpacks600(config: ClusteringConfig, place: Path, split: str) -> list[Track]:
    return remixpacks600.tracks(place, split, skip=config.skip)


def _scaper(config: ClusteringConfig, place: Path, split: str | None) -> list[Track]:
    return scaper_output.tracks(place, split, skip=config.skip)


def _mix_folders(
    config: ClusteringConfig, place: Path, split: str | None
) -> list[Track]:
    named = [part for name in config.sources for part in name.split(JOINED)]
    folders = None if REST in named or not named else named
    return mix_folders.tracks(place, split, sources=folders, skip=config.skip)


LAYOUTS: Mapping[str, Layout] = {
    "wsj0_2mix": _speakers,
    "wsj0_3mix": _speakers,
    "wham": _speakers,
    "musdb": _musdb,
    "mir1k": _mir1k,
    "slakh": _slakh,
    "remixpacks600": _remixpacks600,
    "scaper": _scaper,
    "snippets": _scaper,
    "mix_folders": _mix_folders,
}
