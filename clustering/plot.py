"""Plot of a separated item: embedding, spectrogram, assignment, masks and waveforms.

A source has one colour in all panels, of the palette of Okabe and Ito, which
colour-blind readers can distinguish.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from common import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, SubFigure

WIDTH, HEIGHT = 20.0, 10.0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MIXTURE, SILENCE = "0.25", "0.85"
RANGE_DB = 80.0
SILENT_DB = -40.0
"""Level relative to the loudest point below which points are shown as silence."""
BARS = 150
MOST_POINTS = 5000
DIMENSIONS = 3


@dataclass(frozen=True)
class Principal:
    """Points of an embedding in its first three principal components.

    Attributes:
        points: Float [points, 3]; 0 in components that the embedding does not have.
        labels: Cluster of each point, integers [points].
        centres: Centre of each cluster, float [clusters, 3].
        shares: Fraction of the variance along each component [3].
    """

    points: np.ndarray
    labels: np.ndarray
    centres: np.ndarray
    shares: np.ndarray

    def part(self, most: int) -> Principal:
        """Choose some points at random with a fixed seed.

        Args:
            most: Largest number of points.
        """
        if len(self.points) <= most:
            return self
        order = np.random.default_rng(0).permutation(len(self.points))[:most]
        return replace(self, points=self.points[order], labels=self.labels[order])


def principal(points: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> Principal:
    """Project points on their first three principal components.

    Args:
        points: Float [points, dim], at least one.
        labels: Integers [points].
        centres: Float [clusters, dim].

    Returns:
        Points and centres along the three directions of largest variance, which are
        the right singular vectors of the centred points.

    >>> line = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    >>> turned = principal(line, np.zeros(3, int), line[1:2])
    >>> np.abs(turned.points[:, 0]).round(6).tolist(), turned.shares.round(6).tolist()
    ([5.0, 0.0, 5.0], [1.0, 0.0, 0.0])
    """
    points = np.asarray(points, np.float64)
    mean = points.mean(axis=0)
    # The small covariance matrix has the same singular vectors.
    _, power, axes = np.linalg.svd((points - mean).T @ (points - mean))
    # The sign of a vector is arbitrary: the largest entry is made positive.
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, np.newaxis], axis=1)
    axes = (axes * np.where(largest < 0, -1.0, 1.0))[:DIMENSIONS]
    total = power.sum()
    shares = power[:DIMENSIONS] / total if total > 0 else np.zeros(len(axes))
    missing = DIMENSIONS - len(axes)
    axes = np.pad(axes, [[0, missing], [0, 0]])
    return Principal(
        (points - mean) @ axes.T,
        np.asarray(labels),
        (np.asarray(centres, np.float64) - mean) @ axes.T,
        np.pad(shares, [0, missing]),
    )


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
        confidence: Confidence of the assignment, 0 to 1, float32 [frames, bins]; None
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
    confidence: np.ndarray | None = None
    principal: Principal | None = None
    confidences: Mapping[str, float] = field(default_factory=dict)


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
    _draw_map(clear, view, np.asarray(view.confidence), "viridis", (0.0, 1.0))
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
