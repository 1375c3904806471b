"""Configuration of mixture invariant training and its presets."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Literal

from common.config import ConfigError
from common.corpora.augmentation import Augment
from common.corpora.track import CorpusName
from common.training.schedule import Schedule


@dataclass(frozen=True)
class Network:
    """Shape of the TDCN++ (paper, appendix A; names as in Google's program).

    Attributes:
        sample_rate: Rate of the waveforms in Hz.
        num_sources: Number of outputs.
        num_mics: Microphones of the mixture; sources are estimated at the first.
        basis: ``learned``, or ``stft`` with a square-root Hann window.
        window_samples: Length of a frame.
        hop_samples: Distance between frames.
        num_coeffs: Coefficients of the learned basis for each frame. The STFT has the
            bins of its transform, whose length is the next power of two of the window.
        front_padding: With the STFT, begin with frames that hold zeros and the first
            samples, so that the beginning is covered by as many frames as the rest.
        bottleneck: Channels between the blocks.
        conv_channels: Channels within a block.
        kernel_size: Frames in the kernel of a depthwise convolution, odd.
        num_dilations: Blocks of one repeat, dilated by 1, 2, 4, ...
        num_repeats: Number of repeats.
        norm: ``instance_norm`` over the frames, ``layer_norm`` over the channels or
            ``global_layer_norm`` over both.
        skip_connections: Add the input of the first block of every repeat, through a
            dense layer, to that of the first block of every later repeat.
        block_scale: ``exponential``: blocks end in a learned scalar that starts at
            0.9^b; ``none``: no scalar.
        mask: Activation of the masks, ``sigmoid``, or ``relu``.
        mixture_consistency: How the difference between the mixture and the sum of the
            estimates is distributed: ``pred_source`` by predicted weights, ``magsq`` by
            their power, ``uniform`` equally, ``none`` not at all.
    """

    sample_rate: int = 16000
    num_sources: int = 8
    num_mics: int = 1
    basis: Literal["learned", "stft"] = "learned"
    window_samples: int = 40
    hop_samples: int = 20
    num_coeffs: int = 256
    front_padding: bool = False
    bottleneck: int = 256
    conv_channels: int = 512
    kernel_size: int = 3
    num_dilations: int = 8
    num_repeats: int = 4
    norm: Literal["instance_norm", "layer_norm", "global_layer_norm"] = "instance_norm"
    skip_connections: bool = False
    block_scale: Literal["exponential", "none"] = "exponential"
    mask: Literal["sigmoid", "relu"] = "sigmoid"
    mixture_consistency: Literal["pred_source", "magsq", "uniform", "none"] = (
        "pred_source"
    )

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and value < 1:
                raise ConfigError(f"model.{field.name}={value}: expected at least 1")
        if self.kernel_size % 2 == 0:
            raise ConfigError(
                f"model.kernel_size={self.kernel_size}: expected an odd number of "
                "frames, so that a kernel has a middle"
            )


@dataclass(frozen=True)
class MixitConfig:
    """Everything that a training run depends on.

    Attributes:
        model: Shape of the network.
        train: Length of the run and its distribution over devices.
        dataset: Corpus by its name in ``common.corpora.catalogue``.
        data_root: Its folder; for ``fuss`` also one of records of roomsim.
        miniature: Without a data root, make the synthetic miniature corpus.
        resample: Resample a corpus of another rate instead of refusing it.
        records: Folder for the records made from the corpus; none: in the cache.
        records_encoding: Encoding of the records: 16 bits, float32 or 16 bits
            compressed without loss; auto: 16 bits where they keep every sample, else
            float32.
        skip: Leave out recordings that cannot be read and list them in the index of
            the records, instead of an error that names them.
        output: Run folder; none: a new one named by the date.
        initial: Run folder, TF1 checkpoint or name of a model with the initial weights
            of a new run, and the state of the optimizer if it holds one. A resumed run
            does not read it again; a run with warm-up or cosine ignores the state.
        segment_seconds: Length of the training examples; shorter ones are padded with
            zeros, and a random excerpt is taken of longer ones.
        augment: The chain of augmentations that all packages share.
        batch_size: Mixtures per replica and step, even: two make a mixture of mixtures;
            a labelled example counts as two.
        validation_examples: Mixtures of the validation split that are used, 0 for all.
        lr: Learning rate at the start.
        lr_decay_steps: Steps in which it decays by the factor ``lr_decay_rate``.
        lr_decay_rate: See ``lr_decay_steps``.
        max_snr: Signal-to-noise ratio at which the loss saturates, in dB.
        clip_norm: Largest norm of the gradient of all weights, 0 for no limit.
        labelled: Chance that a training example comes from the labelled recordings and
            is trained with the supervised loss on its own mixture: 0 trains without
            labels, 1 only with labels.
        labelled_root: Folder of the labelled corpus; none: that fraction of the
            training recordings of ``data_root`` is labelled, the others are not.
        zero_weight: Weight of silent references in the supervised loss.
        assignment: ``search`` finds the best of all assignments, ``least_squares``
            rounds the best unconstrained one, for 16 outputs and more.
        sparsity: Penalty on using many outputs, ``none`` or ``l1_l2``.
        sparsity_weight: Its weight beside the loss.
        gradient_checkpointing: Recompute the blocks for the gradient instead of keeping
            their activations, which saves memory and costs time.
    """

    # Release 0.1.0 had another penalty under this name.
    REMOVED_CHOICES = MappingProxyType({"sparsity": {"covariance": "none"}})

    model: Network = Network()
    train: Schedule = Schedule()
    dataset: CorpusName = "fuss"
    data_root: str | None = None
    miniature: bool = False
    resample: bool = False
    records: str | None = None
    records_encoding: Literal["auto", "pcm16", "float32", "flac"] = "auto"
    skip: bool = False
    output: str | None = None
    initial: str | None = None
    segment_seconds: float = 10.0
    augment: Augment = Augment()
    batch_size: int = 6
    validation_examples: int = 800
    lr: float = 1e-4
    lr_decay_steps: int = 2_000_000
    lr_decay_rate: float = 0.5
    max_snr: float = 30.0
    clip_norm: float = 0.0
    labelled: float = 0.0
    labelled_root: str | None = None
    zero_weight: float = 1.0
    assignment: Literal["search", "least_squares"] = "search"
    sparsity: Literal["none", "l1_l2"] = "none"
    sparsity_weight: float = 0.0
    gradient_checkpointing: bool = False


# Paper, table 1, the row "MixIT, FUSS only"; 20 million steps of three mixtures of
# mixtures of 10 s, 12 GB of memory for each replica, 2.5 with gradient checkpointing.
# Google's program validates on round(800 / 6) = 133 batches of six examples, and the
# baseline on 267 of three.
FUSS = MixitConfig(
    train=Schedule(epochs=4000, steps_per_epoch=5000, checkpoint_steps=1000, keep=5),
    validation_examples=798,
)

# The model of the YFCC100m rows: the same network and schedule on clips without labels.
YFCC100M = FUSS

# FUSS with labels by Google's models/train: STFT basis, four outputs. The program
# of the published baseline, arXiv 2011.00803, is older; README.md has the keys for it.
FUSS_SUPERVISED = replace(
    FUSS,
    model=Network(
        num_sources=4,
        basis="stft",
        window_samples=512,
        hop_samples=128,
        front_padding=True,
    ),
    batch_size=6,
    validation_examples=801,
    labelled=1.0,
    clip_norm=5.0,
)

# Minutes on two cores: a small network on short examples at 8 kHz. It is the preset of
# the tests and of the first steps, not of any table.
TINY = MixitConfig(
    model=Network(
        sample_rate=8000,
        num_sources=4,
        window_samples=64,
        hop_samples=32,
        num_coeffs=128,
        bottleneck=64,
        conv_channels=128,
        num_dilations=6,
        num_repeats=2,
    ),
    train=Schedule(epochs=5, steps_per_epoch=150, checkpoint_steps=50, log_steps=25),
    miniature=True,
    segment_seconds=2.0,
    batch_size=8,
    validation_examples=0,
    lr=3e-3,
    lr_decay_steps=400,
)

PRESETS = {
    "fuss": FUSS,
    "yfcc100m": YFCC100M,
    "fuss_supervised": FUSS_SUPERVISED,
    "tiny": TINY,
}

ALIASES = {
    "-dd": "data_root",
    "--data_dir": "data_root",
    "-md": "output",
    "--model_dir": "output",
}
"""Flags of Google's program whose keys have other names here."""
