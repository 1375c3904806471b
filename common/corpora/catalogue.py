"""Read every corpus by its name: ``tracks(name, root, split)``, for all packages.

The splits are ``"train"``, ``"valid"`` and ``"test"`` for every corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from common.corpora import (
    ccmixter,
    completeness,
    dsd100,
    fuss,
    mir1k,
    mix_folders,
    moisesdb,
    musdb,
    reading,
    remixpacks600,
    scaper_output,
    slakh,
    song_folders,
    speaker_mixtures,
)
from common.corpora.track import CorpusError, Options, Track

Reader = Callable[[Path, str, Options], list[Track]]


def tracks(
    name: str, root: Path | str, split: str, options: Options | None = None
) -> list[Track]:
    """Return the tracks of a split of a corpus.

    Args:
        name: One of :data:`CORPORA`.
        root: Folder of the corpus.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        options: Options of the corpus.

    Returns:
        Tracks sorted by name, with the source names of the corpus.

    Raises:
        CorpusError: The corpus is unknown, its folder has another layout, the split is
            empty or a file is missing.
        AudioError: A file cannot be read.
    """
    if name not in CORPORA:
        raise CorpusError(
            f"the corpus {name!r} is unknown; expected one of {', '.join(CORPORA)}"
        )
    options = options or Options()
    with reading.cutting(options.allow_cut):
        return CORPORA[name](Path(root), split, options)


def _fuss(root: Path, split: str, options: Options) -> list[Track]:
    names = {"valid": "validation", "test": "eval"}
    return fuss.tracks(fuss.find_root(root), names.get(split, split))


def _musdb(root: Path, split: str, options: Options) -> list[Track]:
    return musdb.tracks(musdb.find_root(root), split, is_wav=options.is_wav)


def _dsd100(root: Path, split: str, options: Options) -> list[Track]:
    """Return a split; a fixed tenth of the training songs is the validation split."""
    if split == "test":
        return dsd100.tracks(root, "test", skip=options.skip)
    completeness.expect_split(dsd100.CORPUS, split)
    songs = dsd100.tracks(root, "train", skip=options.skip)
    part = completeness.training_part(songs, split)
    if not part:
        raise CorpusError(
            f"{dsd100.CORPUS}: the split {split!r} is empty, because {root} holds one "
            "complete song for train and valid; unpack the corpus there."
        )
    return part


def _speakers(corpus: str) -> Reader:
    def read(root: Path, split: str, options: Options) -> list[Track]:
        return speaker_mixtures.tracks(
            root,
            split,
            task=options.task if corpus == "wham" else "mix",
            sample_rate=options.sample_rate,
            length=options.length,
            speakers=3 if corpus == "wsj0_3mix" else 2,
            noise=options.noise and corpus == "wham",
            skip=options.skip,
        )

    return read


def _complete(read: Callable[..., list[Track]]) -> Reader:
    return lambda root, split, options: read(root, split, skip=options.skip)


CORPORA: Mapping[str, Reader] = {
    "fuss": _fuss,
    "musdb": _musdb,
    "moisesdb": _complete(moisesdb.tracks),
    "dsd100": _dsd100,
    "ccmixter": _complete(ccmixter.tracks),
    "mir1k": lambda root, split, _: mir1k.tracks(root, split),
    "slakh": _complete(slakh.tracks),
    "remixpacks600": _complete(remixpacks600.tracks),
    "wsj0_2mix": _speakers("wsj0_2mix"),
    "wsj0_3mix": _speakers("wsj0_3mix"),
    "wham": _speakers("wham"),
    "scaper": _complete(scaper_output.tracks),
    "mix_folders": _complete(mix_folders.tracks),
    "song_folders": lambda root, split, _: song_folders.tracks(root, split),
}
"""Function that reads a split, by the name of the corpus."""
