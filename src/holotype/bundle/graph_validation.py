"""Open an ONNX graph and check its inputs and outputs against the manifest."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holotype.bundle.onnx_runtime import CPU, open_session
from holotype.bundle.sanitise_graph import COPY_AGAIN
from holotype.errors import CorruptBundle

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Shape = tuple[int | None, ...]  # of one image; None is any size


def open_checked_session(
    graph: bytes,
    name: str,
    size: Shape,
    outputs: Mapping[str, Shape],
    *,
    providers: Sequence[str] = CPU,
) -> "InferenceSession":
    """A session whose input and outputs are what is expected.

    Args:
        name: how error messages call the graph.
        providers: what runs it; see `open_session`.

    Raises:
        CorruptBundle: the graph does not open, or is another.
    """
    try:
        session = open_session(graph, providers=providers)
    except CorruptBundle as error:
        raise CorruptBundle(f"{name}: {error}") from error
    inputs = session.get_inputs()
    given = {o.name: o.shape for o in session.get_outputs() if o.type == "tensor(float)"}
    takes_floats = [one.type for one in inputs] == ["tensor(float)"]
    if not takes_floats or not _shape_matches(inputs[0].shape, size):
        shapes = [[one.type, *one.shape] for one in inputs]
        raise CorruptBundle(
            f"{name} takes {shapes}, but the manifest says {['N', *size]}. {COPY_AGAIN}"
        )
    for output, shape in outputs.items():
        if output not in given or not _shape_matches(given[output], shape):
            raise CorruptBundle(
                f"{name} gives {given}, but the manifest says "
                f"{output} of {['N', *shape]}. {COPY_AGAIN}"
            )
    return session


def _shape_matches(shape: Sequence[Any], size: Shape) -> bool:
    """Whether a graph's shape is (any batch, *size); sizes that a graph leaves open fit."""
    return len(shape) == len(size) + 1 and all(
        not isinstance(given, int) or expected in (None, given)
        for given, expected in zip(shape[1:], size, strict=True)
    )
