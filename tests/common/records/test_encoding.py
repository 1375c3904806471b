"""The default encoding of records is lossless, and all programs take each one."""

from __future__ import annotations

import typing

import numpy as np
import pytest
import soundfile

from adversarial.config import AdversarialConfig
from clustering.config import ClusteringConfig
from common import records
from common.config import key_types
from common.corpora.track import Channel, Sum
from mixit.config import MixitConfig
from unmix.config import UnmixConfig


def write(path, subtype="PCM_16", channels=1, rate=8000):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (50, channels))
    soundfile.write(path, wave, rate, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("name", "subtype", "encoding"),
    [
        ("a.wav", "PCM_16", "pcm16"),
        ("a.wav", "PCM_U8", "pcm16"),
        ("a.flac", "PCM_16", "pcm16"),
        ("a.wav", "PCM_24", "float32"),
        ("a.flac", "PCM_24", "float32"),
        ("a.wav", "FLOAT", "float32"),
        ("a.ogg", "VORBIS", "float32"),
    ],
)
def test_16_bit_records_are_for_files_of_at_most_16_bits(
    tmp_path, name, subtype, encoding
):
    sounds = [write(tmp_path / "first.wav"), write(tmp_path / name, subtype)]
    assert records.lossless(sounds, 8000, 1) == encoding


def test_computed_sounds_are_kept_as_float32(tmp_path):
    mono, stereo = write(tmp_path / "m.wav"), write(tmp_path / "s.wav", channels=2)
    assert records.lossless([mono, stereo], 8000, 2) == "pcm16"
    assert records.lossless([mono, Channel(stereo, 1)], 8000, 1) == "pcm16"
    assert records.lossless([mono], 16000, 1) == "float32"
    assert records.lossless([mono, stereo], 8000, 1) == "float32"
    assert records.lossless([Channel(stereo, 1), stereo], 8000, 1) == "float32"
    assert records.lossless([Sum((mono, mono))], 8000, 1) == "float32"
    assert records.lossless([np.zeros((1, 5), np.float32)], 8000, 1) == "float32"


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (MixitConfig, "records_encoding"),
        (UnmixConfig, "records_encoding"),
        (ClusteringConfig, "records_encoding"),
        (AdversarialConfig, "corpora.records_encoding"),
    ],
)
def test_every_program_takes_every_encoding(config, key):
    choices = typing.get_args(key_types(config)[key])
    assert set(choices) == {records.AUTO, *records.ENCODINGS}
