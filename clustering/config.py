"""Configuration of the clustering package; see presets.py for the presets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from clustering import extension
from clustering.losses.deep_clustering import Normalization
from clustering.losses.permutation_invariant import InferenceLoss
from clustering.losses.targets import WeightName
from clustering.models.shapes import ConvTasnet, Spectral, Tasnet
from common.config import ConfigError
from common.corpora.augmentation import Augment
from common.corpora.track import CorpusName
from common.signal.framing import Padding, Scale, Stft, Window
from common.training.schedule import Schedule

NetworkName = Literal["dpcl", "mask_inference", "chimera", "tasnet", "conv_tasnet"]
ON_SPECTRA = "dpcl", "mask_inference", "chimera"
"""Networks on spectra; the others are on waveforms."""
Dataset = Literal[CorpusName, "snippets"]
Method = Literal["kmeans", "gmm"]
MaskName = Literal["soft", "binary", "posterior"]
Target = Literal["psa", "psa_untruncated", "msa", "irm"]
Curriculum = tuple[tuple[int, float], ...]

FRONTENDS: Mapping[str, tuple[Window, Padding, Scale]] = {
    "nussl": ("sqrt_hann", "constant_whole", "window_sum"),
    "nussl_old": ("hann", "constant_whole", "none"),
    "asteroid": ("sqrt_hann", "none", "tight"),
}

SPECTRAL = Spectral(embedding_activation=("tanh",))
TASNET, CONV_TASNET = Tasnet(), ConvTasnet()


def _check_name(key: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is neither one of the choices nor an import path."""
    if value not in choices and not extension.is_path(value):
        raise ConfigError(
            f"{key}={value!r}: expected one of {', '.join(choices)}, or your own as "
            "package.module:name"
        )


@dataclass(frozen=True)
class Loss:
    """The loss of the training; its terms are logged beside their weighted sum.

    A term of weight 0 is neither computed nor logged.

    Attributes:
        clustering: Weight of the loss of the embedding.
        clustering_kind: Its normalization, ``"whitened"`` k-means, or the import path
            of a function as in :mod:`clustering.extension`. The mean of ``"batch"`` is
            over the batch of a replica, so it depends on the number of replicas.
            Unlike those of nussl 1.x, the losses do not scale embeddings to unit norm;
            ``spectral.embedding_activation`` does if it has ``"unit_norm"``.
        inference: Weight of the loss of the masks, or of the waveforms.
        inference_kind: Loss of masked magnitudes or of waveforms, or an import path.
            Ratios are of waveforms, for which masked spectra are transformed back.
        target: Target magnitudes of the masks, see :mod:`clustering.losses.targets`.
        weights: Weights of the points of the embedding.
        threshold_db: Level for ``"threshold"``, in dB.
    """

    clustering: float = 1.0
    clustering_kind: Normalization | Literal["whitened"] | str = "classic"
    inference: float = 1.0
    inference_kind: InferenceLoss | str = "l1"
    target: Target = "psa"
    weights: tuple[WeightName, ...] = ("magnitude",)
    threshold_db: float = -40.0

    def __post_init__(self) -> None:
        choices = (*get_args(Normalization), "whitened")
        _check_name("loss.clustering_kind", self.clustering_kind, choices)
        choices = get_args(InferenceLoss)
        _check_name("loss.inference_kind", self.inference_kind, choices)


@dataclass(frozen=True)
class Clustering:
    """Options of the clustering of embeddings and of the masks.

    Attributes:
        sources: Number of masks.
        method: ``"kmeans"``, or ``"gmm"``, Gaussians with full covariances, whose
            responsibilities are the masks.
        percentile: Points are clustered if their magnitude is not below this percentile
            of the item, 0 to 100; 0 takes all. See ``loudest`` in
            :mod:`clustering.clusterers.cluster`.
        within_db: Of these, only points less than this number of dB below the loudest
            point of the item are clustered, as by the weight ``"vad"`` of training;
            none: all of them.
        mask: Masks of k-means: see ``soft_masks``, ``posterior_masks`` and
            ``binary_masks`` there. A Gaussian mixture has binary masks or its
            responsibilities.
        beta: Decay of soft and posterior masks with the distance, above 0.
        restarts: Independent starts of k-means.
        weighted: Whether points are weighted by their magnitude.
        order_by_size: Put the source with the largest mask first.

    Raises:
        ValueError: A value is invalid.
    """

    sources: int = 2
    method: Method = "kmeans"
    percentile: float = 90.0
    within_db: float | None = None
    mask: MaskName = "soft"
    beta: float = 5.0
    restarts: int = 1
    weighted: bool = False
    order_by_size: bool = True

    def __post_init__(self) -> None:
        for name, names in (("method", Method), ("mask", MaskName)):
            value, choices = getattr(self, name), get_args(names)
            if value not in choices:
                raise ValueError(
                    f"{name} is {value!r}; expected one of {', '.join(choices)}"
                )
        for name in ("sources", "restarts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 <= self.percentile <= 100:
            raise ValueError(f"percentile is {self.percentile}; expected 0 to 100")
        if self.within_db is not None and not self.within_db > 0:
            raise ValueError(
                f"within_db is {self.within_db}; expected none or a number above 0"
            )
        if not self.beta > 0:
            raise ValueError(f"beta is {self.beta}; expected a number above 0")


LIMITS = {"auto": "clip_percentile", "norm": "clip_norm"}
"""Keys that limit the gradient, by the ``clip_kind`` of earlier releases."""


def _clipping(old: Mapping[str, Any], base: ClusteringConfig) -> dict[str, Any]:
    """Return the keys of today for ``clip`` and ``clip_kind``, or one of them."""
    limits = {kind: getattr(base, key) for kind, key in LIMITS.items()}
    before = next((kind for kind, limit in limits.items() if limit), "none")
    kind = old.get("clip_kind", before)
    if kind not in ("none", *LIMITS):
        raise ConfigError(f"clip_kind={kind!r}: expected one of 'none', 'auto', 'norm'")
    # It was 10 where nothing is clipped.
    limit = old.get("clip", limits.get(before, 10.0))
    new: dict[str, Any] = {"clip_norm": 0.0, "clip_percentile": None}
    return new if kind == "none" else new | {LIMITS[kind]: limit}


@dataclass(frozen=True)
class ClusteringConfig:
    """Everything that a training run depends on.

    Attributes:
        train: Length of the run and its distribution over devices.
        kind: Name of the network, or the import path of a class.
        spectral: Shape of the networks on spectra; ``dpcl`` has only the embedding,
            ``mask_inference`` only the masks, ``chimera`` both.
        tasnet: Shape of ``tasnet``.
        conv_tasnet: Shape of ``conv_tasnet``.
        loss: The loss.
        cluster: Options of clustering and masks.
        sample_rate: Rate of the waveforms in Hz.
        window_samples: Length of a frame of the spectra.
        hop_samples: Distance between frames.
        frontend: Transform of the networks on spectra. ``"nussl"``: frames are centred
            and spectra, of square-root Hann windows, divided by the sum of the window.
            ``"nussl_old"``, of nussl before 1.0: the same frames, Hann windows and no
            scale; where windows overlap by more than a half, the original has further
            frames at both ends, of which less than a half is sound. ``"asteroid"``: the
            first frame begins with the sound, incomplete last frames are left out of
            training, spectra have the energy of the sound, and magnitudes a floor.
        dataset: Name of the corpus, or the import path of a function.
        data_root: Folder of the corpus; none, only in ``tiny`` presets: the miniature.
        folders: For ``scaper``, ``snippets`` and ``mix_folders``: separate folders of
            splits, as ``test=/data/test_set``.
        sources: Names of the sources to separate, each a source of the corpus or
            several joined by ``+``; ``*``: the sum of all others; none: those of the
            corpus.
        task: Task of WHAM!: ``"mix_clean"``, ``"mix_both"`` or ``"mix_single"``.
        length: For WSJ0-2mix and WHAM!: whether mixtures are cut to the shorter
            utterance.
        skip: Leave out tracks that lack a file, with a warning, instead of an error.
        allow_cut: Cut a track to its shortest file, however much is lost.
        mixing: ``"tracks"``: the same excerpt of the sources of one track.
            ``"random"``: a random excerpt for each source, and no speaker twice.
        snr_db: Range of the level of each source against the first, in dB; none: levels
            are kept.
        records: Folder for records of the corpus; none: wav files of one rate and
            format are read directly, others as records in the cache.
        records_encoding: Encoding of the records, which are always made unless it is
            auto: 16 bits, float32 or 16 bits compressed without loss; auto: 16 bits
            where they keep every sample, else float32.
        resample: Resample files of another rate instead of refusing them.
        output: Run folder.
        initial: Model with the initial weights of a new run: a run folder, the name of
            a bundled or published model, or a file of nussl, asteroid or torchaudio.
        segment_seconds: Length of an excerpt; shorter tracks end with silence.
        curriculum: Pairs of an epoch and the length of an excerpt in seconds from that
            epoch on, the first of epoch 0; the validation has the last. None: always
            ``segment_seconds``.
        excerpt: ``"random"``: every position in a track is equally likely.
            ``"balanced"``: positions whose first frame has sources of similar level are
            preferred.
        augment: The chain of augmentations that all packages share, after the levels.
        batch_size: Excerpts per replica and step.
        optimizer: Adam or RMSprop as in PyTorch, or gradient descent with momentum.
        lr: Learning rate at the start.
        weight_decay: Factor of each weight that is added to its gradient.
        clip_norm: Largest norm of the gradient of all weights, 0 for no limit.
        clip_percentile: Percentile of AutoClip, of the norms so far; none: no AutoClip.
        lr_decay_patience: Epochs without progress before the rate decays.
        lr_decay_gamma: Factor of the decay.
        patience: Epochs without progress before the run ends.
    """

    RENAMED = MappingProxyType({"root": "data_root"})
    CONVERTED = MappingProxyType({"clip": "clip_norm", "clip_kind": "clip_norm"})

    train: Schedule = Schedule(epochs=100, steps_per_epoch=500)
    kind: NetworkName | str = "dpcl"
    spectral: Spectral = SPECTRAL
    tasnet: Tasnet = TASNET
    conv_tasnet: ConvTasnet = CONV_TASNET
    loss: Loss = Loss()
    cluster: Clustering = Clustering(percentile=95.0)
    sample_rate: int = 16000
    window_samples: int = 512
    hop_samples: int = 128
    frontend: Literal["nussl", "nussl_old", "asteroid"] = "nussl"
    dataset: Dataset | str = "wsj0_2mix"
    data_root: str | None = None
    folders: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    task: Literal["mix_clean", "mix_both", "mix_single"] = "mix_clean"
    length: Literal["min", "max"] = "min"
    skip: bool = False
    allow_cut: bool = False
    mixing: Literal["tracks", "random"] = "tracks"
    snr_db: tuple[float, float] | None = None
    records: str | None = None
    records_encoding: Literal["auto", "pcm16", "float32", "flac"] = "auto"
    resample: bool = False
    output: str | None = None
    initial: str | None = None
    segment_seconds: float = 3.2
    curriculum: Curriculum = ()
    excerpt: Literal["random", "balanced"] = "random"
    augment: Augment = Augment()
    batch_size: int = 40
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    lr: float = 2e-4
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    clip_percentile: float | None = None
    lr_decay_patience: int = 5
    lr_decay_gamma: float = 0.5
    patience: int = 30

    def __post_init__(self) -> None:
        _check_name("kind", self.kind, get_args(NetworkName))
        _check_name("dataset", self.dataset, get_args(Dataset))
        begins = [epoch for epoch, _ in self.curriculum]
        rising = begins[:1] in ([], [0]) and begins == sorted(set(begins))
        if not (rising and all(seconds > 0 for _, seconds in self.curriculum)):
            raise ConfigError(
                f"curriculum={self.curriculum}: expected pairs of an epoch and seconds "
                "above 0, the first of epoch 0, the others of later and later ones"
            )
        seconds = [self.segment_seconds, *(length for _, length in self.curriculum)]
        # The frames of asteroid's front end are whole.
        least = self.window_samples if self.frontend == "asteroid" else 1
        if not math.isfinite(max(seconds)):
            raise ConfigError(
                f"an excerpt of {max(seconds)} s; expected a finite length in "
                "segment_seconds and curriculum"
            )
        if round(min(seconds) * self.sample_rate) < least:
            raise ConfigError(
                f"an excerpt of {min(seconds)} s at sample_rate={self.sample_rate} is "
                f"too short; expected at least {least} samples in segment_seconds and "
                "curriculum"
            )
        if not 0 <= self.clip_norm < math.inf:
            raise ConfigError(
                f"clip_norm={self.clip_norm}: expected 0 for no limit, or a number "
                "above 0"
            )
        if not 0 <= (self.clip_percentile or 0) <= 100:
            raise ConfigError(
                f"clip_percentile={self.clip_percentile}: expected none or 0 to 100, "
                "such as 10"
            )
        if self.curriculum and self.augment.needs_length:
            raise ConfigError(
                "augment.speed and augment.remix take excerpts of one length; leave "
                "curriculum out"
            )
        if self.excerpt == "balanced" and self.mixing == "random":
            raise ConfigError(
                "excerpt=balanced needs sources of one track; expected mixing=tracks"
            )

    @staticmethod
    def converted(values: Mapping[str, Any], base: ClusteringConfig) -> dict[str, Any]:
        """Replace ``clip`` and ``clip_kind`` by keys of today.

        Args:
            values: Values by dotted key.
            base: Configuration that they change.

        Raises:
            ConfigError: The values have keys of today as well, or ``clip_kind`` is none
                of its choices.
        """
        old = {key: values[key] for key in ("clip", "clip_kind") if key in values}
        new = {key: value for key, value in values.items() if key not in old}
        if not old:
            return new
        both = {key: new[key] for key in LIMITS.values() if key in new}
        if both:
            words = [f"{key}={value!r}" for key, value in {**old, **both}.items()]
            raise ConfigError(
                f"{' and '.join(words)}: clip became clip_norm and clip_percentile; "
                "expected keys of today alone"
            )
        return new | _clipping(old, base)

    @property
    def role(self) -> NetworkName:
        """Name of the network; for a custom one, of the network that it replaces."""
        if self.kind in get_args(NetworkName):
            return cast(NetworkName, self.kind)
        custom = extension.network(self.kind, get_args(NetworkName))
        return cast(NetworkName, custom.role)

    @property
    def clusters(self) -> bool:
        """Whether masks are made of the embedding, by clustering.

        A chimera whose masks have no part in the loss separates by its embedding.
        """
        untrained = self.role == "chimera" and self.loss.inference == 0
        return self.role == "dpcl" or untrained

    @property
    def stft(self) -> Stft:
        """The transform of the networks on spectra."""
        window, padding, scale = FRONTENDS[self.frontend]
        return Stft(self.window_samples, self.hop_samples, None, window, padding, scale)

    @property
    def whole_stft(self) -> Stft:
        """The transform of separation: its frames cover all of a sound."""
        return replace(self.stft, padding="constant_whole")

    @property
    def power_floor(self) -> float:
        """Number that the front end adds to the squares of magnitudes."""
        return 1e-8 if self.frontend == "asteroid" else 0.0

    @property
    def segment_samples(self) -> int:
        """Length of an excerpt in samples, the last one of a curriculum."""
        last = self.curriculum[-1][1] if self.curriculum else self.segment_seconds
        return round(last * self.sample_rate)
