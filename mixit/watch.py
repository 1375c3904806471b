"""What a run shows of its training batches: scalars, sounds and images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import tensorflow as tf
import tf_keras as keras

from common.logs import write_examples
from mixit.summaries import arrange, images, scalars, sounds, tags


@final
class TrainingSummaries(keras.callbacks.Callback):
    """Measure a training batch every few steps, as Google's program does.

    The batch is drawn and separated again, after its step. Scalars, three sounds and
    three images of each signal go to TensorBoard's ``train``. Where a mixture has more
    sources than names, nothing can be aligned: then only the mixtures and the estimates
    are written.

    Args:
        folder: The run folder.
        sources: Returns the sources [batch, mixtures, sources, samples] of a step.
        names: Of the outputs, from :func:`mixit.summaries.signal_names` for as many
            mixtures.
        sample_rate: In Hz.
        every: Steps between two batches.
        start_step: Step at which this process goes on.
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
    ) -> None:
        super().__init__()
        path = str(Path(folder) / "events" / "train")
        self._writer = tf.summary.create_file_writer(path, filename_suffix=".sounds")
        self._sources = sources
        self._names = tuple(names)
        self._sample_rate = sample_rate
        self._every = every
        self._step = start_step

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Count the steps and write when it is time."""
        self._step += 1
        if self._step % self._every == 0:
            self._write()

    def _write(self) -> None:
        sources = self._sources(self._step)
        mixture = tf.reduce_sum(sources, axis=[1, 2])
        estimates = self.model.network(mixture)
        references = arrange(sources, self._names)
        every = sounds(mixture, references, estimates, self._names)
        heard = {tag: waveform[:3] for tag, waveform in every.items()}
        with self._writer.as_default(step=self._step):
            if references is not None:
                means = scalars(references, estimates, mixture).means()
                for tag, value in zip(tags(self._names), means.numpy(), strict=True):
                    tf.summary.scalar(tag, value)
            seen = images(heard, self._sample_rate)
            write_examples(heard, seen, self._sample_rate)
        self._writer.flush()
