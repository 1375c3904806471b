"""Lists of songs out of corpora, folders and functions, and what is refused."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from adversarial.config import TINY, Corpora
from adversarial.songs import corpus, song_lists
from common.audio.headers import AudioError
from common.config import ConfigError
from common.corpora.track import CorpusError, Sum, Track
from common.synthetic import miniature

RATE = 8000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Short miniatures of every corpus."""
    root = tmp_path_factory.mktemp("corpora")
    short = {"sample_rate": RATE, "seconds": 0.3}
    miniature.write_musdb(root / "musdb", **short, train=5, test=5)
    miniature.write_moisesdb(root / "moisesdb", **short, songs=6)
    miniature.write_dsd100(root / "dsd100", **short, train=2, test=4)
    miniature.write_ccmixter(root / "ccmixter", **short, songs=4)
    miniature.write_mir1k(root / "mir1k", **short, train=6, test=2)
    return root


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))


def config(**corpora):
    return replace(TINY, corpora=Corpora(**corpora))


def both(made, unpaired="moisesdb", **more):
    roots = {
        "data_root": str(made / "musdb"),
        "unpaired_root": str(made / str(unpaired)),
    }
    return config(paired="musdb", unpaired=unpaired, **roots, **more)


def counts(songs):
    return [len(each) for each in songs]


def names(tracks):
    return [track.name for track in tracks]


def write_song(folder, **files):
    folder.mkdir(parents=True)
    for name, (samples, rate) in files.items():
        soundfile.write(folder / f"{name}.wav", np.full(samples, 0.1), rate)


@pytest.mark.parametrize("layout", ["musdb", "dsd100", "ccmixter", "moisesdb"])
def test_every_corpus_is_paired_and_unpaired(made, layout):
    paired = config(paired=layout, data_root=str(made / layout), unpaired=None)
    songs = corpus.list_songs(paired)
    assert (
        counts(songs)
        == {
            "musdb": [5, 0, 0, 0, 2, 3],
            "dsd100": [2, 0, 0, 0, 2, 2],
            "ccmixter": [2, 0, 0, 0, 1, 1],
            "moisesdb": [4, 0, 0, 0, 1, 1],
        }[layout]
    )
    whole = names(songs.paired + songs.valid + songs.test)
    assert len(set(whole)) == len(whole)
    assert all(next(iter(t.sources)) == "accompaniment" for t in songs.paired)
    unpaired = corpus.list_songs(both(made, layout))
    assert (
        counts(unpaired)[1:4]
        == {
            "musdb": [5, 5, 5],
            "dsd100": [6, 6, 6],
            "ccmixter": [4, 4, 4],
            "moisesdb": [6, 6, 5],
        }[layout]
    )
    assert all(name.startswith(f"{layout}/") for name in names(unpaired.vocals))


def test_musdb_has_the_split_of_the_card_or_of_museval(made):
    card, museval = (
        corpus.list_songs(both(made, split=s)) for s in ("card", "museval")
    )
    assert counts(card)[:1] + counts(card)[4:] == [5, 2, 3]
    assert counts(museval)[:1] + counts(museval)[4:] == [4, 1, 5]
    assert names(card.valid + card.test) == names(museval.test)
    assert sorted(names(museval.paired + museval.valid)) == names(card.paired)
    song = card.paired[0]
    stems = [file.name for file in song.sources["accompaniment"].parts]
    assert stems == ["drums.wav", "bass.wav", "other.wav"]
    assert song.mixture.name == "mixture.wav"


def test_few_songs_stay_paired_and_the_others_join_the_unpaired(made):
    songs = corpus.list_songs(both(made, unpaired=None, paired_tracks=2))
    whole = corpus.list_songs(both(made, unpaired=None))
    assert counts(songs)[:4] == [2, 3, 3, 3]
    assert songs.paired + songs.vocals == whole.paired
    more = corpus.list_songs(both(made, paired_tracks=2, unpaired_tracks=3))
    assert counts(more)[:4] == [2, 6, 6, 6]
    with pytest.raises(ConfigError, match=r"paired_tracks=9; expected 0 \(all\) to 5"):
        corpus.list_songs(both(made, paired_tracks=9))


def test_songs_without_vocals_or_with_bleed_are_no_examples_for_critics(made):
    songs = corpus.list_songs(both(made))
    (instrumental,) = set(names(songs.mixtures)) - set(names(songs.vocals))
    assert instrumental in names(songs.accompaniments)
    clean = corpus.list_songs(both(made, bleed=False))
    assert counts(clean)[1:4] == [6, 3, 5]
    assert isinstance(songs.vocals[0].sources["vocals"], Sum)


def test_a_third_of_the_unpaired_for_each_list(made):
    songs = corpus.list_songs(both(made, thirds=True))
    # Songs that are left over go to the test.
    assert counts(songs) == [5, 2, 2, 2, 4, 5]
    assert names(songs.valid)[2].startswith("moisesdb/")
    assert not set(names(songs.mixtures)) & set(names(songs.valid + songs.test))


def test_unpaired_songs_that_are_held_out_are_left_out(made, tmp_path, capsys):
    test = corpus.list_songs(both(made, unpaired=None)).test[0]
    songs = tmp_path / "DSD100"
    for layout, files in (("Mixtures", ["mixture"]), ("Sources", ["vocals"])):
        for title in (f"007 - {test.name.upper()}", "008 - Another - One"):
            folder = songs / layout / "Dev" / title
            write_song(folder, **dict.fromkeys(files, (RATE, RATE)))
            for name in ("drums", "bass", "other") if layout == "Sources" else ():
                soundfile.write(folder / f"{name}.wav", np.full(RATE, 0.1), RATE)
    (songs / "Mixtures/Test").mkdir()
    write_song(songs / "Mixtures/Test/001 - A - B", mixture=(RATE, RATE))
    stems = dict.fromkeys(("vocals", "drums", "bass", "other"), (RATE, RATE))
    write_song(songs / "Sources/Test/001 - A - B", **stems)
    roots = {"data_root": str(made / "musdb"), "unpaired_root": str(songs)}
    songs = corpus.list_songs(config(unpaired="dsd100", **roots))
    assert names(songs.mixtures) == ["dsd100/008 - Another - One", "dsd100/001 - A - B"]
    assert "1 of 3 unpaired songs are left out" in capsys.readouterr().out


def test_no_unpaired_corpus_is_supervised_only(made, capsys):
    songs = corpus.list_songs(both(made, unpaired=None))
    corpus.report(songs)
    printed = capsys.readouterr().out
    assert "songs: 5 paired, 0 mixtures, 0 accompaniments, 0 vocals, 2 valid" in printed
    assert "training is supervised only; name a corpus" in printed


def test_the_miniature_is_announced(monkeypatch, capsys):
    asked = {}

    def writer(layout):
        return lambda folder, **more: asked.setdefault(layout, (folder, more))[0]

    made = {k: writer(k) for k in corpus.MINIATURE}
    monkeypatch.setattr(miniature, "WRITERS", made)
    with pytest.raises(CorpusError, match="MUSDB18: the folder"):
        corpus.list_songs(config())
    assert asked["musdb"][1]["sample_rate"] == 8192
    assert "synthetic miniature corpus" in capsys.readouterr().out


def test_track_folders_may_lack_any_sound(made, tmp_path, capsys):
    same = (RATE, RATE)
    for split in ("train", "valid", "test"):
        write_song(tmp_path / "p" / split / "a", mix=same, vocals=same, band=same)
        write_song(tmp_path / "p" / split / "b", accompaniment=same)
    roots = {"data_root": str(tmp_path / "p"), "paired": "track_folders"}
    songs = corpus.list_songs(config(**roots, unpaired=None))
    output = capsys.readouterr().out
    assert (
        "3 of 6 paired songs have no vocals, first 'b': their vocals are si" in output
    )
    assert counts(songs)[::5] == [2, 2]
    assert songs.paired[0].mixture.name == "mix.wav"
    assert corpus.mixture_of(songs.paired[1]).name == "accompaniment.wav"
    few = corpus.list_songs(config(**roots, silent=False, unpaired=None))
    assert [names(each) for each in few] == [["a"], [], [], [], ["a"], ["a"]]
    write_song(tmp_path / "u" / "c", mixture=same)
    write_song(tmp_path / "u" / "d", vocals=same)
    write_song(tmp_path / "u" / "e", guitar=same)
    roots |= {"unpaired": "track_folders", "unpaired_root": str(tmp_path / "u")}
    loose = corpus.list_songs(config(**roots))
    every = [[name[-1] for name in names(each)] for each in loose[1:4]]
    assert every == [["c", "e"], ["e"], ["d"]]
    loose = corpus.list_songs(config(**roots, silent=False))
    every = [[name[-1] for name in names(each)] for each in loose[1:4]]
    assert every == [["c"], ["e"], ["d"]]


def test_skip_leaves_out_songs_that_lack_a_file(made, tmp_path):
    songs = tmp_path / "moisesdb"
    shutil.copytree(made / "moisesdb", songs)
    next(songs.rglob("*.wav")).unlink()
    settings = config(data_root=str(made / "musdb"), unpaired_root=str(songs))
    with pytest.raises(CorpusError, match="MoisesDB"):
        corpus.list_songs(settings)
    skipped = replace(settings, corpora=replace(settings.corpora, skip=True))
    whole = corpus.list_songs(both(made))
    assert len(corpus.list_songs(skipped).mixtures) == len(whole.mixtures) - 1


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"mixture": (8000, 8000), "vocals": (8000, 8000)}, "no accompaniment but voc"),
        (
            {"vocals": (8000, 8000), "band": (6000, 8000)},
            r"'a': .*vocals.wav has 1.00 s and .*band.wav 0.75 s; expected equal",
        ),
        (
            {"vocals": (8000, 8000), "band": (16000, 16000)},
            r"'a': .*vocals.wav has 8000 Hz and .*band.wav 16000 Hz; expected one rate",
        ),
        ({"band": (8000, 8000)}, "none of 1 paired songs has vocals, the first is 'a'"),
        ({}, "the song .*a holds no sound"),
    ],
)
def test_songs_that_do_not_fit_are_named(tmp_path, files, sentence):
    for split in ("train", "valid", "test"):
        write_song(tmp_path / split / "a", **files)
    with pytest.raises(CorpusError, match=sentence):
        corpus.list_songs(
            config(paired="track_folders", data_root=str(tmp_path), unpaired=None)
        )


def test_songs_are_cut_to_their_shortest_file_where_that_is_allowed(tmp_path):
    for split in ("train", "valid", "test"):
        write_song(tmp_path / split / "a", vocals=(40000, 8000), band=(8000, 8000))
    keys = {"paired": "track_folders", "data_root": str(tmp_path), "unpaired": None}
    with pytest.raises(CorpusError, match="allow_cut=true cuts it"):
        corpus.list_songs(config(**keys))
    assert corpus.list_songs(config(**keys, allow_cut=True)).paired[0].samples == 8000


def test_an_mp3_that_cannot_be_read_is_named(tmp_path):
    for split in ("train", "valid", "test"):
        write_song(tmp_path / split / "a", vocals=(RATE, RATE), band=(RATE, RATE))
    broken = tmp_path / "train/a/drums.mp3"
    broken.write_bytes(b"ID3 this is no sound")
    with pytest.raises(AudioError, match=str(broken)):
        corpus.list_songs(
            config(paired="track_folders", data_root=str(tmp_path), unpaired=None)
        )


@pytest.mark.parametrize(
    ("keys", "error", "sentence"),
    [
        (
            {"data_root": "/nowhere"},
            CorpusError,
            "musdb: the folder /nowhere does not exist",
        ),
        (
            {"paired": "track_folders"},
            ConfigError,
            "the root of track_folders is not se",
        ),
        (
            {"data_root": "MADE"},
            ConfigError,
            "unpaired_root is not set; corpora.unpaired=moi",
        ),
        (
            {"data_root": "MADE", "unpaired_root": "/gone"},
            CorpusError,
            "moisesdb: the folder /gone does not exist; .*corpora.unpaired=none",
        ),
        ({"function": "nowhere"}, ConfigError, "'nowhere' cannot be imported"),
        (
            {"function": "json:nothing"},
            ConfigError,
            "'json:nothing' cannot be imported",
        ),
        (
            {"function": "json:__name__"},
            ConfigError,
            "gives str; expected a dictionary",
        ),
    ],
)
def test_missing_corpora_are_reported_in_one_sentence(made, keys, error, sentence):
    at = {k: str(made / "musdb") if v == "MADE" else v for k, v in keys.items()}
    with pytest.raises(error, match=sentence):
        corpus.list_songs(config(**at))


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    """Files that a user's function may name, relative to the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        write_song(tmp_path / name, mix=(800, RATE), acc=(800, RATE), voice=(800, RATE))
    return tmp_path


def triple(name):
    return (
        SimpleNamespace(path=f"{name}/mix.wav"),
        f"{name}/acc.wav",
        f"{name}/voice.wav",
    )


@pytest.mark.parametrize("keys", [("valid", "test"), ("train_valid", "train_test")])
def test_a_function_gives_the_documented_dictionary(sounds, monkeypatch, keys):
    mix, acc, _ = triple("two")
    lists = {
        "train_sup": [triple("one"), (mix, acc, 0.1)],
        "train_unsup": [[mix], [acc, 3.0], ["one/voice.wav", "two/voice.wav"]],
        keys[0]: [triple("one")],
        keys[1]: [triple("two")],
    }
    monkeypatch.setattr(song_lists, "_call", lambda function: lists)
    songs = corpus.list_songs(config(function="mine:songs"))
    assert counts(songs) == [2, 1, 1, 2, 1, 1]
    first, second = songs.paired
    assert first.sources["accompaniment"] == sounds / "one/acc.wav"
    assert first.sources["vocals"] == sounds / "one/voice.wav"
    assert list(second.sources) == ["accompaniment"]
    assert (second.mixture, second.samples) == (sounds / "two/mix.wav", 800)
    assert songs.mixtures[0].sources == {}
    assert list(songs.vocals[1].sources) == ["vocals"]


def test_the_function_is_imported_by_its_path(sounds, monkeypatch):
    code = "def songs():\n    return {'train_sup': [], 'valid': [], 'test': []}\n"
    (sounds / "my_songs.py").write_text(code)
    # As a console script, which does not search the current folder.
    elsewhere = [folder for folder in sys.path if folder not in ("", str(sounds))]
    monkeypatch.setattr(sys, "path", elsewhere)
    with pytest.raises(CorpusError, match="there are 0 songs in the list 'paired'"):
        corpus.list_songs(config(function="my_songs:songs"))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (
            {"valid": None},
            ConfigError,
            "has no valid or train_valid; expected the keys",
        ),
        ({"test": []}, CorpusError, "0 songs in the list 'test'"),
        (
            {"train_sup": ["one/mix.wav"]},
            ConfigError,
            "entry 0 is 'one/mix.wav'; e",
        ),
        (
            {"train_sup": [(1.0, "one/acc.wav", 2.0)]},
            ConfigError,
            "mixture of entry 0 i",
        ),
        ({"train_sup": [(None, 1.0, 2.0)]}, ConfigError, "None is no path, no object"),
        ({"train_sup": 3}, ConfigError, "train_sup holds 3; expected a list"),
        (
            {"train_unsup": [["one/mix.wav"], None, []]},
            ConfigError,
            "train_unsup holds None; expected a list",
        ),
        ({"train_unsup": [["one/mix.wav"]]}, ConfigError, "no list of three lists"),
        (
            {"train_unsup": [["one/mix.wav"], [], [2.0]]},
            CorpusError,
            "no accompaniments and no vocals; the second phase needs all three",
        ),
    ],
)
def test_a_dictionary_of_another_form_is_refused(
    sounds, monkeypatch, change, error, sentence
):
    songs = {"train_sup": [triple("one")], "valid": [triple("one")]}
    lists = {**songs, "test": [triple("two")], **change}
    lists = {key: value for key, value in lists.items() if value is not None}
    monkeypatch.setattr(song_lists, "_call", lambda function: lists)
    with pytest.raises(error, match=sentence):
        corpus.list_songs(config(function="mine:songs"))


def test_all_but_the_vocals_are_the_accompaniment():
    wave = np.ones((1, 4), np.float32)
    parts = {"vocals": wave, "drums": Sum((wave, wave)), "bass": wave}
    song = corpus.group_accompaniment(Track("a", RATE, 4, parts))
    assert list(song.sources) == ["accompaniment", "vocals"]
    assert len(song.sources["accompaniment"].parts) == 3
    assert len(corpus.mixture_of(song).parts) == 4


def test_few_paired_clips_of_mir1k_are_of_many_songs(made):
    root = str(made / "mir1k")
    keys = {"paired": "mir1k", "data_root": root, "unpaired": None}
    paired, *unpaired, _, _ = corpus.list_songs(config(**keys, paired_tracks=3))
    songs = [track.name.rpartition("_")[0] for track in paired]
    assert len(set(songs)) == 3
    assert {name.rpartition("_")[2] for name in names(paired)} == {"01"}
    assert [len(tracks) for tracks in unpaired] == [7, 7, 7]
    assert not set(names(paired)) & set(names(unpaired[0]))
    others = corpus.list_songs(both(made, unpaired="mir1k"))
    assert len(others.mixtures) == 10


def test_a_source_may_take_the_part_of_the_vocals(tmp_path):
    root = miniature.write_wham(tmp_path / "wham", train=2, validation=2, test=2)
    keys = {"paired": "wham", "data_root": str(root), "unpaired": None}
    songs = corpus.list_songs(config(**keys, voice="s1"))
    accompaniment = songs.paired[0].sources["accompaniment"]
    assert [file.parent.name for file in accompaniment.parts] == ["s2", "noise"]
    assert songs.paired[0].sources["vocals"].parent.name == "s1"
    with pytest.raises(CorpusError, match=r"by corpora\.voice=\.\.\."):
        corpus.list_songs(config(**keys))
