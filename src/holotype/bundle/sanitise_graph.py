"""Graphs without the local paths that exporters leave, and without external data."""

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

    External data is named by the key `location`; where these bytes do not occur there is none, and
    the graph need not be walked.

    Raises:
        ExternalDataRefused: a tensor, wherever it is, has external data.
        CorruptBundle: the bytes are no protobuf message.
    """
    if b"location" not in graph:
        return
    try:
        is_external = _has_external_data(memoryview(graph))
    except (ValueError, IndexError) as error:
        raise CorruptBundle(f"{name} is no ONNX graph. {COPY_AGAIN}") from error
    if is_external:
        raise ExternalDataRefused(
            f"{name} reads its tensors from other files, which a bundle must not; "
            "export it again with all its data inside."
        )


ENDLESS = (b"Loop", b"Scan")  # operators that may run for ever; no network or model here has one


def refuse_endless_operators(graph: bytes, name: str) -> None:
    """Refuse a graph that may never answer: one call of it could not be ended.

    Raises:
        CorruptBundle: a node, wherever it is, is a loop; or the bytes are no protobuf message.
    """
    if not any(operator in graph for operator in ENDLESS):
        return
    try:
        found = {bytes(content) for content in _operators(memoryview(graph))}
    except (ValueError, IndexError) as error:
        raise CorruptBundle(f"{name} is no ONNX graph. {COPY_AGAIN}") from error
    if loops := sorted(found & set(ENDLESS)):
        raise CorruptBundle(
            f"{name} has the operator {loops[0].decode()}, which may never end and is not run. "
            "Export the network without it."
        )


# The messages of onnx.proto that may hold a tensor: field number -> the message in it. A test holds
# it against the descriptors of the onnx package, which the base install does not have.
MESSAGES_WITH_TENSORS = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto",
        22: "SparseTensorProto", 23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}  # fmt: skip
EXTERNAL_DATA = 13  # of TensorProto
OPERATOR = 4  # of NodeProto


def _has_external_data(model: memoryview) -> bool:
    fields = _fields(model)
    return any(kind == "TensorProto" and number == EXTERNAL_DATA for kind, number, _ in fields)


def _operators(model: memoryview) -> Iterator[memoryview]:
    """The type of every node, those of inner graphs and functions too."""
    for kind, number, content in _fields(model):
        if kind == "NodeProto" and number == OPERATOR:
            yield content


def _fields(model: memoryview) -> Iterator[tuple[str, int, memoryview]]:
    """Message, number and bytes of every field of all messages that may hold a tensor."""
    waiting = [("ModelProto", model)]
    while waiting:
        kind, message = waiting.pop()
        for number, content in _submessages(message):
            yield kind, number, content
            if inner := MESSAGES_WITH_TENSORS.get(kind, {}).get(number):
                waiting.append((inner, content))


def _submessages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of every length-delimited field of a protobuf message.

    Source: the Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding/.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        if key > 0xFFFFFFFF:  # Protocol Buffers would read it without its upper bits
            raise ValueError("the number of a field has more than 32 bits")
        wire_type = key & 7
        if wire_type == 0:
            _, place = _varint(message, place)
        elif wire_type in (1, 5):
            place += 8 if wire_type == 1 else 4
        elif wire_type == 2:
            length, place = _varint(message, place)
            yield key >> 3, message[place : place + length]
            place += length
        else:
            raise ValueError(f"wire type {wire_type} is not used by ONNX")
    if place != len(message):
        raise ValueError("a field ends beyond its message")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number of more than ten bytes")


def _parse(graph: bytes, name: str) -> "ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_model_from_string(graph)
    except DecodeError as error:
        raise CorruptBundle(f"{name} is no ONNX graph. {COPY_AGAIN}") from error


def _walk(message: Any) -> Iterator[Any]:
    """A protobuf message and all within it."""
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_MESSAGE:
            for child in value if descriptor.is_repeated else [value]:
                yield from _walk(child)
