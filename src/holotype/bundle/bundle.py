"""The classifier that ships: two graphs and a manifest, verified before any of it is used.

    bundle/
      manifest.json        classes, preprocessing, the sealed decision, the hash of each graph
      backbone.onnx        picture (N, 3, H, W) -> embedding (N, D), feature_map (N, D, h, w)
      head.onnx            embedding (N, D) -> logits (N, C)

A bundle may come from a stranger. Every file is read once, its hash is compared, and sessions
are opened from those very bytes; names are fixed, so that no path in a manifest is followed;
graphs that would read other files are refused. Graphs are data to ONNX Runtime: operators of
a custom domain have no code here, and such a graph does not open.
"""

import hashlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

from holotype.bundle.graphs import open_session
from holotype.bundle.inference import (
    Embeddings,
    embed,
    find_files,
    predict_files,
)
from holotype.bundle.manifest import BACKBONE, HEAD, MAX_BYTES, Decision, Manifest, read_manifest
from holotype.errors import BundleError, CorruptBundle, ExternalDataRefused, NotABundle
from holotype.files import write_bytes
from holotype.predictions import Predictions
from holotype.preprocessing import Preprocessing
from holotype.run import Run

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

MANIFEST = "manifest.json"
GRAPHS = (BACKBONE, HEAD)
MAX_GRAPH_BYTES = 2 << 30  # protobuf, which ONNX is written in, ends there
Shape = tuple[int | None, ...]  # of one picture; None is any size
COPY_AGAIN = "Copy the bundle again from where it was made, or train again."


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified classifier in memory.

    Attributes:
        path: the directory that it was read from.
        manifest: what it says about itself.
        sha256: the hash of the manifest, and so of all its files: the bundle's identity.
        graphs: the verified bytes of `backbone.onnx` and `head.onnx`.
    """

    path: Path
    manifest: Manifest
    sha256: str
    graphs: dict[str, bytes] = field(repr=False)

    @property
    def name(self) -> str:
        """What error messages call it: its path."""
        return str(self.path)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes

    @property
    def preprocessing(self) -> Preprocessing:
        return self.manifest.preprocessing

    @property
    def temperature(self) -> float:
        """The sealed one; 1 before a decision is sealed."""
        return self.manifest.decision.temperature if self.manifest.decision else 1.0

    @property
    def backbone_sha256(self) -> str:
        return self.manifest.files[BACKBONE]

    @cached_property
    def backbone(self) -> "InferenceSession":
        """The session of `backbone.onnx`, opened on first use; several threads may share it."""
        size = (3, self.preprocessing.height, self.preprocessing.width)
        outputs: dict[str, Shape] = {"embedding": (self.manifest.embedding_size,)}
        if self.manifest.feature_map_size is not None:
            # Without a class activation map the cells need not be as long as the embedding.
            channels = None if self.manifest.cam == "none" else self.manifest.embedding_size
            outputs["feature_map"] = (channels, *self.manifest.feature_map_size)
        return self._open(BACKBONE, size, outputs)

    @cached_property
    def head(self) -> "InferenceSession":
        """The session of `head.onnx`, opened on first use."""
        return self._open(HEAD, (self.manifest.embedding_size,), {"logits": (len(self.classes),)})

    def predict(self, paths: str | Path | Sequence[str | Path]) -> Predictions:
        """What the classifier says about pictures: files, or folders with all in them.

        A picture that is refused is left out with a Python warning that names it;
        `inference.predict_files` returns the refusals instead.

        Raises:
            ImageRefused: no picture could be used; the first refusal.
        """
        predictions, refused = predict_files(self, paths)
        if refused and not len(predictions):
            raise refused[0]
        for refusal in refused:
            warn(str(refusal), stacklevel=2)
        return predictions

    def embeddings(self, paths: str | Path | Sequence[str | Path]) -> Embeddings:
        """What the backbone says about pictures: files, or folders with all in them."""
        return embed(self, find_files(paths), keep=False)

    def with_decision(self, decision: Decision) -> "Bundle":
        """Seal the decision into the manifest on disk, once.

        Raises:
            BundleError: a decision is sealed already, or the manifest changed on disk.
        """
        if self.manifest.decision is not None:
            raise BundleError(
                f"{self.name}: the decision is sealed already; it is never fitted twice, since "
                "test may have been read. Train again for another one."
            )
        path = self.path / MANIFEST
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise BundleError(f"{self.name}: manifest.json changed since it was loaded; load again")
        manifest = replace(self.manifest, decision=decision)
        content = manifest.to_bytes()
        write_bytes(path, content)
        return replace(self, manifest=manifest, sha256=hashlib.sha256(content).hexdigest())

    def _open(self, file: str, size: Shape, outputs: dict[str, Shape]) -> "InferenceSession":
        """A session whose input and outputs are what the manifest promises."""
        try:
            session = open_session(self.graphs[file])
        except CorruptBundle as error:
            raise CorruptBundle(f"{self.name}: {file}: {error}") from error
        inputs = session.get_inputs()
        given = {o.name: o.shape for o in session.get_outputs() if o.type == "tensor(float)"}
        takes_floats = [one.type for one in inputs] == ["tensor(float)"]
        if not takes_floats or not _fits(inputs[0].shape, size):
            shapes = [[one.type, *one.shape] for one in inputs]
            raise CorruptBundle(
                f"{self.name}: {file} takes {shapes}, but the manifest says {['N', *size]}. "
                f"{COPY_AGAIN}"
            )
        for name, shape in outputs.items():
            if name not in given or not _fits(given[name], shape):
                raise CorruptBundle(
                    f"{self.name}: {file} gives {given}, but the manifest says "
                    f"{name} of {['N', *shape]}. {COPY_AGAIN}"
                )
        return session


def write_bundle(directory: Path, *, backbone: bytes, head: bytes, manifest: Manifest) -> Bundle:
    """Write a bundle beside its place, open it once, and rename it into its place.

    The graphs are stripped of what an exporter leaves in them (local paths, stack traces), so
    that the same training gives the same bytes.

    Args:
        directory: where the bundle will be; it must not exist yet.
        backbone: the graph from `image` to `embedding`, and `feature_map` if there is one.
        head: the graph from `embedding` to `logits`.
        manifest: with an empty `files`.

    Raises:
        BundleError: the directory exists, a graph reads external data or does not open, or the
            graphs are not what the manifest says.
    """
    if directory.exists():
        raise BundleError(f"{str(directory)!r} exists already; nothing is overwritten.")
    graphs = {BACKBONE: strip_metadata(backbone), HEAD: strip_metadata(head)}
    files = {name: hashlib.sha256(graph).hexdigest() for name, graph in graphs.items()}
    temporary = directory.parent / f".tmp-{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        for name, graph in graphs.items():
            write_bytes(temporary / name, graph)
        write_bytes(temporary / MANIFEST, replace(manifest, files=files).to_bytes())
        written = load_bundle(temporary)
        _ = written.backbone, written.head  # both open and fit the manifest, or nothing is written
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return replace(written, path=directory)


def load_bundle(path: str | Path) -> Bundle:
    """The bundle of a run directory, or a bundle directory itself; verified.

    Raises:
        NotABundle: there is none.
        CorruptBundle: a file is missing, too many, elsewhere, or not what the manifest says.
        ExternalDataRefused: a graph reads tensors from other files.
    """
    directory = Path(path)
    if not (directory / MANIFEST).exists():
        directory = Run(Path(path)).bundle
    if not (directory / MANIFEST).exists():
        raise NotABundle(
            f"{str(path)!r} holds no classifier: expected a run directory that training has "
            f"finished, or a bundle directory with {MANIFEST} in it."
        )
    name = str(directory)
    content = _read(directory, MANIFEST, MAX_BYTES)
    manifest = read_manifest(content, name)
    _check_names(directory, manifest)
    graphs = {}
    for file in GRAPHS:
        graphs[file] = _read(directory, file, MAX_GRAPH_BYTES)
        if hashlib.sha256(graphs[file]).hexdigest() != manifest.files[file]:
            raise CorruptBundle(f"{name}: {file} is not what the manifest says. {COPY_AGAIN}")
        refuse_external_data(graphs[file], f"{name}: {file}")
    return Bundle(directory, manifest, hashlib.sha256(content).hexdigest(), graphs)


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
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

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


def _check_names(directory: Path, manifest: Manifest) -> None:
    """Exactly the files that a bundle has; hidden ones are never read and do not matter."""
    if set(manifest.files) != set(GRAPHS):
        raise CorruptBundle(
            f"{directory}: the manifest lists {sorted(manifest.files)}, "
            f"expected {sorted(GRAPHS)}. {COPY_AGAIN}"
        )
    present = {entry.name for entry in directory.iterdir() if not entry.name.startswith(".")}
    if missing := sorted({MANIFEST, *GRAPHS} - present):
        raise CorruptBundle(f"{directory}: {missing[0]} is missing. {COPY_AGAIN}")
    if extra := sorted(present - {MANIFEST, *GRAPHS}):
        raise CorruptBundle(
            f"{directory}: {extra[0]!r} does not belong to a bundle; remove it if it is yours."
        )


def _read(directory: Path, file: str, max_bytes: int) -> bytes:
    """The bytes of a regular file that lies in the bundle itself."""
    path = directory / file
    if not path.is_file() or path.resolve().parent != directory.resolve():
        raise CorruptBundle(f"{directory}: {file} is not a file of its own. {COPY_AGAIN}")
    if path.stat().st_size > max_bytes:
        raise CorruptBundle(f"{directory}: {file} is larger than {max_bytes >> 20} MiB")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{directory}: {file} cannot be read ({error.strerror})") from error


def _fits(shape: Sequence[Any], size: Shape) -> bool:
    """Whether a graph's shape is (any batch, *size); sizes that a graph leaves open fit."""
    return len(shape) == len(size) + 1 and all(
        not isinstance(given, int) or expected in (None, given)
        for given, expected in zip(shape[1:], size, strict=True)
    )
