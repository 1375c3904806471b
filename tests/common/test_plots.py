"""Plots show every sound in a row, without a display and without pyplot."""

import os
import sys

import numpy as np
import pytest

from common import plots

RATE = 8000


def tone(frequency, seconds=1.0, level=0.5, channels=1):
    wave = level * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)
    return np.tile(wave.astype(np.float32), (channels, 1))


@pytest.fixture(scope="module")
def figure():
    low, high = tone(500, channels=2), tone(2000, level=0.05, channels=2)
    sources = {"low": low, "high": high}
    return plots.separation(low + high, sources, {"first": low[0]}, RATE)


def test_every_sound_has_a_row(figure):
    rows = np.array(figure.axes[:8]).reshape(4, 2)
    titles = [left.get_title(loc="left") for left, _ in rows]
    assert titles == ["mixture", "source: low", "source: high", "estimate: first"]
    assert len(figure.axes) == 9  # and one colour bar
    assert len({left.get_ylim() for left, _ in rows}) == 1
    assert all(axes.get_xlim() == (0.0, 1.0) for axes in rows.flat)
    peak = np.abs(tone(500) + tone(2000, level=0.05)).max()
    np.testing.assert_allclose(rows[0, 0].get_ylim(), [-1.05 * peak, 1.05 * peak])
    assert rows[-1, 0].get_xlabel() == "time (s)"


def test_spectrograms_show_level_and_pitch(figure):
    rows = np.array(figure.axes[:8]).reshape(4, 2)
    images = [right.images[0] for _, right in rows]
    assert {image.get_clim() for image in images} == {(-80.0, 0.0)}
    assert all(image.get_extent() == [0.0, 1.0, 0.0, 4.0] for image in images)
    data = [np.asarray(image.get_array()) for image in images]
    assert data[0].shape == (129, 125)  # 32 ms and 8 ms at 8 kHz
    assert data[0].max() == 0.0
    middle = [part[:, 60] for part in data]
    assert [int(np.argmax(column)) for column in middle] == [16, 16, 64, 16]
    np.testing.assert_allclose(middle[2].max(), -20.0, atol=0.1)
    assert data[2].min() == -80.0


def test_long_sounds_have_at_most_a_thousand_columns():
    sound = np.concatenate([tone(1000, 20.0), tone(3000, 5.0)], axis=1)
    figure = plots.separation(sound, {}, {}, RATE)
    data = np.asarray(figure.axes[1].images[0].get_array())
    assert 500 < data.shape[1] <= 1000
    peaks = np.argmax(data, axis=0)
    np.testing.assert_allclose(np.mean(peaks == 32), 0.8, atol=0.01)
    np.testing.assert_allclose(np.mean(peaks == 96), 0.2, atol=0.01)
    low, high = figure.axes[0].dataLim.intervaly
    np.testing.assert_allclose([low, high], [-0.5, 0.5], atol=1e-3)


@pytest.mark.parametrize("samples", [1, 2001])
def test_short_and_silent_sounds_are_plotted(samples, tmp_path):
    figure = plots.separation(
        np.zeros(samples), {}, {"a": np.zeros((3, 2, samples))}, RATE
    )
    plots.save(figure, tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_nothing_overlaps(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    width, height = figure.get_size_inches() * figure.dpi
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
        for other in boxes[:i]:
            assert not box.shrunk(0.98, 0.98).overlaps(other)


def test_names_are_text_and_not_formulas(tmp_path):
    name = "$x^2 " + "very long " * 20
    figure = plots.separation(tone(500), {name: tone(500)}, {}, RATE)
    title = figure.axes[2].get_title(loc="left")
    assert title.startswith("source: $x^2 very")
    assert len(title) == 60
    plots.save(figure, tmp_path / "x.png")


def test_sounds_without_finite_samples_raise():
    with pytest.raises(plots.PlotError, match=r"'mixture' of shape \[1, 0\] is empty"):
        plots.separation(np.zeros((1, 0)), {}, {}, RATE)
    with pytest.raises(plots.PlotError, match=r"'voice' .* not finite"):
        plots.separation(tone(500), {}, {"voice": np.full(5, np.nan)}, RATE)


def test_curves_hold_the_scalars():
    records = [{"step": s, "loss": 1 / s, "split": "train"} for s in range(1, 50)]
    records += [{"step": 49, "loss": 0.5, "sdr": 3.0, "split": "validation"}]
    figure = plots.curves(records, ["loss", "sdr"])
    loss, sdr = figure.axes
    assert [line.get_label() for line in loss.lines] == ["train", "validation"]
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), np.arange(1, 50))
    np.testing.assert_allclose(loss.lines[0].get_ydata(), 1 / np.arange(1, 50))
    assert sdr.lines[0].get_ydata() == (3.0,)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "sdr"]


def test_a_missing_scalar_raises():
    with pytest.raises(plots.PlotError, match="no record holds 'sdr'; there is loss"):
        plots.curves([{"step": 1, "loss": 2.0}], ["sdr"])
    with pytest.raises(plots.PlotError, match="there is nothing"):
        plots.curves([], ["loss"])


def test_saving_is_atomic(tmp_path):
    figure = plots.curves([{"step": 1, "loss": 2.0}], ["loss"])
    for name in ("x.png", "x.svg"):
        plots.save(figure, tmp_path / name)
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(plots.PlotError, match=r"x\.docx does not end in"):
        plots.save(figure, tmp_path / "x.docx")
    with pytest.raises(OSError, match="none"):
        plots.save(figure, tmp_path / "none" / "x.png")
    figure.savefig = lambda path, **_: (path.touch(), 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plots.save(figure, tmp_path / "y.png")
    assert sorted(os.listdir(tmp_path)) == ["x.png", "x.svg"]  # noqa: PTH208


def test_a_missing_matplotlib_raises(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(plots.PlotError, match="pip install matplotlib"):
        plots.curves([{"step": 1, "loss": 2.0}], ["loss"])
