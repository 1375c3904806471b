"""Plot separated items: ``python -m clustering.visualize -p FILE``.

An item of a data set, random or named, is separated. Its mixture, its sources and a
plot go to ``output/viz/<data set>/<8 digits>/``, the last line of the output. The plot
shows the embedding, the spectrogram, the assignment, the masks and the waveforms, as
far as the network has them. A source has one colour in all panels, of the palette of
Okabe and Ito, which colour-blind readers can distinguish.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from clustering import corpus
from clustering.clusterers.cluster import Clustered, cluster, loudest, posterior_masks
from clustering.clusterers.confidence import confidences
from clustering.clusterers.gaussian_mixture import GaussianMixture
from clustering.clusterers.kmeans import distances
from clustering.clusterers.principal import Principal, principal
from clustering.config import ClusteringConfig
from clustering.evaluate import read
from clustering.losses.objective import SPECTRAL
from clustering.models.network import require_mono
from clustering.nussl import experiment_file
from clustering.nussl.experiment_file import Data, Experiment
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, SubFigure

LEAST_PERCENTILE = 70.0
"""Level below which points of the embedding are not shown."""
PLOT_SECONDS = 60.0
WIDTH, HEIGHT = 20.0, 10.0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MIXTURE, SILENCE = "0.25", "0.85"
RANGE_DB = 80.0
SILENT_DB = -40.0
"""Level relative to the loudest point below which points are shown as silence."""
BARS = 150
MOST_POINTS = 5000


@dataclass(frozen=True)
class View:
    """Data of a plot, of one channel of a mixture.

    Attributes:
        title: Heading of the plot.
        sample_rate: In Hz.
        hop_samples: Distance between frames.
        mixture: Float32 [samples].
        estimates: Float32 [sources, samples].
        captions: Heading of each estimate.
        magnitude: Of the mixture, float32 [frames, bins].
        spectra: Of the estimates, float32 [sources, frames, bins].
        masks: Float32 [sources, frames, bins], 0 to 1; None without masks.
        clearness: Confidence of the assignment, 0 to 1, float32 [frames, bins]; None
            without masks.
        principal: Loud points of the embedding; None without an embedding.
        confidences: Measures of :mod:`clustering.clusterers.confidence` by name; empty
            without an embedding.
    """

    title: str
    sample_rate: int
    hop_samples: int
    mixture: np.ndarray
    estimates: np.ndarray
    captions: Sequence[str]
    magnitude: np.ndarray
    spectra: np.ndarray
    masks: np.ndarray | None = None
    clearness: np.ndarray | None = None
    principal: Principal | None = None
    confidences: Mapping[str, float] = field(default_factory=dict)


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
    config, role = trained.config, trained.config.role
    require_mono(config)
    # Centred frames cover the whole sound, in any case of training.
    params = replace(config.stft, padding="constant_whole")
    magnitude = tf.abs(stft(tf.constant(mixture[np.newaxis]), params))
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
    if role not in SPECTRAL:
        return waveforms
    outputs = getattr(trained.net, "infer", trained.net)(magnitude)
    if role == "mask_inference":
        masks = outputs[0].numpy()
        return replace(waveforms, masks=masks, clearness=_clearness(masks))
    embedding = outputs if role == "dpcl" else outputs.embedding
    clustered = cluster(embedding, magnitude, config.cluster)
    masks = (clustered.masks if role == "dpcl" else outputs.mask)[0].numpy()
    weights, centres = _aligned(masks, clustered, embedding, config.cluster.beta)
    measures = confidences(embedding, magnitude, config.cluster)
    return replace(
        waveforms,
        masks=masks,
        clearness=_clearness(weights if role == "dpcl" else masks),
        principal=_loud_points(embedding, magnitude, weights, centres, config),
        confidences={name: float(value[0]) for name, value in measures.items()},
    )


def captions(track: Track, references: np.ndarray, estimates: np.ndarray) -> list[str]:
    """Return the heading of each estimate, with its SI-SDR if there is a reference.

    Args:
        track: The item.
        references: Float32 [references, samples].
        estimates: Float32 [estimates, samples].
    """
    names = [f"source{number}" for number in range(len(estimates))]
    if len(references) > len(estimates):
        return names
    truth = tf.constant(references)
    pairs = si_sdr(truth[:, tf.newaxis], tf.constant(estimates)[tf.newaxis])
    before = si_sdr(truth, tf.reduce_sum(truth, axis=0, keepdims=True))
    order = best_permutation(-pairs)[1].numpy()
    for index, (name, number) in enumerate(zip(track.sources, order, strict=True)):
        is_new = name not in names[number] and not re.fullmatch(r"source\d+", name)
        own = f" ({name})" if is_new else ""
        names[number] += (
            f"{own}: SI-SDR {float(pairs[index, number]):.1f} dB, "
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


def plot(view: View) -> Figure:
    """Draw a view.

    Args:
        view: Data of the plot.

    Returns:
        A figure of 20 by 10 inches, for :func:`common.plots.save`.

    Raises:
        PlotError: matplotlib is not installed.
    """
    figure = plots.new_figure(WIDTH, HEIGHT)
    figure.suptitle(view.title, fontsize=14, parse_math=False)
    right: Figure | SubFigure = figure
    if view.principal is not None:
        halves: Any = figure.subfigures(1, 2, width_ratios=[1, 2.4])
        left, right = halves
        _draw_embedding(left, view.principal)
        measures = [f"{k} {v:.2f}" for k, v in view.confidences.items()]
        left.supxlabel(f"confidence: {', '.join(measures)}", fontsize=9)
    rows = right.subfigures(3, 1, height_ratios=[1.15, 1.15, 0.9])
    _draw_mixture(rows[0], view)
    _draw_sources(rows[1], view)
    _draw_waveforms(rows[2], view)
    return figure


def assignment(view: View) -> np.ndarray:
    """Number the source of every point from 1 on, 0 for silence.

    Args:
        view: A view with masks.

    Returns:
        Integers [frames, bins].
    """
    level = _decibels(view.magnitude, view.magnitude.max())
    largest = np.argmax(np.asarray(view.masks), axis=0) + 1
    return np.where(level > SILENT_DB, largest, 0)


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


def _clearness(weights: np.ndarray) -> np.ndarray:
    """Excess of the largest weight over equal weights, 0 to 1."""
    total = np.maximum(weights.sum(axis=0), 1e-8)
    largest, count = weights.max(axis=0) / total, len(weights)
    if count == 1:
        return np.ones_like(largest)
    return np.clip((count * largest - 1) / (count - 1), 0.0, 1.0)


def _decibels(magnitude: np.ndarray, reference: float) -> np.ndarray:
    least = 10.0 ** (-RANGE_DB / 20)
    ratio = magnitude / reference if reference > 0 else np.zeros_like(magnitude)
    return 20.0 * np.log10(np.maximum(ratio, least))


def _colour(source: int) -> str:
    return COLOURS[source % len(COLOURS)]


def _draw_embedding(figure: SubFigure, principal: Principal) -> None:
    """Draw points in 1, 2 and 3 dimensions, each cluster in its colour."""
    grid = figure.add_gridspec(3, 1, height_ratios=[0.8, 1, 1.2])
    _draw_histogram(figure.add_subplot(grid[0]), principal)
    some = principal.part(MOST_POINTS)
    _draw_plane(figure.add_subplot(grid[1]), some)
    _draw_space(figure.add_subplot(grid[2], projection="3d"), some)


def _draw_histogram(axes: Axes, principal: Principal) -> None:
    first = principal.points[:, 0]
    groups = [first[principal.labels == n] for n in range(len(principal.centres))]
    shades = [_colour(number) for number in range(len(groups))]
    names = [f"cluster of source{number}" for number in range(len(groups))]
    axes.hist(
        groups, BARS, stacked=True, histtype="stepfilled", color=shades, label=names
    )
    for number, centre in enumerate(principal.centres[:, 0]):
        axes.axvline(centre, 0.0, 0.8, color="black", lw=3.0)
        axes.axvline(centre, 0.0, 0.8, color=_colour(number), lw=1.6, ls="--")
    axes.set_title("embedding, 1 principal component, centres dashed", fontsize=10)
    axes.set_xlabel(_component(principal, 0), fontsize=9)
    axes.set_ylabel("points", fontsize=9)
    axes.margins(y=0.25)
    axes.legend(
        fontsize=8, frameon=False, loc="upper center", ncols=len(groups), reverse=True
    )
    axes.tick_params(labelsize=8)


def _draw_plane(axes: Axes, principal: Principal) -> None:
    _draw_points(axes, principal, 2, size=5, alpha=0.35)
    axes.set_title("2 components", fontsize=10)
    axes.set_xlabel(_component(principal, 0), fontsize=9)
    axes.set_ylabel(_component(principal, 1), fontsize=9)
    axes.tick_params(labelsize=8)


def _draw_space(axes: Any, principal: Principal) -> None:
    _draw_points(axes, principal, 3, size=4, alpha=0.3)
    axes.set_title("3 components", fontsize=10)
    for number, name in enumerate("xyz"):
        getattr(axes, f"set_{name}label")(_component(principal, number), fontsize=8)
        getattr(axes, f"{name}axis").get_major_locator().set_params(nbins=4)
    axes.tick_params(labelsize=7)
    # The layout does not account for the labels of 3D axes.
    axes.set_box_aspect(None, zoom=0.85)


def _draw_points(
    axes: Any, principal: Principal, dimensions: int, *, size: float, alpha: float
) -> None:
    """Draw the points of each cluster, then the centres on top."""
    for number in range(len(principal.centres)):
        own = principal.points[principal.labels == number, :dimensions]
        shade = _colour(number)
        axes.scatter(*own.T, s=size, alpha=alpha, color=shade, linewidths=0)
    for number, centre in enumerate(principal.centres):
        axes.scatter(
            *centre[:dimensions, np.newaxis],
            s=90,
            marker="X",
            color=_colour(number),
            edgecolors="black",
            zorder=10,
        )


def _component(principal: Principal, number: int) -> str:
    return f"component {number + 1} ({100 * principal.shares[number]:.0f} %)"


def _draw_mixture(figure: SubFigure, view: View) -> None:
    """Draw the spectrogram, and beside it the assignment and its confidence."""
    if view.masks is None:
        _draw_spectrogram(figure.subplots(), view, view.magnitude, "the mixture")
        return
    spectrogram, assigned, clear = figure.subplots(1, 3, sharey=True)
    _draw_spectrogram(spectrogram, view, view.magnitude, "the mixture")
    _draw_assignment(assigned, view)
    _draw_map(clear, view, np.asarray(view.clearness), "viridis", (0.0, 1.0))
    clear.set_title("confidence of the assignment", fontsize=10)
    for axes in (assigned, clear):
        axes.set_ylabel("")


def _draw_sources(figure: SubFigure, view: View) -> None:
    """Draw the mask of every source, or else its spectrogram."""
    row = figure.subplots(1, len(view.estimates), sharey=True, squeeze=False)[0]
    for number, axes in enumerate(row):
        name = f"source{number}"
        if view.masks is None:
            _draw_spectrogram(axes, view, view.spectra[number], name)
        else:
            shades = _gradient(_colour(number))
            _draw_map(axes, view, view.masks[number], shades, (0.0, 1.0))
            axes.set_title(f"mask of {name}", fontsize=10)
        if number:
            axes.set_ylabel("")


def _draw_waveforms(figure: SubFigure, view: View) -> None:
    waves = [view.mixture, *view.estimates]
    shades = [MIXTURE, *(_colour(number) for number in range(len(view.estimates)))]
    peak = max(float(np.abs(wave).max()) for wave in waves) or 1.0
    row = figure.subplots(1, len(waves), sharex=True, sharey=True, squeeze=False)[0]
    for axes, wave, shade, title in zip(
        row, waves, shades, ["mixture", *view.captions], strict=True
    ):
        plots.draw_waveform(axes, wave[np.newaxis], view.sample_rate, shade)
        # Narrow panels have the SI-SDR on a second line.
        lines = title.replace(": ", "\n", 1) if len(waves) > 3 else title
        axes.set_title(lines, fontsize=10, parse_math=False)
        axes.set_xlabel("time (s)", fontsize=9)
        axes.tick_params(labelsize=8)
    row[0].set_xlim(0.0, len(view.mixture) / view.sample_rate)
    row[0].set_ylim(-1.05 * peak, 1.05 * peak)
    row[0].set_ylabel("amplitude", fontsize=9)


def _draw_spectrogram(axes: Axes, view: View, magnitude: np.ndarray, name: str) -> None:
    level = _decibels(magnitude, view.magnitude.max())
    bar = _draw_map(axes, view, level, "magma", (-RANGE_DB, 0.0))
    bar.set_label("dB", fontsize=8)
    axes.set_title(f"spectrogram of {name}", fontsize=10)


def _draw_assignment(axes: Axes, view: View) -> None:
    from matplotlib.colors import ListedColormap

    count = len(view.estimates)
    shades = [SILENCE, *(_colour(number) for number in range(count))]
    limits = (-0.5, count + 0.5)
    bar = _draw_map(axes, view, assignment(view), ListedColormap(shades), limits)
    names = [f"source{number}" for number in range(count)]
    bar.set_ticks(range(count + 1), labels=["silence", *names])
    axes.set_title(f"assignment, silence below {SILENT_DB:.0f} dB", fontsize=10)


def _draw_map(
    axes: Axes,
    view: View,
    values: np.ndarray,
    shades: str | Colormap,
    limits: tuple[float, float],
) -> Any:
    """Draw values [frames, bins] over seconds and Hz; return their colour bar."""
    frames, hop = len(values), view.hop_samples / view.sample_rate
    image = axes.imshow(
        values.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(-hop / 2, (frames - 0.5) * hop, 0.0, view.sample_rate / 2),
        cmap=shades,
        vmin=limits[0],
        vmax=limits[1],
    )
    axes.set_xlim(0.0, len(view.mixture) / view.sample_rate)
    axes.set_xlabel("time (s)", fontsize=9)
    axes.set_ylabel("frequency (Hz)", fontsize=9)
    axes.tick_params(labelsize=8)
    bar = axes.figure.colorbar(image, ax=axes, pad=0.015, aspect=30)
    bar.ax.tick_params(labelsize=8)
    return bar


def _gradient(name: str) -> Colormap:
    """Shades from white to a colour."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(name, ["white", name])


def main(argv: Sequence[str] | None = None) -> int:
    """Separate items and plot them; return the exit code."""
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
    add("--seed", type=int, help="of the random choice (default: another each time)")
    add_checkpoint(parser)
    add("--output", type=Path, help="default: that of the experiment file, or output")
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
    if trained.config.role not in SPECTRAL:
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
        captions=captions(track, references[:, 0], estimates[:, 0]),
    )
    write(folder, {"mixture": mixture, **stems}, seen)


if __name__ == "__main__":
    sys.exit(main())
