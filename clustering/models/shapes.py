"""Shapes of the networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.config import ConfigError
from common.layers.recurrent import CellType, Initial

Activation = Literal[
    "sigmoid", "tanh", "relu", "softmax", "gated_tanh", "unit_norm", "l1_norm"
]
"""Activation of a head along its last axis; several follow one another."""

Level = Literal["decibels", "librosa", "log"]
FeatureNorm = Literal["instance", "batch", "none"]
ChannelNorm = Literal["gLN", "cLN", "cgLN", "fgLN"]
MaskActivation = Literal["sigmoid", "relu", "softmax", "none"]


def _check_sizes(where: str, shape: object, *names: str) -> None:
    """Refuse a shape with a size below 1."""
    for name in names:
        if getattr(shape, name) < 1:
            raise ConfigError(
                f"{where}.{name}={getattr(shape, name)}: expected at least 1"
            )


@dataclass(frozen=True)
class Features:
    """Features of a magnitude, the input of a network.

    Attributes:
        bins: Bins of a spectrum. A network of several channels at once has bins *
            channels of them, with the channels of a bin next to each other.
        level: ``"decibels"``: 10 log10(max(magnitude^2, 1e-8)). ``"librosa"``: 20
            log10(max(magnitude, 1e-5)), no less than 80 dB below the loudest point of
            the item. ``"log"``: ln(magnitude + 1e-8).
        norm: ``"instance"``: mean 0 and variance 1 over frames and bins of each item.
            ``"batch"``: the whole batch, with a learned gain and offset. ``"none"``.
        mels: Number of mel filters, each of sum 1, applied to the magnitude first; 0:
            none. Masks and embeddings still have all bins.
        mel_rate: Sample rate in Hz that the mel filters are made for.
        channels: Channels of sound that the network sees at once, whose bins ``bins``
            counts together; networks of several come from files and are not trained.
    """

    bins: int = 257
    level: Level = "decibels"
    norm: FeatureNorm = "instance"
    mels: int = 0
    mel_rate: int = 16000
    channels: int = 1

    def __post_init__(self) -> None:
        _check_sizes("spectral.features", self, "bins", "channels")


@dataclass(frozen=True)
class Recurrent:
    """Shape of a recurrent stack.

    Attributes:
        hidden: Width of each direction.
        layers: Number of layers.
        bidirectional: Whether a second direction runs from the last frame to the first.
        dropout: Fraction of the outputs between the layers set to zero in training.
        initial: Initialization of the weights, see
            :class:`common.layers.recurrent.RecurrentStack`.
        forget_bias: Initial value of the forget gate of an LSTM in each of the two
            biases; none: as the other gates.
        kind: ``"lstm"`` or ``"gru"``.
        dropout_last: Whether dropout follows the last layer as well.
    """

    hidden: int = 300
    layers: int = 4
    bidirectional: bool = True
    dropout: float = 0.3
    initial: Initial = "xavier"
    forget_bias: float | None = 1.0
    kind: CellType = "lstm"
    dropout_last: bool = False


@dataclass(frozen=True)
class Spectral:
    """Network on magnitudes with an embedding of every bin, masks, or both.

    Attributes:
        features: Features of the magnitude.
        recurrent: Recurrent layers.
        embedding: Dimensions of the embedding.
        embedding_activation: Activations of the embedding, in this order.
        sources: Number of masks.
        mask_activation: Activations of the masks of a bin, in this order.
    """

    features: Features = Features()
    recurrent: Recurrent = Recurrent()
    embedding: int = 20
    embedding_activation: tuple[Activation, ...] = ("sigmoid", "unit_norm")
    sources: int = 2
    mask_activation: tuple[Activation, ...] = ("sigmoid",)

    def __post_init__(self) -> None:
        _check_sizes("spectral", self, "embedding", "sources")


@dataclass(frozen=True)
class Filterbank:
    """Learned filters instead of a Fourier transform.

    Attributes:
        filters: Number of filters.
        size: Length of a filter, in samples.
        stride: Distance between frames, in samples.
    """

    filters: int = 512
    size: int = 16
    stride: int = 8


@dataclass(frozen=True)
class Tasnet:
    """TasNet with a recurrent stack.

    Attributes:
        filterbank: Its filters.
        recurrent: Recurrent layers.
        sources: Number of masks.
        norm: Normalisation of the gated mixture before the stack; none: none.
        mask_activation: Activation of the masks.
    """

    filterbank: Filterbank = Filterbank(512, 40, 20)
    recurrent: Recurrent = Recurrent(600, initial="uniform", forget_bias=None)
    sources: int = 2
    norm: ChannelNorm | None = "gLN"
    mask_activation: MaskActivation = "sigmoid"

    def __post_init__(self) -> None:
        _check_sizes("tasnet.filterbank", self.filterbank, "filters", "size", "stride")
        _check_sizes("tasnet", self, "sources")


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
        repeats: Number of repeats of these (R).
        sources: Number of masks (C).
        norm: Normalisation: over channels and frames (gLN), over channels (cLN), over
            channels and all frames up to the current one (cgLN), or over frames (fgLN).
        mask_activation: Activation of the masks.
        causal: Whether blocks use no later frames; requires norm cLN or cgLN.
        encoder_relu: Whether the mixture is rectified after the filters.
        padding: Zeros before and after a waveform, in samples, which the estimates do
            not have; torchaudio's network has a stride of them.

    Raises:
        ConfigError: A size is below 1, the kernel is even, the padding is longer than
            half a filter, or the normalisation of a causal network is not causal.
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
    padding: int = 0

    def __post_init__(self) -> None:
        filters = ("filters", "size", "stride")
        _check_sizes("conv_tasnet.filterbank", self.filterbank, *filters)
        sizes = ("bottleneck", "hidden", "kernel", "blocks", "repeats", "sources")
        _check_sizes("conv_tasnet", self, *sizes)
        if self.skip < 0:
            raise ConfigError(f"conv_tasnet.skip={self.skip}: expected 0 or more")
        if self.kernel % 2 == 0:
            raise ConfigError(
                f"conv_tasnet.kernel={self.kernel}: expected an odd number"
            )
        if not 0 <= 2 * self.padding <= self.filterbank.size:
            raise ConfigError(
                f"conv_tasnet.padding={self.padding}: expected at least 0 and at most "
                f"half a filter, {self.filterbank.size // 2}"
            )
        if self.causal and self.norm not in ("cLN", "cgLN"):
            raise ConfigError(
                f"conv_tasnet.norm={self.norm} of a causal network uses later frames: "
                "expected cLN or cgLN"
            )
