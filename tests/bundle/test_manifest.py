"""A manifest is the same bytes for the same training, and is checked field by field."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from holotype.bundle.manifest import (
    CalibrationSet,
    Decision,
    Manifest,
    OODDetector,
    PretrainedWeights,
    read_manifest,
)
from holotype.errors import CorruptBundle
from tests.bundle.tiny import PREPROCESSING, manifest

FULL = {
    "decision": Decision(
        temperature=0.8,
        predictions_sha256="a" * 64,
        num_images=12,
        views="mirror",
        unknown=OODDetector(
            score="neighbours",
            threshold=0.4,
            false_rejection_rate=0.05,
            num_images=60,
            neighbours=5,
        ),
        calibration_set=CalibrationSet("cal", "e" * 64, num_images=80, penalty=0.01, k_reg=2),
    ),
    "weights": PretrainedWeights(source="package", licence="Apache-2.0", sha256="b" * 64),
    "files": {"backbone.onnx": "c" * 64, "head.onnx": "d" * 64},
    "classes": ("Schildkröte", "龟", "a\nb"),
    "class_weights": (0.5, 1.0, 1 / 3),
}


@pytest.mark.parametrize("changes", [{}, FULL, {"feature_map_size": None, "cam": "none"}])
def test_a_manifest_survives_writing_and_reading(changes: dict[str, Any]) -> None:
    written = manifest(**changes)
    assert read_manifest(written.to_bytes(), "x") == written
    assert read_manifest(written.to_bytes(), "x").to_bytes() == written.to_bytes()


def test_the_order_of_keys_does_not_change_the_bytes() -> None:
    one = manifest(versions={"a": "1", "b": "2"})
    other = manifest(versions={"b": "2", "a": "1"})
    assert one.to_bytes() == other.to_bytes()


def test_a_manifest_of_before_there_were_views_is_read() -> None:
    value = json.loads(manifest(**FULL).to_bytes())
    value["decision"]["views"] = 1
    decision = read_manifest(json.dumps(value).encode(), "x").decision
    assert decision is not None
    assert decision.views == "one"


def test_a_decision_without_sets_and_unknowns_has_the_bytes_that_it_always_had() -> None:
    """Written by hand after what the first bundles hold: their identity must not change."""
    plain = Decision(temperature=1.5, predictions_sha256="a", num_images=3)
    text = manifest(decision=plain).to_bytes().decode()
    expected = """  "decision": {
    "conformal": null,
    "num_images": 3,
    "predictions_sha256": "a",
    "temperature": 1.5,
    "unknown_threshold": null,
    "views": "one"
  },
"""
    assert expected in text


def test_an_input_that_is_not_square_is_never_turned() -> None:
    wide = replace(PREPROCESSING, width=2 * PREPROCESSING.width)
    turned = Decision(temperature=1.0, predictions_sha256="", num_images=1, views="dihedral")
    with pytest.raises(ValueError, match="32 x 64 cannot be turned"):
        manifest(preprocessing=wide, decision=turned)
    manifest(preprocessing=wide, decision=replace(turned, views="mirror"))


def _set(path: str, value: object) -> Callable[[Any], None]:
    def change(manifest: Any) -> None:
        *above, last = path.split(".")
        for key in above:
            manifest = manifest[key]
        manifest[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("format_version", 2), "format_version is 2, and this version of Holotype reads 1"),
        (_set("format_version", True), "format_version is True"),
        (_set("plugin", "x"), "unknown key 'plugin'"),
        (lambda m: m.pop("classes"), "lacks 'classes'"),
        (_set("classes", "ab"), "classes is 'ab', expected list"),
        (_set("classes", [1, 2]), "classes must be strings"),
        (_set("classes", ["a", "a"]), "two different names"),
        (_set("classes", ["a"]), "two different names"),
        (_set("embedding_size", 0), "embedding_size is 0"),
        (_set("embedding_size", "24"), "expected int"),
        (_set("feature_map_size", [8]), "expected two whole numbers"),
        (_set("feature_map_size", [8, True]), "expected two whole numbers"),
        (_set("feature_map_size", None), "needs a feature_map_size"),
        (_set("cam", "magic"), "cam is 'magic'"),
        (_set("preprocessing.height", -1), "height"),
        (_set("preprocessing.run", "code"), "'run'"),
        (_set("decision.temperature", 0), "temperature is 0"),
        (_set("decision.temperature", float("nan")), "temperature is nan"),
        (_set("decision.temperature", 10**400), "too large"),
        (_set("decision.temperature", "1"), "expected float"),
        (
            _set("decision.views", 8),
            "views is 8, expected one of one, mirror, flips, dihedral, scales",
        ),
        (_set("decision.views", "all"), "views is 'all', expected one of"),
        (_set("decision.views", True), "views is True"),
        (_set("decision.conformal", {"0.9": 0.2}), "conformal has the unknown key '0.9'"),
        (_set("decision.conformal.source", "test"), "conformal.source is 'test', expected one of"),
        (_set("decision.conformal.num_images", 0), "conformal.num_images is 0"),
        (_set("decision.conformal.penalty", float("nan")), "conformal.penalty is nan"),
        (_set("decision.unknown", None), "unknown is None, expected an object"),
        (_set("decision.unknown.score", "mood"), "unknown.score is 'mood', expected one of"),
        (_set("decision.unknown.false_rejection_rate", 1), "unknown.false_rejection_rate is 1"),
        (_set("decision.unknown_threshold", None), "both unknown and unknown_threshold"),
        (_set("decision.unknown_threshold", float("inf")), "unknown_threshold is inf"),
        (_set("decision.hook", 1), "unknown key 'hook'"),
        (_set("weights.sha256", None), "sha256 is None"),
        (_set("class_weights", [1, 0, 2]), "class_weights must be a number above 0"),
        (_set("class_weights", ["1", "2"]), "class_weights must be a list of numbers"),
        (_set("class_weights", [1.0]), "class_weights must be a number above 0 for each class"),
        (_set("versions.torch", 2), "versions must be strings"),
        (_set("files", {"head.onnx": "../../x"}), "no SHA-256"),
    ],
)
def test_a_manifest_that_makes_no_sense_says_which_field(
    change: Callable[[Any], None], message: str
) -> None:
    value = json.loads(manifest(**FULL).to_bytes())
    change(value)
    with pytest.raises(CorruptBundle, match=message) as caught:
        read_manifest(json.dumps(value).encode(), "runs/x/bundle")
    assert str(caught.value).startswith("runs/x/bundle: manifest.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format_version": 1e999}'],
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(CorruptBundle, match="makes no sense"):
        read_manifest(content, "x")


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_no_positive_number_is_never_sealed(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        Decision(temperature=temperature, predictions_sha256="", num_images=1)


def test_a_manifest_names_no_file_twice_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    optional = {"class_weights": (1.0, 0.5, 2.0), "unsealed": True, "trained_on_validation": True}
    keys = set(json.loads(manifest(**optional).to_bytes()))
    assert keys == {"format_version", *Manifest.__dataclass_fields__}
    assert keys - set(json.loads(manifest().to_bytes())) == set(optional)
