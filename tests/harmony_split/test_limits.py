"""Limits as options, and the examples of the modules that need no server."""

from __future__ import annotations

import argparse
import doctest
from dataclasses import fields

import pytest

from harmony_split import limits
from harmony_split.limits import Limits, RefusedError, add_options, from_options


def test_examples():
    failed, tried = doctest.testmod(limits)
    assert not failed
    assert tried


def test_each_limit_is_an_option():
    parser = argparse.ArgumentParser()
    add_options(parser)
    words = [
        f"--{f.name.replace('_', '-')}={i + 1}" for i, f in enumerate(fields(Limits))
    ]
    chosen = from_options(vars(parser.parse_args(words)))
    values = [getattr(chosen, each.name) for each in fields(Limits)]
    assert values == [*range(1, len(values) + 1)]
    assert from_options(vars(parser.parse_args([]))) == Limits()


def test_limits_are_above_zero():
    with pytest.raises(ValueError, match="queue is -1; expected a number above 0"):
        Limits(queue=-1)
    with pytest.raises(ValueError, match="upload_megabytes is inf"):
        Limits(upload_megabytes=float("inf"))


def test_a_refusal_has_the_status_of_its_code():
    error = RefusedError("too_large", "The file is too large.")
    assert error.status == 413
    assert error.body["error"]["code"] == "too_large"
