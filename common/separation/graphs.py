"""Functions as graphs, for what a process may make many of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def graph(function: Callable[..., Any], **options: Any) -> Any:
    """Make a ``tf.function`` of a method or closure that each separator has anew.

    TensorFlow counts the traces of all functions with the same code together, and
    warns of retracing when a process makes its fifth separator, although each traces
    its own graph once. That warning is left out.

    Args:
        function: What is traced.
        **options: Those of ``tf.function``.

    >>> [float(graph(lambda x: 2 * x)(tf.constant(x))) for x in (1.0, 2.0)]
    [2.0, 4.0]
    """
    compiled = tf.function(function, **options)
    # Set by TensorFlow on functions of saved models; there is no public switch.
    compiled._omit_frequent_tracing_warning = True
    return compiled
