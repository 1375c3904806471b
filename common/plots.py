"""Plot separated sounds and training curves as matplotlib figures.

The functions need no display and no pyplot: each returns a new Figure, and `save`
writes it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WINDOW_SECONDS = 0.032
HOP_SECONDS = 0.008
COLUMNS = 1000  # of a spectrogram, and pairs of extremes of a waveform
RANGE_DB = 80.0
COLOURS = {"mixture": "0.25", "source": "#0072b2", "estimate": "#d55e00"}
SPLITS = {"train": "#0072b2", "validation": "#d55e00"}


class PlotError(ValueError):
    """Data that cannot be plotted, or a format that cannot be written."""


def separation(
    mixture: np.ndarray,
    sources: Mapping[str, np.ndarray],
    estimates: Mapping[str, np.ndarray],
    sample_rate: int,
) -> Figure:
    """Return a figure with the waveform and the spectrogram of every sound in a row.

    All waveforms share one scale. Spectrograms (Hann window of 32 ms, hop 8 ms, or mean
    power over several hops if there are more than 1000) share one range of 80 dB below
    the peak of the mixture's spectrogram. The waveforms of channels are drawn over each
    other, and their powers are averaged.

    Args:
        mixture: Float [samples] or [channels, samples].
        sources: References by name, float [..., samples]; may be empty.
        estimates: Estimates by name, float [..., samples]; may be empty.
        sample_rate: In Hz.

    Returns:
        A figure 10 inches wide.

    Raises:
        PlotError: A sound has no samples or one that is not finite.

    >>> noise = np.random.default_rng(0).normal(size=(2, 8000))
    >>> len(separation(noise, {}, {"voice": noise / 2}, 8000).axes)
    5
    """
    sounds = [("mixture", "mixture", _channels("mixture", mixture))]
    for role, group in (("source", sources), ("estimate", estimates)):
        sounds += [(role, f"{role}: {n}", _channels(n, w)) for n, w in group.items()]
    peak = max(float(np.abs(waveform).max()) for _, _, waveform in sounds) or 1.0
    spectra = [_power(waveform, sample_rate) for _, _, waveform in sounds]
    reference = float(spectra[0].max()) or 1.0
    seconds = max(waveform.shape[1] for _, _, waveform in sounds) / sample_rate

    figure = new_figure(10.0, 0.7 + 1.25 * len(sounds))
    grid = figure.subplots(
        len(sounds), 2, sharex=True, squeeze=False, width_ratios=[4, 5]
    )
    for (role, title, waveform), power, (left, right) in zip(
        sounds, spectra, grid, strict=True
    ):
        left.set_title(_short(title), loc="left", fontsize=9, parse_math=False)
        draw_waveform(left, waveform, sample_rate, COLOURS[role])
        left.set_ylim(-1.05 * peak, 1.05 * peak)
        ratio = np.maximum(power / reference, np.finfo(np.float32).tiny)
        # The floor is set in dB, because CPUs round logarithms differently.
        level = np.maximum(10 * np.log10(ratio), -RANGE_DB)
        image = right.imshow(
            level,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=-RANGE_DB,
            vmax=0.0,
            extent=(0.0, waveform.shape[1] / sample_rate, 0.0, sample_rate / 2000),
        )
        right.set_ylabel("kHz", fontsize=8)
        right.set_facecolor("black")
    grid[0, 0].set_xlim(0.0, seconds)
    for axes in grid.flat:
        axes.tick_params(labelsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("time (s)", fontsize=8)
    aspect = 12 * len(sounds)
    bar = figure.colorbar(image, ax=list(grid[:, 1]), pad=0.02, aspect=aspect)
    bar.set_label("level re the mixture's peak (dB)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def curves(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure:
    """Return a figure of scalars over the steps of a run, one panel for each.

    Args:
        records: Dictionaries with ``step``, numbers by name and optionally ``split``,
            such as the lines of ``scalars.jsonl``; a record need not have every name.
        names: Names of the scalars; train and validation share a panel.

    Returns:
        A figure 8 inches wide.

    Raises:
        PlotError: No record has a name; the error lists the names.

    >>> len(curves([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], ["loss"]).axes)
    1
    """
    figure = new_figure(8.0, 0.6 + 2.2 * max(1, len(names)))
    grid = figure.subplots(max(1, len(names)), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(grid, names, strict=False):
        _draw_curves(axes, records, name)
    grid[-1].set_xlabel("step")
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, atomically.

    Args:
        figure: Result of `separation` or `curves`.
        path: The file; its suffix (.png, .pdf, .svg) is the format.

    Raises:
        PlotError: matplotlib cannot write that format.
        OSError: The file cannot be written.

    >>> import tempfile
    >>> figure = curves([{"step": 1, "loss": 2.0}], ["loss"])
    >>> save(figure, Path(tempfile.mkdtemp(), "a.png"))
    """
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise PlotError(
            f"{path} does not end in an image format; use one of "
            f"{', '.join('.' + suffix for suffix in sorted(formats))}."
        )
    with replacing(path) as draft:
        figure.savefig(draft, format=path.suffix[1:].lower(), dpi=150)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure whose panels do not overlap.

    Args:
        width: In inches.
        height: In inches.

    Raises:
        PlotError: matplotlib is not installed.

    >>> new_figure(4.0, 3.0).get_size_inches().tolist()
    [4.0, 3.0]
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise PlotError(
            "plots need matplotlib; install it with pip install matplotlib."
        ) from error
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    return Figure(figsize=(width, height), layout=layout)


def draw_waveform(
    axes: Axes, waveform: np.ndarray, sample_rate: int, colour: str
) -> None:
    """Draw a waveform over time in seconds, a long one as its extremes.

    Args:
        axes: Axes to draw on.
        waveform: Float [channels, samples], drawn over each other.
        sample_rate: In Hz.
        colour: Colour name of matplotlib.
    """
    samples = waveform.shape[1]
    if samples <= 2 * COLUMNS:
        seconds = np.arange(samples) / sample_rate
        marker = "." if samples == 1 else ""
        axes.plot(seconds, waveform.T, color=colour, linewidth=0.6, marker=marker)
        return
    edges = np.linspace(0, samples, COLUMNS + 1).astype(int)[:-1]
    low = np.minimum.reduceat(waveform.min(axis=0), edges)
    high = np.maximum.reduceat(waveform.max(axis=0), edges)
    axes.fill_between(edges / sample_rate, low, high, color=colour, linewidth=0.3)


def _channels(name: str, waveform: np.ndarray) -> np.ndarray:
    """Return a sound as [channels, samples]."""
    waveform = np.atleast_1d(np.asarray(waveform, np.float32))
    if not waveform.size or not np.isfinite(waveform).all():
        raise PlotError(
            f"the sound {name!r} of shape {list(waveform.shape)} is empty or not "
            "finite; plots need at least one sample and no NaN."
        )
    return waveform.reshape(-1, waveform.shape[-1])


def _short(title: str, length: int = 60) -> str:
    return title if len(title) <= length else title[: length - 3] + "..."


def _power(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the mean power of all channels, [bins, at most COLUMNS]."""
    window = max(2, round(WINDOW_SECONDS * sample_rate))
    hop = max(1, round(HOP_SECONDS * sample_rate))
    frames = -(-waveform.shape[1] // hop)
    group = -(-frames // COLUMNS)
    half = window // 2
    behind = half + group * hop * -(-frames // group) - waveform.shape[1] + window
    hann = np.hanning(window + 1)[:-1].astype(np.float32)
    padded = np.pad(waveform, ((0, 0), (half, behind)))
    columns = []
    for first in range(0, frames, group):
        part = padded[:, first * hop : (first + group - 1) * hop + window]
        views = np.lib.stride_tricks.sliding_window_view(part, window, axis=1)[:, ::hop]
        columns.append(np.mean(np.abs(np.fft.rfft(views * hann)) ** 2, axis=(0, 1)))
    return np.array(columns, np.float32).T


def _draw_curves(axes: Axes, records: Sequence[Mapping[str, Any]], name: str) -> None:
    lines: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        if name in record:
            split = str(record.get("split", ""))
            lines.setdefault(split, []).append((record["step"], record[name]))
    if not lines:
        keys = sorted({key for r in records for key in r} - {"step", "split", "epoch"})
        raise PlotError(
            f"no record holds {name!r}; there is {', '.join(keys) or 'nothing'}."
        )
    for split, points in lines.items():
        steps, values = zip(*points, strict=True)
        marker = "." if len(points) < 30 else ""
        colour = SPLITS.get(split, "#0072b2")
        axes.plot(
            steps, values, color=colour, label=split, marker=marker, linewidth=1.2
        )
    axes.set_ylabel(name, parse_math=False)
    axes.grid(alpha=0.3)
    if set(lines) != {""}:
        axes.legend(frameon=False, fontsize=8)
