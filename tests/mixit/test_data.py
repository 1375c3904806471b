"""Which recordings become which examples, with labels and without."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from common.config import ConfigError
from mixit import data


@pytest.fixture
def index(config, corpus):
    return data.load_records(config, data.root(config), "train")


def heard(example, count):
    """Sources of the first examples and whether they have labels."""
    drawn = [example(tf.constant(i, tf.int64)) for i in range(count)]
    return (
        np.stack([each["sources"] for each in drawn]),
        np.array([bool(each["labelled"]) for each in drawn]),
    )


def test_without_labels_partners_come_from_the_whole_set(config, index):
    sources, labelled = heard(
        data.training_example(config, *data.pools(config, index)), 4
    )
    assert sources.shape == (4, 2, 2, 4000)
    assert not labelled.any()
    assert np.square(sources).sum((2, 3)).min() > 0
    both = data.pools(config, index)
    assert both[1] is None
    assert sorted(both[0].tracks) == list(range(8))


def test_labelled_examples_are_alone(config, index):
    config = replace(config, labelled=1.0)
    example = data.training_example(config, *data.pools(config, index))
    sources, labelled = heard(example, 4)
    assert labelled.all()
    assert np.square(sources[:, 0]).sum((1, 2)).min() > 0
    assert not sources[:, 1].any()


def test_a_share_is_labelled_and_apart_from_the_rest(config, index):
    config = replace(config, labelled=0.25)
    without, with_labels = data.pools(config, index)
    assert len(with_labels.tracks) == 2
    assert sorted([*without.tracks, *with_labels.tracks]) == list(range(8))
    example = data.training_example(config, without, with_labels)
    sources, labelled = heard(tf.function(example), 60)
    assert 5 <= labelled.sum() <= 27
    assert not sources[labelled, 1].any()
    assert np.square(sources[~labelled, 1]).sum((1, 2)).min() > 0
    again, _ = heard(tf.function(example), 60)
    np.testing.assert_array_equal(sources, again)


def test_labels_from_another_corpus(config, index, corpus):
    config = replace(config, labelled=0.5, labelled_root=str(corpus))
    other = data.labelled_records(config)
    without, with_labels = data.pools(config, index, other)
    assert len(without.tracks) == len(with_labels.tracks) == 8
    assert with_labels.index.folder != without.index.folder


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (-0.1, "labelled=-0.1: expected a share from 0 to 1"),
        (1.5, "labelled=1.5: expected a share from 0 to 1"),
        (0.01, "of 8 recordings leaves none with or none without labels"),
    ],
)
def test_shares_that_cannot_be(config, index, share, sentence):
    with pytest.raises(ConfigError, match=sentence):
        data.pools(replace(config, labelled=share), index)


@pytest.mark.parametrize(("used", "counted"), [(0, 3), (2, 2), (1, 1)])
def test_the_validation_counts_every_mixture_once(config, used, counted):
    valid = data.load_records(config, data.root(config), "validation")
    config = replace(config, validation_examples=used)
    example = data.validation_example(config, valid)
    count = data.validation_count(config, valid)
    found = [example(tf.constant(i, tf.int64)) for i in range(count)]
    marks = np.concatenate([each["counted"] for each in found])
    assert marks.sum() == counted
    heard = np.concatenate([each["sources"] for each in found])[marks == 1]
    assert len(np.unique(heard.reshape(counted, -1), axis=0)) == counted
