"""Tracks of the corpus that a configuration names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import get_args

from clustering import extension
from clustering.config import ClusteringConfig
from common.corpora import catalogue, grouping, mix_folders, reading, scaper_output
from common.corpora.track import CorpusError, Options, Sound, Track
from common.files import user_path
from common.synthetic import miniature

FlatLayout = Callable[[ClusteringConfig, Path, str | None], list[Track]]
"""Function that lists a split below a root; for None all tracks in a folder."""

SPLITS = ("train", "valid", "test")
JOINED = "+"
REST = "*"
MINIATURE: Mapping[str, Mapping[str, int]] = {
    "wsj0_2mix": {"train": 400, "validation": 40, "test": 40},
    "wsj0_3mix": {"train": 400, "validation": 40, "test": 40},
    "wham": {"train": 400, "validation": 40, "test": 40},
    "fuss": {"train": 400, "validation": 40, "eval": 40},
    "musdb": {"train": 20, "test": 4},
    "moisesdb": {"songs": 24},
    "dsd100": {"train": 20, "test": 4},
    "ccmixter": {"songs": 24},
    "mir1k": {"train": 40, "test": 10},
    "slakh": {"train": 20, "validation": 4, "test": 4},
    "remixpacks600": {"train": 20, "test": 4},
    "scaper": {"train": 60, "valid": 10, "test": 10},
    "snippets": {"test": 30},
    "mix_folders": {},
    "song_folders": {"train": 20, "valid": 4, "test": 4},
}
"""Numbers of tracks of the miniature in the layout of a corpus."""


def root(config: ClusteringConfig) -> Path:
    """Locate the corpus of a run, or make the miniature if ``data_root`` is not set.

    Returns:
        Its folder; the current one if each split has its own folder.

    Raises:
        CorpusError: The folder does not exist or is a file.
    """
    if config.folders and config.data_root is None:
        return Path()
    if config.data_root is not None:
        folder = user_path(config.data_root)
        if not folder.is_dir():
            raise CorpusError(
                f"{config.dataset}: {reading.no_folder(folder, 'the root')}; check its "
                "name"
            )
        return folder
    name = config.dataset
    if name not in MINIATURE:
        raise CorpusError(
            f"dataset={name} has no miniature; name its folder by data_root="
        )
    rate = config.sample_rate
    sizes = {"sample_rate": rate, **MINIATURE[name]}
    return miniature.cached(name, f"{name}-{rate}", **sizes)


def tracks(config: ClusteringConfig, folder: Path, split: str) -> list[Track]:
    """List the tracks of a split, all of the same sources.

    Args:
        config: Configuration with the corpus and the sources to separate.
        folder: Root of the corpus, from :func:`root`.
        split: ``"train"``, ``"valid"`` or ``"test"``.

    Raises:
        CorpusError: The split is empty, or a file or a source is missing.
    """
    with reading.cutting(config.allow_cut):
        listed = _list(config, folder, split)
    if config.sources:
        groups = {n: n.split(JOINED) for n in config.sources if n != REST}
        rest = REST if REST in config.sources else None
        return grouping.group(listed, groups, rest=rest)
    if config.dataset in ("slakh", "scaper", "snippets"):
        return grouping.numbered(listed)
    return listed


def _list(config: ClusteringConfig, folder: Path, split: str) -> list[Track]:
    """List the tracks below the root, or in the separate folder of the split."""
    own = dict(pair.split("=", 1) for pair in config.folders if "=" in pair)
    if len(own) < len(config.folders) or not own.keys() <= set(SPLITS):
        raise CorpusError(
            f"folders={','.join(config.folders)}; expected one folder for each of "
            f"{', '.join(SPLITS)}, or for some of them, such as test=/data/test_set"
        )
    if split not in own:
        if own and config.data_root is None:
            raise CorpusError(
                f"{config.dataset}: no folder is named for the split {split!r}, only "
                f"for {', '.join(own)}; add {split}=FOLDER to folders"
            )
        return _list_below(config, folder, split)
    if config.dataset not in FLAT:
        raise CorpusError(
            f"{config.dataset}: its splits lie below one root; expected data_root=..., "
            f"and folders=... only for {', '.join(FLAT)}"
        )
    return FLAT[config.dataset](config, Path(own[split]), None)


def _list_below(config: ClusteringConfig, root: Path, split: str) -> list[Track]:
    if extension.is_path(config.dataset):
        return _list_by_function(config, root, split)
    if config.dataset in FLAT:
        return FLAT[config.dataset](config, root, split)
    options = Options(
        sample_rate=config.sample_rate,
        length=config.length,
        task=config.task,
        skip=config.skip,
    )
    return catalogue.tracks(config.dataset, root, split, options)


def _list_by_function(config: ClusteringConfig, root: Path, split: str) -> list[Track]:
    """List the tracks by a user's function and validate them."""
    function = extension.function("dataset", config.dataset)
    with extension.located("dataset", config.dataset):
        result = function(config, root, split)
        listed = list(result) if isinstance(result, Iterable) else [result]
    if not all(isinstance(track, Track) for track in listed):
        raise CorpusError(
            f"dataset={config.dataset} returned something else; expected a list of "
            "tracks of common.corpora.track"
        )
    _check_names_and_sounds(config, listed)
    if not listed:
        raise CorpusError(f"dataset={config.dataset}: no track of {split} in {root}")
    return listed


def _check_names_and_sounds(config: ClusteringConfig, tracks: list[Track]) -> None:
    counts = Counter(track.name for track in tracks)
    for name in (name for name, count in counts.items() if count > 1):
        raise CorpusError(
            f"dataset={config.dataset} returned {counts[name]} tracks named {name!r}; "
            "expected another name for each track of a split"
        )
    for track in tracks:
        for sound in track.sounds:
            if not isinstance(sound, get_args(Sound)):
                raise CorpusError(
                    f"dataset={config.dataset}: {track.name} has the sound {sound!r}; "
                    "expected a pathlib.Path, an array, or a Channel or Sum of "
                    "common.corpora.track"
                )


def noisy(config: ClusteringConfig) -> bool:
    """Whether mixtures may hold more than their sources, such as noise."""
    noise = config.dataset == "wham" and config.task != "mix_clean"
    return noise or config.dataset == "mix_folders"


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
"""Layouts whose splits can be separate folders."""
