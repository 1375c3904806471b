"""Sounds under other paths."""

import pytest

from clustering import reorganize


@pytest.fixture
def songs(tmp_path):
    """Two songs of two classes, and a cover that is no sound."""
    folder = tmp_path / "songs"
    for song in ("one", "two"):
        (folder / song).mkdir(parents=True)
        for name in ("vocals.wav", "drums.mp3", "cover.png"):
            (folder / song / name).write_text(f"{song} {name}")
    return folder


def run(source, target, function, *words):
    paths = ["--input_path", str(source), "--output_path", str(target)]
    return reorganize.main([*paths, "--org_func", function, *words])


@pytest.mark.parametrize("words", [[], ["--make_copy"]])
def test_songs_of_classes_become_classes_of_songs(songs, tmp_path, words):
    target = tmp_path / "new"
    assert run(songs, target, "split_folder_by_class", *words) == 0
    files = sorted(f.relative_to(target).as_posix() for f in target.glob("*/*"))
    expected = ["drums/one.mp3", "drums/two.mp3", "vocals/one.wav", "vocals/two.wav"]
    assert files == expected
    assert (target / "vocals" / "two.wav").read_text() == "two vocals.wav"
    assert (target / "vocals" / "two.wav").is_symlink() == (not words)
    assert run(songs, target, "split_folder_by_class", *words) == 0


def test_links_of_a_relative_input_lead_to_it(songs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("songs", "new/deep", "split_folder_by_class") == 0
    linked = tmp_path / "new" / "deep" / "vocals" / "one.wav"
    assert linked.read_text() == "one vocals.wav"


def test_links_to_sounds_that_were_moved_are_made_again(songs, tmp_path):
    assert run(songs, tmp_path / "new", "split_folder_by_class") == 0
    songs.rename(tmp_path / "moved")
    assert run(tmp_path / "moved", tmp_path / "new", "split_folder_by_class") == 0
    linked = tmp_path / "new" / "vocals" / "one.wav"
    assert linked.resolve() == tmp_path / "moved" / "one" / "vocals.wav"


def test_list_chooses_files_that_keep_their_paths(songs, tmp_path, capsys):
    listed = tmp_path / "list.txt"
    listed.write_text("one/vocals.wav\n\n")
    target = tmp_path / "new"
    words = ("split_folder_by_file", "--org_file", str(listed))
    assert run(songs, target, *words) == 0
    assert "links of 1 sounds" in capsys.readouterr().out
    assert [f for f in target.rglob("*") if not f.is_dir()] == [
        target / "one" / "vocals.wav"
    ]
    listed.write_text("one/vocals.wav\nthree/vocals.wav\n")
    assert run(songs, tmp_path / "other", *words) == 1
    assert "1 of 2 listed sounds" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_bad_input_is_reported_in_one_sentence(songs, tmp_path, capsys):
    target = tmp_path / "new"
    assert run(songs, target, "split_folder_by_file") == 1
    assert "needs --org-file" in capsys.readouterr().err
    (tmp_path / "empty.txt").write_text("\n")
    empty = ("split_folder_by_file", "--org_file", str(tmp_path / "empty.txt"))
    assert run(songs, target, *empty) == 1
    assert "the list of sounds is empty" in capsys.readouterr().err
    assert run(tmp_path / "gone", target, "split_folder_by_class") == 1
    assert "does not exist" in capsys.readouterr().err
    words = ("--audio_extensions", ".ogg")
    assert run(songs, target, "split_folder_by_class", *words) == 1
    assert "holds no sound (.ogg)" in capsys.readouterr().err
    (songs / "album" / "one").mkdir(parents=True)
    (songs / "album" / "one" / "vocals.wav").write_text("again")
    assert run(songs, target, "split_folder_by_class") == 1
    assert "would both become vocals/one.wav" in capsys.readouterr().err
    assert not target.exists()


def test_another_sound_at_the_output_is_left_alone(songs, tmp_path, capsys):
    taken = tmp_path / "new" / "vocals" / "one.wav"
    taken.parent.mkdir(parents=True)
    (theirs,) = songs.rglob("one/vocals.wav")
    mine = b"mine".ljust(theirs.stat().st_size)
    taken.write_bytes(mine)
    assert run(songs, tmp_path / "new", "split_folder_by_class") == 1
    assert "is another sound" in capsys.readouterr().err
    assert taken.read_bytes() == mine


def test_copies_replace_links(songs, tmp_path):
    new = tmp_path / "new"
    for words in ([], ["--make-copy"]):
        assert run(songs, new, "split_folder_by_class", *words) == 0
    assert not (new / "vocals" / "one.wav").is_symlink()
