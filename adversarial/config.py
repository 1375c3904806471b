"""Configuration of the adversarial package and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from common.config import ConfigError
from common.corpora.augmentation import Augment
from common.corpora.track import CorpusName
from common.training.schedule import Schedule

Paired = Literal[CorpusName, "track_folders"]
Head = Literal["relu", "softplus", "mask"]


@dataclass(frozen=True)
class ModelConfig:
    """The keys of the original's ``model_config``, with its defaults, and some more.

    Attributes:
        model_base_dir: Folder of run folders.
        log_dir: Folder of links to the TensorBoard events of each phase, for runs below
            ``model_base_dir``; the events are in the run folder. None: no links.
        batch_size: Examples of a batch per replica: paired, unpaired, validation.
        alpha: Weight of the adversarial loss in the second phase.
        beta: Weight of the additivity loss in the second phase.
        lam: Weight of the critics' gradient penalty.
        init_disc_lr: Learning rate of the critics.
        init_sup_sep_lr: Learning rate of the separator in the first phase.
        init_unsup_sep_lr: Learning rate of the separator in the second phase.
        epoch_it: Separator steps of an epoch.
        num_disc: Critic steps for each separator step.
        num_frames: Least number of output frames of the separator; its layers decide
            how many more there are.
        num_fft: Length of a frame in samples.
        num_hop: Hop between frames in samples.
        expected_sr: Sample rate of the networks in Hz.
        mono_downmix: Average the channels; only true is supported.
        excerpts_reused: Draw several windows from each excerpt, as the original does to
            read less. Otherwise every window has an excerpt of its own, and the keys of
            the original's cache have no effect.
        cache_size: Number of excerpts that windows are drawn from.
        num_workers: Number of examples read in parallel; 0: chosen by TensorFlow.
        segment_seconds: Length of an excerpt (``duration`` of the original).
        min_replacement_rate: New excerpts for each batch, also a fraction; each then
            serves ``batch_size / min_replacement_rate`` windows.
        num_layers: Number of halvings in the separator.
        initial_filters: Filters of the separator's first layer.
        disc_filters: Filters of the critics' first layer.
        leaky_slope: Negative slope of the critics' leaky ReLU.
        head: ``"relu"``: magnitudes, as in the original; ``"softplus"``: magnitudes
            without units that die; ``"mask"``: masks of the mixture that sum to 1.
        patience: Epochs without progress after which a phase ends.
        adam_beta1: Decay of the first moment, for all optimizers.
        adam_beta2: Decay of the second moment, for all optimizers.
        adam_epsilon: Epsilon of all optimizers.
        gain_low: Least gain of an unpaired excerpt.
        gain_high: Largest gain of an unpaired excerpt.
        center_pad: Padding at both ends of a sound that is separated: zeros, or the
            sound mirrored. Windows of the training are padded with silence.
        init_from: Initial weights of the second phase: ``"none"``: new ones, as in the
            original; ``"sup"``: those of the first phase.
        tile_hop: Frames that the separator estimates at once.
        griffin_lim: Griffin-Lim iterations on the estimates; 0: the mixture's phase.
    """

    # The original's name, which earlier releases saved.
    RENAMED = MappingProxyType({"duration": "segment_seconds"})

    model_base_dir: str = "checkpoints"
    log_dir: str | None = "logs"
    batch_size: int = 64
    alpha: float = 0.001
    beta: float = 0.001
    lam: float = 10.0
    init_disc_lr: float = 5e-5
    init_sup_sep_lr: float = 5e-5
    init_unsup_sep_lr: float = 5e-5
    epoch_it: int = 1000
    num_disc: int = 5
    num_frames: int = 64
    num_fft: int = 512
    num_hop: int = 256
    expected_sr: int = 8192
    mono_downmix: bool = True
    excerpts_reused: bool = True
    cache_size: int = 64
    num_workers: int = 4
    segment_seconds: float = 10.0
    min_replacement_rate: float = 8
    num_layers: int = 4
    initial_filters: int = 16
    disc_filters: int = 32
    leaky_slope: float = 0.2
    head: Head = "relu"
    patience: int = 1
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    gain_low: float = 0.2
    gain_high: float = 1.2
    center_pad: Literal["constant", "reflect"] = "constant"
    init_from: Literal["none", "sup"] = "none"
    tile_hop: int = 64
    griffin_lim: int = 0


@dataclass(frozen=True)
class Corpora:
    """The songs, with and without their sources.

    Attributes:
        paired: Corpus of songs with their sources.
        data_root: Its folder; none, only in ``tiny``: the miniature.
        unpaired: Corpus of unpaired mixtures and sources; none: there is no second
            phase, unless ``paired_tracks`` leaves some songs.
        unpaired_root: Its folder; none: the miniature.
        voice: Source to use as the vocals; all others are accompaniment.
        split: ``"card"``: 100 songs of MUSDB18 for training, 25 for validation, 25 for
            the test; ``"museval"``: 86, 14 and 50.
        paired_tracks: Songs that keep their sources; the others of the training join
            the unpaired ones. 0: all.
        unpaired_tracks: Songs of the unpaired corpus; 0: all.
        thirds: A third of the unpaired corpus to each of training, validation, test.
        bleed: Use stems with bleed of other sources as examples for the critics.
        silent: Use songs without vocals; their vocals are silence, and never an
            example for the critic. Otherwise they are neither paired songs nor
            unpaired mixtures.
        skip: Leave out songs that lack a file and report how many, instead of an error;
            not for MUSDB18 and track folders.
        allow_cut: Trim a song to its shortest file, however much is lost, instead of an
            error where lengths differ.
        function: Import path ``package.module:name`` of a function that returns the
            original's dictionary of lists; it replaces the corpora.
        records: Folder of the records of the songs; none: in the cache.
        records_encoding: Encoding of the records, which are always made unless it is
            auto: 16 bits, float32 or 16 bits compressed without loss; auto: 16 bits
            where they keep every sample, else float32.
    """

    # ``dataset`` is the name of the other packages.
    RENAMED = MappingProxyType(
        {"root": "data_root", "dataset": "paired", "foreign_pickle": None}
    )

    paired: Paired = "musdb"
    data_root: str | None = None
    unpaired: Paired | None = "moisesdb"
    unpaired_root: str | None = None
    voice: str = "vocals"
    split: Literal["card", "museval"] = "card"
    paired_tracks: int = 0
    unpaired_tracks: int = 0
    thirds: bool = False
    bleed: bool = True
    silent: bool = True
    skip: bool = False
    allow_cut: bool = False
    function: str | None = None
    records: str | None = None
    records_encoding: Literal["auto", "pcm16", "float32", "flac"] = "auto"


@dataclass(frozen=True)
class AdversarialConfig:
    """Configuration of a training run of both phases.

    Attributes:
        train: How a run is saved and distributed. The length of an epoch is
            ``model_config.epoch_it``.
        model_config: The networks, losses and steps.
        corpora: The songs.
        augment: The chain of augmentations that all packages share; of unpaired songs
            it changes speed, gain and polarity.
        phases: ``"both"``, or one phase alone.
        experiment_id: Name of the run folder below ``model_config.model_base_dir``;
            none: the date.
        output: Run folder, anywhere.
        initial: Model with the initial weights of the separator in each phase that
            begins: a run folder, a checkpoint of the original, or a bundled model.
            With ``init_from=sup`` the second phase begins with those of the first.
    """

    RENAMED = MappingProxyType({"precision": "train.precision"})

    train: Schedule = Schedule(epochs=1000, steps_per_epoch=1000)
    model_config: ModelConfig = field(default_factory=ModelConfig)
    corpora: Corpora = field(default_factory=Corpora)
    augment: Augment = Augment()
    phases: Literal["both", "sup", "semisup"] = "both"
    experiment_id: str | None = None
    output: str | None = None
    initial: str | None = None


LEAST = {
    "batch_size": 1,
    "epoch_it": 1,
    "num_disc": 1,
    "num_hop": 1,
    "expected_sr": 1,
    "cache_size": 1,
    "num_workers": 0,
    "min_replacement_rate": 1e-3,
    "patience": 0,
    "tile_hop": 0,
    "griffin_lim": 0,
    "alpha": 0,
    "beta": 0,
    "lam": 0,
    "init_disc_lr": 0,
    "init_sup_sep_lr": 0,
    "init_unsup_sep_lr": 0,
}
"""Least value of the numbers of :class:`ModelConfig`; networks check their own."""


def validate(config: ModelConfig) -> None:
    """Check the values of a configuration for training.

    Raises:
        ConfigError: A value is out of range.

    >>> validate(ModelConfig())
    """
    for name, least in LEAST.items():
        if getattr(config, name) < least:
            raise ConfigError(
                f"model_config.{name}={getattr(config, name)}; expected at least "
                f"{least}"
            )
    for name in ("adam_beta1", "adam_beta2"):
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(
                f"model_config.{name}={getattr(config, name):g}; expected 0 to below 1"
            )
    if config.num_hop > config.num_fft:
        raise ConfigError(
            f"model_config.num_hop={config.num_hop}; expected at most num_fft "
            f"({config.num_fft}), so that frames leave no gaps"
        )
    if not config.mono_downmix:
        raise ConfigError(
            "model_config.mono_downmix=false; expected true, because the networks take "
            "one channel, the mean of all; leave the key out (separation treats the "
            "channels of a file one by one)"
        )


# A small separator for the miniature.
TINY = AdversarialConfig(
    train=Schedule(epochs=3, steps_per_epoch=20, checkpoint_steps=20, log_steps=5),
    model_config=ModelConfig(
        batch_size=4,
        epoch_it=20,
        num_frames=16,
        num_layers=2,
        initial_filters=4,
        disc_filters=4,
        num_disc=2,
        segment_seconds=4.0,
        init_sup_sep_lr=1e-3,
        init_unsup_sep_lr=1e-3,
        init_disc_lr=1e-3,
        min_replacement_rate=1,
    ),
)

PRESETS = {
    "musdb_moisesdb": AdversarialConfig(),
    "museval": replace(AdversarialConfig(), corpora=Corpora(split="museval")),
    "tiny": TINY,
}
