"""Configuration of mixture invariant training and its presets."""

from __future__ import annotations

from dataclasses import dataclass

from common.schedule import Schedule


@dataclass(frozen=True)
class Network:
    """Shape of the TDCN++ (paper, appendix A; names as in Google's program).

    Attributes:
        sample_rate: Rate of the waveforms in Hz.
        num_sources: Number of outputs.
        window_samples: Length of a frame.
        hop_samples: Distance between frames.
        num_coeffs: Coefficients of the learned basis for each frame.
        bottleneck: Channels between the blocks.
        conv_channels: Channels within a block.
        kernel_size: Frames that a depthwise convolution sees, odd.
        num_dilations: Blocks of one repeat, dilated by 1, 2, 4, ...
        num_repeats: Number of repeats.
    """

    sample_rate: int = 16000
    num_sources: int = 8
    window_samples: int = 40
    hop_samples: int = 20
    num_coeffs: int = 256
    bottleneck: int = 256
    conv_channels: int = 512
    kernel_size: int = 3
    num_dilations: int = 8
    num_repeats: int = 4


@dataclass(frozen=True)
class MixitConfig:
    """Everything that a training run depends on.

    Attributes:
        model: Shape of the network.
        train: Length of the run and how it is spread over devices.
        data_root: Folder of a corpus in the layout of FUSS.
        miniature: Without a data root, make the embedded miniature corpus.
        resample: Resample a corpus of another rate instead of refusing it.
        records: Folder for the records made from the corpus; none: in the cache.
        output: Run folder; none: a new one named by the date.
        segment_seconds: Length of the training examples; shorter ones are filled with
            zeros, of longer ones a random part is taken.
        batch_size: Mixtures per replica and step, even: two make a mixture of mixtures.
        validation_examples: Mixtures of the validation split that are used, 0 for all.
        lr: Learning rate at the start.
        lr_decay_steps: Steps in which it falls to ``lr_decay_rate`` of itself.
        lr_decay_rate: See ``lr_decay_steps``.
        max_snr: Signal-to-noise ratio at which the loss saturates, in dB.
    """

    model: Network = Network()
    train: Schedule = Schedule()
    data_root: str | None = None
    miniature: bool = False
    resample: bool = False
    records: str | None = None
    output: str | None = None
    segment_seconds: float = 10.0
    batch_size: int = 6
    validation_examples: int = 800
    lr: float = 1e-4
    lr_decay_steps: int = 2_000_000
    lr_decay_rate: float = 0.5
    max_snr: float = 30.0


# Paper, table 1, the row "MixIT, FUSS only"; 20 million steps of three mixtures of
# mixtures of 10 s, some 20 GB of memory for each replica.
FUSS = MixitConfig(
    train=Schedule(epochs=4000, steps_per_epoch=5000, checkpoint_steps=1000, keep=5),
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

PRESETS = {"fuss": FUSS, "tiny": TINY}
