"""The bundle: two ONNX graphs and a manifest, verified before any of it is used.

    bundle/
      manifest.json        classes, preprocessing, the sealed decision, the hash of each graph
      manifest.sha256      optional: the SHA-256 of manifest.json, as `sha256sum` writes it
      backbone.onnx        image (N, 3, H, W) -> embedding (N, D), feature_map (N, D, h, w)
      head.onnx            embedding (N, D) -> logits (N, C)
      references.npz       optional: the embeddings of the training images, see `references`
      watch_reference.npz  optional: the images of validation, see `validation`
      conformal.npz        with a calibration set: its scores, see `conformal_scores`

Of an ensemble it has no graphs but a bundle for each member, and weights, see `combination`:

    bundle/
      manifest.json        classes, the sealed decision, the hashes of the files below it
      ensemble_weights.json         what each member weighs
      members/0/ …         each a bundle, sealed, with its own preprocessing

A bundle may come from an untrusted source. Every file is read once, its hash is compared, and
sessions are opened from those bytes; file names are fixed, no path in a manifest is followed, and
graphs that would read other files are refused. Operators of a custom domain have no code here.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from holotype.bundle.combination import ENSEMBLE_WEIGHTS, EnsembleWeights, read_ensemble_weights
from holotype.bundle.conformal_scores import CONFORMAL, ConformalScores, read_conformal_scores
from holotype.bundle.graph_validation import Shape, open_checked_session
from holotype.bundle.integrity import (
    EXTRAS,
    MANIFEST,
    MANIFEST_SHA256,
    bundle_directory,
    check_file_names,
    check_manifest_hash,
    corrupt_file_error,
    read_extras,
    read_file,
    read_verified,
)
from holotype.bundle.manifest import BACKBONE, HEAD, MAX_BYTES, Decision, Manifest, read_manifest
from holotype.bundle.onnx_runtime import CPU, check_providers
from holotype.bundle.references import REFERENCES, References, read_references
from holotype.bundle.sanitise_graph import (
    COPY_AGAIN,
    refuse_endless_operators,
    refuse_external_data,
    strip_metadata,
)
from holotype.bundle.views import ViewSet
from holotype.errors import BundleError, CorruptBundle, UnsealedBundle
from holotype.files import naming, temporary_directory, write_bytes, write_text
from holotype.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["MANIFEST", "MEMBERS", "Bundle", "load_bundle", "strip_metadata", "write_bundle"]

MEMBERS = "members"
MAX_DEPTH = 3  # a member may have members of its own, as the parent of folds does
GRAPHS = (BACKBONE, HEAD)
MAX_GRAPH_BYTES = 2 << 30  # protobuf, which ONNX is written in, ends there
Extra = TypeVar("Extra")


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified classifier in memory.

    Attributes:
        path: the directory that it was read from.
        manifest: classes, preprocessing, decision and hashes.
        sha256: the hash of the manifest, and so of all its files: the bundle's identity.
        graphs: the verified bytes of `backbone.onnx` and `head.onnx`; empty of an ensemble.
        members: the bundles of an ensemble; empty where the bundle has graphs of its own.
        ensemble_weights: of the members; None without members.
        providers: what runs the graphs; see `onnx_runtime.PROVIDERS`.
        extras: the verified bytes of the optional files that it has.
    """

    path: Path
    manifest: Manifest
    sha256: str
    graphs: dict[str, bytes] = field(repr=False)
    members: tuple["Bundle", ...] = ()
    ensemble_weights: EnsembleWeights | None = None
    extras: dict[str, bytes] = field(default_factory=dict, repr=False)
    providers: tuple[str, ...] = CPU

    def with_providers(self, providers: Sequence[str]) -> "Bundle":
        """The same bundle, whose graphs run elsewhere.

        Raises:
            UsageError: an unknown provider, or one that is not installed.
        """
        check_providers(providers)
        members = tuple(member.with_providers(providers) for member in self.members)
        return replace(self, members=members, providers=tuple(providers))

    @property
    def name(self) -> str:
        """What error messages call it: its path."""
        return str(self.path)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes

    @property
    def preprocessing(self) -> Preprocessing:
        """From an image to the backbone's input; with members, that of the first of them."""
        return self.manifest.preprocessing

    @property
    def base_models(self) -> tuple["Bundle", ...]:
        """The bundles with graphs: itself, or all its members, and theirs."""
        return sum((member.base_models for member in self.members), ()) if self.members else (self,)

    @property
    def views(self) -> ViewSet:
        """The sealed set of views to average; the image alone before a decision is sealed."""
        return self.manifest.decision.views if self.manifest.decision else "one"

    @property
    def trained_on_validation(self) -> bool:
        return any(one.manifest.trained_on_validation for one in self.base_models)

    @property
    def temperature(self) -> float:
        """The sealed one; 1 before a decision is sealed."""
        return self.manifest.decision.temperature if self.manifest.decision else 1.0

    @property
    def own_files(self) -> dict[str, bytes]:
        """The verified bytes of its graphs and extras: all but the manifest and its members."""
        return {**self.graphs, **self.extras}

    @cached_property
    def references(self) -> References | None:
        """The embeddings of the training images; None where they were not kept.

        Those of an ensemble are with its `base_models`.
        """
        size = self.manifest.embedding_size
        return self.read_extra(REFERENCES, lambda raw, count: read_references(raw, count, size))

    @cached_property
    def conformal_scores(self) -> ConformalScores | None:
        """The scores that prediction sets are made from; None without a calibration set."""
        return self.read_extra(CONFORMAL, read_conformal_scores)

    def read_extra(self, file: str, read: Callable[[bytes, int], Extra]) -> Extra | None:
        """What such a file holds, read with the number of classes; None where there is none."""
        if file not in self.extras:
            return None
        try:
            return read(self.extras[file], len(self.classes))
        except ValueError as error:
            raise corrupt_file_error(self.path, file, error) from error

    @property
    def backbone_sha256(self) -> str:
        return self.manifest.files[BACKBONE]

    @cached_property
    def backbone(self) -> "InferenceSession":
        """The session of `backbone.onnx`, opened on first use; several threads may share it."""
        size = (3, self.preprocessing.height, self.preprocessing.width)
        outputs: dict[str, Shape] = {"embedding": (self.manifest.embedding_size,)}
        if self.manifest.feature_map_size is not None:
            # Without a class activation map the feature map may have other channels.
            channels = None if self.manifest.cam == "none" else self.manifest.embedding_size
            outputs["feature_map"] = (channels, *self.manifest.feature_map_size)
        return self._open(BACKBONE, size, outputs)

    @cached_property
    def head(self) -> "InferenceSession":
        """The session of `head.onnx`, opened on first use."""
        return self._open(HEAD, (self.manifest.embedding_size,), {"logits": (len(self.classes),)})

    def with_references(self, references: References) -> "Bundle":
        """The bundle with the embeddings of its training images, before its decision is sealed.

        Raises:
            BundleError: a decision is sealed already, the manifest changed on disk, or the bundle
                has members, which keep their own.
        """
        if self.members:
            raise BundleError(f"{self.name}: its members keep references, the whole has none.")
        self._require_unsealed()
        return self.with_extra(REFERENCES, references.to_bytes(), self.manifest)

    def with_decision(
        self, decision: Decision, conformal_scores: ConformalScores | None = None
    ) -> "Bundle":
        """Seal the decision into the manifest on disk, once.

        Args:
            conformal_scores: of the calibration set, where the decision has one.

        Raises:
            BundleError: a decision is sealed already, the manifest changed on disk, or views or
                unknown are asked of members, which seal their own.
        """
        self._require_unsealed()
        if self.members and (decision.views != "one" or decision.unknown is not None):
            what = "unknown" if decision.unknown else f"views {decision.views!r}"
            raise BundleError(
                f"{self.name}: {what} cannot be sealed over members; each member has its own. "
                "Seal the decision with views 'one' and without unknown."
            )
        if (conformal_scores is None) != (decision.calibration_set is None):
            raise ValueError("expected both a calibration set and its scores, or neither")
        manifest = replace(self.manifest, decision=decision, unsealed=False)
        if conformal_scores is not None:
            return self.with_extra(CONFORMAL, conformal_scores.to_bytes(), manifest)
        return self._rewritten(manifest, self.extras)

    def without_decision(self) -> "Bundle":
        """Declare the bundle whole where there is nothing to fit a decision on.

        Raises:
            BundleError: a decision is sealed already, or the manifest changed on disk.
        """
        self._require_unsealed()
        return self._rewritten(replace(self.manifest, unsealed=False), self.extras)

    def _require_unsealed(self) -> None:
        if self.manifest.decision is not None:
            raise BundleError(
                f"{self.name}: the decision is sealed already; it is never fitted twice, since "
                "the test split may have been read. Train again for another one."
            )

    def with_extra(self, file: str, content: bytes, manifest: Manifest) -> "Bundle":
        self._require_same_manifest()
        write_bytes(self.path / file, content)
        files = {**manifest.files, file: hashlib.sha256(content).hexdigest()}
        return self._rewritten(replace(manifest, files=files), {**self.extras, file: content})

    def _rewritten(self, manifest: Manifest, extras: dict[str, bytes]) -> "Bundle":
        self._require_same_manifest()
        write_bytes(self.path / MANIFEST, manifest.to_bytes())
        sha256 = hashlib.sha256(manifest.to_bytes()).hexdigest()
        is_sealed_now = self.manifest.unsealed and not manifest.unsealed
        if is_sealed_now or (self.path / MANIFEST_SHA256).exists():
            write_text(self.path / MANIFEST_SHA256, f"{sha256}  {MANIFEST}\n")
        return replace(self, manifest=manifest, sha256=sha256, extras=extras)

    def _require_same_manifest(self) -> None:
        if hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest() != self.sha256:
            raise BundleError(f"{self.name}: manifest.json changed since it was loaded; load again")

    def _open(self, file: str, size: Shape, outputs: dict[str, Shape]) -> "InferenceSession":
        """A session whose input and outputs are those of the manifest."""
        if self.members:
            raise BundleError(f"{self.name} has no {file} of its own; ask its members.")
        return open_checked_session(
            self.graphs[file], f"{self.name}: {file}", size, outputs, providers=self.providers
        )


def write_bundle(directory: Path, *, backbone: bytes, head: bytes, manifest: Manifest) -> Bundle:
    """Write a bundle atomically, after opening both graphs once.

    Local paths and stack traces that an exporter leaves in graphs are removed, so that the same
    training gives the same bytes.

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
    return write_files(directory, graphs, manifest, listed=GRAPHS)


def write_files(
    directory: Path, files: Mapping[str, bytes], manifest: Manifest, *, listed: Sequence[str]
) -> Bundle:
    """Write files and their manifest atomically, after opening all graphs once.

    Args:
        files: bytes by path below the directory.
        manifest: without the hashes of files.
        listed: the files whose hashes the manifest holds; manifests below hold the others'.
    """
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in listed}
    directory.parent.mkdir(parents=True, exist_ok=True)
    with naming(directory), temporary_directory(directory.parent) as temporary:
        for name, content in files.items():
            write_bytes(temporary / name, content)
        write_bytes(temporary / MANIFEST, replace(manifest, files=hashes).to_bytes())
        for base in load_bundle(temporary, unsealed=True).base_models:
            _ = base.backbone, base.head  # all open and fit the manifest, or nothing is written
        temporary.rename(directory)
    return load_bundle(directory, unsealed=True)


def load_bundle(path: str | os.PathLike[str], *, unsealed: bool = False) -> Bundle:
    """The bundle of a run (or of a stage, `RUN@NAME`), or a bundle directory itself; verified.

    Args:
        unsealed: accept a bundle whose decision is yet to be sealed, as its own run does.

    Raises:
        NotABundle: there is none.
        UnsealedBundle: the run that makes it is not finished.
        CorruptBundle: a file is missing, too many, elsewhere, or not what the manifest says.
        ExternalDataRefused: a graph reads tensors from other files.
    """
    directory = bundle_directory(path)
    bundle = _load(directory, depth=1)
    if not unsealed and any(one.manifest.unsealed for one in (bundle, *bundle.members)):
        raise UnsealedBundle(
            f"{str(directory)!r} is not finished: the decision that turns its scores into answers "
            "is not sealed. Go on with its run: holotype train DATA --output RUN --resume."
        )
    return bundle


def _load(directory: Path, depth: int) -> Bundle:
    content = read_file(directory, MANIFEST, MAX_BYTES)
    manifest = read_manifest(content, str(directory))
    sha256 = hashlib.sha256(content).hexdigest()
    check_manifest_hash(directory, sha256)
    listed = set(manifest.files)
    if ENSEMBLE_WEIGHTS in listed:
        ensemble_weights, members = _load_members(directory, manifest, depth)
        extras = read_extras(directory, manifest)
        return Bundle(directory, manifest, sha256, {}, members, ensemble_weights, extras)
    if listed - set(EXTRAS) != set(GRAPHS):
        raise CorruptBundle(
            f"{directory}: the manifest lists {sorted(manifest.files)}, "
            f"expected {sorted(GRAPHS)}. {COPY_AGAIN}"
        )
    check_file_names(directory, {MANIFEST, *listed})
    graphs = {}
    for file in GRAPHS:
        graphs[file] = read_verified(directory, file, manifest, MAX_GRAPH_BYTES)
        refuse_external_data(graphs[file], f"{directory}: {file}")
        refuse_endless_operators(graphs[file], f"{directory}: {file}")
    return Bundle(directory, manifest, sha256, graphs, extras=read_extras(directory, manifest))


def _load_members(
    directory: Path, manifest: Manifest, depth: int
) -> tuple[EnsembleWeights, tuple[Bundle, ...]]:
    """The members, each verified as a bundle and against the manifest of the ensemble."""
    if depth == MAX_DEPTH:
        raise CorruptBundle(f"{directory}: members within members of members are not read.")
    extras = {CONFORMAL} & set(manifest.files)
    check_file_names(directory, {MANIFEST, ENSEMBLE_WEIGHTS, MEMBERS, *extras})
    content = read_verified(directory, ENSEMBLE_WEIGHTS, manifest, MAX_BYTES)
    try:
        ensemble_weights = read_ensemble_weights(content, len(manifest.classes))
    except (ValueError, OverflowError, RecursionError) as error:
        raise corrupt_file_error(directory, ENSEMBLE_WEIGHTS, error) from error
    numbers = [str(number) for number in range(ensemble_weights.num_members)]
    listed = {f"{MEMBERS}/{number}/{MANIFEST}": number for number in numbers}
    if set(manifest.files) - extras != {ENSEMBLE_WEIGHTS, *listed}:
        raise CorruptBundle(
            f"{directory}: the manifest lists {len(manifest.files) - 1} members, "
            f"expected {ensemble_weights.num_members}. {COPY_AGAIN}"
        )
    for folder in (directory / MEMBERS, *(directory / MEMBERS / number for number in numbers)):
        if folder.is_symlink() or not folder.is_dir():
            raise CorruptBundle(f"{folder} is not a folder of its own. {COPY_AGAIN}")
    check_file_names(directory / MEMBERS, set(numbers))
    members = tuple(_load(directory / MEMBERS / number, depth + 1) for number in numbers)
    for (file, number), member in zip(listed.items(), members, strict=True):
        if member.sha256 != manifest.files[file]:
            raise CorruptBundle(f"{directory}: {file} is not what the manifest says. {COPY_AGAIN}")
        if member.classes != manifest.classes:
            raise CorruptBundle(
                f"{directory}: member {number} knows the classes {', '.join(member.classes)}, "
                f"expected {', '.join(manifest.classes)}. {COPY_AGAIN}"
            )
    return ensemble_weights, members
