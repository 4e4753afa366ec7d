"""A trained classifier in Python: what `holotype.load` returns.

Shape suffixes: N images, D embedding, C classes.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from holotype.arguments import check_arguments
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.embedding import embed
from holotype.bundle.image_sources import ImageLike, Images, ImageSource, image_sources
from holotype.bundle.inference import predict_embeddings, predict_images
from holotype.bundle.manifest import Manifest
from holotype.bundle.onnx_runtime import CPU
from holotype.errors import BundleError, UsageError, require_one_of
from holotype.evaluation.conformal import (
    DEFAULT_METHOD,
    ConformalPredictor,
    conformal_predictor,
    min_calibration_images,
)
from holotype.explanation.available_methods import ExplainMethod
from holotype.explanation.explainer import Explainer, Explanation
from holotype.notebook import html_result, html_table
from holotype.predictions import Predictions, PredictionSets
from holotype.progress import Progress, default_progress, pluralize
from holotype.registry.resolve_registered import registered_path
from holotype.text_tables import short_text

SetMethod = Literal["lac", "raps"]

MIN_COVERAGE = 0.5  # a promise to be right less often than not helps nobody
SHOWN_CLASSES = 10  # that a note names


class Classifier:
    """A verified bundle that answers; several threads may share one.

    An image is a path, bytes, a PIL image, or uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.
    Images are one of these, several in any iterable, a folder, or an array (N, H, W, 3 or 4).

    A pickle holds the absolute path of the bundle and its digest, and opens the graphs again.

    Attributes:
        bundle: what was read and verified.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._location = bundle.path.absolute()

    @property
    def classes(self) -> tuple[str, ...]:
        """The C class names, in the order of the columns of `predict_proba`."""
        return self.bundle.classes

    @property
    def digest(self) -> str:
        """The SHA-256 of `manifest.json`, and so of all files of the bundle: its identity."""
        return self.bundle.sha256

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self.bundle.manifest

    @property
    def path(self) -> Path:
        """The directory of the bundle."""
        return self.bundle.path

    @check_arguments
    def predict(
        self,
        images: Images,
        *,
        coverage: float | None = None,
        sets: SetMethod | None = None,
        per_class: bool = False,
        progress: Progress | None = None,
    ) -> Predictions:
        """The class of every image; an image that cannot be used is in `refused`.

        Args:
            images: see the class.
            coverage: answer with prediction sets too, which hold the true class as often as this;
                between 0.5 and 1.
            sets: how they are made: `lac`, the smallest on average (the default), or `raps`.
            per_class: promise the coverage for the images of every class.
            progress: where progress is shown; silent by default, but in a notebook.

        Raises:
            UsageError: a path that does not exist, an array that is no image, or a coverage out of
                range.
            TypeError: something that is no image.
            BundleError: no images were held back to calibrate sets on.
        """
        conformal = self._conformal(coverage, sets, per_class=per_class)
        progress = progress or default_progress()
        return self._predict(image_sources(images, progress), conformal, progress)

    def predict_proba(self, images: Images) -> NDArray[np.float64]:
        """The probabilities (N, C); rows sum to 1.

        Raises:
            ImageError: an image cannot be used; and see `predict`.
        """
        return self._predict_all(images, None).probabilities_NC

    @check_arguments
    def predict_set(
        self,
        images: Images,
        coverage: float = 0.95,
        *,
        sets: SetMethod | None = None,
        per_class: bool = False,
    ) -> list[frozenset[str]]:
        """For every image the classes that hold the true one as often as `coverage`.

        Raises:
            ImageError: an image cannot be used; and see `predict`.
        """
        conformal = self._conformal(coverage, sets, per_class=per_class)
        found = self._predict_all(images, conformal).sets
        assert found is not None
        return found

    def embed(self, images: Images) -> NDArray[np.float32]:
        """The embeddings (N, D); those of an ensemble's different backbones side by side.

        Raises:
            ImageError: an image cannot be used; and see `predict`.
        """
        embeddings = embed(self.bundle, image_sources(images), use_cache=False)
        if embeddings.refused:
            raise embeddings.refused[0]
        return embeddings.embeddings_ND

    def predict_and_embed(
        self, images: Images, *, coverage: float | None = None
    ) -> tuple[Predictions, NDArray[np.float32]]:
        """What `predict` and `embed` give, for the cost of one of them.

        The embeddings (N, D) are those of the images that could be used.

        Raises:
            BundleError: no images were held back to calibrate sets on; and see `predict`.
        """
        conformal = self._conformal(coverage, None, per_class=False)
        sources = image_sources(images)
        embeddings = embed(self.bundle, sources, use_cache=False)
        found = predict_embeddings(self.bundle, sources, embeddings)
        return self._with_sets(found, conformal), embeddings.embeddings_ND

    def with_prediction_sets(
        self,
        found: Predictions,
        coverage: float | None,
        *,
        sets: SetMethod | None = None,
        per_class: bool = False,
    ) -> Predictions:
        """Predictions of this classifier with what `predict` adds to them: sets and notes.

        Args:
            coverage, sets, per_class: see `predict`.

        Raises:
            UsageError, BundleError: see `predict`.
        """
        return self._with_sets(found, self._conformal(coverage, sets, per_class=per_class))

    @check_arguments
    def explain(
        self,
        image: ImageLike,
        *,
        class_name: str | None = None,
        method: Literal["auto", "cam", "occlusion"] = "auto",
        similar: int = 0,
    ) -> Explanation:
        """The evidence for a class over an image, without torch.

        Args:
            class_name: the class to explain; the predicted one by default.
            similar: so many of the most similar training images are named too; for classifiers
                trained with `references: true`.
            method: `cam`, a class activation map, where the bundle has one; `occlusion` elsewhere.
                `holotype.explain` knows methods with gradients too.

        Raises:
            ImageError: the image cannot be used.
            UsageError: a path that does not exist or is a folder, a class that the classifier does
                not know, or a method that it does not allow.
        """
        sources = image_sources(image)
        if len(sources) != 1:
            raise UsageError(
                f"{pluralize(len(sources), 'image')} were given to explain; expected one."
            )
        return Explainer(self.bundle, class_name, ExplainMethod(method), similar).explain(
            sources[0]
        )

    def _predict_all(self, images: Images, conformal: ConformalPredictor | None) -> Predictions:
        found = self._predict(image_sources(images), conformal, Progress())
        if found.refused:
            raise found.refused[0]
        return found

    def _predict(
        self,
        sources: Sequence[ImageSource],
        conformal: ConformalPredictor | None,
        progress: Progress,
    ) -> Predictions:
        with progress.bar("predicting") as update:
            found = predict_images(
                self.bundle, sources, on_progress=lambda done: update(done, len(sources))
            )
        return self._with_sets(found, conformal)

    def _with_sets(self, found: Predictions, conformal: ConformalPredictor | None) -> Predictions:
        notes = _notes(self.bundle, conformal)
        if conformal is None:
            return replace(found, notes=notes)
        sets = PredictionSets(
            included_NC=conformal.prediction_sets_NC(found.probabilities_NC),
            coverage=conformal.coverage,
            method=conformal.method,
            per_class=conformal.class_conditional,
            calibration_images=conformal.calibration_size,
        )
        return replace(found, prediction_sets=sets, notes=notes)

    def _conformal(
        self, coverage: float | None, sets: SetMethod | None, *, per_class: bool
    ) -> ConformalPredictor | None:
        """The limits for sets of this coverage; None where none is asked for."""
        bundle = self.bundle
        if coverage is None:
            if sets is not None or per_class:
                raise UsageError("--sets and --per-class need --coverage, such as 0.95.")
            return None
        if sets is not None:
            require_one_of("sets", sets, get_args(SetMethod))
        if not MIN_COVERAGE < coverage < 1:
            raise UsageError(
                f"coverage is {coverage:g}; expected a share between {MIN_COVERAGE:g} and 1, "
                "such as 0.95."
            )
        decision = bundle.manifest.decision
        if bundle.conformal_scores is None or decision is None or decision.calibration_set is None:
            raise BundleError(
                f"{bundle.name}: no images were held back to calibrate prediction sets on. Train "
                "again with --ratios 0.6 0.15 0.15 0.1, or with --folds 5."
            )
        return conformal_predictor(
            bundle.conformal_scores,
            coverage,
            num_classes=len(bundle.classes),
            method=sets or DEFAULT_METHOD,
            class_conditional=per_class,
            calibration_set=decision.calibration_set,
        )

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return _reopen, (str(self._location), self.digest)

    def __repr__(self) -> str:
        names, model = ", ".join(self.classes), self.manifest.model
        classes = pluralize(len(self.classes), "class", "classes")
        return short_text(f"Classifier({self.path}: {model}, {classes}: {names})")

    def _repr_html_(self) -> str:
        decision = self.manifest.decision
        rows = [
            ("path", self.path),
            ("model", self.manifest.model),
            ("classes", f"{len(self.classes)}: {', '.join(self.classes)}"),
            ("members", len(self.bundle.members) or None),
            ("says unknown", "yes" if decision and decision.unknown else "no"),
            ("prediction sets", "yes" if decision and decision.calibration_set else "no"),
            ("digest", self.digest),
        ]
        return html_result("Classifier", html_table(["", ""], rows))


def load(run: str | os.PathLike[str], *, providers: Sequence[str] = CPU) -> Classifier:
    """The classifier of a run (or of a stage, `RUN@NAME`), or of a bundle directory; verified.

    Args:
        run: a path, or `registry://NAME@ALIAS` or `registry://NAME/VERSION`.
        providers: what runs the graphs, the first choice first: `cpu`, or `cuda`, `tensorrt`,
            `openvino` or `coreml`, which are untested: answers there may differ by more than 1e-6.

    Raises:
        NotABundle: there is none.
        UsageError: a provider that this onnxruntime does not have.
        UnknownVersion: nothing is registered under this name.
        CorruptBundle: a file is missing, too many, elsewhere, or not what the manifest says.
        ExternalDataRefused: a graph reads tensors from other files.
    """
    bundle = load_bundle(registered_path(run))
    return Classifier(bundle if tuple(providers) == CPU else bundle.with_providers(providers))


def _reopen(location: str, digest: str) -> Classifier:
    """The classifier of a pickle.

    Raises:
        BundleError: there is none at this place now, or another one.
    """
    classifier = load(location)
    if classifier.digest != digest:
        raise BundleError(
            f"the bundle {location!r} is another one than was pickled; load it again."
        )
    return classifier


def _notes(bundle: Bundle, conformal: ConformalPredictor | None) -> tuple[str, ...]:
    """Caveats: sets that hold every class, and an ensemble that does not say unknown."""
    notes = []
    names = []
    if conformal is not None:
        names = [bundle.classes[c] for c in conformal.always_included_C.nonzero()[0]]
    if conformal is not None and names:
        needed = min_calibration_images(conformal.coverage)
        if conformal.class_conditional:
            more = " …" if len(names) > SHOWN_CLASSES else ""
            notes.append(
                f"sets: {len(names)} of {len(bundle.classes)} classes have fewer than {needed} "
                "calibration images and are in every set: "
                f"{', '.join(names[:SHOWN_CLASSES])}{more}"
            )
        else:
            notes.append(
                f"sets: every one holds all classes; there are {conformal.calibration_size} "
                f"calibration images, and this coverage needs {needed}"
            )
    decisions = [base.manifest.decision for base in bundle.base_models]
    if bundle.members and any(decision and decision.unknown for decision in decisions):
        notes.append("unknown: not decided; members have a threshold, but the ensemble has none")
    return tuple(notes)
