"""Plot separated items: ``python -m clustering.visualize -p FILE``.

An item of a data set, random or named, is separated. Its mixture, its sources and a
plot go to ``output/viz/<data set>/<8 digits>/``, the last line of the output.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from clustering import corpus
from clustering.clusterers.cluster import Clustered, cluster, loudest, posterior_masks
from clustering.clusterers.confidence import confidences
from clustering.clusterers.gaussian_mixture import GaussianMixture
from clustering.clusterers.kmeans import distances
from clustering.config import ON_SPECTRA, ClusteringConfig
from clustering.evaluate import read
from clustering.foreign import experiment_file
from clustering.foreign.experiment_file import Data, Experiment
from clustering.models import spectral
from clustering.models.network import infer, require_mono
from clustering.plot import Principal, View, plot, principal
from clustering.separate import separator
from clustering.weights import Trained, restore, restore_named
from common import audio, plots
from common.corpora.track import CorpusError, Track
from common.errors import exit_code
from common.files import replacing_folder
from common.separation.command import add_checkpoint
from common.signal.metrics import si_sdr
from common.signal.permutation import best_permutation
from common.signal.stft import stft
from common.training.loop import say

PLOT_SECONDS = 60.0
LEAST_PERCENTILE = 70.0
"""Level below which points of the embedding are not shown."""


def experiment(path: str, checkpoint: str | None = None) -> tuple[Experiment, Trained]:
    """Restore the network of an experiment.

    Args:
        path: Experiment file, run folder, name of a bundled model, or model of nussl.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``.

    Raises:
        CheckpointError: It holds no model.
        ConfigError: The experiment file is invalid.
    """
    if experiment_file.is_file(path):
        named = experiment_file.read(path)
        return named, restore_named(named, checkpoint)
    trained = restore(path, checkpoint=checkpoint)
    splits = ("train", "valid", "test")
    data = {split: Data(trained.config, split) for split in splits}
    return Experiment(Path(path), trained.config, data, path), trained


def choose(
    tracks: Sequence[Track], names: Sequence[str], rng: np.random.Generator
) -> list[int]:
    """Choose items by their names, or one at random.

    Args:
        tracks: The items.
        names: Names, file names or paths of items; none: one is drawn.
        rng: Seeded generator.

    Returns:
        Indices of the items.

    Raises:
        CorpusError: No item has a name; the message lists similar ones.
    """
    if not names:
        return [int(rng.integers(len(tracks)))]
    indices = {track.name: index for index, track in enumerate(tracks)}
    chosen = []
    for name in names:
        base = Path(name).name
        key = base if base in indices else Path(base).stem
        if key not in indices:
            near = difflib.get_close_matches(key, indices, n=3, cutoff=0.0)
            raise CorpusError(
                f"no item is named {name!r}; similar names of {len(indices)} are "
                f"{', '.join(near)}"
            )
        chosen.append(indices[key])
    return list(dict.fromkeys(chosen))


def digits(name: str, index: int) -> str:
    """Name the folder of an item by its own 8 digits, or by its index.

    >>> digits("00000012", 3), digits("Song 1", 3)
    ('00000012', '00000003')
    """
    return name if re.fullmatch(r"\d{8}", name) else f"{index:08d}"


def view(trained: Trained, mixture: np.ndarray, estimates: np.ndarray) -> View:
    """Compute the data of a plot.

    Args:
        trained: The network.
        mixture: Float32 [samples] at the rate of the network.
        estimates: Float32 [sources, samples].

    Returns:
        A view without a title and captions of its sources.
    """
    config = trained.config
    require_mono(config)
    params = config.whole_stft
    spectrum = stft(tf.constant(mixture[np.newaxis]), params)
    magnitude = spectral.magnitude(spectrum, config.power_floor)
    waveforms = View(
        "",
        config.sample_rate,
        config.hop_samples,
        mixture,
        estimates,
        [f"source{number}" for number in range(len(estimates))],
        magnitude[0].numpy(),
        tf.abs(stft(tf.constant(estimates), params)).numpy(),
    )
    if config.role not in ON_SPECTRA:
        return waveforms
    embedding, mask = infer(trained.net, config.role, magnitude)
    if embedding is None:
        masks = mask[0].numpy()
        return replace(waveforms, masks=masks, confidence=_confidence_margin(masks))
    clustered = cluster(embedding, magnitude, config.cluster)
    masks = (clustered.masks if config.clusters else mask)[0].numpy()
    weights, centres = _aligned(masks, clustered, embedding, config.cluster.beta)
    measures = confidences(embedding, magnitude, config.cluster)
    return replace(
        waveforms,
        masks=masks,
        confidence=_confidence_margin(weights if config.clusters else masks),
        principal=_loud_points(embedding, magnitude, weights, centres, config),
        confidences={name: float(value[0]) for name, value in measures.items()},
    )


def captions(
    track: Track, mixture: np.ndarray, references: np.ndarray, estimates: np.ndarray
) -> list[str]:
    """Return the heading of each estimate, with its SI-SDR if there is a reference.

    Args:
        track: The item.
        mixture: Float32 [samples].
        references: Float32 [references, samples].
        estimates: Float32 [estimates, samples].
    """
    names = [f"source{number}" for number in range(len(estimates))]
    if len(references) > len(estimates):
        return names
    targets = tf.constant(references)
    pairs = si_sdr(targets[:, tf.newaxis], tf.constant(estimates)[tf.newaxis])
    before = si_sdr(targets, tf.constant(mixture)[tf.newaxis])
    order = best_permutation(-pairs)[1].numpy()
    for index, (name, number) in enumerate(zip(track.sources, order, strict=True)):
        is_new = name not in names[number] and not re.fullmatch(r"source\d+", name)
        suffix = f" ({name})" if is_new else ""
        names[number] += (
            f"{suffix}: SI-SDR {float(pairs[index, number]):.1f} dB, "
            f"mixture {float(before[index]):.1f} dB"
        )
    return names


def write(folder: Path, sounds: Mapping[str, np.ndarray], seen: View) -> None:
    """Write the sounds and the plot of an item, all or nothing.

    Args:
        folder: The folder, which is replaced.
        sounds: Float32 [channels, samples] by the name of the file.
        seen: Data of the plot.
    """
    figure = plot(seen)
    with replacing_folder(folder, overwrite=True) as work:
        for name, wave in sounds.items():
            audio.write(work / f"{name}.wav", wave, seen.sample_rate)
        plots.save(figure, work / "viz.png")


def _aligned(
    masks: np.ndarray, clustered: Clustered, embedding: tf.Tensor, beta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Align clusters with the most similar masks.

    Returns:
        Weights of the clusters [clusters, frames, bins] and centres [clusters, dim].
    """
    if isinstance(clustered.model, GaussianMixture):
        centres, weights = clustered.model.means, clustered.masks
    else:
        centres = clustered.model
        weights = posterior_masks(distances(embedding, centres), beta)
    parts = weights[0].numpy().reshape(-1, *masks.shape[1:])
    order = np.arange(len(parts))
    if len(parts) == len(masks):
        own = clustered.masks[0].numpy().reshape(len(parts), -1)
        likeness = masks.reshape(len(masks), -1) @ own.T
        order = best_permutation(tf.constant(-likeness))[1].numpy()
    return parts[order], centres[0].numpy()[order]


def _loud_points(
    embedding: tf.Tensor,
    magnitude: tf.Tensor,
    weights: np.ndarray,
    centres: np.ndarray,
    config: ClusteringConfig,
) -> Principal:
    flat = tf.reshape(magnitude, tf.shape(embedding)[:2])
    percentile = max(LEAST_PERCENTILE, config.cluster.percentile)
    loud = loudest(flat, percentile)[0].numpy()
    labels = weights.reshape(len(weights), -1).argmax(axis=0)
    return principal(embedding[0].numpy()[loud], labels[loud], centres)


def _confidence_margin(weights: np.ndarray) -> np.ndarray:
    """Excess of the largest weight over equal weights, 0 to 1."""
    total = np.maximum(weights.sum(axis=0), 1e-8)
    largest, count = weights.max(axis=0) / total, len(weights)
    if count == 1:
        return np.ones_like(largest)
    return np.clip((count * largest - 1) / (count - 1), 0.0, 1.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Separate items of a data set and plot them."""
    options = _parser().parse_args(argv)
    return exit_code("clustering.visualize", lambda: _main(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "clustering.visualize", description=main.__doc__, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "-p",
        "--path_to_yml_file",
        dest="path",
        required=True,
        metavar="FILE",
        help="experiment file (.yml), run folder, or name of a bundled model",
    )
    add(
        "-f",
        "--file_names",
        dest="names",
        nargs="+",
        default=[],
        metavar="NAME",
        help="items of the data set by name (default: one at random)",
    )
    add(
        "-e",
        "--eval_keys",
        dest="keys",
        nargs="+",
        default=["test"],
        metavar="KEY",
        help="data sets, such as test or val (default: test)",
    )
    add("--seed", type=int, help="seed of the random choice (default: random)")
    add_checkpoint(parser)
    about = "folder of the results (default: that of the experiment file, else output)"
    add("--output", type=Path, help=about)
    return parser


def _main(options: argparse.Namespace) -> int:
    source, trained = experiment(options.path, options.checkpoint)
    rng = np.random.default_rng(options.seed)
    output = options.output or experiment_file.output(source)
    missing = [key for key in options.keys if key not in source.data]
    if missing:
        raise CorpusError(
            f"{source.path} has no data set {missing[0]!r}; expected one of "
            f"{', '.join(source.data) or 'none'}"
        )
    if trained.config.role not in ON_SPECTRA:
        say(f"{trained.config.kind} has no embedding and no masks of a spectrogram")
    elif trained.config.role == "mask_inference":
        say("mask_inference has no embedding: its panels are left out")
    for key in dict.fromkeys(options.keys):
        data = source.data[key]
        tracks = corpus.tracks(data.config, corpus.root(data.config), data.split)
        for index in choose(tracks, options.names, rng):
            folder = output / "viz" / key / digits(tracks[index].name, index)
            _visualize(trained, tracks[index], f"{key}: ", folder)
            sys.stdout.write(f"{folder}\n")
    return 0


def _visualize(trained: Trained, track: Track, title: str, folder: Path) -> None:
    """Separate one item and plot its first channel."""
    config = trained.config
    mixture, references = read(track, config.sample_rate)
    separate = separator(trained.net, config, segment_seconds=PLOT_SECONDS)
    stems = separate(mixture)
    estimates = np.stack(list(stems.values()))
    shown = separate.segment_samples
    seen = view(trained, mixture[0, :shown], estimates[:, 0, :shown])
    seconds = mixture.shape[1] / config.sample_rate
    part = f", first {PLOT_SECONDS:.0f} s" if seconds > PLOT_SECONDS else ""
    seen = replace(
        seen,
        title=f"{title}{track.name} ({seconds:.1f} s{part}), {config.kind}",
        captions=captions(track, mixture[0], references[:, 0], estimates[:, 0]),
    )
    write(folder, {"mixture": mixture, **stems}, seen)


if __name__ == "__main__":
    sys.exit(main())
