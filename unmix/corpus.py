"""The tracks that a configuration trains on, whatever kind of corpus it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from common import files
from common.config import ConfigError
from common.corpora import musdb, reading, source_folders, track_folders
from common.corpora.track import CorpusError, Track
from common.files import user_path
from common.synthetic import miniature
from common.training.loop import say
from unmix.config import UnmixConfig

Layout = Callable[[UnmixConfig, Path, str], list[Track]]

NEEDED = {
    "musdb": (),
    "aligned": ("input_file", "output_file"),
    "sourcefolder": ("target_dir", "interferer_dirs"),
    "unaligned": ("target_dir", "interferer_dirs"),
    "trackfolder_fix": ("target_file", "interferer_files"),
    "trackfolder_var": ("target_file",),
}
"""Keys that each kind of corpus cannot do without."""
COMPOUND = {
    "accompaniment": ("drums", "bass", "other"),
    "linear_mixture": musdb.SOURCES,
}
"""Targets of MUSDB18 that are sums of its sources."""
PREVIEWS = "previews"
"""The root that stands for the previews of MUSDB18, which are downloaded."""
MINIATURE_TRACKS = {"train": 40, "test": 10}


def root(config: UnmixConfig) -> Path:
    """Find the corpus of a run, or make the miniature where the preset is for it.

    Raises:
        ConfigError: A key that this kind of corpus needs is not set, or no folder is
            named and the preset does not use the miniature.
        CorpusError: The folder does not exist, or holds no corpus.
    """
    for key in ("root", *NEEDED[config.dataset]):
        optional = key == "root" and config.dataset == "musdb"
        if not optional and not getattr(config, key):
            raise ConfigError(
                f"{key} is not set; dataset={config.dataset} needs it "
                f"(--{key.replace('_', '-')} ...)"
            )
    if config.root is None:
        return _without_root(config)
    if config.root == PREVIEWS and config.dataset == "musdb":
        return _previews()
    folder = user_path(config.root)
    if config.dataset == "musdb":
        return musdb.find_root(folder)
    if not folder.is_dir():
        raise CorpusError(
            f"{config.dataset}: the root {folder} does not exist; check its name"
        )
    return folder


def tracks(config: UnmixConfig, place: Path, split: str) -> list[Track]:
    """List the tracks of a split.

    Args:
        config: Gives the kind of corpus and its names.
        place: Its folder, from :func:`root`.
        split: ``"train"`` or ``"valid"``; of MUSDB18 also ``"test"``.

    Raises:
        CorpusError: The split is empty or a track lacks a file.
    """
    with reading.cutting(config.allow_cut):
        return LAYOUTS[config.dataset](config, place, split)


def targets(config: UnmixConfig) -> tuple[str, ...]:
    """Name the sources that are trained; a corpus of folders names its own."""
    if config.dataset == "musdb":
        return config.target
    if config.dataset in ("sourcefolder", "unaligned"):
        return (str(config.target_dir),)
    name = config.output_file if config.dataset == "aligned" else config.target_file
    return (Path(str(name)).stem,)


def parts(config: UnmixConfig, target: str) -> tuple[str, ...]:
    """Name the sources of MUSDB18 that a target is the sum of.

    Raises:
        ConfigError: The corpus has no such target.
    """
    if config.dataset != "musdb":
        return (target,)
    if target not in (*musdb.SOURCES, *COMPOUND):
        raise ConfigError(
            f"target={target!r} is no source of MUSDB18; expected one or more of "
            f"{', '.join((*musdb.SOURCES, *COMPOUND))}"
        )
    return COMPOUND.get(target, (target,))


def _without_root(config: UnmixConfig) -> Path:
    if not config.miniature:
        raise ConfigError(
            "root is not set; name the folder of MUSDB18 (root=FOLDER, --root FOLDER "
            "or MUSDB18_ROOT_DIR for ./run_train_model_on_musdb18.sh), train 'with "
            f"tiny' on the miniature that is made here, or ask for the "
            f"{musdb.PREVIEW_SECONDS}-second previews (root={PREVIEWS})"
        )
    rate = config.model.sample_rate
    folder = files.cache_folder("miniature", f"musdb-{rate}")
    say(
        f"no root: using the synthetic miniature corpus in {folder}; its numbers say "
        "nothing about real recordings"
    )
    return miniature.write_musdb(folder, sample_rate=rate, **MINIATURE_TRACKS)


def _previews() -> Path:
    place = musdb.preview()
    say(
        f"using the {musdb.PREVIEW_SECONDS}-second previews of MUSDB18 in {place}; "
        "they are for trying out, not for training"
    )
    return musdb.find_root(place)


def _musdb(config: UnmixConfig, place: Path, split: str) -> list[Track]:
    return musdb.tracks(place, split, is_wav=config.is_wav)


def _aligned(config: UnmixConfig, place: Path, split: str) -> list[Track]:
    names = str(config.input_file), str(config.output_file)
    return track_folders.aligned(place, split, *names)


def _sources(config: UnmixConfig, place: Path, split: str) -> list[Track]:
    kind = source_folders.unaligned
    if config.dataset == "sourcefolder":
        kind = source_folders.tracks
    names = (*config.interferer_dirs, str(config.target_dir))
    return kind(place, split, names, config.ext)


def _fixed(config: UnmixConfig, place: Path, split: str) -> list[Track]:
    target, others = str(config.target_file), config.interferer_files
    return track_folders.fixed(place, split, target, others)


def _variable(config: UnmixConfig, place: Path, split: str) -> list[Track]:
    target, silence = str(config.target_file), config.silence_missing
    return track_folders.variable(place, split, target, config.ext, silence)


LAYOUTS: Mapping[str, Layout] = {
    "musdb": _musdb,
    "aligned": _aligned,
    "sourcefolder": _sources,
    "unaligned": _sources,
    "trackfolder_fix": _fixed,
    "trackfolder_var": _variable,
}
