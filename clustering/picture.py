"""One picture of a separation: embedding, spectrogram, assignment, masks, waveforms.

What a network has no part of is left out: masks need a network on spectra, the left
third an embedding. A source has one colour in all panels, of the palette of Okabe and
Ito, which the colour-blind can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clustering.principal import Principal
from common.plots import draw_waveform, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 20.0, 10.0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MIXTURE, SILENCE = "0.25", "0.85"
RANGE_DB = 80.0
SILENT_DB = -40.0
"""Points of so much less than the loudest are shown as silence."""
BARS = 150
MOST_POINTS = 5000


@dataclass(frozen=True)
class View:
    """What there is to see of one channel of a mixture.

    Attributes:
        title: Heading of the picture.
        sample_rate: In Hz.
        hop_samples: Distance of frames.
        mixture: Float32 [samples].
        estimates: Float32 [sources, samples].
        captions: Heading of each estimate.
        magnitude: Of the mixture, float32 [frames, bins].
        spectra: Of the estimates, float32 [sources, frames, bins].
        masks: Float32 [sources, frames, bins], 0 to 1; None without masks.
        confidence: How clear the assignment is, 0 to 1, float32 [frames, bins]; None
            without masks.
        principal: Loud points of the embedding; None without an embedding.
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


def picture(view: View) -> Figure:
    """Draw a view.

    Args:
        view: What there is to see.

    Returns:
        A figure of 20 by 10 inches, for :func:`common.plots.save`.

    Raises:
        PlotError: matplotlib is not installed.
    """
    figure = new_figure(WIDTH, HEIGHT)
    figure.suptitle(view.title, fontsize=14, parse_math=False)
    right: Any = figure
    if view.principal is not None:
        halves: Any = figure.subfigures(1, 2, width_ratios=[1, 2.4])
        left, right = halves
        _draw_embedding(left, view.principal)
    rows = right.subfigures(3, 1, height_ratios=[1.15, 1.15, 0.9])
    _draw_mixture(rows[0], view)
    _draw_sources(rows[1], view)
    _draw_waveforms(rows[2], view)
    return figure


def colour(source: int) -> str:
    """Give the colour of a source.

    >>> colour(0)
    '#0072b2'
    """
    return COLOURS[source % len(COLOURS)]


def assignment(view: View) -> np.ndarray:
    """Number the source of every point from 1 on, 0 for silence.

    Args:
        view: One with masks.

    Returns:
        Integers [frames, bins].
    """
    level = _decibels(view.magnitude, view.magnitude.max())
    largest = np.argmax(np.asarray(view.masks), axis=0) + 1
    return np.where(level > SILENT_DB, largest, 0)


def _draw_embedding(place: Any, principal: Principal) -> None:
    """Draw points in 1, 2 and 3 dimensions, each cluster in its colour."""
    grid = place.add_gridspec(3, 1, height_ratios=[0.8, 1, 1.2])
    _draw_line(place.add_subplot(grid[0]), principal)
    some = principal.part(MOST_POINTS)
    _draw_plane(place.add_subplot(grid[1]), some)
    _draw_space(place.add_subplot(grid[2], projection="3d"), some)


def _draw_line(axes: Axes, principal: Principal) -> None:
    first = principal.points[:, 0]
    groups = [first[principal.labels == n] for n in range(len(principal.centres))]
    shades = [colour(number) for number in range(len(groups))]
    names = [f"cluster of source{number}" for number in range(len(groups))]
    axes.hist(
        groups, BARS, stacked=True, histtype="stepfilled", color=shades, label=names
    )
    for number, centre in enumerate(principal.centres[:, 0]):
        for shade, width, style in (("black", 3.0, "-"), (colour(number), 1.6, "--")):
            axes.axvline(
                centre, 0.0, 0.8, color=shade, linewidth=width, linestyle=style
            )
    axes.set_title("embedding, 1 principal component, centres dashed", fontsize=10)
    axes.set_xlabel(_component(principal, 0), fontsize=9)
    axes.set_ylabel("points", fontsize=9)
    axes.margins(y=0.25)
    axes.legend(
        fontsize=8, frameon=False, loc="upper center", ncols=len(groups), reverse=True
    )
    axes.tick_params(labelsize=8)


def _draw_plane(axes: Axes, principal: Principal) -> None:
    for number in range(len(principal.centres)):
        own = principal.points[principal.labels == number]
        axes.scatter(
            own[:, 0], own[:, 1], s=5, alpha=0.35, color=colour(number), linewidths=0
        )
    _mark_centres(axes, principal, 2)
    axes.set_title("2 components", fontsize=10)
    axes.set_xlabel(_component(principal, 0), fontsize=9)
    axes.set_ylabel(_component(principal, 1), fontsize=9)
    axes.tick_params(labelsize=8)


def _draw_space(axes: Any, principal: Principal) -> None:
    for number in range(len(principal.centres)):
        own = principal.points[principal.labels == number]
        axes.scatter(*own.T, s=4, alpha=0.3, color=colour(number), linewidths=0)
    _mark_centres(axes, principal, 3)
    axes.set_title("3 components", fontsize=10)
    for number, name in enumerate("xyz"):
        getattr(axes, f"set_{name}label")(_component(principal, number), fontsize=8)
        getattr(axes, f"{name}axis").get_major_locator().set_params(nbins=4)
    axes.tick_params(labelsize=7)
    # The layout does not see the labels of axes in space.
    axes.set_box_aspect(None, zoom=0.85)


def _mark_centres(axes: Any, principal: Principal, dimensions: int) -> None:
    for number, centre in enumerate(principal.centres):
        axes.scatter(
            *centre[:dimensions, np.newaxis],
            s=90,
            marker="X",
            color=colour(number),
            edgecolors="black",
            zorder=10,
        )


def _component(principal: Principal, number: int) -> str:
    return f"component {number + 1} ({100 * principal.shares[number]:.0f} %)"


def _draw_mixture(place: Any, view: View) -> None:
    """Draw the spectrogram, and beside it the assignment and how clear it is."""
    if view.masks is None:
        _draw_spectrogram(place.subplots(), view, view.magnitude, "the mixture")
        return
    spectrogram, assigned, clear = place.subplots(1, 3, sharey=True)
    _draw_spectrogram(spectrogram, view, view.magnitude, "the mixture")
    _draw_assignment(assigned, view)
    _draw_map(
        clear,
        view,
        np.asarray(view.confidence),
        {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0},
    )
    clear.set_title("confidence of the assignment", fontsize=10)
    for axes in (assigned, clear):
        axes.set_ylabel("")


def _draw_sources(place: Any, view: View) -> None:
    """Draw the mask of every source, or else its spectrogram."""
    count = len(view.estimates)
    row = place.subplots(1, count, sharey=True, squeeze=False)[0]
    for number, axes in enumerate(row):
        if view.masks is None:
            name = f"source{number}"
            _draw_spectrogram(axes, view, view.spectra[number], name)
        else:
            shade = {"cmap": _shades(colour(number)), "vmin": 0.0, "vmax": 1.0}
            _draw_map(axes, view, view.masks[number], shade)
            axes.set_title(f"mask of source{number}", fontsize=10)
        if number:
            axes.set_ylabel("")


def _draw_waveforms(place: Any, view: View) -> None:
    waves = [view.mixture, *view.estimates]
    shades = [MIXTURE, *(colour(number) for number in range(len(view.estimates)))]
    peak = max(float(np.abs(wave).max()) for wave in waves) or 1.0
    row = place.subplots(1, len(waves), sharex=True, sharey=True, squeeze=False)[0]
    for axes, wave, shade, title in zip(
        row, waves, shades, ["mixture", *view.captions], strict=True
    ):
        draw_waveform(axes, wave[np.newaxis], view.sample_rate, shade)
        # Narrow panels have the numbers below the name.
        lines = title.replace(": ", "\n", 1) if len(waves) > 3 else title
        axes.set_title(lines, fontsize=10, parse_math=False)
        axes.set_xlabel("time (s)", fontsize=9)
        axes.tick_params(labelsize=8)
    row[0].set_xlim(0.0, len(view.mixture) / view.sample_rate)
    row[0].set_ylim(-1.05 * peak, 1.05 * peak)
    row[0].set_ylabel("amplitude", fontsize=9)


def _draw_spectrogram(axes: Axes, view: View, magnitude: np.ndarray, name: str) -> None:
    level = _decibels(magnitude, view.magnitude.max())
    shade = {"cmap": "magma", "vmin": -RANGE_DB, "vmax": 0.0}
    bar = _draw_map(axes, view, level, shade)
    bar.set_label("dB", fontsize=8)
    axes.set_title(f"spectrogram of {name}", fontsize=10)


def _draw_assignment(axes: Axes, view: View) -> None:
    from matplotlib.colors import ListedColormap

    count = len(view.estimates)
    shades = [SILENCE, *(colour(number) for number in range(count))]
    shade = {"cmap": ListedColormap(shades), "vmin": -0.5, "vmax": count + 0.5}
    bar = _draw_map(axes, view, assignment(view), shade)
    names = [f"source{number}" for number in range(count)]
    bar.set_ticks(range(count + 1), labels=["silence", *names])
    axes.set_title(f"assignment, silence below {SILENT_DB:.0f} dB", fontsize=10)


def _draw_map(axes: Axes, view: View, values: np.ndarray, shade: dict) -> Any:
    """Draw values [frames, bins] over seconds and Hz; give their colour bar."""
    frames, hop = len(values), view.hop_samples / view.sample_rate
    image = axes.imshow(
        values.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(-hop / 2, (frames - 0.5) * hop, 0.0, view.sample_rate / 2),
        **shade,
    )
    axes.set_xlim(0.0, len(view.mixture) / view.sample_rate)
    axes.set_xlabel("time (s)", fontsize=9)
    axes.set_ylabel("frequency (Hz)", fontsize=9)
    axes.tick_params(labelsize=8)
    bar = axes.figure.colorbar(image, ax=axes, pad=0.015, aspect=30)
    bar.ax.tick_params(labelsize=8)
    return bar


def _shades(name: str) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(name, ["white", name])


def _decibels(magnitude: np.ndarray, reference: float) -> np.ndarray:
    least = 10.0 ** (-RANGE_DB / 20)
    share = magnitude / reference if reference > 0 else np.zeros_like(magnitude)
    return 20.0 * np.log10(np.maximum(share, least))
