"""What a word of ``--model`` names, in the order in which it is tried."""

from pathlib import Path

import pytest

from common.training.checkpoint import CheckpointError
from common.weights import bundled
from common.weights.locate import Location, Models, locate_model

MODELS = Models("unmix", "a folder of the original", ("umx", "umxhq"), {"UMX!": "umx"})


@pytest.fixture(autouse=True)
def current(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


def write_run(folder):
    """A run folder with a checkpoint, both without content."""
    (folder / "best").mkdir(parents=True)
    (folder / "config.json").touch()
    (folder / "best" / "step-1.index").touch()
    return folder


def test_the_name_of_a_bundled_model_has_priority_over_a_path():
    folder = bundled.folder_of("unmix") / "mini"
    mini = locate_model("mini", MODELS)
    assert mini == Location(folder, folder, "mini")
    assert (mini.published, mini.own) == (False, None)
    write_run(Path("mini"))
    assert locate_model("mini", MODELS) == mini
    assert locate_model("./mini", MODELS) == Location(Path("mini"), Path("mini"))


@pytest.mark.parametrize("word", [None, 3, ""])
def test_what_is_no_name_and_no_path_is_refused(word):
    with pytest.raises(
        CheckpointError, match=f"^{word!r} is not .*expected a run folder"
    ):
        locate_model(word, MODELS)


def test_a_path_has_priority_over_a_published_name():
    publication = locate_model("umx", MODELS)
    assert publication == Location(Path("umx"), None, "umx")
    assert (publication.published, publication.own) == (True, None)
    assert locate_model("UMX!", MODELS).name == "umx"
    Path("umx").mkdir()
    assert locate_model("umx", MODELS) == Location(Path("umx"))
    write_run(Path("umxhq"))
    assert locate_model("umxhq", MODELS).run == Path("umxhq")


def test_paths_are_of_runs_or_of_other_programs(monkeypatch):
    run = write_run(Path("runs") / "1")
    prefix = run / "best" / "step-1"
    assert locate_model(prefix, MODELS, "best") == Location(prefix, run)
    monkeypatch.setenv("HOME", str(Path.cwd()))
    home = Path.cwd() / "runs" / "1"
    assert locate_model("~/runs/1", MODELS) == Location(home, home)
    assert locate_model("runs", MODELS).own == Path("runs")
    for name in ("vocals.pth", "a.index", "b.data-00000-of-00001"):
        Path(name).touch()
    for word in ("vocals.pth", "a", "b", "a.index"):
        assert locate_model(word, MODELS) == Location(Path(word))


def test_a_checkpoint_is_chosen_of_a_run_only():
    Path("foreign").mkdir()
    for word in ("foreign", "umx"):
        with pytest.raises(CheckpointError, match=f"{word} is no run folder, so best"):
            locate_model(word, MODELS, "best")


def test_a_word_for_nothing_is_reported_with_the_nearest_names():
    with pytest.raises(CheckpointError) as error:
        locate_model("umxh", MODELS)
    text = str(error.value)
    assert text.startswith(
        "umxh does not exist; expected a run folder, one of its checkpoints, a folder "
        "of the original, or one of enhance, mini, "
    )
    assert text.endswith(", umx, umxhq; did you mean umxhq or umx?")
    with pytest.raises(CheckpointError, match=r"umx, umxhq$"):
        locate_model("/nowhere/at/all", MODELS)
