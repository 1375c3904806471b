"""Headers of plain wav files, against what libsndfile says of them."""

import numpy as np
import pytest
import soundfile

from common import audio
from common.audio import plain_wav
from common.audio.excerpts import ENCODINGS, layout
from common.corpora import reading

KINDS = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_headers_equal_those_of_the_decoder(tmp_path, kind, channels):
    file = tmp_path / "a.wav"
    soundfile.write(file, np.full((101, channels), 0.25), 22050, kind)
    head = plain_wav.read(file)
    assert head is not None
    assert head[:4] == (*audio.probe(file), kind)
    actual = layout(file)
    assert (actual is None) == (kind not in ENCODINGS)
    if actual is not None:
        there = np.frombuffer(file.read_bytes()[actual.first_byte :], ENCODINGS[kind])
        expected = soundfile.read(file, dtype=there.dtype.name)[0].ravel()
        np.testing.assert_array_equal(there[: expected.size], expected)


def test_chunks_before_the_samples_are_passed_over(tmp_path):
    file = tmp_path / "a.wav"
    audio.write(file, np.ones((1, 9), np.float32), 8000)
    assert plain_wav.read(file) == (8000, 1, 9, "FLOAT", 92)


@pytest.mark.parametrize(
    "broken",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[:40] + b"\xff\xff\xff\xff" + whole[44:],
        lambda whole: whole[:40] + bytes(4) + whole[44:],
        lambda whole: whole[:30],
        lambda whole: b"",
        lambda whole: b"fLaC" + whole[4:],
        lambda whole: whole[:20] + b"\xfe\xff" + whole[22:],
        lambda whole: whole[:24] + bytes(4) + whole[28:],
    ],
)
def test_other_files_are_left_to_the_decoder(tmp_path, broken):
    file = tmp_path / "a.wav"
    soundfile.write(file, np.zeros(100), 8000, "PCM_16")
    file.write_bytes(broken(file.read_bytes()))
    assert plain_wav.read(file) is None


def test_measuring_keeps_the_decoders_errors_and_other_containers(tmp_path):
    wave = np.zeros((1, 50), np.float32)
    files = [tmp_path / name for name in ("a.wav", "b.flac", "c.wav")]
    audio.write(files[0], wave, 8000)
    audio.write(files[1], wave, 8000, "flac")
    assert [info.samples for info in reading.measure(files[:2]).values()] == [50, 50]
    files[2].write_bytes(files[0].read_bytes()[:-8])
    with pytest.raises(audio.AudioError, match="breaks off"):
        reading.measure(files)
    with pytest.raises(audio.AudioError, match="does not exist"):
        reading.measure([tmp_path / "gone.wav"])
    with pytest.raises(audio.AudioError, match="is a folder"):
        reading.measure([tmp_path])


def test_missing_files_are_found_with_their_folders(tmp_path):
    there, link, inside = tmp_path / "a", tmp_path / "link", tmp_path / "no" / "b"
    there.touch()
    link.symlink_to(tmp_path / "nowhere")
    assert reading.missing([there, link, inside]) == {link, inside}
