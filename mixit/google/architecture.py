"""Derive the network of a checkpoint from names and shapes of its tensors."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from common.training.checkpoint import CheckpointError
from mixit.basis import transform_samples
from mixit.config import Network
from mixit.google.graph import AS_IT_IS, Facts
from mixit.google.names import STEM
from mixit.layers import NORM_AXES

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each tensor by its canonical name."""

CONSISTENCIES = get_args(get_type_hints(Network)["mixture_consistency"])
PUBLISHED_DILATIONS = 8
PUBLISHED_RATE = 16000
BLOCK = f"{STEM}/conv_block_0/tdcn_block"
ENCODER = "conv_encoder/dense/kernel"
MAGNITUDE = "layer_norm_on_mag/gamma"
INITIAL = "initial_dense/dense/kernel"
MASK = "dense/kernel"
WEIGHTING = "mix_weights/dense/kernel"
DEPTHWISE = f"{BLOCK}/timeconv/separable_conv/depthwise_kernel"
NORMS = {
    "instance_norm": ("instance_norm",),
    "layer_norm": ("layer_norm",),
    "global_layer_norm": ("instance_norm", "global_layer_norm"),
}
"""Possible meanings of the name of a norm in a checkpoint: the baseline of DCASE 2020
uses the last name for norms over the frames only."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Properties that names and shapes of tensors do not state.

    None stands for the value in a meta graph, or for a default without a graph. A value
    that contradicts the graph is an error.

    Attributes:
        num_dilations: Blocks of one repeat; skip connections state it too, and then
            another number is an error; None: 8, as published.
        window_samples: Length of a frame; None: with a learned basis that of its
            kernel, with the STFT the length of the transform.
        hop_samples: Distance between frames; None: with a learned basis half a window,
            with the STFT a quarter of one.
        sample_rate: Rate of the training in Hz; None: 16000, as published.
        mixture_consistency: As in :class:`mixit.config.Network`; None: ``pred_source``
            if there are weights for it, else ``none``.
        front_padding: Whether the STFT begins with frames that hold zeros; None: no.
        norm: As in :class:`mixit.config.Network`; None: as the checkpoint names it,
            but ``global_layer_norm`` is ambiguous and without a meta graph an error.
    """

    num_dilations: int | None = None
    window_samples: int | None = None
    hop_samples: int | None = None
    sample_rate: int | None = None
    mixture_consistency: str | None = None
    front_padding: bool | None = None
    norm: str | None = None

    @property
    def rate(self) -> int:
        """Rate of the training in Hz, by default the published one."""
        return PUBLISHED_RATE if self.sample_rate is None else self.sample_rate


@dataclass(frozen=True)
class _Sizes:
    """Sizes from the dense layers at both ends."""

    mics: int
    coefficients: int
    sources: int


def derive(
    shapes: Shapes, options: Options | None = None, facts: Facts | None = None
) -> Network:
    """Derive the shape of the network.

    Args:
        shapes: Shape of each tensor by its canonical name.
        options: Properties that shapes do not state.
        facts: Facts of the meta graph, if there is one.

    Raises:
        CheckpointError: The tensors are not those of such a network, or options or
            facts contradict them.
    """
    options, facts = options or Options(), facts or Facts()
    _check_network(shapes)
    size, _, channels, _ = (*shapes[DEPTHWISE], 1, 1, 1, 1)[:4]
    if size % 2 == 0:
        raise CheckpointError(
            f"convolutions of {size} frames, an even number, are not built natively; "
            f"{AS_IT_IS}"
        )
    sizes = _sizes(shapes, facts)
    window, hop = _framing(shapes, sizes, options, facts)
    blocks = _blocks(shapes)
    dilations = _dilations(shapes, blocks, options, facts)
    derived: dict[str, Any] = {
        "norm": _norm(shapes, options, facts),
        "mask": facts.mask or "sigmoid",
        "mixture_consistency": _consistency(shapes, options, facts),
        "block_scale": "exponential"
        if f"{BLOCK}/dense2/dense_scale/scale_layer" in shapes
        else "none",
        "basis": "learned" if ENCODER in shapes else "stft",
    }
    return Network(
        sample_rate=options.rate,
        num_sources=sizes.sources,
        num_mics=sizes.mics,
        window_samples=window,
        hop_samples=hop,
        num_coeffs=sizes.coefficients,
        front_padding=_front_padding(ENCODER in shapes, window - hop, options, facts),
        bottleneck=shapes[INITIAL][1],
        conv_channels=channels,
        kernel_size=size,
        num_dilations=dilations,
        num_repeats=blocks // dilations,
        skip_connections=bool(_edges(shapes)),
        **derived,
    )


def _check_network(shapes: Shapes) -> None:
    absent = [
        name for name in (INITIAL, MASK, DEPTHWISE) if len(shapes.get(name, ())) < 2
    ]
    if ENCODER not in shapes and MAGNITUDE not in shapes:
        absent.append(f"{ENCODER} or {MAGNITUDE}")
    if absent:
        held = ", ".join(sorted(shapes)[:4]) or "nothing"
        raise CheckpointError(
            "no TDCN++ with a learned basis or the STFT: the checkpoint lacks "
            f"{', '.join(absent)} (it holds {held}, ...); if it is a separation model "
            f"with a meta graph, {AS_IT_IS}"
        )


def _sizes(shapes: Shapes, facts: Facts) -> _Sizes:
    """Separate products into the numbers of microphones, coefficients and sources."""
    rows, masks = shapes[INITIAL][0], shapes[MASK][1]
    coefficients = shapes[ENCODER][1] if ENCODER in shapes else _bins(rows)
    mics = rows // coefficients
    if WEIGHTING in shapes:
        sources = shapes[WEIGHTING][1]
    else:
        sources = masks // (mics * coefficients)
    several = (facts.num_mics or 1) > 1
    cure = "call mixit.google.graph.MetaGraph(PATH) in Python" if several else AS_IT_IS
    if rows % coefficients == 0 and masks == mics * sources * coefficients:
        if facts.num_mics in (None, mics):
            return _Sizes(mics, coefficients, sources)
        raise CheckpointError(
            f"the meta graph is fed {facts.num_mics} microphones, but the network has "
            f"{mics} inputs, which is not built natively; {cure}"
        )
    raise CheckpointError(
        f"{INITIAL} has {rows} rows and {MASK} {masks} columns, which are no masks of "
        f"{coefficients} coefficients for all of its {rows / coefficients:g} inputs; "
        f"{cure}"
    )


def _bins(rows: int) -> int:
    """Return the largest number 2^k + 1 of bins that divides the inputs."""
    for exponent in range(rows.bit_length(), 0, -1):
        if rows % (2**exponent + 1) == 0:
            return 2**exponent + 1
    raise CheckpointError(
        f"{INITIAL} has {rows} rows, no multiple of the 2^k + 1 bins of an STFT"
    )


def _framing(
    shapes: Shapes, sizes: _Sizes, options: Options, facts: Facts
) -> tuple[int, int]:
    """Return window and hop in samples, from the options, the graph or the defaults."""
    learned = ENCODER in shapes
    longest = shapes[ENCODER][0] if learned else 2 * (sizes.coefficients - 1)
    window = _agreed("window_samples", options.window_samples, facts.window_samples)
    window = longest if window is None else window
    if (window if learned else transform_samples(window)) != longest:
        raise CheckpointError(
            f"window_samples is {window}, but the {'basis' if learned else 'transform'}"
            f" has {longest} samples; leave it out"
        )
    hop = _agreed("hop_samples", options.hop_samples, facts.hop_samples)
    hop = max(1, window // (2 if learned else 4)) if hop is None else hop
    if not 1 <= hop <= window:
        raise CheckpointError(
            f"hop_samples is {hop}, but a window has {window} samples; expected 1 to "
            f"{window}"
        )
    return window, hop


def _agreed(name: str, option: Any, stated: Any) -> Any:
    """Return an option, or the value in the graph, or None without either."""
    if None not in (option, stated) and option != stated:
        raise CheckpointError(
            f"{name} is {option}, but the meta graph beside the checkpoint has "
            f"{stated}; give that, or leave it out"
        )
    return stated if option is None else option


def _front_padding(learned: bool, usual: int, options: Options, facts: Facts) -> bool:
    zeros = facts.front_padding
    if zeros not in (None, 0, usual):
        raise CheckpointError(
            f"the meta graph puts {zeros} zeros in front, and the native network "
            f"{usual} or none; {AS_IT_IS}"
        )
    stated = None if zeros is None else zeros > 0
    padded = _agreed("front_padding", options.front_padding, stated)
    if padded is None and not learned:
        logger.warning(
            "front padding: none, because there is no meta graph; Google's program in "
            "models/train begins the STFT with %d zeros (front_padding=True, "
            "--front-padding), its dcase2020 baseline does not (front_padding=False, "
            "--no-front-padding)",
            usual,
        )
    return bool(padded)


def _blocks(shapes: Shapes) -> int:
    """Count the blocks, which are numbered from 0."""
    blocks = _numbers(shapes, rf"{STEM}/conv_block_(\d+)/")
    absent = sorted(set(range(max(blocks)[0])) - {index for (index,) in blocks})
    if absent:
        names = ", ".join(f"conv_block_{index}" for index in absent)
        raise CheckpointError(f"the checkpoint lacks {names}")
    return len(blocks)


def _edges(shapes: Shapes) -> set[tuple[int, ...]]:
    return _numbers(shapes, rf"{STEM}/res_dense_(\d+)_to_(\d+)/")


def _numbers(shapes: Shapes, pattern: str) -> set[tuple[int, ...]]:
    matches = (re.match(pattern, name) for name in shapes)
    return {tuple(map(int, match.groups())) for match in matches if match}


def _dilations(shapes: Shapes, blocks: int, options: Options, facts: Facts) -> int:
    """Count the blocks of one repeat: by the skips, the option or the graph."""
    option, stated = options.num_dilations, facts.dilations
    if edges := _edges(shapes):
        length = _length_of_repeats(edges, blocks)
        if option not in (None, length):
            raise CheckpointError(
                f"num_dilations is {option}, but the skip connections lead from repeats"
                f" of {length} blocks; leave it out"
            )
    elif stated:
        length = next((i for i, d in enumerate(stated) if i and d == 1), len(stated))
        length = _agreed("num_dilations", option, length)
    else:
        length = PUBLISHED_DILATIONS if option is None else option
    if length < 1 or blocks % length:
        raise CheckpointError(
            f"{blocks} blocks make no whole repeats of {length} dilations; give "
            "num_dilations"
        )
    if stated:
        _check_doubling(stated, length, blocks)
    return length


def _check_doubling(stated: Sequence[int], length: int, blocks: int) -> None:
    if list(stated) != [2 ** (index % length) for index in range(blocks)]:
        raise CheckpointError(
            f"the meta graph has dilations {', '.join(map(str, stated))}, and the "
            f"native network 1 to {2 ** (length - 1)} over and over in {blocks} "
            f"blocks; {AS_IT_IS}"
        )


def _length_of_repeats(edges: set[tuple[int, ...]], blocks: int) -> int:
    """Return the blocks of one repeat from skips between all pairs of repeats."""
    length = min(end for _, end in edges)
    starts = range(0, blocks, max(1, length))
    odd = sorted(edges ^ set(itertools.combinations(starts, 2)))
    if odd:
        shown = ", ".join(f"{start}_to_{end}" for start, end in odd)
        raise CheckpointError(
            f"the skip connections do not lead from every repeat of {length} blocks to "
            f"every later one: {shown} are missing or extra; {AS_IT_IS}"
        )
    return length


def norm_names(names: Iterable[str]) -> list[str]:
    """List the names of the first norm among canonical names, normally one."""
    matches = (re.match(rf"{BLOCK}/normact1/(\w+)/gamma$", name) for name in names)
    return [match[1] for match in matches if match]


def _norm(shapes: Shapes, options: Options, facts: Facts) -> str:
    """Return the axes of the norms, which their name alone may not state."""
    listed, option = norm_names(shapes), options.norm
    if len(listed) != 1 or listed[0] not in NORMS:
        raise CheckpointError(
            f"{BLOCK}/normact1 has the norms {', '.join(listed) or 'none'}; expected "
            f"one of {', '.join(NORMS)}"
        )
    if option not in (None, *NORM_AXES):
        raise CheckpointError(
            f"norm is {option!r}; expected one of {', '.join(NORM_AXES)}"
        )
    meanings, norm = NORMS[listed[0]], _agreed("norm", option, facts.norm)
    if norm is None and len(meanings) > 1:
        raise CheckpointError(
            f"the checkpoint names its norms {listed[0]}, which Google's dcase2020 "
            "baseline takes over the frames (norm=instance_norm) and its models/train "
            "over frames and channels (norm=global_layer_norm), and no meta graph "
            "tells which; copy inference.meta beside the checkpoint, or give norm"
        )
    norm = norm or meanings[0]
    if norm not in meanings:
        raise CheckpointError(
            f"norm is {norm}, but the checkpoint names its norms {listed[0]}; "
            + ("leave it out" if option else "the meta graph is of another model")
        )
    return norm


def _consistency(shapes: Shapes, options: Options, facts: Facts) -> str:
    option, weights = options.mixture_consistency, WEIGHTING in shapes
    if option not in (None, *CONSISTENCIES):
        raise CheckpointError(
            f"mixture_consistency is {option!r}; expected one of "
            f"{', '.join(CONSISTENCIES)}"
        )
    consistency = _agreed("mixture_consistency", option, facts.mixture_consistency)
    if consistency is None and not weights:
        logger.warning(
            "mixture consistency: none, because the checkpoint has no weights for "
            "pred_source and no meta graph; magsq or uniform would have to be given"
        )
        return "none"
    if consistency is not None and (consistency == "pred_source") != weights:
        raise CheckpointError(
            f"mixture_consistency is {consistency}, but the checkpoint "
            f"{'has' if weights else 'lacks'} {WEIGHTING}, the weights of pred_source; "
            + ("leave it out" if option else "the meta graph is of another model")
        )
    return consistency or "pred_source"
