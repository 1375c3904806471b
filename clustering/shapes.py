"""Shapes of the networks of the clustering pillar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.layers.recurrent import Initial
from common.layers.recurrent import Kind as RecurrentKind

Activation = Literal[
    "sigmoid", "tanh", "relu", "softmax", "gated_tanh", "unit_norm", "l1_norm"
]
"""What a head does to its last axis; several are applied one after another."""

Level = Literal["decibels", "librosa", "log"]
FeatureNorm = Literal["instance", "batch", "none"]
ChannelNorm = Literal["gLN", "cLN", "cgLN", "fgLN"]
MaskActivation = Literal["sigmoid", "relu", "softmax", "none"]


@dataclass(frozen=True)
class Features:
    """What a network sees of a magnitude.

    Attributes:
        bins: Bins of a spectrum. A network that hears several channels at once has
            bins * channels of them, the channels of one bin beside each other.
        level: ``"decibels"``: 10 log10(max(magnitude^2, 1e-8)). ``"librosa"``: 20
            log10(max(magnitude, 1e-5)), no less than 80 dB below the loudest point of
            the item. ``"log"``: ln(magnitude + 1e-8).
        norm: ``"instance"``: every item to mean 0 and variance 1 over frames and bins.
            ``"batch"``: the whole batch, with a learned gain and offset. ``"none"``.
        mels: Filters on the scale of mel, each of sum 1, that are laid over the
            magnitude first; 0: none. Masks and embeddings keep the bins.
        mel_rate: Rate of the waveforms in Hz, by which these filters lie.
    """

    bins: int = 257
    level: Level = "decibels"
    norm: FeatureNorm = "instance"
    mels: int = 0
    mel_rate: int = 16000


@dataclass(frozen=True)
class Recurrent:
    """Shape of a recurrent stack.

    Attributes:
        hidden: Width of each direction.
        layers: Number of layers.
        bidirectional: Whether a second direction runs from the last frame to the first.
        dropout: Part of the outputs between the layers that training sets to zero.
        initial: How the weights start, see
            :class:`common.layers.recurrent.RecurrentStack`.
        forget_bias: Start of the forget gate of an LSTM in each of the two biases;
            none: as the other gates.
        kind: ``"lstm"`` or ``"gru"``.
        dropout_last: Whether what leaves the last layer is dropped as well.
    """

    hidden: int = 300
    layers: int = 4
    bidirectional: bool = True
    dropout: float = 0.3
    initial: Initial = "xavier"
    forget_bias: float | None = 1.0
    kind: RecurrentKind = "lstm"
    dropout_last: bool = False


@dataclass(frozen=True)
class DeepClustering:
    """Network from a magnitude to an embedding of every bin.

    Attributes:
        features: What it sees.
        recurrent: Its stack.
        embedding: Dimensions of the embedding.
        embedding_activation: What is done to the embedding, in this order.
    """

    features: Features = Features()
    recurrent: Recurrent = Recurrent()
    embedding: int = 20
    embedding_activation: tuple[Activation, ...] = ("tanh",)


@dataclass(frozen=True)
class MaskInference:
    """Network from a magnitude to a mask for every source.

    Attributes:
        features: What it sees.
        recurrent: Its stack.
        sources: Number of masks.
        mask_activation: What is done to the masks of a bin, in this order.
    """

    features: Features = Features()
    recurrent: Recurrent = Recurrent()
    sources: int = 2
    mask_activation: tuple[Activation, ...] = ("softmax",)


@dataclass(frozen=True)
class Chimera:
    """Network with the heads of :class:`DeepClustering` and :class:`MaskInference`.

    Attributes:
        features: What it sees.
        recurrent: Its stack.
        embedding: Dimensions of the embedding.
        embedding_activation: What is done to the embedding, in this order.
        sources: Number of masks.
        mask_activation: What is done to the masks of a bin, in this order.
    """

    features: Features = Features()
    recurrent: Recurrent = Recurrent()
    embedding: int = 20
    embedding_activation: tuple[Activation, ...] = ("sigmoid", "unit_norm")
    sources: int = 2
    mask_activation: tuple[Activation, ...] = ("sigmoid",)


@dataclass(frozen=True)
class EndToEnd:
    """Mask inference with the Fourier transform inside the network.

    Attributes:
        network: Mask inference; its bins must be window_samples / 2 + 1.
        window_samples: Length of a frame, in samples.
        hop_samples: Distance of frames, in samples.
        learned: Whether training changes the transform and its inverse.
    """

    network: MaskInference = MaskInference()
    window_samples: int = 512
    hop_samples: int = 128
    learned: bool = False


@dataclass(frozen=True)
class Filterbank:
    """Learned filters that take the place of a Fourier transform.

    Attributes:
        filters: Number of filters.
        size: Length of a filter, in samples.
        stride: Distance of frames, in samples.
    """

    filters: int = 512
    size: int = 16
    stride: int = 8


@dataclass(frozen=True)
class Tasnet:
    """TasNet with a recurrent stack.

    Attributes:
        filterbank: Its filters.
        recurrent: Its stack.
        sources: Number of masks.
        norm: Normalisation of the gated mixture before the stack; none: none.
        mask_activation: What is done to the masks.
    """

    filterbank: Filterbank = Filterbank(512, 40, 20)
    recurrent: Recurrent = Recurrent(600, initial="uniform", forget_bias=None)
    sources: int = 2
    norm: ChannelNorm | None = "gLN"
    mask_activation: MaskActivation = "sigmoid"


@dataclass(frozen=True)
class ConvTasnet:
    """Conv-TasNet (letters in brackets are the paper's).

    Attributes:
        filterbank: Its filters (N, L, L / 2).
        bottleneck: Channels between blocks (B).
        hidden: Channels within a block (H).
        skip: Channels of the skip path (Sc); 0: none, masks come from the last block.
        kernel: Frames that a filter of a block covers, odd (P).
        blocks: Blocks with dilations 1, 2, 4, ... (X).
        repeats: Times that these are repeated (R).
        sources: Number of masks (C).
        norm: Normalisation: over channels and frames (gLN), over channels (cLN), over
            channels and the frames until now (cgLN), or over frames (fgLN).
        mask_activation: What is done to the masks.
        causal: Whether blocks see no later frame; needs norm cLN or cgLN to hold.
        encoder_relu: Whether the mixture is rectified after the filters.
    """

    filterbank: Filterbank = Filterbank()
    bottleneck: int = 128
    hidden: int = 512
    skip: int = 128
    kernel: int = 3
    blocks: int = 8
    repeats: int = 3
    sources: int = 2
    norm: ChannelNorm = "gLN"
    mask_activation: MaskActivation = "relu"
    causal: bool = False
    encoder_relu: bool = False


@dataclass(frozen=True)
class DualPath:
    """Dual-path recurrent TasNet, in the form of nussl.

    Attributes:
        filterbank: Its filters.
        bottleneck: Channels between layers.
        hidden: Width of each direction of the stacks.
        layers: Pairs of a stack within chunks and a stack across chunks.
        chunk: Frames of a chunk.
        chunk_hop: Distance of chunks, in frames.
        sources: Number of masks.
        mask_activation: What is done to the masks.
    """

    filterbank: Filterbank = Filterbank(64, 16, 8)
    bottleneck: int = 64
    hidden: int = 128
    layers: int = 6
    chunk: int = 100
    chunk_hop: int = 50
    sources: int = 2
    mask_activation: MaskActivation = "sigmoid"
