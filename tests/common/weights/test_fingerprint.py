"""Digests of networks in memory: whatever differs is another network."""

from types import SimpleNamespace

import numpy as np

from common.weights.fingerprint import fingerprint


def variable(values):
    return SimpleNamespace(numpy=lambda: values)


def test_whatever_differs_is_another_network():
    ones, twos = np.ones([2, 3], np.float32), np.full([2, 3], 2, np.float32)
    networks = [
        ([ones, twos], "facts"),
        ([twos, ones], "facts"),
        ([ones, twos], "others"),
        ([ones], "facts"),
        ([ones.T, twos], "facts"),
        ([ones.astype(np.float16), twos], "facts"),
        ([ones, np.nextafter(twos, np.float32(3))], "facts"),
    ]
    digests = [fingerprint(map(variable, values), fact) for values, fact in networks]
    assert len(set(digests)) == len(networks)
    values, fact = networks[0]
    assert fingerprint(map(variable, values), fact) == digests[0]


def test_strides_do_not_matter():
    values = np.arange(6.0).reshape(2, 3)
    whole, strided = variable(values), variable(np.asfortranarray(values))
    assert fingerprint([whole]) == fingerprint([strided])
