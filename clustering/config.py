"""Configuration of the clustering pillar and its presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from clustering.cluster import Clustering
from clustering.losses.deep_clustering import Kind as ClusteringLoss
from clustering.losses.permutation_invariant import Kind as InferenceLoss
from clustering.shapes import Chimera, ConvTasnet, Features, Recurrent, Tasnet
from clustering.targets import Weight
from common.schedule import Schedule
from common.stft import Stft

Kind = Literal["dpcl", "mask_inference", "chimera", "tasnet", "conv_tasnet"]
Dataset = Literal[
    "wsj0_2mix",
    "wham",
    "musdb",
    "mir1k",
    "slakh",
    "remixpacks600",
    "scaper",
    "snippets",
    "mix_folders",
]
Target = Literal["psa", "psa_untruncated", "msa"]

SPECTRAL = Chimera(embedding_activation=("tanh",))
TASNET, CONV_TASNET = Tasnet(), ConvTasnet()
CLUSTER = Clustering(percentile=95.0)


@dataclass(frozen=True)
class Loss:
    """What is minimised; the raw terms are logged beside the weighted sum.

    Attributes:
        clustering: Weight of the loss of the embedding.
        clustering_kind: Its normalisation, or ``"whitened"`` k-means.
        inference: Weight of the loss of the masks, or of the waveforms.
        inference_kind: How estimates are compared with their targets.
        target: Magnitudes that masks and assignments are made for.
        weights: How points of the embedding are weighed.
        threshold_db: Level for ``"threshold"``, in dB.
    """

    clustering: float = 1.0
    clustering_kind: ClusteringLoss | Literal["whitened"] = "classic"
    inference: float = 1.0
    inference_kind: InferenceLoss = "l1"
    target: Target = "psa"
    weights: tuple[Weight, ...] = ("magnitude",)
    threshold_db: float = -40.0


@dataclass(frozen=True)
class ClusteringConfig:
    """Everything that a training run depends on.

    Attributes:
        train: Length of the run and how it is spread over devices.
        kind: Which network.
        spectral: Shape of the networks on spectra; ``dpcl`` has the embedding of it,
            ``mask_inference`` the masks, ``chimera`` both.
        tasnet: Shape of ``tasnet``.
        conv_tasnet: Shape of ``conv_tasnet``.
        loss: What is minimised.
        cluster: How masks are made of embeddings.
        sample_rate: Rate of the waveforms in Hz.
        window_samples: Length of a frame of the spectra.
        hop_samples: Distance between frames.
        dataset: Kind of corpus.
        root: Folder of the corpus; none: the miniature.
        folders: Of ``scaper``, ``snippets`` and ``mix_folders``: folder of each split
            that lies by itself, as ``test=/data/test_set``.
        sources: Names of the sources to separate, each of one source of the corpus or
            of several joined by ``+``; ``*``: all others added up; none: those of the
            corpus.
        task: Of WHAM!: ``"mix_clean"``, ``"mix_both"`` or ``"mix_single"``.
        length: Of WSJ0-2mix and WHAM!: mixtures cut to the shorter utterance or not.
        skip: Leave out tracks that lack a file, and say how many, instead of refusing.
        mixing: ``"tracks"``: sources of one track, from one place. ``"random"``: each
            source from a track and a place of its own.
        snr_db: Range of the level of each source against the first in random mixtures,
            in dB; none: levels as they are.
        records: Folder of records to make of the corpus; none: wav files as they lie
            where they are alike, else records in the cache.
        resample: Resample files of another rate instead of refusing them.
        output: Run folder.
        segment_seconds: Length of an excerpt; shorter tracks end with silence.
        batch_size: Excerpts per replica and step.
        optimizer: Adam as PyTorch has it, or RMSprop.
        lr: Learning rate at the start.
        weight_decay: Share of each weight that is added to its gradient.
        clip: Percentile of AutoClip, or largest norm of the gradient.
        clip_kind: Which of the two; ``"none"``: neither.
        lr_decay_patience: Epochs without progress before the rate falls.
        lr_decay_gamma: What it is multiplied with then.
        patience: Epochs without progress before the run ends.
    """

    train: Schedule = Schedule(epochs=100, steps_per_epoch=500)
    kind: Kind = "dpcl"
    spectral: Chimera = SPECTRAL
    tasnet: Tasnet = TASNET
    conv_tasnet: ConvTasnet = CONV_TASNET
    loss: Loss = Loss()
    cluster: Clustering = CLUSTER
    sample_rate: int = 16000
    window_samples: int = 512
    hop_samples: int = 128
    dataset: Dataset = "wsj0_2mix"
    root: str | None = None
    folders: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    task: Literal["mix_clean", "mix_both", "mix_single"] = "mix_clean"
    length: Literal["min", "max"] = "min"
    skip: bool = False
    mixing: Literal["tracks", "random"] = "tracks"
    snr_db: tuple[float, float] | None = None
    records: str | None = None
    resample: bool = False
    output: str | None = None
    segment_seconds: float = 3.2
    batch_size: int = 40
    optimizer: Literal["adam", "rmsprop"] = "adam"
    lr: float = 2e-4
    weight_decay: float = 0.0
    clip: float = 10.0
    clip_kind: Literal["none", "auto", "norm"] = "none"
    lr_decay_patience: int = 5
    lr_decay_gamma: float = 0.5
    patience: int = 30

    @property
    def stft(self) -> Stft:
        """The transform of the networks on spectra, that of nussl."""
        return Stft(
            self.window_samples,
            self.hop_samples,
            window="sqrt_hann",
            padding="constant_whole",
            scale="window_sum",
        )

    @property
    def segment_samples(self) -> int:
        """Length of an excerpt in samples."""
        return round(self.segment_seconds * self.sample_rate)


# A network in small for two talkers at 8 kHz, on the miniature.
TINY = ClusteringConfig(
    train=Schedule(epochs=15, steps_per_epoch=100, checkpoint_steps=100, log_steps=20),
    spectral=Chimera(
        features=Features(bins=129),
        recurrent=Recurrent(hidden=96, layers=2, dropout=0.0),
        embedding_activation=("tanh", "unit_norm"),
        mask_activation=("sigmoid",),
    ),
    cluster=Clustering(percentile=80.0, mask="binary"),
    sample_rate=8000,
    window_samples=256,
    hop_samples=64,
    segment_seconds=0.8,
    batch_size=16,
    lr=1e-3,
    clip_kind="auto",
)

# The scale of the spectra makes an error of magnitudes a thousand times smaller than
# that of an embedding.
BOTH = Loss(inference=1000.0)

PRESETS = {
    "dpcl": ClusteringConfig(),
    "mask_inference": ClusteringConfig(kind="mask_inference"),
    "chimera": ClusteringConfig(kind="chimera", loss=BOTH),
    "tasnet": ClusteringConfig(kind="tasnet"),
    "conv_tasnet": ClusteringConfig(kind="conv_tasnet"),
    "tiny": TINY,
    "tiny_mask_inference": replace(TINY, kind="mask_inference"),
    "tiny_chimera": replace(TINY, kind="chimera", loss=BOTH),
}
