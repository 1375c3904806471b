"""Configuration of the adversarial pillar and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from common.training.schedule import Schedule

Paired = Literal["musdb", "dsd100", "ccmixter", "moisesdb", "track_folders"]
Head = Literal["relu", "softplus", "mask"]


@dataclass(frozen=True)
class ModelConfig:
    """What the original calls so, each key with its name and its default there.

    Attributes:
        model_base_dir: Folder of run folders.
        log_dir: Folder of links to TensorBoard's events of each phase, for runs below
            ``model_base_dir``; the events are in the run folder. None: no links.
        batch_size: Excerpts of a batch per replica: paired, unpaired, validation.
        alpha: Weight of what the critics say, in the second phase.
        beta: Weight of the additivity of unpaired estimates, in the second phase.
        lam: Weight of the gradient penalty of a critic.
        init_disc_lr: Learning rate of the critics.
        init_sup_sep_lr: Learning rate of the separator in the first phase.
        init_unsup_sep_lr: Learning rate of the separator in the second phase.
        epoch_it: Separator steps of an epoch.
        num_disc: Critic steps for each separator step.
        num_frames: Frames that are wanted of the separator; the layers decide how
            many more it gives.
        num_fft: Length of a frame in samples.
        num_hop: Distance between frames in samples.
        expected_sr: Working rate in Hz.
        mono_downmix: Take the mean of the channels; nothing else is possible.
        excerpts_reused: Draw several windows of each excerpt, as the original does to
            read less; otherwise every window is an excerpt of its own, and the keys
            below that tell of excerpts have no effect.
        cache_size: Excerpts of which windows are drawn at a time.
        num_workers: Excerpts that are read at the same time; 0: as many as are good.
        duration: Length of an excerpt that windows are drawn from, in seconds.
        min_replacement_rate: New excerpts for each batch; each then serves
            ``batch_size / min_replacement_rate`` windows.
        num_layers: Times that the separator halves its images.
        initial_filters: Filters of the separator's first layer.
        disc_filters: Filters of a critic's first layer.
        leaky_slope: Slope of the critics below zero.
        head: ``"relu"``: magnitudes as in the original; ``"softplus"``: the same
            without units that die; ``"mask"``: parts of the mixture's magnitude.
        patience: Epochs without progress after which a phase ends.
        adam_beta1: Of all optimizers.
        adam_beta2: Of all optimizers.
        adam_epsilon: Of all optimizers.
        gain_low: Least factor of an unpaired excerpt.
        gain_high: Largest factor of an unpaired excerpt.
        center_pad: What the transform of a sound that is separated sees beyond both
            ends: zeros, or the sound mirrored. Windows of the training lie in silence.
        init_from: Weights that the second phase starts with: ``"none"``: new ones, as
            in the original; ``"sup"``: those of the first phase.
        tile_hop: Frames between two tiles of a song that is separated.
        griffin_lim: Rounds by which the phase of estimates is improved; 0: the
            mixture's.
    """

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
    duration: float = 10.0
    min_replacement_rate: int = 8
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
    """What songs there are, with and without their sources.

    Attributes:
        paired: Kind of the corpus whose songs come with their sources.
        root: Its folder; none, in ``tiny`` alone: the miniature.
        unpaired: Kind of the corpus of single mixtures and sources; none: there is no
            second phase, unless ``paired_tracks`` leaves some songs.
        unpaired_root: Its folder; none: the miniature.
        split: ``"card"``: 100 songs of MUSDB18 for training, 25 for validation, 25 for
            the test; ``"museval"``: 86, 14 and 50.
        paired_tracks: Songs that keep their sources together; the others of the
            training join the unpaired ones. 0: all.
        unpaired_tracks: Songs of the unpaired corpus; 0: all.
        thirds: A third of the unpaired corpus to each of training, validation, test.
        bleed: Take stems with bleed of other sources as examples for the critics.
        silent: Take songs without a voice; their vocals are silence, and never
            examples for the critic. Otherwise they are neither paired songs nor
            unpaired mixtures.
        skip: Leave out songs that lack a file and say how many, instead of refusing;
            not of MUSDB18 and of folders.
        allow_cut: Cut a song to its shortest file, however much is lost, instead of
            refusing files of unequal lengths.
        function: A function by its import path, ``package.module:name``, that gives
            the dictionary of lists of the original instead.
        foreign_pickle: A ``dataset.pkl`` that the original wrote, read instead.
        records: Folder of records to make of the songs; none: in the cache.
        records_encoding: Encoding of the records, which any but auto makes in any case:
            16 bits, float32 or 16 bits compressed without loss; auto: 16 bits where
            they keep every sample, else float32.
    """

    paired: Paired = "musdb"
    root: str | None = None
    unpaired: Paired | None = "moisesdb"
    unpaired_root: str | None = None
    split: Literal["card", "museval"] = "card"
    paired_tracks: int = 0
    unpaired_tracks: int = 0
    thirds: bool = False
    bleed: bool = True
    silent: bool = True
    skip: bool = False
    allow_cut: bool = False
    function: str | None = None
    foreign_pickle: str | None = None
    records: str | None = None
    records_encoding: Literal["auto", "pcm16", "float32", "flac"] = "auto"


@dataclass(frozen=True)
class AdversarialConfig:
    """Everything that a training run of both phases depends on.

    Attributes:
        train: How a run is kept and spread over devices. The length of an epoch is
            ``model_config.epoch_it``.
        model_config: The networks, losses and steps.
        corpora: The songs.
        phases: ``"both"``, or one of them alone.
        experiment_id: Name of the run folder below ``model_config.model_base_dir``;
            none: the date.
        output: Run folder, wherever it lies.
    """

    RENAMED = MappingProxyType({"precision": "train.precision"})

    train: Schedule = Schedule(epochs=1000, steps_per_epoch=1000)
    model_config: ModelConfig = field(default_factory=ModelConfig)
    corpora: Corpora = field(default_factory=Corpora)
    phases: Literal["both", "sup", "semisup"] = "both"
    experiment_id: str | None = None
    output: str | None = None


# A separator in small, for the miniature.
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
        duration=4.0,
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
