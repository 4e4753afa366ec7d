"""The manifest of a bundle, as canonical JSON.

It holds no time and no path, so that the same training gives the same bytes; its hash is the
identity of the bundle. What is read from disk is checked field by field. Plain dataclasses, because
importing pydantic takes as long as a prediction.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from holotype.bundle.views import VIEWS, ViewSet
from holotype.errors import CorruptBundle
from holotype.imaging.preprocessing import Preprocessing

FORMAT_VERSION = 1
MAX_BYTES = 8 << 20  # more than the names of 100,000 classes need
BACKBONE = "backbone.onnx"
HEAD = "head.onnx"

CamSupport = Literal["exact", "approximate", "none"]
OODScore = Literal["energy", "neighbours"]
CalibrationSource = Literal["cal", "out_of_fold"]


@dataclass(frozen=True)
class OODDetector:
    """When an image is of no known class; see `bundle.ood_scores` for the scores.

    Attributes:
        score: the `energy` of the logits, or `neighbours`: the cosine to one of the nearest
            references.
        threshold: an image with a smaller score is unknown.
        false_rejection_rate: the promised upper bound on the share of images of known classes that
            are called unknown.
        num_images: how many images the threshold was fitted on.
        neighbours: which of the nearest references the score is the cosine to, counted from 1.
    """

    score: OODScore
    threshold: float
    false_rejection_rate: float
    num_images: int
    neighbours: int

    def __post_init__(self) -> None:
        if self.score not in get_args(OODScore):
            expected = ", ".join(get_args(OODScore))
            raise ValueError(f"unknown.score is {self.score!r:.40}, expected one of {expected}")
        if not math.isfinite(self.threshold):
            raise ValueError(f"unknown_threshold is {self.threshold}, expected a finite number")
        if not 0 < self.false_rejection_rate < 1:
            raise ValueError(
                f"unknown.false_rejection_rate is {self.false_rejection_rate}, expected "
                "between 0 and 1"
            )
        for name in ("num_images", "neighbours"):
            if getattr(self, name) < 1:
                raise ValueError(f"unknown.{name} is {getattr(self, name)}, expected at least 1")


@dataclass(frozen=True)
class CalibrationSet:
    """The images that prediction sets are calibrated on; their scores are in `conformal.npz`.

    Attributes:
        source: `cal`, a split that nothing else read, or `out_of_fold`.
        predictions_sha256: the digest of the predictions.
        num_images: how many images those were.
        penalty, k_reg: of RAPS, as the scores were made.
    """

    source: CalibrationSource
    predictions_sha256: str
    num_images: int
    penalty: float
    k_reg: int

    def __post_init__(self) -> None:
        if self.source not in get_args(CalibrationSource):
            expected = ", ".join(get_args(CalibrationSource))
            raise ValueError(f"conformal.source is {self.source!r:.40}, expected one of {expected}")
        if not (math.isfinite(self.penalty) and self.penalty >= 0):
            raise ValueError(f"conformal.penalty is {self.penalty}, expected at least 0")
        if self.num_images < 1:
            raise ValueError(f"conformal.num_images is {self.num_images}, expected at least 1")


@dataclass(frozen=True)
class Decision:
    """How logits become answers: fitted on validation predictions, sealed before test is read.

    Attributes:
        temperature: logits are divided by it before the softmax.
        predictions_sha256: the digest of the predictions that it was fitted on.
        num_images: how many images those were.
        views: the set of fixed views of each image that are averaged; see `bundle.views`.
        unknown: when the answer is "unknown"; None: never.
        calibration_set: of prediction sets; None: no sets.
    """

    temperature: float
    predictions_sha256: str
    num_images: int
    views: ViewSet = "one"
    unknown: OODDetector | None = None
    calibration_set: CalibrationSet | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature is {self.temperature}, expected a number above 0")
        if self.views not in VIEWS:
            raise ValueError(f"views is {self.views!r}, expected one of {', '.join(VIEWS)}")
        if self.num_images < 1:
            raise ValueError(f"num_images is {self.num_images}, expected at least 1")

    def to_json(self) -> dict[str, Any]:
        """As it is written into the manifest."""
        value: dict[str, Any] = {
            "temperature": self.temperature,
            "predictions_sha256": self.predictions_sha256,
            "num_images": self.num_images,
            "views": self.views,
            "unknown_threshold": self.unknown and self.unknown.threshold,
            "conformal": self.calibration_set and asdict(self.calibration_set),
        }
        if self.unknown is not None:
            value["unknown"] = {
                key: part for key, part in asdict(self.unknown).items() if key != "threshold"
            }
        return value


@dataclass(frozen=True)
class PretrainedWeights:
    """The source and the licence of the pretrained weights of the backbone."""

    source: str
    licence: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything about a classifier but its graphs.

    Attributes:
        name: what the user calls it.
        model: the architecture's name in the catalogue.
        classes: class names, in the order of the logits.
        preprocessing: from an image to the backbone's input.
        embedding_size: D of the backbone's `embedding`.
        feature_map_size: height and width of the backbone's `feature_map`; None: it has none.
        cam: how heatmaps are made: `exact` (the logits are the mean over the map's cells),
            `approximate` (the head can be applied to single cells) or `none`.
        decision: None until it is sealed.
        weights: None when the network was trained from nothing.
        class_weights: how much more an image of each class counted in training than it would by
            itself, in the order of the classes; None where images counted as they came.
        versions: of the packages that made the bundle.
        files: the SHA-256 of every other file in the bundle.
        unsealed: whether the run that makes the bundle has yet to seal its decision; until then
            nothing else opens it.
        trained_on_validation: whether the images that chose the training were then learnt from
            too (`refit`), so that answers on them say nothing.
    """

    name: str
    model: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    embedding_size: int
    feature_map_size: tuple[int, int] | None = None
    cam: CamSupport = "none"
    decision: Decision | None = None
    weights: PretrainedWeights | None = None
    class_weights: tuple[float, ...] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    unsealed: bool = False
    trained_on_validation: bool = False

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ValueError("classes must be at least two different names")
        weights_C = self.class_weights
        if weights_C is not None and (
            len(weights_C) != len(self.classes)
            or not all(0 < each < math.inf for each in weights_C)
        ):
            raise ValueError("class_weights must be a number above 0 for each class")
        if self.embedding_size < 1:
            raise ValueError(f"embedding_size is {self.embedding_size}, expected at least 1")
        if self.cam not in get_args(CamSupport):
            raise ValueError(
                f"cam is {self.cam!r}, expected one of {', '.join(get_args(CamSupport))}"
            )
        if self.feature_map_size is not None and min(self.feature_map_size) < 1:
            raise ValueError(f"feature_map_size is {self.feature_map_size}, expected at least 1")
        if self.cam != "none" and self.feature_map_size is None:
            raise ValueError(f"cam is {self.cam!r}, which needs a feature_map_size")
        height, width = self.preprocessing.height, self.preprocessing.width
        if self.decision and self.decision.views == "dihedral" and height != width:
            raise ValueError(
                f"views is 'dihedral', but a model input of {height} x {width} cannot be turned"
            )

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same manifest is always the same bytes."""
        value = {
            "format_version": FORMAT_VERSION,
            **{name: getattr(self, name) for name in _MANIFEST if name != "format_version"},
            "preprocessing": self.preprocessing.to_json(),
            "decision": self.decision and self.decision.to_json(),
            "weights": self.weights and asdict(self.weights),
        }
        if self.class_weights is not None:
            value["class_weights"] = self.class_weights
        for flag in _FLAGS:
            if getattr(self, flag):
                value[flag] = True
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode()


def read_manifest(content: bytes, name: str) -> Manifest:
    """A manifest from untrusted bytes.

    Args:
        content: the file's bytes.
        name: how error messages call the bundle.

    Raises:
        CorruptBundle: not JSON, another format version, an unknown or missing key, a value of
            another type or out of its range.
    """
    if len(content) > MAX_BYTES:
        raise CorruptBundle(f"{name}: manifest.json is larger than {MAX_BYTES >> 20} MiB")
    try:
        return _manifest(json.loads(content))
    except (ValueError, OverflowError, RecursionError, CorruptBundle) as error:
        reason = str(error).splitlines()[0][:300].rstrip(".")
        raise CorruptBundle(
            f"{name}: manifest.json makes no sense: {reason}. "
            "Copy the bundle again from where it was made, or train again."
        ) from error


_NULL = type(None)
_FLAGS = ("unsealed", "trained_on_validation")  # written only where they are true
_MANIFEST: dict[str, tuple[type, ...]] = {
    "format_version": (int,),
    "name": (str,),
    "model": (str,),
    "classes": (list,),
    "preprocessing": (dict,),
    "embedding_size": (int,),
    "feature_map_size": (list, _NULL),
    "cam": (str,),
    "decision": (dict, _NULL),
    "weights": (dict, _NULL),
    "versions": (dict,),
    "files": (dict,),
}
_DECISION: dict[str, tuple[type, ...]] = {
    "temperature": (float, int),
    "predictions_sha256": (str,),
    "num_images": (int,),
    "views": (str, int),
    "unknown_threshold": (float, int, _NULL),
    "conformal": (dict, _NULL),
}
_UNKNOWN: dict[str, tuple[type, ...]] = {
    "score": (str,),
    "false_rejection_rate": (float, int),
    "num_images": (int,),
    "neighbours": (int,),
}
_CALIBRATION_SET: dict[str, tuple[type, ...]] = {
    "source": (str,),
    "predictions_sha256": (str,),
    "num_images": (int,),
    "penalty": (float, int),
    "k_reg": (int,),
}
_WEIGHTS: dict[str, tuple[type, ...]] = {"source": (str,), "licence": (str,), "sha256": (str,)}


def _manifest(value: Any) -> Manifest:
    version = value.get("format_version") if isinstance(value, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"format_version is {version!r}, and this version of Holotype reads {FORMAT_VERSION}"
        )
    class_weights = value.pop("class_weights", None)
    flags = {name: value.pop(name, False) for name in _FLAGS}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise ValueError(f"{name} is {flag!r:.40}, expected true or false")
    fields = _checked(value, _MANIFEST, "the manifest")
    classes, size = fields["classes"], fields["feature_map_size"]
    if not _all(str, classes):
        raise ValueError("classes must be strings")
    if size is not None and not (len(size) == 2 and _all(int, size)):
        raise ValueError(f"feature_map_size is {size}, expected two whole numbers")
    for key in ("versions", "files"):
        if not _all(str, fields[key].values()):
            raise ValueError(f"the values of {key} must be strings")
    for file, sha256 in fields["files"].items():
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError(f"{sha256!r} of file {file!r} is no SHA-256")
    if class_weights is not None and not (
        isinstance(class_weights, list)
        and all(type(each) in (int, float) for each in class_weights)
    ):
        raise ValueError("class_weights must be a list of numbers")
    decision = fields["decision"]
    weights = fields["weights"]
    if weights is not None:
        _checked(weights, _WEIGHTS, "weights")
    return Manifest(
        name=fields["name"],
        model=fields["model"],
        classes=tuple(classes),
        preprocessing=Preprocessing.from_json(fields["preprocessing"]),
        embedding_size=fields["embedding_size"],
        feature_map_size=None if size is None else (size[0], size[1]),
        cam=fields["cam"],
        decision=None if decision is None else _decision(decision),
        weights=None if weights is None else PretrainedWeights(**weights),
        class_weights=None if class_weights is None else tuple(class_weights),
        versions=fields["versions"],
        files=fields["files"],
        **flags,
    )


def _decision(fields: dict[str, Any]) -> Decision:
    """A decision; format 1 of version 0.1 had the number of views, always 1."""
    unknown = fields.get("unknown")
    known = {key: value for key, value in fields.items() if key != "unknown"}
    _checked(known, _DECISION, "decision")
    threshold = fields["unknown_threshold"]
    if "unknown" in fields:
        _checked(unknown, _UNKNOWN, "unknown")
    if (unknown is None) != (threshold is None):
        raise ValueError("decision needs both unknown and unknown_threshold, or neither")
    calibration_set = fields["conformal"]
    if calibration_set is not None:
        _checked(calibration_set, _CALIBRATION_SET, "conformal")
    return Decision(
        temperature=fields["temperature"],
        predictions_sha256=fields["predictions_sha256"],
        num_images=fields["num_images"],
        views="one" if fields["views"] == 1 else fields["views"],
        unknown=None if unknown is None else OODDetector(threshold=threshold, **unknown),
        calibration_set=None if calibration_set is None else CalibrationSet(**calibration_set),
    )


def _checked(value: Any, kinds: dict[str, tuple[type, ...]], where: str) -> dict[str, Any]:
    """The value, if it is an object with exactly these keys and types."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r:.40}, expected an object")
    if unknown := sorted(value.keys() - kinds.keys()):
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}")
    if missing := sorted(kinds.keys() - value.keys()):
        raise ValueError(f"{where} lacks {missing[0]!r}")
    for key, types in kinds.items():
        if not _all(types, [value[key]]):
            expected = " or ".join("null" if kind is _NULL else kind.__name__ for kind in types)
            raise ValueError(f"{key} is {value[key]!r:.40}, expected {expected}")
    return value


def _all(types: type | tuple[type, ...], values: Any) -> bool:
    """Whether all values are of these types; True and False are no numbers here."""
    return all(isinstance(value, types) and not isinstance(value, bool) for value in values)
