"""Tracks of the corpus that a configuration names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from clustering import extension
from clustering.config import ClusteringConfig
from common import files
from common.corpora import (
    grouping,
    mir1k,
    mix_folders,
    musdb,
    remixpacks600,
    scaper_output,
    slakh,
    speaker_mixtures,
)
from common.corpora.track import CorpusError, Track
from common.files import user_path
from common.synthetic.miniature import WRITERS
from common.training.loop import say

Layout = Callable[[ClusteringConfig, Path, str], list[Track]]
"""Lists the tracks of a split below a root."""
FlatLayout = Callable[[ClusteringConfig, Path, str | None], list[Track]]
"""Lists a split below a root; for None all tracks in a folder."""

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
"""Numbers of tracks of the miniature in the layout of each corpus."""


def root(config: ClusteringConfig) -> Path:
    """Locate the corpus of a run, or make the miniature where ``root`` is not set.

    Returns:
        Its folder; the current one where each split has a folder of its own.

    Raises:
        CorpusError: The folder does not exist.
    """
    if config.folders and config.root is None:
        return Path()
    if config.root is not None:
        folder = user_path(config.root)
        if not folder.is_dir():
            raise CorpusError(
                f"{config.dataset}: the root {folder} does not exist; check its name"
            )
        return folder
    name = config.dataset
    if extension.is_path(name):
        raise CorpusError(f"dataset={name} has no miniature; name its folder by root=")
    folder = files.cache_folder("miniature", f"{name}-{config.sample_rate}")
    say(
        f"no root: using the synthetic miniature corpus in {folder}; its numbers say "
        "nothing about real recordings"
    )
    return WRITERS[name](folder, sample_rate=config.sample_rate, **MINIATURE[name])


def tracks(config: ClusteringConfig, folder: Path, split: str) -> list[Track]:
    """List the tracks of a split, all of the same sources.

    Args:
        config: Names the corpus and the sources to separate.
        folder: Its root, from :func:`root`.
        split: ``"train"``, ``"valid"`` or ``"test"``.

    Raises:
        CorpusError: The split is empty, or a file or a source is missing.
    """
    listed = _list(config, folder, split)
    if config.sources:
        groups = {n: n.split(JOINED) for n in config.sources if n != REST}
        rest = REST if REST in config.sources else None
        return grouping.group(listed, groups, rest=rest, complete=True)
    if config.dataset in ("slakh", "scaper", "snippets"):
        return grouping.numbered(listed)
    return listed


def _list(config: ClusteringConfig, folder: Path, split: str) -> list[Track]:
    """List the tracks below the root, or in the folder of the split alone."""
    own = dict(pair.split("=", 1) for pair in config.folders if "=" in pair)
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
        return _layout(config)(config, folder, split)
    if config.dataset not in FLAT:
        raise CorpusError(
            f"{config.dataset}: its splits lie below one root; expected root=..., "
            f"and folders=... only for {', '.join(FLAT)}"
        )
    return FLAT[config.dataset](config, Path(own[split]), None)


def _layout(config: ClusteringConfig) -> Layout:
    if extension.is_path(config.dataset):
        return _checked(extension.function("dataset", config.dataset))
    return LAYOUTS[config.dataset]


def _checked(function: Layout) -> Layout:
    """Validate the result of a user's function."""

    def layout(config: ClusteringConfig, folder: Path, split: str) -> list[Track]:
        listed = list(function(config, folder, split))
        if not all(isinstance(track, Track) for track in listed):
            raise CorpusError(
                f"dataset={config.dataset} returned something else; expected a list "
                "of tracks of common.corpora.track"
            )
        if not listed:
            raise CorpusError(
                f"dataset={config.dataset}: no track of {split} in {folder}"
            )
        return listed

    return layout


def noisy(config: ClusteringConfig) -> bool:
    """Whether mixtures may hold more than their sources, such as noise."""
    noise = config.dataset == "wham" and config.task != "mix_clean"
    return noise or config.dataset == "mix_folders"


def _speakers(config: ClusteringConfig, folder: Path, split: str) -> list[Track]:
    task = config.task if config.dataset == "wham" else "mix"
    return speaker_mixtures.tracks(
        folder,
        split,
        task=task,
        sample_rate=config.sample_rate,
        length=config.length,
        speakers=3 if config.dataset == "wsj0_3mix" else 2,
        skip=config.skip,
    )


def _musdb(config: ClusteringConfig, folder: Path, split: str) -> list[Track]:
    return musdb.tracks(musdb.find_root(folder), split)


def _mir1k(config: ClusteringConfig, folder: Path, split: str) -> list[Track]:
    return mir1k.tracks(folder, split)


def _slakh(config: ClusteringConfig, folder: Path, split: str) -> list[Track]:
    return slakh.tracks(folder, split, skip=config.skip)


def _remixpacks600(config: ClusteringConfig, folder: Path, split: str) -> list[Track]:
    return remixpacks600.tracks(folder, split, skip=config.skip)


def _scaper(config: ClusteringConfig, folder: Path, split: str | None) -> list[Track]:
    return scaper_output.tracks(folder, split, skip=config.skip)


def _mix_folders(
    config: ClusteringConfig, folder: Path, split: str | None
) -> list[Track]:
    named = [part for name in config.sources for part in name.split(JOINED)]
    sources = None if REST in named or not named else named
    return mix_folders.tracks(folder, split, sources=sources, skip=config.skip)


FLAT: Mapping[str, FlatLayout] = {
    "scaper": _scaper,
    "snippets": _scaper,
    "mix_folders": _mix_folders,
}
"""Layouts whose splits can be folders by themselves."""
LAYOUTS: Mapping[str, Layout] = {
    "wsj0_2mix": _speakers,
    "wsj0_3mix": _speakers,
    "wham": _speakers,
    "musdb": _musdb,
    "mir1k": _mir1k,
    "slakh": _slakh,
    "remixpacks600": _remixpacks600,
    **FLAT,
}
