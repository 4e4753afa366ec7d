"""A classifier is explained in the way that was asked for, or the refusal names what works."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import load_model_from_string, numpy_helper

from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import Bundle
from holotype.bundle.manifest import Decision
from holotype.errors import UsageError
from holotype.explanation.attribution import sum_pool
from holotype.explanation.available_methods import ExplainMethod, ExplainMethodName
from holotype.explanation.compute_heatmap import heatmap
from tests.bundle.tiny import CELLS, CLASSES, EMBEDDING, write_images, write_tiny


def in_torch(bundle: Bundle):  # type: ignore[no-untyped-def]  # importing torch takes seconds
    """The network of a tiny bundle, with the weights that its graphs hold."""
    from torch import from_numpy, nn

    from holotype.architectures.gradient_attribution import frozen
    from holotype.architectures.torch_classifier import Backbone, TorchClassifier, set_linear_head

    tensors: dict[str, NDArray[np.float32]] = {}
    for graph in bundle.graphs.values():
        found = load_model_from_string(graph).graph.initializer
        tensors |= {one.name: numpy_helper.to_array(one) for one in found}
    convolution = nn.Conv2d(3, EMBEDDING, 4, stride=4, bias=False)
    convolution.load_state_dict({"weight": from_numpy(tensors["kernel"].copy())})
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = Backbone({"low": nn.Sequential(convolution, nn.ReLU())}, pool)
    classifier = TorchClassifier(backbone, EMBEDDING, len(CLASSES))
    set_linear_head(classifier.head, tensors["w"], tensors["b"])
    return frozen(classifier)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_tiny(tmp_path / "bundle")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 1)[0]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_grad_cam_of_the_last_map_is_the_class_activation_map(
    bundle: Bundle, image: Path, temperature: float
) -> None:
    """Without the head's bias, which every cell has and no gradient sees."""
    sealed = Decision(temperature=temperature, predictions_sha256="", num_images=1)
    plain = replace(bundle, manifest=replace(bundle.manifest, decision=sealed))
    plain = replace(plain, graphs=_without_bias(bundle))
    for number in range(len(CLASSES)):
        seen = heatmap(
            plain, image, number, explain_method=ExplainMethod("gradcam", torch_model_of=in_torch)
        )
        expected = heatmap(plain, image, number, explain_method=ExplainMethod("cam"))
        assert seen.method == "Grad-CAM of low"
        assert seen.probability == expected.probability
        np.testing.assert_allclose(seen.values_hw, expected.values_hw, atol=1e-4)
    assert expected.values_hw.any()


def _without_bias(bundle: Bundle) -> dict[str, bytes]:
    model = load_model_from_string(bundle.graphs["head.onnx"])
    (bias,) = [one for one in model.graph.initializer if one.name == "b"]
    bias.CopyFrom(numpy_helper.from_array(np.zeros(len(CLASSES), np.float32), "b"))
    return {**bundle.graphs, "head.onnx": model.SerializeToString()}


def test_each_method_names_itself_and_they_differ(bundle: Bundle, image: Path) -> None:
    said = {
        "cam": "class activation map",
        "occlusion": "occlusion map",
        "gradcam": "Grad-CAM of low",
        "gradcam++": "Grad-CAM++ of low",
        "integrated-gradients": "integrated gradients in 64 steps from the mean colour",
    }
    maps = {}
    for method, words in said.items():
        found = heatmap(
            bundle, image, 1, explain_method=ExplainMethod(method, torch_model_of=in_torch)
        )
        assert found.method == words
        assert found.values_hw.min() >= 0
        assert found.values_hw.max() == 1
        maps[method] = found.resized_to((40, 36))
    assert len({each.tobytes() for each in maps.values()}) == len(said)


def test_a_layer_can_be_named(bundle: Bundle, image: Path) -> None:
    found = heatmap(bundle, image, 0, explain_method=ExplainMethod("gradcam++", "low.0", in_torch))
    assert found.method == "Grad-CAM++ of low.0"
    assert found.values_hw.shape == (CELLS, CELLS)


def test_auto_is_occlusion_where_there_are_no_cells(tmp_path: Path, image: Path) -> None:
    without = write_tiny(tmp_path / "without", cam="none")
    assert heatmap(without, image).method == "occlusion map"
    with pytest.raises(UsageError, match=r"no class activation map.*work: auto, occlusion\."):
        heatmap(without, image, explain_method=ExplainMethod("cam"))


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "integrated-gradients", "rollout"])
def test_a_bundle_alone_has_no_gradients(
    bundle: Bundle, image: Path, method: ExplainMethodName
) -> None:
    with pytest.raises(UsageError, match=rf"{method.replace('+', '.')} needs .*auto, cam, occlus"):
        heatmap(bundle, image, explain_method=ExplainMethod(method))


@pytest.mark.parametrize("method", ["auto", "cam", "occlusion", "rollout"])
def test_a_layer_without_a_method_that_has_layers_is_refused(method: ExplainMethodName) -> None:
    with pytest.raises(UsageError, match=rf"--layer low goes with .*gradcam.*{method}"):
        ExplainMethod(method, "low")


def test_members_are_differentiated_one_by_one(tmp_path: Path, image: Path) -> None:
    sealing = Decision(temperature=1.0, predictions_sha256="", num_images=1)
    one = write_tiny(tmp_path / "one").with_decision(sealing)
    other = write_tiny(tmp_path / "other", cam="none").with_decision(sealing)
    whole = write_members(tmp_path / "whole", [one, other], name="both")
    asked = []

    def torch_model_of(base: Bundle):  # type: ignore[no-untyped-def]
        asked.append(base.sha256)
        return in_torch(base)

    found = heatmap(
        whole, image, 0, explain_method=ExplainMethod("gradcam", torch_model_of=torch_model_of)
    )
    assert asked == [one.sha256, other.sha256]
    assert found.method == "mean over 2 members: Grad-CAM of low"
    alone = heatmap(one, image, 0, explain_method=ExplainMethod("gradcam", torch_model_of=in_torch))
    np.testing.assert_allclose(found.resized_to((40, 36)), alone.resized_to((40, 36)), atol=0.08)


@pytest.mark.parametrize("shape", [(224, 224), (64, 100), (10, 3)])
def test_single_pixels_are_summed_into_cells_and_none_is_lost(shape: tuple[int, int]) -> None:
    values_HW = np.random.default_rng(0).normal(size=shape)
    values_hw = sum_pool(values_HW, 28)
    assert values_hw.shape == (min(28, shape[0]), min(28, shape[1]))
    assert values_hw.sum() == pytest.approx(values_HW.sum())
    if shape == (224, 224):
        assert values_hw[3, 5] == pytest.approx(values_HW[24:32, 40:48].sum())
