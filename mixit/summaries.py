"""Scalar, audio and image summaries for TensorBoard, under Google's tags.

Scalars are named ``SNR/{measure}/{quantity}_{signal}_mean{suffix}``: a measure of a
signal, or of all ``signals`` pooled, averaged over the sources that the suffix selects.
A mean over an evaluation is the mean over all selected sources of the set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

import tensorflow as tf
import tf_keras as keras

from common.signal.metrics import sdr, si_sdr
from common.signal.stft import Stft, stft
from common.training.logs import sound_writer, write_examples
from mixit.loss import ACTIVE_RMS, log_mse, pad_sources
from mixit.metrics import align

MEASURES = {"snr_residual": sdr, "snr_gain_invariant": si_sdr}
QUANTITIES = ("mixture", "separated", "improvement")

ONE_SOURCE, SEVERAL_SOURCES = "_1src_ref_nonzero", "_min2src_ref_nonzero"
INVARIANT = (ONE_SOURCE, SEVERAL_SOURCES)
"""Suffixes of the unsupervised program: active sources of mixtures of one, of more."""
SUPERVISED = ("", "_ref_zero", ONE_SOURCE, "_min2srcs_ref_nonzero")
"""Suffixes of the supervised program, which spells the last one differently."""


class Tally(NamedTuple):
    """Sums over the selected sources, in the order of :func:`tags`.

    Attributes:
        sums: Sum of the values of each tag [tags] in dB.
        counts: Number of values in each sum [tags].
    """

    sums: tf.Tensor
    counts: tf.Tensor


def signal_names(num_sources: int, mixtures: int = 2) -> tuple[str, ...]:
    """Name the outputs of a model by the references that they are aligned to.

    Each mixture has a background, then foregrounds. If the outputs cannot be divided
    equally, the first mixtures have one more.

    Args:
        num_sources: Number of outputs, at least 1.
        mixtures: Mixtures that share them: 2 for mixture invariance, 1 with labels.

    Returns:
        A name for each output.

    >>> signal_names(3)
    ('mix1_background', 'mix1_foreground_1', 'mix2_background')
    >>> signal_names(2, mixtures=1)
    ('background', 'foreground_1')
    """
    names = []
    for index, count in enumerate(_outputs_of_mixtures(num_sources, mixtures)):
        mark = f"mix{index + 1}_" if mixtures > 1 else ""
        roles = ("background", *(f"foreground_{i}" for i in range(1, count)))
        names += [mark + role for role in roles[:count]]
    return tuple(names)


def arrange(sources: tf.Tensor, names: Sequence[str]) -> tf.Tensor | None:
    """Arrange the references of several mixtures in the order of the names.

    Args:
        sources: Waveforms [batch, mixtures, sources, samples].
        names: Names of the outputs, from :func:`signal_names` for as many mixtures.

    Returns:
        Waveforms [batch, outputs, samples], silent where a mixture has fewer sources
        than names; None where one has more, because then nothing can be aligned.
    """
    outputs = _outputs_of_mixtures(len(names), sources.shape[1] or 0)
    if (sources.shape[2] or 0) > min(outputs):
        return None
    mixtures = zip(tf.unstack(sources, axis=1), outputs, strict=True)
    return tf.concat([pad_sources(mixture, n) for mixture, n in mixtures], axis=1)


def tags(names: Sequence[str], suffixes: Sequence[str] = INVARIANT) -> tuple[str, ...]:
    """List the tags of all scalars.

    Args:
        names: Names of the outputs.
        suffixes: Which sources are averaged, some of ``INVARIANT`` and ``SUPERVISED``.

    Returns:
        A tag for each suffix, measure, quantity and signal, the last varying fastest.

    >>> len(tags(signal_names(8)))
    108
    """
    return tuple(
        f"SNR/{measure}/{quantity}_{name}_mean{suffix}"
        for suffix in suffixes
        for measure in MEASURES
        for quantity in QUANTITIES
        for name in (*names, "signals")
    )


def scalars(
    sources: tf.Tensor,
    estimates: tf.Tensor,
    mixture: tf.Tensor,
    example_weight: tf.Tensor | None = None,
    suffixes: Sequence[str] = INVARIANT,
) -> Tally:
    """Measure a batch: sums and counts of all scalars, to be added up over a set.

    Estimates are aligned by the loss, as Google's program does before it measures.
    That program selects sources by part of a name, so that a signal ``a`` would also
    select other names with that letter; here they are selected by position.

    Args:
        sources: Waveforms [batch, references, samples]; silent ones are padding.
        estimates: Waveforms [batch, estimates, samples], at least as many.
        mixture: Waveforms [batch, samples].
        example_weight: Weight of each example [batch], 0 for padding; None: 1.
        suffixes: As for :func:`tags`.

    Returns:
        Sums and counts in the order of :func:`tags`.

    Raises:
        ValueError: There are more references than estimates, or an unknown suffix.
    """
    sources, estimates = align(sources, estimates, log_mse)
    values = []
    for measure in MEASURES.values():
        before = measure(sources, mixture[:, tf.newaxis])
        after = measure(sources, estimates)
        values.append(tf.stack([before, after, after - before], axis=1))
    measured = tf.stack(values, axis=1)  # [batch, measures, quantities, sources]
    chosen = tf.stack([_selected(sources, suffix) for suffix in suffixes], axis=1)
    weights = tf.cast(chosen, tf.float32)  # [batch, suffixes, sources]
    if example_weight is not None:
        weights *= tf.cast(example_weight, tf.float32)[:, tf.newaxis, tf.newaxis]
    spread = weights[:, :, tf.newaxis, tf.newaxis]
    # Values that no suffix selects may be infinite, and must not become 0 * infinity.
    used = tf.where(spread > 0, measured[:, tf.newaxis], 0.0)
    sums = tf.reduce_sum(used * spread, axis=0)
    counts = tf.reduce_sum(spread + tf.zeros_like(used), axis=0)
    return Tally(_with_pool(sums), _with_pool(counts))


@final
class Summaries(keras.metrics.Metric):
    """The scalars of an evaluation, accumulated in two vectors.

    Args:
        names: Names of the outputs.
        suffixes: As for :func:`tags`.
        name: Name of the metric.
    """

    def __init__(
        self,
        names: Sequence[str],
        suffixes: Sequence[str] = INVARIANT,
        name: str = "summaries",
    ) -> None:
        super().__init__(name)
        self.tags = tags(names, suffixes)
        self._outputs = len(names)
        self._suffixes = tuple(suffixes)
        shape = [len(self.tags)]
        self._sums = self.add_weight("sums", shape, initializer="zeros")
        self._counts = self.add_weight("counts", shape, initializer="zeros")

    def update_state(
        self,
        sources: tf.Tensor,
        estimates: tf.Tensor,
        mixture: tf.Tensor,
        example_weight: tf.Tensor | None = None,
    ) -> None:
        """Add a batch; the arguments are those of :func:`scalars`."""
        if estimates.shape[1] != self._outputs:
            raise ValueError(
                f"there are {estimates.shape[1]} estimates and {self._outputs} names "
                "for them; give a name for each output"
            )
        tally = scalars(sources, estimates, mixture, example_weight, self._suffixes)
        self._sums.assign_add(tally.sums)
        self._counts.assign_add(tally.counts)

    def result(self) -> dict[str, tf.Tensor]:
        """Return the mean of each tag in dB; 0 if nothing was selected."""
        means = tf.math.divide_no_nan(self._sums, self._counts)
        return dict(zip(self.tags, tf.unstack(means), strict=True))

    def reset_state(self) -> None:
        """Reset all sums and counts."""
        for variable in (self._sums, self._counts):
            variable.assign(tf.zeros(variable.shape))


def sounds(
    mixture: tf.Tensor,
    sources: tf.Tensor | None,
    estimates: tf.Tensor,
    names: Sequence[str],
) -> dict[str, tf.Tensor]:
    """Collect the sounds to log, with the estimates aligned to the references.

    Args:
        mixture: Waveforms [batch, samples].
        sources: Waveforms [batch, references, samples]; None keeps the order of the
            estimates.
        estimates: Waveforms [batch, estimates, samples], at least as many.
        names: Names of the outputs.

    Returns:
        Waveforms [batch, samples] by tag: ``mixture``, ``separated_{name}_audio`` and,
        with sources, ``source_{name}_audio``.
    """
    waveforms = {"mixture": mixture}
    if sources is not None:
        sources, estimates = align(sources, estimates, log_mse)
    for index, name in enumerate(names):
        waveforms[f"separated_{name}_audio"] = estimates[:, index]
        if sources is not None:
            waveforms[f"source_{name}_audio"] = sources[:, index]
    return waveforms


def images(
    waveforms: Mapping[str, tf.Tensor],
    sample_rate: int,
    window_seconds: float = 0.032,
    hop_seconds: float = 0.008,
) -> dict[str, tf.Tensor]:
    """Draw the spectrogram of every sound, with low frequencies at the bottom.

    Magnitudes to the power 0.3 of an STFT with the square root of a Hann window.
    Google's program uses the window of its model, 2.5 ms with a hop of 1.25 ms, which
    has only 33 bins; 32 ms shows harmonics.

    Args:
        waveforms: Waveforms [batch, samples] by tag, from :func:`sounds`.
        sample_rate: Their rate in Hz.
        window_seconds: Length of a frame.
        hop_seconds: Distance between frames.

    Returns:
        Images [batch, bins, frames, 1] by tag: ``{...}_spectrogram``, and for the
        mixture ``mixture_1``, which is what TensorFlow 1 made of its tag.
    """
    window, hop = (
        round(sample_rate * seconds) for seconds in (window_seconds, hop_seconds)
    )
    params = Stft(window, hop, 2 ** (window - 1).bit_length(), "sqrt_hann_tf", "end")
    return {
        _image_tag(tag): _draw(waveform, params) for tag, waveform in waveforms.items()
    }


@final
class TrainingSounds(keras.callbacks.Callback):
    """Write sounds and images of training examples every few steps.

    Examples are drawn and separated again after their step, and written to ``train`` of
    TensorBoard. If a mixture has more sources than names, only the mixtures and the
    estimates are written, because nothing can be aligned.

    Args:
        folder: The run folder.
        sources: Returns the sources [examples, mixtures, sources, samples] of a step,
            of which three are written.
        names: Names of the outputs, from :func:`signal_names` for as many mixtures.
        sample_rate: In Hz.
        every: Steps between two summaries; 1000 in Google's program.
        start_step: Step at which this process resumes.
        chief: Whether this process writes. The others separate the same examples,
            because several machines may share the weights.
    """

    def __init__(
        self,
        folder: str | Path,
        sources: Callable[[int], tf.Tensor],
        names: Sequence[str],
        sample_rate: int,
        *,
        every: int,
        start_step: int,
        chief: bool = True,
    ) -> None:
        super().__init__()
        path = Path(folder) / "events" / "train"
        self._writer = sound_writer(path, chief)
        self._sources = sources
        self._names = tuple(names)
        self._sample_rate = sample_rate
        self._every = every
        self._step = start_step

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Count the steps, and write every few of them."""
        self._step += 1
        if self._step % self._every == 0:
            self._write()

    def _write(self) -> None:
        sources = self._sources(self._step)[:3]
        mixture = tf.reduce_sum(sources, axis=[1, 2])
        references = arrange(sources, self._names)
        waveforms = sounds(
            mixture, references, self.model.network(mixture), self._names
        )
        with self._writer.as_default(step=self._step):
            write_examples(
                waveforms, images(waveforms, self._sample_rate), self._sample_rate
            )
        self._writer.flush()


def _outputs_of_mixtures(outputs: int, mixtures: int) -> list[int]:
    """Divide outputs among mixtures; the first ones take the remainder."""
    return [outputs // mixtures + (i < outputs % mixtures) for i in range(mixtures)]


def _selected(sources: tf.Tensor, suffix: str) -> tf.Tensor:
    """Return the sources that a suffix selects [batch, sources]."""
    active = tf.sqrt(tf.reduce_mean(tf.square(sources), axis=-1)) > ACTIVE_RMS
    count = tf.reduce_sum(tf.cast(active, tf.int32), axis=-1, keepdims=True)
    if suffix == "":
        return tf.ones_like(active)
    if suffix == "_ref_zero":
        return tf.logical_not(active)
    if suffix == ONE_SOURCE:
        return tf.logical_and(active, count == 1)
    if suffix in (SEVERAL_SOURCES, SUPERVISED[-1]):
        return tf.logical_and(active, count > 1)
    expected = ", ".join(map(repr, dict.fromkeys((*INVARIANT, *SUPERVISED))))
    raise ValueError(f"unknown suffix {suffix!r}; expected one of {expected}")


def _with_pool(parts: tf.Tensor) -> tf.Tensor:
    """Append the sum over the sources to [..., sources], as one vector."""
    pool = tf.reduce_sum(parts, axis=-1, keepdims=True)
    return tf.reshape(tf.concat([parts, pool], axis=-1), [-1])


def _image_tag(tag: str) -> str:
    return (
        "mixture_1" if tag == "mixture" else f"{tag.removesuffix('_audio')}_spectrogram"
    )


def _draw(waveform: tf.Tensor, params: Stft) -> tf.Tensor:
    # The last frame begins at the last hop, however few samples remain for it.
    rest = params.window_samples - params.hop_samples
    spectrogram = stft(tf.pad(waveform, [[0, 0], [0, rest]]), params)
    power = tf.square(tf.math.real(spectrogram)) + tf.square(tf.math.imag(spectrogram))
    image = tf.sqrt(power + 1e-12) ** 0.3  # [batch, frames, bins]
    return tf.reverse(tf.linalg.matrix_transpose(image), axis=[1])[..., tf.newaxis]
