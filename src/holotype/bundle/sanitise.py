"""The bytes of a graph: without the local paths that exporters leave, and reading no other file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from holotype.errors import CorruptBundle, ExternalDataRefused

if TYPE_CHECKING:
    from onnx import ModelProto

COPY_AGAIN = "Copy the bundle again from where it was made, or train again."


def strip_metadata(graph: bytes) -> bytes:
    """The same graph without documentation strings and metadata, which hold local paths.

    Raises:
        ExternalDataRefused: the graph reads tensors from other files.
    """
    refuse_external_data(graph, "the exported graph")
    model = _parse(graph, "the exported graph")
    for message in _walk(model):
        for descriptor, _ in message.ListFields():
            if descriptor.name in ("doc_string", "metadata_props"):
                message.ClearField(descriptor.name)
    return bytes(model.SerializeToString(deterministic=True))


def refuse_external_data(graph: bytes, name: str) -> None:
    """Refuse a graph that reads tensors from other files.

    External data is named by the key `location`; where these bytes do not occur there is none,
    and the graph need not be parsed, which would take longer than a prediction.
    """
    if b"location" not in graph:
        return
    for message in _walk(_parse(graph, name)):
        if message.DESCRIPTOR.name == "TensorProto" and message.external_data:
            raise ExternalDataRefused(
                f"{name} reads its tensors from other files, which a bundle must not; "
                "export it again with all its data inside."
            )


def _parse(graph: bytes, name: str) -> "ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_model_from_string(graph)
    except DecodeError as error:
        raise CorruptBundle(f"{name} is no ONNX graph. {COPY_AGAIN}") from error


def _walk(message: Any) -> Iterator[Any]:
    """A protobuf message and all within it: subgraphs, functions and sparse tensors too."""
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_MESSAGE:
            for child in value if descriptor.is_repeated else [value]:
                yield from _walk(child)
