"""Mixtures of clean sounds on disk, and the corpora that read them back."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from clustering import mix
from clustering.mix import SplitRules
from clustering.mixtures import LEVEL_DB, MixtureConfig, remake
from common import audio
from common.corpora import mix_folders, scaper_output, speaker_mixtures
from common.corpora.track import CorpusError
from common.synthetic.miniature import WRITERS

RATE = 8000


def tone(hertz, seconds, rate=RATE):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Six people, each with ten short takes of a pitch of their own."""
    folder = tmp_path_factory.mktemp("people")
    for number, name in enumerate("abcdef"):
        (folder / name).mkdir()
        for take in range(10):
            wave = tone(300 + 200 * number, 0.3 + 0.02 * take).astype(np.float32)
            file = folder / name / f"{name}_{take}.wav"
            audio.write(file, wave[np.newaxis], RATE, "wav16")
    return folder


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Two classes of four songs in stereo at another rate; pitch tells the song."""
    folder = tmp_path_factory.mktemp("songs")
    for name, octave in (("drums", 1), ("vocals", 2)):
        (folder / name).mkdir()
        for song in range(4):
            wave = tone(octave * (200 + 50 * song), 2.0, 16000).astype(np.float32)
            stereo = np.stack([wave, wave * 0.5])
            audio.write(folder / name / f"song{song}.flac", stereo, 16000, "flac")
    return folder


def run(folder, output, *words, counts=(6, 2, 3)):
    numbers = [
        f"--{split}={count}"
        for split, count in zip(("train", "valid", "test"), counts, strict=True)
    ]
    return mix.main([str(folder), "--output", str(output), *numbers, *words])


def annotations(output, split):
    files = sorted((output / "annotations" / split).glob("*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


def content(output):
    return {
        file.relative_to(output): file.read_bytes()
        for file in output.rglob("*")
        if file.is_file()
    }


TAKES = ("--test-files", r"_[01]\.wav$", "--valid-files", r"_2\.wav$")
SPEECH = ("--seconds", "0.5", "1", "--snr", "-2.5", "2.5", *TAKES)


def test_speakers_are_mixed_in_the_layout_of_wsj0_2mix(people, tmp_path):
    output = tmp_path / "mixed"
    assert run(people, output, *SPEECH) == 0
    levels = []
    for split, count in (("train", 6), ("valid", 2), ("test", 3)):
        tracks = speaker_mixtures.tracks(output, split)
        described = annotations(output, split)
        assert len(tracks) == len(described) == count
        for track in tracks:
            sources = [audio.read(file)[0][0] for file in track.sources.values()]
            mixture = audio.read(track.mixture)[0][0]
            np.testing.assert_array_equal(mixture, sources[0] + sources[1])
            assert np.abs(mixture).max() < 0.99
            assert 0.5 * RATE <= track.samples <= RATE
            powers = [np.mean(np.square(source)) for source in sources]
            levels.append(10 * np.log10(powers[1] / powers[0]))
            first = 10 * np.log10(powers[0]) - 20 * np.log10(
                described[track.name]["gain"]
            )
            assert first == pytest.approx(LEVEL_DB, abs=0.01)
            parts = described[track.name]["sources"]
            assert parts[0]["label"] != parts[1]["label"]
    assert -2.55 <= min(levels) < -1
    assert 1 < max(levels) <= 2.55


def test_takes_of_a_split_are_in_no_other(people, tmp_path):
    output = tmp_path / "mixed"
    run(people, output, *SPEECH, counts=(20, 5, 5))
    takes = {
        split: {
            int(re.search(r"_(\d)\.wav", file["file"])[1])
            for annotation in annotations(output, split).values()
            for source in annotation["sources"]
            for part in source["parts"]
            for file in part["files"]
        }
        for split in ("train", "valid", "test")
    }
    assert takes["test"] == {0, 1}
    assert takes["valid"] == {2}
    assert takes["train"] == set(range(3, 10))


def test_mixture_is_made_again_from_its_annotation_bit_for_bit(people, songs, tmp_path):
    run(people, tmp_path / "a", *SPEECH)
    words = ("--labels", "classes", "--coherent", "--seconds", "0.7")
    run(songs, tmp_path / "b", *words, "--layout", "mix_folders", counts=(2, 1, 1))
    for output, names in (("a", ("s1", "s2")), ("b", ("drums", "vocals"))):
        for name, annotation in annotations(tmp_path / output, "train").items():
            for source, wave in zip(names, remake(annotation), strict=True):
                (file,) = (tmp_path / output).rglob(f"tr*/{source}/{name}.wav")
                written = audio.read(file)[0][0] * 32768
                np.testing.assert_array_equal(written, wave)


def test_files_depend_only_on_the_seed_and_an_interrupted_run_continues(
    people, tmp_path, monkeypatch
):
    run(people, tmp_path / "a", *SPEECH, "--num-workers", "1")
    draw, drawn = mix.draw, []

    def broken(*arguments):
        drawn.append(arguments)
        if len(drawn) == 5:
            raise OSError("no space left")
        return draw(*arguments)

    monkeypatch.setattr(mix, "draw", broken)
    assert run(people, tmp_path / "b", *SPEECH, "--num-workers", "1") == 1
    assert not (tmp_path / "b").exists()
    drawn += [None] * 9  # past the break
    done = len(list(tmp_path.rglob(".done/*")))
    before = len(drawn)
    assert run(people, tmp_path / "b", *SPEECH, "--num-workers", "3") == 0
    assert len(drawn) - before == 11 - done
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert not list(tmp_path.glob(".*"))
    run(people, tmp_path / "c", *SPEECH, "--seed", "1")
    assert content(tmp_path / "a") != content(tmp_path / "c")


def test_a_complete_set_is_kept_and_another_one_is_left_alone(people, tmp_path, capsys):
    output = tmp_path / "mixed"
    run(people, output, *SPEECH)
    before = content(output)
    assert run(people, output, *SPEECH) == 0
    assert "already complete" in capsys.readouterr().out
    assert run(people, output, *SPEECH, "--seed", "3") == 1
    assert "holds other mixtures" in capsys.readouterr().err
    assert content(output) == before


def test_a_set_is_known_by_the_content_of_its_sounds(people, tmp_path, capsys):
    sounds, output = tmp_path / "people", tmp_path / "mixed"
    shutil.copytree(people, sounds)
    run(sounds, output, *SPEECH)
    for file in sounds.rglob("*.wav"):
        os.utime(file, (1, 1))
    assert run(sounds, output, *SPEECH) == 0
    audio.write(sounds / "a" / "a_3.wav", np.zeros((1, 2880), np.float32), RATE)
    assert run(sounds, output, *SPEECH) == 1
    assert "holds other mixtures" in capsys.readouterr().err


def test_a_set_of_release_0_1_0_is_known_by_the_times(people, tmp_path, monkeypatch):
    output = tmp_path / "mixed"
    monkeypatch.setattr(mix._digest, "__defaults__", (mix.modified,))
    run(people, output, *SPEECH)
    monkeypatch.undo()
    assert run(people, output, *SPEECH) == 0


def test_speakers_are_disjoint_where_nothing_defines_the_splits(people):
    pools = mix.folder_pools(people, SplitRules())
    assert [len(pools[split]) for split in mix.SPLITS] == [2, 2, 2]
    assert set.union(*(set(pool) for pool in pools.values())) == set("abcdef")


def test_folders_lists_and_patterns_define_splits_and_speakers(people, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("a/a_3.wav\nb/b_4.wav\n")
    rules = SplitRules(test=f"@{listed}", exclude="^f/", speaker=r"([a-z])_\d")
    pools = mix.folder_pools(people, rules)
    assert {label: list(row) for label, row in pools["test"].items()} == {
        "a": ["a/a_3.wav"],
        "b": ["b/b_4.wav"],
    }
    assert set(pools["train"]) == set("abcde")
    folder = tmp_path / "own"
    for split, name in (("tr", "a"), ("cv", "b"), ("tt", "c")):
        shutil.copytree(people / name, folder / split / name)
    own = mix.folder_pools(folder, SplitRules())
    labels = {split: list(pool) for split, pool in own.items()}
    assert labels == {"valid": ["b"], "train": ["a"], "test": ["c"]}


def test_coherent_sources_are_of_one_song_and_others_need_not_be(songs, tmp_path):
    words = ("--labels", "classes", "--seconds", "0.5", "--layout", "mix_folders")
    words = (*words, "--test-files", "song3", "--valid-files", "song2")
    run(songs, tmp_path / "a", *words, "--coherent", counts=(8, 1, 1))
    run(songs, tmp_path / "b", *words, counts=(12, 1, 1))

    def songs_of(annotation):
        firsts = [source["parts"][0] for source in annotation["sources"]]
        return {(Path(each["files"][0]["file"]).stem, each["start"]) for each in firsts}

    coherent = annotations(tmp_path / "a", "train").values()
    assert {len(songs_of(annotation)) for annotation in coherent} == {1}
    assert len(set.union(*map(songs_of, coherent))) > 2
    others = annotations(tmp_path / "b", "train").values()
    assert max(len(songs_of(annotation)) for annotation in others) == 2
    (track,) = mix_folders.tracks(tmp_path / "a", "test")
    assert list(track.sources) == ["drums", "vocals"]
    for file, hertz in zip(track.sources.values(), (350, 700), strict=True):
        wave, rate = audio.read(file)
        assert rate == RATE
        peak = np.argmax(np.abs(np.fft.rfft(wave[0]))) * rate / wave.shape[1]
        assert abs(peak - hertz) < 4


def test_three_sources_in_the_layout_of_scaper(people, tmp_path):
    output = tmp_path / "mixed"
    words = ("--layout", "scaper", "--sources", "3")
    assert run(people, output, *SPEECH, *words) == 0
    tracks = scaper_output.tracks(output, "train")
    assert len(tracks) == 6
    for track in tracks:
        sources = [audio.read(file)[0] for file in track.sources.values()]
        assert len(sources) == 3
        np.testing.assert_array_equal(sum(sources), audio.read(track.mixture)[0])


def test_jams_hold_what_the_scaper_data_set_of_nussl_reads(
    people, tmp_path, monkeypatch
):
    output = tmp_path / "mixed"
    monkeypatch.chdir(tmp_path)
    assert run(people, Path("mixed"), *SPEECH, "--layout", "scaper") == 0
    for file in sorted(output.glob("*/*.jams")):
        (annotation,) = json.loads(file.read_text())["annotations"]
        recorded = annotation["sandbox"]["scaper"]
        labels = [event["value"]["label"] for event in annotation["data"]]
        assert recorded["fg_labels"] == sorted(labels)
        assert Path(recorded["soundscape_audio_path"]) == file.with_suffix(".wav")
        events = map(Path, recorded["isolated_events_audio_path"])
        for label, event in zip(labels, events, strict=True):
            assert event.is_file()
            assert event.name.endswith(f"_{label}.wav")
            assert event.is_relative_to(file.parent)


def test_sources_of_a_corpus_are_mixed_by_its_splits(tmp_path):
    corpus = WRITERS["musdb"](tmp_path / "m", train=4, test=2, seconds=2.0)
    words = ("--dataset", "musdb", "--group", "vocals,drums+bass+other")
    words = (*words, "--labels", "classes", "--coherent", "--corpus-rate", "44100")
    words = (*words, "--seconds", "0.5", "--layout", "mix_folders")
    output = tmp_path / "mixed"
    assert run(corpus, output, *words, counts=(3, 1, 2)) == 0
    (first, *_) = annotations(output, "train").values()
    assert [len(source["parts"][0]["files"]) for source in first["sources"]] == [3, 1]
    track = mix_folders.tracks(output, "train")[0]
    assert list(track.sources) == ["drums+bass+other", "vocals"]
    waves = [audio.read(file)[0][0] * 32768 for file in track.sources.values()]
    np.testing.assert_array_equal(np.stack(waves), remake(first))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--test-files", "["), "is no regular expression"),
        (("--test-files", "_x"), "matches none of 60 sounds"),
        (("--match", "nothing"), "holds 60 sound(s), of which"),
        (("--speaker", "(zz)"), "finds no speaker in a/a_0.wav"),
        (("--sources", "9", *TAKES), "mixtures of 9 sources need as many labels"),
        (("--sources", "1"), "a mixture has 2 or more"),
        (("--sources", "3"), "too few for train, valid and test"),
        (("--seconds", "2", "1", *TAKES), "expected the lower bound first"),
        (("--seconds", "1e-5", *TAKES), "first, and at least one sample"),
        (("--snr", "5", "-5", *TAKES), "first, and finite"),
        (("--seed", "-1", *TAKES), "--seed is -1; expected 0 or more"),
        (("--test-files", "_0"), "the split valid has no sounds"),
        (("--dataset", "musdb"), "musdb"),
    ],
)
def test_bad_input_is_reported_in_one_sentence(
    people, tmp_path, capsys, words, sentence
):
    assert run(people, tmp_path / "mixed", *words) == 1
    error = capsys.readouterr().err
    assert sentence.lower() in error.lower()
    assert not (tmp_path / "mixed").exists()


def test_silence_is_drawn_again_and_refused_where_there_is_nothing_else(
    people, tmp_path
):
    for name in "ab":
        (tmp_path / name).mkdir()
        nothing = np.zeros((1, 900), np.float32)
        audio.write(tmp_path / name / "x0.wav", nothing, RATE)
        audio.write(tmp_path / name / "x1.wav", nothing + 0.1, RATE)
    rules = SplitRules(test="x0", valid="x1", by_label=False)
    pools = mix.folder_pools(tmp_path, rules)
    config = MixtureConfig()
    with pytest.raises(CorpusError, match="in which every source is audible"):
        mix.draw(pools["test"], config, np.random.default_rng(0))
    both = {
        name: {**row, **pools["valid"][name]} for name, row in pools["test"].items()
    }
    for seed in range(5):
        _, sources = mix.draw(both, config, np.random.default_rng(seed))
        assert np.abs(sources).max(axis=1).min() > 3000
