"""Configuration of Open-Unmix and its presets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

from common.corpora.augmentation import Augment
from common.corpora.track import CorpusName
from common.training.schedule import Schedule

Augmentation = Literal["gain", "channelswap", "force_stereo"]

FolderLayout = Literal[
    "aligned", "sourcefolder", "trackfolder_fix", "trackfolder_var", "unaligned"
]
"""Folder layouts of Open-Unmix for own data, with one target."""

FOLDER_LAYOUTS = get_args(FolderLayout)

ORDER = ("vocals", "drums", "bass", "other", "speech", "noise")
"""Targets in the order of the publications."""


@dataclass(frozen=True)
class Network:
    """Shape of the network of one target (names in brackets are the original's).

    Attributes:
        sample_rate: Rate of the waveforms in Hz.
        window_samples: Length of a frame and of its transform (``nfft``).
        hop_samples: Distance between frames (``nhop``).
        channels: 2 for stereo, 1 for mono (``nb_channels``).
        hidden_size: Width between the layers; each direction of the recurrent stack
            has half of it (``hidden_size``).
        layers: Layers of the recurrent stack.
        bidirectional: Whether the stack runs in both directions (the opposite of
            ``unidirectional``).
        bandwidth: Highest input frequency of the network, in Hz (``bandwidth``).
        dropout: Fraction of the outputs of all but the last layer of the stack that
            is set to zero in training.
        bridged: Whether the networks of all targets share two means, as those of X-UMX
            do; they are trained together only (``end_to_end``).
    """

    sample_rate: int = 44100
    window_samples: int = 4096
    hop_samples: int = 1024
    channels: int = 2
    hidden_size: int = 512
    layers: int = 3
    bidirectional: bool = True
    bandwidth: float = 16000.0
    dropout: float = 0.4
    bridged: bool = False


@dataclass(frozen=True)
class UnmixConfig:
    """Everything that a training run depends on.

    Attributes:
        model: Shape of the network.
        train: Length of the run and its distribution over devices.
        target: Source to separate, or several, one network each: ``vocals,drums``.
        dataset: Corpus: MUSDB18 (stems or wav), another one by its name in
            ``common.corpora.catalogue``, or one of the folder layouts.
        data_root: Folder of the corpus, or ``previews``: the 7-second previews of
            MUSDB18, which are downloaded.
        miniature: Without a data root, make the synthetic miniature corpus.
        is_wav: Read MUSDB18 only from wav files; otherwise both layouts are read.
        resample: Resample files of another rate instead of refusing them.
        records: Folder for the records made from the corpus; none: in the cache.
        records_encoding: Encoding of the records, which are always made unless it is
            auto: 16 bits, float32 or 16 bits compressed without loss; auto: 16 bits
            where they keep every sample, else float32.
        output: Run folder; none: a new one named by the date.
        initial: Run folder, folder of the original's files, or name of a model with the
            initial weights of a new run.
        batch_size: Excerpts per replica and step.
        segment_seconds: Length of the training excerpts, at most 0: whole files.
        samples_per_track: Excerpts of each track in one epoch, except for folder
            layouts.
        source_augmentations: Augmentations of each source of a training excerpt; none:
            gain and channelswap, or nothing for folder layouts. ``force_stereo`` takes
            the first two channels of files of more, in the validation as well.
        augment: The chain of augmentations that all packages share, after these.
        random_track_mix: Sources of one excerpt come from different tracks; none: yes,
            except for folder layouts.
        balanced: Draw classes, not files, equally often.
        input_file: Mixture of an aligned corpus, a name or a pattern.
        output_file: Target of an aligned corpus.
        target_dir: Target folder of a source folder corpus; none: for ``unaligned``
            the name of the target.
        interferer_dirs: Folders of the other sources of a source folder corpus.
        target_file: Target of a track folder corpus.
        interferer_files: Other sources of a track folder corpus.
        silence_missing: Use silence for a missing target.
        skip: Leave out tracks that lack a file, with a warning, in corpora that
            otherwise refuse them, such as MoisesDB.
        allow_cut: Cut a track to its shortest file, however much is lost.
        ext: Suffix of the files of a folder corpus.
        nb_train_samples: Excerpts of an epoch of a source folder corpus.
        nb_valid_samples: Excerpts of its validation.
        lr: Learning rate at the start.
        lr_decay_patience: Epochs without improvement before it decays.
        lr_decay_gamma: Factor of the decay.
        patience: Epochs without improvement before the training stops.
        weight_decay: Factor of each weight that is added to its gradient.
        optimizer: ``adam``, or ``rmsprop`` of 2019.
        end_to_end: Train the networks of all targets together on the estimated
            waveforms.
        niter: Iterations of the filter in that training; with 0 each target has the
            phase of the mixture.
    """

    RENAMED = MappingProxyType({"root": "data_root", "seq_dur": "segment_seconds"})

    model: Network = Network()
    train: Schedule = Schedule()
    target: tuple[str, ...] = ("vocals",)
    dataset: Literal[CorpusName, FolderLayout] = "musdb"
    data_root: str | None = None
    miniature: bool = False
    is_wav: bool = False
    resample: bool = False
    records: str | None = None
    records_encoding: Literal["auto", "pcm16", "float32", "flac"] = "auto"
    output: str | None = None
    initial: str | None = None
    batch_size: int = 16
    segment_seconds: float = 6.0
    samples_per_track: int = 64
    source_augmentations: tuple[Augmentation, ...] | None = None
    augment: Augment = Augment()
    random_track_mix: bool | None = None
    balanced: bool = False
    input_file: str | None = None
    output_file: str | None = None
    target_dir: str | None = None
    interferer_dirs: tuple[str, ...] = ()
    target_file: str | None = None
    interferer_files: tuple[str, ...] = ()
    silence_missing: bool = False
    skip: bool = False
    allow_cut: bool = False
    ext: str = ".wav"
    nb_train_samples: int = 1000
    nb_valid_samples: int = 100
    lr: float = 1e-3
    lr_decay_patience: int = 80
    lr_decay_gamma: float = 0.3
    patience: int = 140
    weight_decay: float = 1e-5
    optimizer: Literal["adam", "rmsprop"] = "adam"
    end_to_end: bool = False
    niter: int = 0


# One network of each target on MUSDB18; an epoch is 86 tracks of 64 excerpts.
UMX = UnmixConfig(
    train=Schedule(
        epochs=1000, steps_per_epoch=0, checkpoint_steps=100, log_steps=50, seed=42
    ),
)

# The same on the uncompressed MUSDB18-HQ.
UMXHQ = replace(UMX, is_wav=True)

# Twice as wide; the published weights come from 400 hours of private music.
UMXL = replace(UMX, model=Network(hidden_size=1024))

# Speech enhancement at 16 kHz, mono; of its training only the shape is published. Its
# corpus is ROOT/{train,valid}/{speech,noise}/*.wav.
UMXSE = replace(
    UMX,
    model=Network(
        sample_rate=16000,
        window_samples=1024,
        hop_samples=512,
        channels=1,
        hidden_size=256,
    ),
    target=("speech",),
    dataset="sourcefolder",
    target_dir="speech",
    interferer_dirs=("noise",),
)

# The defaults of the first public version, April 2019, on the network of today.
UMX_2019 = replace(
    UMX,
    model=Network(channels=1, bandwidth=15000.0),
    train=replace(UMX.train, seed=1),
    segment_seconds=5.0,
    source_augmentations=(),
    random_track_mix=False,
    patience=20,
    # It had no schedule of the learning rate: early stopping ends the run first.
    lr_decay_patience=1000,
    weight_decay=0.0,
    optimizer="rmsprop",
)

# Minutes on two cores, for the tests and the first steps: no row of any table.
TINY = UnmixConfig(
    model=Network(
        sample_rate=16000,
        window_samples=1024,
        hop_samples=512,
        hidden_size=56,
        layers=2,
        bandwidth=8000.0,
    ),
    train=Schedule(
        epochs=8, steps_per_epoch=40, checkpoint_steps=20, log_steps=10, seed=42
    ),
    target=("vocals", "drums", "bass", "other"),
    miniature=True,
    resample=True,
    segment_seconds=2.0,
    batch_size=8,
    lr=5e-3,
    lr_decay_patience=4,
    patience=8,
)

PRESETS = {
    "umx": UMX,
    "umxhq": UMXHQ,
    "umxl": UMXL,
    "umxse": UMXSE,
    "umx_2019": UMX_2019,
    "tiny": TINY,
}


def resolved(config: UnmixConfig) -> UnmixConfig:
    """Fill in the options that depend on the corpus.

    >>> resolved(UMX).source_augmentations
    ('gain', 'channelswap')
    """
    is_corpus = config.dataset not in FOLDER_LAYOUTS
    if config.source_augmentations is None:
        augmentations: tuple[Augmentation, ...] = ("gain", "channelswap")
        config = replace(
            config, source_augmentations=augmentations if is_corpus else ()
        )
    if config.random_track_mix is None:
        config = replace(config, random_track_mix=is_corpus)
    return config


def in_order(targets: Iterable[str]) -> list[str]:
    """Sort targets in the order of the publications, then others by name.

    >>> in_order(["choir", "bass", "vocals"])
    ['vocals', 'bass', 'choir']
    """
    rank = {target: index for index, target in enumerate(ORDER)}
    return sorted(targets, key=lambda target: (rank.get(target, len(rank)), target))
