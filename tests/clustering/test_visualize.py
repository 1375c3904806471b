"""Items are separated and plotted, and unknown ones are refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clustering import corpus, separate, visualize
from clustering.plot import COLOURS, View, assignment, plot, principal
from common import audio, plots
from common.corpora import waveforms
from common.corpora.track import Track
from common.synthetic import miniature
from common.synthetic.miniature import MARKER

KINDS = ("dpcl", "mask_inference", "chimera", "tasnet", "conv_tasnet")
SLOW = ("chimera", "tasnet")
FILES = ["mixture.wav", "source0.wav", "source1.wav", "viz.png"]


@pytest.fixture
def snippets(config, tmp_path, monkeypatch):
    """A configuration of three snippets of half a second, in an own current folder."""
    write = miniature.WRITERS["snippets"]
    monkeypatch.setitem(corpus.MINIATURE, "snippets", {"test": 3, "seconds": 0.5})
    monkeypatch.setitem(miniature.WRITERS, "snippets", write)
    monkeypatch.chdir(tmp_path)
    groups = ("vocals", "drums+bass+other")
    return replace(config, dataset="snippets", data_root=None, sources=groups)


@pytest.fixture
def figures(monkeypatch):
    """Keep the figures and write empty files, because drawing takes seconds."""
    saved_figures = []

    def save(figure, path):
        saved_figures.append(figure)
        path.touch()

    monkeypatch.setattr(plots, "save", save)
    return saved_figures


# A chimera has the panels of the first two, and both networks on waves have the same.
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] if kind in SLOW else [])
        for kind in KINDS
    ],
)
def test_every_network_is_drawn_with_its_panels(
    snippets, save_run, figures, kind, capsys
):
    run = str(save_run(replace(snippets, kind=kind)))
    assert visualize.main(["-p", run, "--seed", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    folder = Path(lines[-1])
    assert folder.parent == Path("output/viz/test")
    assert folder.name in ("00000000", "00000001", "00000002")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    mixture, rate = audio.read(folder / "mixture.wav")
    assert (mixture.shape, rate) == ((1, 4000), 8000)
    stems = separate.load(run)(mixture)
    for name, wave in stems.items():
        written, _ = audio.read(folder / f"{name}.wav")
        np.testing.assert_allclose(written, wave, atol=1e-5)
    titles = [axes.get_title() for axes in figures[0].get_axes()]
    assert ("3 components" in titles) == (kind in ("dpcl", "chimera"))
    has_masks = kind not in ("tasnet", "conv_tasnet")
    assert ("mask of source1" in titles) == has_masks
    assert ("spectrogram of source1" in titles) == (not has_masks)
    assert sum("SI-SDR" in title for title in titles) == 2
    lacks = any("has no embedding" in line for line in lines)
    assert lacks == (kind not in ("dpcl", "chimera"))


def test_the_plot_is_twenty_by_ten_inches(snippets, save_run, capsys):
    assert visualize.main(["-p", str(save_run(snippets)), "-f", "00000001"]) == 0
    from matplotlib.image import imread

    file = Path("output/viz/test/00000001/viz.png")
    assert imread(file).shape[:2] == (1500, 3000)


def test_items_are_chosen_by_name_and_seed(snippets, save_run, figures, capsys):
    run = str(save_run(snippets))

    def made(*words):
        assert visualize.main(["-p", run, *words]) == 0
        return [x for x in capsys.readouterr().out.splitlines() if "viz" in x]

    names = ["-f", "00000002", "test/00000000.jams", "00000002"]
    assert made(*names) == ["output/viz/test/00000002", "output/viz/test/00000000"]
    first = made("--seed", "1")
    assert made("--seed", "1", "--output", "o") == [f"o{first[0][6:]}"]


def test_every_data_set_has_an_item_of_its_own(
    config, save_run, figures, tmp_path, capsys
):
    words = [
        "-p",
        str(save_run(config)),
        "-e",
        "valid",
        "test",
        "--output",
        str(tmp_path / "o"),
    ]
    assert visualize.main(words) == 0
    made = [x for x in capsys.readouterr().out.splitlines() if "viz" in x]
    folders = [Path(line) for line in made]
    assert [folder.parent.name for folder in folders] == ["valid", "test"]
    assert all(folder.name in ("00000000", "00000001") for folder in folders)
    first, second = (audio.read(folder / "mixture.wav")[0] for folder in folders)
    assert first.shape != second.shape or not np.array_equal(first, second)


def test_the_seed_s_command_works(snippets, save_run, figures, tmp_path, capsys):
    text = (Path(__file__).parents[2] / "best_model/config.yml").read_text()
    (tmp_path / "best_model").mkdir()
    file = tmp_path / "best_model/config.yml"
    # The network of this test, beside the file.
    save_run(replace(snippets, output=str(tmp_path / "best_model/run")))
    file.write_text(text.replace("model_path: mini", "model_path: run"))
    assert visualize.main(["-p", "best_model/config.yml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert Path(lines[-1]).parent == Path("output/viz/test")
    assert sorted(path.name for path in Path(lines[-1]).iterdir()) == FILES


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-f", "00000007"], "no item is named '00000007'; similar names of 3 are 0"),
        (["-e", "val"], "has no data set 'val'; expected one of train, valid, test"),
        (["-e", "train"], "train"),
    ],
)
def test_unknown_items_and_data_sets_are_reported_in_one_sentence(
    snippets, save_run, words, sentence, capsys
):
    assert visualize.main(["-p", str(save_run(snippets)), *words]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not Path("output").exists()


def test_unknown_words_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        visualize.main(["-p", "x", "--sed", "3"])
    assert stop.value.code == 2
    assert "unrecognized arguments: --sed 3" in capsys.readouterr().err


def test_a_failed_plot_keeps_the_former_files(snippets, save_run, monkeypatch, capsys):
    run = str(save_run(snippets))
    folder = Path("output/viz/test/00000001")
    folder.mkdir(parents=True)
    (folder / "mixture.wav").write_text("before")

    def save(figure, path):
        raise OSError("the disk is full")

    monkeypatch.setattr(plots, "save", save)
    assert visualize.main(["-p", run, "-f", "00000001"]) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert [path.name for path in folder.parent.iterdir()] == ["00000001"]
    assert (folder / "mixture.wav").read_text() == "before"


def test_captions_follow_the_order_of_the_estimates():
    truth = np.eye(2, 50, dtype=np.float32)
    named = Track("a", 8000, 50, {"low": Path("l"), "high": Path("h")})
    mixture = truth.sum(0) + np.eye(50, dtype=np.float32)[2:4].sum(0)
    actual = visualize.captions(named, mixture, truth, truth[::-1])
    assert actual[0].startswith("source0 (high): SI-SDR 80")
    assert actual[0].endswith("mixture -4.8 dB")  # one part of four
    assert actual[1].startswith("source1 (low): SI-SDR 80")
    plain = Track("a", 8000, 50, {"source0": Path("l"), "source1": Path("h")})
    same = visualize.captions(plain, mixture, truth, truth)
    assert same[1].startswith("source1: SI-SDR")
    assert visualize.captions(plain, mixture, truth, truth[:1]) == ["source0"]


def test_folders_have_eight_digits():
    assert visualize.digits("12345678", 0) == "12345678"
    assert visualize.digits("123456789", 5) == "00000005"


def drawn(sources=3):
    """A view of random numbers, the first source loudest in the low bins."""
    rng = np.random.default_rng(0)
    masks = rng.uniform(0.0, 0.1, [sources, 20, 9]).astype(np.float32)
    masks[0, :, :5] = 1.0
    masks[-1, :, 5:] = 1.0
    magnitude = np.ones([20, 9], np.float32)
    magnitude[3:5] = 1e-3
    waves = rng.normal(size=[sources, 320]).astype(np.float32)
    points = rng.normal(size=[200, 4])
    labels = rng.integers(sources, size=200)
    return View(
        "title",
        8000,
        16,
        waves[0],
        waves,
        [f"caption {number}" for number in range(sources)],
        magnitude,
        np.ones([sources, 20, 9], np.float32),
        masks,
        masks.max(axis=0),
        principal(points, labels, rng.normal(size=[sources, 4])),
    )


def test_points_go_to_the_largest_mask_or_to_silence():
    actual = assignment(drawn())
    assert (actual[3:5] == 0).all()
    assert (actual[6:, :5] == 1).all()
    assert (actual[6:, 5:] == 3).all()


def test_a_source_has_one_colour_in_all_panels():
    from matplotlib.colors import to_hex

    panels = {}
    for axes in plot(drawn()).get_axes():
        panels.setdefault(axes.get_title(), axes)
    for number in range(3):
        bars = panels["embedding, 1 principal component, centres dashed"].patches
        assert to_hex(bars[2 - number].get_facecolor()) == COLOURS[number]
        plane = panels["2 components"].collections[number]
        assert to_hex(plane.get_facecolor()[0]) == COLOURS[number]
        mask = panels[f"mask of source{number}"].images[0]
        assert to_hex(mask.cmap(1.0)) == COLOURS[number]
        wave = panels[f"caption {number}"].lines[0]
        assert to_hex(wave.get_color()) == COLOURS[number]
    shown = next(axes for name, axes in panels.items() if name.startswith("assignment"))
    colours = shown.images[0].cmap(np.arange(4))
    assert [to_hex(colour) for colour in colours[1:]] == list(COLOURS[:3])
    assert shown.get_xlabel() == "time (s)"
    low, high = shown.images[0].get_extent()[2:]
    assert (low, high) == (0.0, 4000.0)


def test_maps_have_time_across_and_frequency_up():
    view = drawn()
    panels = {axes.get_title(): axes for axes in plot(view).get_axes()}
    maps = {f"mask of source{k}": mask for k, mask in enumerate(view.masks)}
    title = next(name for name in panels if name.startswith("assignment"))
    maps |= {title: assignment(view), "confidence of the assignment": view.confidence}
    for name, values in maps.items():
        (image,) = panels[name].images
        np.testing.assert_allclose(image.get_array(), values.T, atol=1e-6)
        assert image.origin == "lower"
        # A frame is drawn around its centre; the last one is cut at the sound's end.
        assert image.get_extent() == pytest.approx([-0.001, 0.039, 0, 4000])


def test_levels_are_below_the_loudest_of_the_mixture():
    view = replace(drawn(), masks=None, estimates=0.1 * drawn().estimates)
    view = replace(view, spectra=0.1 * view.spectra)
    panels = {axes.get_title(): axes for axes in plot(view).get_axes()}
    (mixture,) = panels["spectrogram of the mixture"].images
    np.testing.assert_allclose(mixture.get_array()[:, 3:5], -60, atol=1e-3)
    np.testing.assert_allclose(mixture.get_array()[:, 5:], 0, atol=1e-3)
    (source,) = panels["spectrogram of source1"].images
    np.testing.assert_allclose(source.get_array(), -20, atol=1e-3)
    peak = np.abs(view.mixture).max()
    for title in ("mixture", "caption 0", "caption 2"):
        low, high = panels[title].get_ylim()
        assert -low == high == pytest.approx(1.05 * peak)


def test_points_are_drawn_at_their_components():
    view = drawn()
    panels = {axes.get_title(): axes for axes in plot(view).get_axes()}
    for number in range(3):
        own = view.principal.points[view.principal.labels == number]
        points = panels["2 components"].collections[number].get_offsets()
        np.testing.assert_allclose(points, own[:, :2])


def test_silence_and_one_source_are_drawn(tmp_path):
    silent = replace(
        drawn(1),
        mixture=np.zeros(320, np.float32),
        estimates=np.zeros([1, 320], np.float32),
        magnitude=np.zeros([20, 9], np.float32),
        principal=principal(np.zeros([5, 2]), np.zeros(5, int), np.zeros([1, 2])),
    )
    assert (assignment(silent) == 0).all()
    plots.save(plot(silent), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_principal_components_are_those_of_the_covariance():
    rng = np.random.default_rng(1)
    points = rng.normal(size=[500, 6]) * [1, 5, 2, 0.1, 3, 1]
    actual = principal(points, np.zeros(500, int), points[:2])
    variances = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    np.testing.assert_allclose(actual.points.var(axis=0, ddof=1), variances[:3])
    np.testing.assert_allclose(actual.shares, variances[:3] / variances.sum())
    np.testing.assert_allclose(actual.centres, actual.points[:2])
    products = np.cov(actual.points.T)
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-9)
    turned = principal(-points, np.zeros(500, int), points[:2])
    np.testing.assert_allclose(turned.points, -actual.points, atol=1e-9)
    assert len(actual.part(100).points) == len(actual.part(100).labels) == 100
    assert actual.part(500) is actual


def test_points_in_one_dimension_have_zeros_in_the_others():
    actual = principal(np.array([[1.0], [3.0]]), np.array([0, 1]), np.array([[1.0]]))
    np.testing.assert_allclose(actual.points, [[-1, 0, 0], [1, 0, 0]])
    assert actual.shares.tolist() == [1.0, 0.0, 0.0]


def test_the_snippets_are_a_test_set_of_two_sources(snippets):
    root = corpus.root(snippets)
    tracks = corpus.tracks(snippets, root, "test")
    assert [track.name for track in tracks] == ["00000000", "00000001", "00000002"]
    for track in tracks:
        assert (track.samples, list(track.sources)) == (4000, list(snippets.sources))
        mixture = audio.read(track.mixture)[0]
        sources = [waveforms.read(each, 8000)[0] for each in track.sources.values()]
        np.testing.assert_allclose(sum(sources), mixture, atol=1e-6)
        assert all(np.abs(source).max() > 0.01 for source in sources)
    assert json.loads((root / MARKER).read_text())["kind"] == "snippets"
