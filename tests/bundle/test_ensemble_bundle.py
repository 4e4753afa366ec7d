"""A bundle of members is their weighted mean, verified like each of them, and one bundle to all."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import holotype.bundle.embedding as embedding
import holotype.bundle.image_sources as sources
from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import Bundle, load_bundle, write_bundle
from holotype.bundle.combination import EnsembleWeights, log_mean_probability, log_softmax
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import image_probabilities, predict_images, predict_index
from holotype.bundle.manifest import Decision
from holotype.bundle.onnx_runtime import run_session
from holotype.bundle.views import ViewSet
from holotype.errors import BundleError, CorruptBundle
from holotype.imaging.decode import decode
from holotype.predictions import softmax
from tests.bundle.test_inference import index_of
from tests.bundle.tiny import (
    CLASSES,
    PREPROCESSING,
    backbone_model,
    embedded,
    head_model,
    manifest,
    predicted,
    write_images,
)


def member(
    directory: Path, seed: int, *, views: ViewSet = "one", temperature: float = 1.0, **changes: Any
) -> Bundle:
    bundle = write_bundle(
        directory,
        backbone=backbone_model(seed).SerializeToString(),
        head=head_model(seed).SerializeToString(),
        manifest=manifest(**changes),
    )
    return bundle.with_decision(
        Decision(temperature=temperature, predictions_sha256="0" * 64, num_images=9, views=views)
    )


@pytest.fixture
def members(tmp_path: Path) -> list[Bundle]:
    """Three that differ in weights, temperature, views and what they do to an image."""
    padded = replace(PREPROCESSING, fit="pad", mean=(0.2, 0.5, 0.5))
    return [
        member(tmp_path / "a", 1, temperature=1.7),
        member(tmp_path / "b", 2, views="dihedral", temperature=0.6),
        member(tmp_path / "c", 3, preprocessing=padded, views="mirror"),
    ]


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """PNG, and JPEG so large that it is decoded at a fraction of its size."""
    paths = write_images(tmp_path / "images", 9)
    large = tmp_path / "images" / "large.jpg"
    noise_HWC = np.random.default_rng(5).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(noise_HWC).resize((600, 800)).save(large, quality=95)
    return [*paths, large]


@pytest.mark.parametrize("keep", [True, False])
def test_the_answer_is_the_mean_of_the_members_answers(
    tmp_path: Path, members: list[Bundle], images: list[Path], keep: bool, fresh_cache: Path
) -> None:
    whole = write_members(tmp_path / "whole", members, name="three")
    expected_NC = np.mean([predicted(each, images).probabilities_NC for each in members], axis=0)
    np.testing.assert_allclose(predicted(whole, images).probabilities_NC, expected_NC, atol=1e-6)
    for workers in (1, 5):
        predictions = predict_index(whole, index_of(images), use_cache=keep, workers=workers)
        np.testing.assert_allclose(predictions.probabilities_NC, expected_NC, atol=1e-6)
    assert np.abs(expected_NC - predicted(members[0], images).probabilities_NC).max() > 0.1


def test_weights_of_classes_are_applied_and_normalised(
    tmp_path: Path, members: list[Bundle], images: list[Path]
) -> None:
    weights_CM = np.array([[2.0, 1.0, 1.0], [0.0, 3.0, 0.0], [0.2, 0.2, 0.4]])
    whole = write_members(tmp_path / "whole", members, name="three", weights_CM=weights_CM)
    shares_CM = weights_CM / weights_CM.sum(axis=1, keepdims=True)
    answers_MNC = np.stack([predicted(each, images).probabilities_NC for each in members])
    sums_NC = np.einsum("mnc,cm->nc", answers_MNC, shares_CM)
    expected_NC = sums_NC / sums_NC.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predicted(whole, images).probabilities_NC, expected_NC, atol=1e-6)


def test_the_sealed_temperature_divides_the_logarithm_of_the_mean(
    tmp_path: Path, members: list[Bundle], images: list[Path]
) -> None:
    whole = write_members(tmp_path / "whole", members, name="three")
    mean_NC = predicted(whole, images).probabilities_NC
    sealed = whole.with_decision(
        Decision(temperature=0.5, predictions_sha256="1" * 64, num_images=9)
    )
    squared_NC = mean_NC**2
    expected_NC = squared_NC / squared_NC.sum(axis=1, keepdims=True)
    loaded = load_bundle(tmp_path / "whole")
    assert loaded.sha256 == sealed.sha256 != whole.sha256
    np.testing.assert_allclose(predicted(loaded, images).probabilities_NC, expected_NC, atol=1e-6)


def test_one_decoded_image_is_answered_as_its_file(
    tmp_path: Path, members: list[Bundle], images: list[Path]
) -> None:
    whole = write_members(tmp_path / "whole", members, name="three")
    for path in images[:3]:
        expected_C = predicted(whole, path).probabilities_NC[0]
        np.testing.assert_allclose(image_probabilities(whole, decode(path)), expected_C, atol=1e-6)


def test_members_may_have_members(
    tmp_path: Path, members: list[Bundle], images: list[Path]
) -> None:
    sealing = Decision(temperature=1.0, predictions_sha256="1" * 64, num_images=9)
    pair = write_members(tmp_path / "pair", members[:2], name="pair").with_decision(sealing)
    whole = write_members(tmp_path / "whole", [pair, members[2]], name="whole")
    answers = [predicted(each, images).probabilities_NC for each in (pair, members[2])]
    expected_NC = np.mean(answers, axis=0)
    np.testing.assert_allclose(predicted(whole, images).probabilities_NC, expected_NC, atol=1e-6)
    assert len(whole.base_models) == 3
    with pytest.raises(CorruptBundle, match="members within members of members"):
        write_members(tmp_path / "deeper", [whole.with_decision(sealing)], name="too deep")


def test_a_file_is_read_and_decoded_once_and_a_shared_backbone_runs_once(
    tmp_path: Path, images: list[Path], fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two heads on one backbone, as folds with a linear head have, and a third of its own."""
    one = member(tmp_path / "one", 1)
    other_head = write_bundle(
        tmp_path / "two",
        backbone=one.graphs["backbone.onnx"],
        head=head_model(7).SerializeToString(),
        manifest=manifest(),
    ).with_decision(Decision(temperature=1.0, predictions_sha256="", num_images=1))
    third = member(tmp_path / "three", 3)
    whole = write_members(tmp_path / "whole", [one, other_head, third], name="heads")
    decoded: list[str] = []
    rows: list[int] = []
    decode_image, call = decode, run_session

    def counted_decode(content: bytes, **options: Any) -> Any:
        decoded.append(options["name"])
        return decode_image(content, **options)

    def counted_call(session: Any, inputs: Any, outputs: Any) -> Any:
        rows.append(len(inputs))
        return call(session, inputs, outputs)

    monkeypatch.setattr(sources, "decode", counted_decode)
    monkeypatch.setattr(embedding, "run_session", counted_call)
    predictions = predict_index(whole, index_of(images))
    assert sorted(decoded) == sorted(path.name for path in images)
    assert sum(rows) == 2 * len(images)
    expected_NC = np.mean(
        [predicted(each, images).probabilities_NC for each in (one, other_head, third)], axis=0
    )
    np.testing.assert_allclose(predictions.probabilities_NC, expected_NC, atol=1e-6)
    assert embedded(whole, images).embeddings_ND.shape == (len(images), 48)
    assert whole.manifest.embedding_size == 48


def test_a_bad_image_costs_itself_only(
    tmp_path: Path, members: list[Bundle], images: list[Path]
) -> None:
    images[4].write_bytes(images[4].read_bytes()[:60])
    whole = write_members(tmp_path / "whole", members, name="three")
    predictions = predict_images(whole, image_sources(images))
    refused = predictions.refused
    assert [Path(refusal.file).name for refusal in refused] == [images[4].name]
    assert len(predictions) == len(images) - 1


def test_members_are_the_bundles_that_they_were_byte_for_byte(
    tmp_path: Path, members: list[Bundle]
) -> None:
    whole = write_members(tmp_path / "whole", members, name="three")
    assert [each.sha256 for each in whole.members] == [each.sha256 for each in members]
    listed = json.loads((tmp_path / "whole" / "manifest.json").read_text())["files"]
    for number, each in enumerate(members):
        assert listed[f"members/{number}/manifest.json"] == each.sha256
        for file in ("manifest.json", "backbone.onnx", "head.onnx"):
            copied = tmp_path / "whole" / "members" / str(number) / file
            assert copied.read_bytes() == (each.path / file).read_bytes()
    shutil.copytree(tmp_path / "whole", tmp_path / "run" / "bundle")
    assert load_bundle(tmp_path / "run").sha256 == whole.sha256
    assert whole.manifest.model == "3 × tiny"
    assert whole.classes == CLASSES


def test_another_member_weight_or_decision_is_another_identity(
    tmp_path: Path, members: list[Bundle]
) -> None:
    identities = [
        write_members(tmp_path / "1", members, name="x").sha256,
        write_members(tmp_path / "2", members[::-1], name="x").sha256,
        write_members(tmp_path / "3", members[:2], name="x").sha256,
        write_members(tmp_path / "4", members, name="x", weights_CM=np.eye(3) + 0.1).sha256,
    ]
    assert len(set(identities)) == 4
    assert write_members(tmp_path / "5", members, name="x").sha256 == identities[0]


def _edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _forge_classes(directory: Path) -> None:
    """A member of other classes, and every hash above it made to fit."""
    path = directory / "members" / "1" / "manifest.json"
    _edit_json(path, classes=["a", "b", "c"])
    root = directory / "manifest.json"
    files = json.loads(root.read_text())["files"]
    files["members/1/manifest.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    _edit_json(root, files=files)


def _forge_weights(weights: object) -> Callable[[Path], None]:
    def forge(directory: Path) -> None:
        path = directory / "ensemble_weights.json"
        _edit_json(path, weights=weights)
        root = directory / "manifest.json"
        files = json.loads(root.read_text())["files"]
        files["ensemble_weights.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
        _edit_json(root, files=files)

    return forge


def _link_a_member(directory: Path) -> None:
    (directory / "members" / "0").rename(directory.parent / "elsewhere")
    (directory / "members" / "0").symlink_to(directory.parent / "elsewhere")


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda d: _flip_a_bit(d / "members/1/backbone.onnx"), "members/1: backbone.onnx is not"),
        (lambda d: _edit_json(d / "members/2/manifest.json", name="x"), "members/2/manifest.json"),
        (
            lambda d: _edit_json(d / "ensemble_weights.json", weights=None, x=1),
            "ensemble_weights.json is not what",
        ),
        (lambda d: shutil.rmtree(d / "members/1"), "members/1 is not a folder"),
        (lambda d: shutil.rmtree(d / "members"), "members is missing"),
        (lambda d: (d / "ensemble_weights.json").unlink(), "ensemble_weights.json is missing"),
        (lambda d: shutil.copytree(d / "members/0", d / "members/3"), "'3' does not belong"),
        (lambda d: (d / "plugin.py").write_text("boom"), "'plugin.py' does not belong"),
        (lambda d: (d / "members/0/plugin.py").write_text("boom"), "'plugin.py' does not belong"),
        (_forge_classes, "member 1 knows the classes a, b, c, expected crack, dark, fine"),
        (_forge_weights([[1, 0, 0]]), "a list for each of the 3 classes"),
        (_forge_weights([[1, 0, 0]] * 2 + [[0.5, 0.1, 0.1]]), "sum to 0.7, expected 1"),
        (_forge_weights([[1, 0, 0]] * 2 + [[2, -1, 0]]), "finite and at least 0"),
        (_forge_weights([["1", 0, 0]] * 3), "lists of numbers"),
        (_link_a_member, "members/0 is not a folder of its own"),
    ],
)
def test_a_tampered_bundle_of_members_is_refused_in_one_line(
    tmp_path: Path, members: list[Bundle], corrupt: Callable[[Path], object], message: str
) -> None:
    write_members(tmp_path / "whole", members, name="three")
    corrupt(tmp_path / "whole")
    with pytest.raises(CorruptBundle, match=message) as caught:
        load_bundle(tmp_path / "whole")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_combined_is_not_written(tmp_path: Path, members: list[Bundle]) -> None:
    head = head_model(1)
    other = write_bundle(
        tmp_path / "other",
        backbone=backbone_model().SerializeToString(),
        head=head.SerializeToString(),
        manifest=manifest(classes=("x", "y", "z")),
    )
    onnx.checker.check_model(head)
    for group, message in [
        ([], "needs at least one"),
        ([members[0], other], "has 'x', 'y', 'z'"),
        ([replace(other, manifest=replace(other.manifest, classes=CLASSES))], "no sealed decision"),
    ]:
        with pytest.raises(BundleError, match=message):
            write_members(tmp_path / "whole", group, name="x")
    for weights_CM, message in [
        (np.ones((3, 2)), r"shape \(3, 2\)"),
        (np.zeros((3, 3)), "weight above 0"),
        (np.array([[1, -1, 3.0]] * 3), "at least 0"),
        (np.full((3, 3), np.nan), "weight above 0"),
    ]:
        with pytest.raises(BundleError, match=message):
            write_members(tmp_path / "whole", members, name="x", weights_CM=weights_CM)
    assert not (tmp_path / "whole").exists()
    sealed = write_members(tmp_path / "whole", members, name="x")
    with pytest.raises(BundleError, match="each member has its own"):
        sealed.with_decision(
            Decision(temperature=1.0, predictions_sha256="", num_images=1, views="mirror")
        )
    with pytest.raises(BundleError, match="nothing is overwritten"):
        write_members(tmp_path / "whole", members, name="x")
    with pytest.raises(BundleError, match="ask its members"):
        _ = sealed.backbone


def test_the_mean_is_exact_where_probabilities_round_to_nothing() -> None:
    logits_NC = np.array([[0.0, -2000.0, -3000.0]])
    flat = log_softmax(np.zeros((1, 3)))
    assert log_softmax(logits_NC)[0, 1] == pytest.approx(-2000)
    mean = log_mean_probability([log_softmax(logits_NC), flat])
    np.testing.assert_allclose(np.exp(mean), [[4 / 6, 1 / 6, 1 / 6]], rtol=1e-6)
    only_first = EnsembleWeights.of(np.array([[1.0, 0.0]] * 3)).weights_for(3)
    np.testing.assert_allclose(
        log_mean_probability([log_softmax(logits_NC), flat], only_first), logits_NC, atol=1e-6
    )
    random_NC = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_allclose(np.exp(log_softmax(random_NC, 1.3)), softmax(random_NC, 1.3))


def test_predicting_with_members_leaves_heavy_libraries_alone(
    tmp_path: Path, members: list[Bundle], images: list[Path]
) -> None:
    write_members(tmp_path / "whole", members, name="three")
    code = (
        "import sys\n"
        "from holotype.bundle.bundle import load_bundle\n"
        "from holotype.bundle.image_sources import image_sources\n"
        "from holotype.bundle.inference import predict_images\n"
        f"assert len(predict_images(load_bundle({str(tmp_path / 'whole')!r}), "
        f"image_sources({str(images[0])!r}))) == 1\n"
        "heavy = {'torch', 'timm', 'pandas', 'pyarrow', 'scipy', 'sklearn', 'onnx', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
