"""The command that makes mixtures: its sounds to the sample, resuming, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.corpora import fuss
from common.corpora.track import CorpusError
from mixit.augment import __main__ as augment
from mixit.augment import mixing_list
from mixit.augment.__main__ import make
from mixit.augment.mixing_list import Recipe
from mixit.augment.realisation import Folders
from mixit.augment.reverberation import find_rooms

RATE = 8000
RECIPE = Recipe(train=10, validation=3, seconds=0.5, sample_rate=RATE)


def write(path: Path, wave: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate)


def noise(samples: int, seed: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """Sources of two splits, 3 backgrounds and 5 foregrounds each, and their rooms."""
    folder = tmp_path_factory.mktemp("raw")
    for split in ("train", "validation"):
        folders = folder / "fsd_data" / split / "sound"
        for index in range(3):
            write(folders / f"long{index}.wav", noise(4001 + 900 * index, index))
        for index in range(5):
            write(folders / f"short{index}.wav", noise(4000 - 700 * index, 10 + index))
        for index in range(4):
            room = folder / "rir_data" / split / f"rirs_{index:05d}"
            for seed, name in enumerate(
                ("background0", "foreground0", "foreground1", "foreground2")
            ):
                response = noise(600, 100 * index + seed) * np.exp(-np.arange(600) / 50)
                response[20 + 3 * seed] = 0.5
                write(room / f"{name}.wav", response)
    return folder


@pytest.fixture
def folders(raw, tmp_path):
    return Folders(raw / "fsd_data", raw / "rir_data", tmp_path / "out")


@pytest.fixture(scope="session")
def made(raw, tmp_path_factory):
    """A set as the recipe makes it."""
    folder = tmp_path_factory.mktemp("made") / "out"
    folders = Folders(raw / "fsd_data", raw / "rir_data", folder)
    make(folders, RECIPE, jobs=2)
    return folders


def ints(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0].astype(np.int64)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def command(folders: Folders, *more: str) -> list[str]:
    return [
        *("--sources", str(folders.sources), "--rooms", str(folders.rooms)),
        *("--output", str(folders.output), "--train", "10", "--validation", "3"),
        *("--seconds", "0.5", "--sample-rate", str(RATE), *more),
    ]


@pytest.mark.parametrize("kind", ["ssdata", "ssdata_reverb"])
def test_a_set_is_read_as_fuss_and_its_sums_are_exact(made, kind):
    root = made.output / kind
    for split, count in {"train": 10, "validation": 3}.items():
        tracks = fuss.tracks(root, split)
        assert len(tracks) == count
        for track in tracks:
            assert (track.sample_rate, track.samples) == (RATE, 4000)
            sources = [ints(path) for path in track.sources.values()]
            mixture = ints(root / split / f"{track.name}.wav")
            np.testing.assert_array_equal(mixture, sum(sources))
            assert mixture.any()
    assert (root / "train" / "example00.wav").is_file()
    assert (root / "validation" / "example2.wav").is_file()
    assert not (root / "eval_example_list.txt").exists()
    assert not list(made.output.rglob(".*"))


def test_events_are_the_files_at_their_position_and_level(made):
    mixtures = mixing_list.read(made.output / "train_mixing_list.jsonl")
    assert sum(len(each.events) - 1 for each in mixtures) > 3
    for mixture in mixtures:
        names = mixture.files[1:]
        for name, event in zip(names, mixture.events, strict=True):
            actual = ints(made.output / "ssdata" / name) / 32767
            file = soundfile.read(made.sources / event.file)[0]
            file = file[event.start : event.start + event.samples]
            stop = event.offset + event.samples
            assert not actual[: event.offset].any()
            assert not actual[stop:].any()
            level_db = -55 + (event.snr_db or 0)
            expected = file * 10 ** (level_db / 20) / np.sqrt(np.mean(file**2))
            inner = slice(0, None) if event.snr_db is None else slice(80, -80)
            np.testing.assert_allclose(
                actual[event.offset : stop][inner], expected[inner], atol=0.51 / 32767
            )
            if event.snr_db is not None:
                first = actual[event.offset : stop][:40]
                assert np.std(first) < 0.6 * np.std(expected[:40])


@pytest.mark.parametrize("align", [False, True])
def test_rooms_are_convolved_and_cut(raw, tmp_path, align):
    recipe = Recipe(4, 0, seconds=0.5, sample_rate=RATE, align_sources=align)
    folders = Folders(raw / "fsd_data", raw / "rir_data", tmp_path / "out")
    make(folders, recipe)
    dry, wet = folders.sets
    rows = (wet / "mix_info.txt").read_text().splitlines()
    assert len(rows) == 4
    for row in rows:
        mixture, parts = row.split(" = ")
        pairs = [part.split(" * ") for part in parts.split(" + ")]
        assert len({Path(response).parent for _, response in pairs}) == 1
        roles = [Path(response).name for _, response in pairs]
        names = ["background0", "foreground0", "foreground1", "foreground2"]
        assert roles == [f"{name}.wav" for name in names[: len(pairs)]]
        for seed, (source, response) in enumerate(pairs):
            sound = soundfile.read(dry / source)[0]
            room = 10 * soundfile.read(folders.rooms / response)[0]
            advance = 20 + 3 * seed if align else 0
            expected = np.convolve(sound, room)[advance : advance + 4000]
            np.testing.assert_allclose(
                ints(wet / source) / 32767, expected, atol=0.51 / 32767
            )
        np.testing.assert_array_equal(
            ints(wet / mixture), sum(ints(wet / source) for source, _ in pairs)
        )


def test_without_rooms_the_dry_set_is_the_same(made, tmp_path):
    dry = Folders(made.sources, None, tmp_path / "dry")
    make(dry, RECIPE)
    assert not (dry.output / "ssdata_reverb").exists()
    assert contents(dry.output / "ssdata") == contents(made.output / "ssdata")


def test_the_seed_decides_every_byte_and_the_jobs_none(made, folders, tmp_path):
    make(folders, RECIPE, jobs=1)
    assert contents(folders.output) == contents(made.output)
    other = Folders(folders.sources, folders.rooms, tmp_path / "other")
    make(other, Recipe(10, 3, seed=1, seconds=0.5, sample_rate=RATE))
    first, second = contents(folders.output), contents(other.output)
    name = "ssdata/train/example03.wav"
    assert first[name] != second[name]
    assert first["train_mixing_list.jsonl"] != second["train_mixing_list.jsonl"]


def test_a_stopped_run_continues_to_the_same_bytes(made, folders, monkeypatch, capsys):
    seen = []

    def stop(*arguments):
        seen.append(arguments)
        if len(seen) == 6:
            raise OSError("No space left on device")
        return whole(*arguments)

    whole = augment.realise
    monkeypatch.setattr(augment, "realise", stop)
    assert augment.main(command(folders, "--jobs", "1")) == 1
    assert "No space left" in capsys.readouterr().err
    monkeypatch.setattr(augment, "realise", whole)
    # Validation, of 3, was made; of the training examples some were.
    there = len(list((folders.output / "ssdata/train").glob("*.wav")))
    assert 0 < there < 10
    assert not (folders.output / "ssdata/train_example_list.txt").exists()
    # A file cut short, as a full disk leaves it, does not count as there.
    damaged = folders.output / "ssdata_reverb/validation/example1.wav"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert augment.main(command(folders)) == 0
    printed = capsys.readouterr().out
    assert "validation: 1 mixtures made, 2 there before" in printed
    assert f"train: {10 - there} mixtures made, {there} there before" in printed
    assert contents(folders.output) == contents(made.output)


def test_a_whole_set_is_left_alone(made):
    before = {path: path.stat().st_mtime_ns for path in made.output.rglob("*.wav")}
    done = make(made, RECIPE)
    assert (done["train kept"], done["train made"]) == (10, 0)
    assert before == {p: p.stat().st_mtime_ns for p in made.output.rglob("*.wav")}


def test_silence_stays_silent_and_is_reported(tmp_path, capsys):
    write(tmp_path / "in/train/sound/long.wav", np.zeros(5000))
    write(tmp_path / "in/train/sound/short.wav", np.full(800, 3 / 32768))
    folders = Folders(tmp_path / "in", None, tmp_path / "out")
    arguments = command(folders, "--validation", "0", "--train", "20")
    del arguments[2:4]
    assert augment.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "validation: left out" in printed
    assert not any(ints(path).any() for path in folders.output.rglob("back*.wav"))
    assert "20 of the new sources are silent" in printed
    # The other is -81 dB and is taken for -70 dB.
    mixtures = mixing_list.read(folders.output / "train_mixing_list.jsonl")
    foregrounds = 0
    for mixture in mixtures:
        for name, event in zip(mixture.files[2:], mixture.events[1:], strict=True):
            wave = ints(folders.output / "ssdata" / name)
            peak = 3 / 32768 * 10 ** ((70 - 55 + event.snr_db) / 20) * 32767
            assert wave.max() == pytest.approx(peak, abs=0.51)
            foregrounds += 1
    assert foregrounds > 10


def test_what_would_clip_is_scaled_as_a_whole(tmp_path):
    click = np.zeros(4001)
    click[2000] = 1.0
    write(tmp_path / "in/train/a/long.wav", click)
    room = tmp_path / "rooms/train/rirs_0"
    write(room / "background.wav", np.full(2, 0.9))
    recipe = Recipe(1, 0, seconds=0.5, sample_rate=RATE, max_foregrounds=0)
    folders = Folders(tmp_path / "in", tmp_path / "rooms", tmp_path / "out")
    make(folders, recipe)
    dry, wet = (ints(root / "train/example0.wav") for root in folders.sets)
    # The click is 36 dB above its root mean square: 0.112 dry, twice 1.01 wet.
    assert np.abs(dry).max() == pytest.approx(32767 * np.sqrt(4000) * 10**-2.75, abs=1)
    assert np.abs(wet).max() == pytest.approx(0.98 * 32767, abs=1)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--seed", "3"], "(seed was 2020, now 3)"),
        (["--train", "11"], "(train was 10, now 11)"),
        (["--align-sources"], "(align_sources was False, now True)"),
    ],
)
def test_another_recipe_is_refused(made, more, sentence, capsys):
    before = contents(made.output)
    assert augment.main(command(made, *more)) == 1
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    assert contents(made.output) == before


def test_other_sources_and_rooms_are_refused(raw, tmp_path):
    write(tmp_path / "in/train/a/long.wav", noise(5000, 0))
    recipe = Recipe(2, 0, seconds=0.5, sample_rate=RATE, max_foregrounds=0)
    folders = Folders(tmp_path / "in", None, tmp_path / "out")
    make(folders, recipe)
    with pytest.raises(CorpusError, match="rooms are others now"):
        make(Folders(folders.sources, raw / "rir_data", folders.output), recipe)
    write(tmp_path / "in/train/a/more.wav", noise(5000, 0))
    with pytest.raises(CorpusError, match="sources are others now"):
        make(folders, recipe)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--train", "-1"], "train is -1; it starts at 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--max-foregrounds", "-2"], "max_foregrounds is -2"),
        (["--train", "0", "--validation", "0"], "No mixture is asked for"),
        (["--seconds", "0"], "Mixtures of 0 s at 8000 Hz hold no sample"),
        (["--seconds", "nan"], "Mixtures of nan s"),
        (["--seconds", "9"], "validation hold no background: none of 8 files"),
        (["--seconds", "0.01"], "validation hold no foreground: all 8 files"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--fix"], "--fix repairs what --check reports"),
        (["--sample-rate", "16000"], "long0.wav has 8000 Hz instead of 16000 Hz"),
        (["--eval", "1"], "has no folder eval; pass fsd_data of FUSS"),
        (["--rooms", "nowhere"], "nowhere has no room validation/rirs_*"),
        (["--sources", "nowhere"], "nowhere has no folder validation"),
        (["--unique-labels"], "have 1 labels (folders), too few for 3"),
    ],
)
def test_bad_options_are_reported_in_one_sentence_and_write_nothing(
    folders, arguments, sentence, capsys
):
    assert augment.main(command(folders, *arguments)) == 1
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    assert not folders.output.exists()


def test_no_options_are_reported_in_one_sentence(capsys):
    assert augment.main([]) == 1
    assert "Give --sources and --output, or --check" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("background", "has 0 background responses (*background*.wav)"),
        ("foreground", "has 0 foreground responses (*foreground*.wav)"),
    ],
)
def test_a_room_that_lacks_a_response_is_refused(folders, tmp_path, missing, sentence):
    rooms = tmp_path / "rooms"
    names = {"background0", "foreground0", "foreground1", "foreground2"}
    for split in ("train", "validation"):
        for name in names:
            if not name.startswith(missing):
                write(rooms / split / "rirs_1" / f"{name}.wav", noise(10, 0))
    with pytest.raises(CorpusError) as caught:
        make(Folders(folders.sources, rooms, folders.output), RECIPE)
    assert sentence in str(caught.value)
    assert "rirs_1" in str(caught.value)
    assert not folders.output.exists()


def test_a_file_beside_the_rooms_is_no_room(folders):
    expected = find_rooms(folders.rooms, "train")
    (folders.rooms / "train/rirs_notes.txt").write_text("measured in May")
    assert find_rooms(folders.rooms, "train") == expected


def test_a_response_of_another_rate_is_refused(folders, tmp_path):
    for split in ("train", "validation"):
        for name in ("background0", "foreground0", "foreground1", "foreground2"):
            path = tmp_path / "rooms" / split / "rirs_1" / f"{name}.wav"
            write(path, noise(10, 0), 16000)
    with pytest.raises(CorpusError, match="has 16000 Hz where the sources have 8000"):
        make(Folders(folders.sources, tmp_path / "rooms", folders.output), RECIPE)


def test_an_empty_folder_and_a_broken_file_are_refused(tmp_path, capsys):
    folders = Folders(tmp_path / "in", tmp_path / "rooms", tmp_path / "out")
    (tmp_path / "in/train").mkdir(parents=True)
    (tmp_path / "in/validation").mkdir()
    assert augment.main(command(folders)) == 1
    assert "holds no recording" in capsys.readouterr().err
    (tmp_path / "in/validation/a.wav").write_bytes(b"RIFF, or so it says")
    assert augment.main(command(folders)) == 1
    message = capsys.readouterr().err
    assert "in/validation/a.wav" in message
    assert message.count("\n") == 1


def test_a_folder_in_use_is_left_alone(folders, capsys):
    folders.output.mkdir()
    (folders.output / "thesis.txt").write_text("all of it")
    assert augment.main(command(folders)) == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in folders.output.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["{", "[1]", "7"])
def test_a_damaged_recipe_is_reported_in_one_sentence(folders, text, capsys):
    folders.output.mkdir()
    (folders.output / "recipe.json").write_text(text)
    assert augment.main(command(folders)) == 1
    assert "recipe.json is damaged" in capsys.readouterr().err


def test_a_source_cut_short_under_way_is_refused(folders, tmp_path):
    write(tmp_path / "in/train/a/long.wav", noise(8000, 0))
    recipe = Recipe(5, 0, seconds=0.5, sample_rate=RATE, max_foregrounds=0)
    some = Folders(tmp_path / "in", None, folders.output)
    make(some, recipe)
    row = json.loads((some.output / "train_mixing_list.jsonl").open().readline())
    row["events"][0]["start"] = 5000
    (some.output / "train_mixing_list.jsonl").write_text(json.dumps(row))
    (some.output / "ssdata" / f"{row['name']}.wav").unlink()
    with pytest.raises(CorpusError, match="ends before sample 9000"):
        make(some, recipe)
