"""Every name of the catalogue learns, is exported, and ships what was trained.

One network of each kind runs in the default suite; all of them with the slow tests, which then
write `docs/models.md`.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from numpy.typing import NDArray
from PIL import Image as PillowImage
from torch import Tensor

from holotype.architectures.architecture import Architecture, HeadSpec
from holotype.architectures.build_backbone import build_backbone
from holotype.architectures.catalog import CATALOG, architecture
from holotype.architectures.catalog_rows import ARCHITECTURES
from holotype.architectures.onnx_export import export_backbone, export_head, extract_outputs
from holotype.architectures.pretrained_weights import NONE, find_weights
from holotype.architectures.torch_classifier import (
    AUXILIARY_LOSS_WEIGHT,
    Backbone,
    TorchClassifier,
    last_linear,
)
from holotype.bundle.building.hog_lbp_graph import descriptor_graph
from holotype.bundle.building.parity import check_parity
from holotype.bundle.bundle import Bundle, write_bundle
from holotype.bundle.manifest import Manifest
from holotype.bundle.onnx_runtime import open_session
from holotype.explanation.available_methods import ExplainMethod
from holotype.explanation.compute_heatmap import heatmap
from holotype.imaging.decode import Image
from holotype.imaging.preprocessing import Preprocessing
from holotype.training.config.stage_config import SvmStage
from holotype.training.heads.svm_forest import fit_classical_head
from holotype.training.heads.training_data import TrainingData
from tests.architectures.images import awake, soft_images, with_statistics
from tests.architectures.passed import Passed, names_on_page, write_page

OWN = str(Path(__file__).parents[2] / "examples" / "my_net.py") + ":build"
QUICK = (OWN, "cnn_baseline", "hog")  # one of each kind; the others are larger
CLASSES = ("one", "two", "three")
IMAGES = 6
LEAST_SPREAD = 0.1
TOLERANCE = 1e-4
LEAST_CORRELATION = 0.3

# With random residual branches as loud as what they are added to, these amplify the rounding of
# float32 beyond the tolerance: in torch alone they differ as much from themselves in float64.
TREMBLING = ("EfficientNet", "EfficientNetV2")
# Here quieter branches are enough: 8.9e-5 of what images make of a difference lie between
# ResNet-101 and itself in float64, and 4.5e-6 with branches of a fifth.
LOUD = ("ResNet",)


def _names() -> list[object]:
    names = [OWN, *CATALOG]
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def passed() -> Iterator[dict[str, Passed]]:
    """What has passed so far; the page is written when all of the catalogue has."""
    seen: dict[str, Passed] = {}
    yield seen
    write_page(seen)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", _names())
def test_it_learns_and_ships_what_was_trained(
    name: str, passed: dict[str, Passed], tmp_path: Path
) -> None:
    row = architecture(name)
    if row.kind == "classical":
        passed[name] = _descriptors_pass(row)
        return
    size = row.inputs.minimum_size if row.kind != "custom" else 32
    classifier = _classifier(name, size)
    _one_training_step(classifier, soft_images(16, size, seed=3))
    backbone, head = _graphs(classifier, size)
    _same_logits(classifier, backbone, head, soft_images(IMAGES, size, seed=4))
    seen = Passed(last_embedding(classifier, size), len(classifier.backbone.groups))
    cam = row.cam_support(row.head)
    if cam == "none":
        _head_runs_on_no_cell(name)
    else:
        wide = _size_of_several_cells(classifier, row, size)
        torch.nn.init.zeros_(last_linear(classifier.head).bias)  # Grad-CAM knows no bias
        if name in QUICK and wide != size:
            size, (backbone, _) = wide, _graphs(classifier, wide)
        bundle = write_bundle(
            tmp_path / "bundle",
            backbone=backbone,
            head=export_head(classifier.head),
            manifest=_manifest(classifier, row, size),
        )
        if wide != size:
            # An export takes longest; that both forms agree was shown at the smallest size.
            bundle = replace(bundle, manifest=_manifest(classifier, row, wide))
            vars(bundle)["backbone"] = TorchSession(classifier.backbone)
        _heatmap_is_what_the_catalogue_says(classifier, bundle)
    passed[name] = seen


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [row.name for row in ARCHITECTURES if row.cam == "exact" and row.head.hidden]
)
def test_with_a_linear_head_the_map_is_exact_where_the_own_head_is_a_deep_one(
    name: str, tmp_path: Path
) -> None:
    row = replace(architecture(name), head=HeadSpec())
    size = row.inputs.minimum_size
    classifier = _classifier(name, size, HeadSpec())
    torch.nn.init.zeros_(last_linear(classifier.head).bias)
    wide = _size_of_several_cells(classifier, row, size)
    backbone, head = _graphs(classifier, wide)
    manifest = _manifest(classifier, row, wide)
    assert manifest.cam == "exact"
    bundle = write_bundle(tmp_path / "bundle", backbone=backbone, head=head, manifest=manifest)
    _heatmap_is_what_the_catalogue_says(classifier, bundle)


def test_the_page_names_every_model() -> None:
    assert names_on_page() == [row.name for row in ARCHITECTURES]


def last_embedding(classifier: TorchClassifier, size: int) -> int:
    with torch.no_grad():
        return int(classifier.backbone(soft_images(1, size))[0].shape[1])


def _classifier(name: str, size: int, head: HeadSpec | None = None) -> TorchClassifier:
    """Random weights, the head's scaled so that images drive the logits over a range of 1."""
    row = architecture(name)
    scale = 0.2 if row.family in TREMBLING else 1.0
    branches = 0.2 if row.family in LOUD else 1.0
    backbone = awake(build_backbone(name, find_weights(name, NONE), size, seed=0), scale, branches)
    with_statistics(backbone, size)
    with torch.no_grad():
        width = backbone(soft_images(2, size))[0].shape[1]
    torch.manual_seed(0)
    classifier = TorchClassifier(backbone, width, len(CLASSES), head or row.head).eval()
    with torch.no_grad():
        logits = classifier(soft_images(IMAGES, size, seed=6))
        last_linear(classifier.head).weight /= (logits.amax(0) - logits.amin(0)).max()
    return classifier


def _one_training_step(classifier: TorchClassifier, images: Tensor) -> None:
    """As the loop does it: the auxiliaries' losses are a part of the whole."""
    classifier.train()
    optimiser = torch.optim.SGD(classifier.parameters(), lr=1e-3)
    targets = torch.arange(len(images)) % len(CLASSES)
    logits, others = classifier.forward_with_auxiliaries(images)
    loss = torch.nn.functional.cross_entropy(logits, targets)
    for auxiliary in others.values():
        loss = loss + AUXILIARY_LOSS_WEIGHT * torch.nn.functional.cross_entropy(auxiliary, targets)
    loss.backward()
    assert torch.isfinite(loss)
    before = {key: parameter.detach().clone() for key, parameter in classifier.named_parameters()}
    for key, parameter in classifier.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
    optimiser.step()
    moved = [key for key, p in classifier.named_parameters() if not torch.equal(p, before[key])]
    assert len(moved) > len(before) / 2
    classifier.eval()


def _graphs(classifier: TorchClassifier, size: int) -> tuple[bytes, bytes]:
    model = export_backbone(classifier.backbone, size, size)
    return extract_outputs(model, ["embedding", "feature_map"]), export_head(classifier.head)


def _same_logits(classifier: TorchClassifier, backbone: bytes, head: bytes, images: Tensor) -> None:
    with torch.no_grad():
        expected_NC = classifier(images).numpy()
        cells = classifier.backbone(images)[1]
    session = open_session(backbone)
    (embedding_ND,) = session.run(["embedding"], {"image": images.numpy()})
    if cells.ndim == 4:
        (map_NDhw,) = session.run(["feature_map"], {"image": images.numpy()})
        check_parity(cells.flatten(1).numpy(), map_NDhw.reshape(len(images), -1), what="cells")
    (logits_NC,) = open_session(head).run(["logits"], {"embedding": embedding_ND})
    assert np.ptp(expected_NC, axis=0).max() > LEAST_SPREAD
    check_parity(expected_NC, logits_NC, what="logits", tolerance=TOLERANCE)


class TorchSession:
    """A backbone in torch that answers as a session of its graph does."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="image")]

    def run(
        self, outputs: list[str], feeds: dict[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        with torch.no_grad():
            embedding, cells = self.backbone(torch.from_numpy(feeds["image"]))
        both = {"embedding": embedding.numpy(), "feature_map": cells.numpy()}
        return [both[output] for output in outputs]


def _size_of_several_cells(classifier: TorchClassifier, row: Architecture, smallest: int) -> int:
    """The first size whose map has several cells: of a single one every map is the same."""
    for size in (smallest, *[size for size in (64, 96, 128, 160) if size > smallest]):
        with torch.no_grad():
            cells = classifier.backbone(soft_images(1, size))[1]
        if cells.ndim == 4 and cells.shape[-1] > 1:
            return size
    raise AssertionError(f"{row.name} has no map of several cells")


def _manifest(classifier: TorchClassifier, row: Architecture, size: int) -> Manifest:
    with torch.no_grad():
        embedding, cells = classifier.backbone(soft_images(1, size))
    return Manifest(
        name="proof",
        model=row.name,
        classes=CLASSES,
        preprocessing=Preprocessing(
            height=size, width=size, fit="squash", interpolation="bilinear",
            mean=row.inputs.mean, std=row.inputs.std,
        ),
        embedding_size=embedding.shape[1],
        feature_map_size=(cells.shape[2], cells.shape[3]),
        cam=row.cam_support(row.head),
    )  # fmt: skip


def _heatmap_is_what_the_catalogue_says(classifier: TorchClassifier, bundle: Bundle) -> None:
    """Against Grad-CAM (Selvaraju et al. 2017) as captum computes it, of the same log-odds."""
    image = _image_of_most_evidence(classifier, bundle.preprocessing)
    found = heatmap(bundle, image)
    x = torch.from_numpy(bundle.preprocessing(image))[None]
    expected_hw = _grad_cam(classifier, x, found.class_index)
    _found_by_itself(classifier, bundle, image, expected_hw)
    difference = float(np.abs(found.values_hw - expected_hw).max())
    if bundle.manifest.cam == "exact":
        assert difference <= TOLERANCE
        return
    correlation = np.corrcoef(found.values_hw.ravel(), expected_hw.ravel())[0, 1]
    assert correlation > LEAST_CORRELATION
    if bundle.manifest.model in CATALOG:  # of other networks nobody knew that they are exact
        assert difference > TOLERANCE


def _found_by_itself(
    classifier: TorchClassifier, bundle: Bundle, image: Image, expected_hw: NDArray[np.float32]
) -> None:
    """Of any network with a map, Grad-CAM as it ships is captum's, of the layer that it finds."""
    explain_method = ExplainMethod("gradcam", torch_model_of=lambda _: classifier)
    found = heatmap(bundle, image, explain_method=explain_method)
    assert float(np.abs(found.values_hw - expected_hw).max()) <= TOLERANCE, found.method


def _grad_cam(classifier: TorchClassifier, x: Tensor, class_index: int) -> NDArray[np.float32]:
    """captum's map for the class against its competitors, positive part, scaled to 1."""
    others = [n for n in range(len(CLASSES)) if n != class_index]
    with torch.no_grad():
        shares = classifier(x)[0, others].softmax(0)

    def evidence(images: Tensor) -> Tensor:
        logits = classifier(images)
        return logits[:, class_index] - logits[:, others] @ shares

    last_group = list(classifier.backbone.groups.values())[-1]
    attribution = LayerGradCam(evidence, last_group).attribute(x)[0, 0].detach().numpy()
    positive_hw = np.maximum(attribution, 0)
    return np.asarray(positive_hw / positive_hw.max(), np.float32)


def _image_of_most_evidence(classifier: TorchClassifier, preprocessing: Preprocessing) -> Image:
    """The one of which the network is surest: its map is furthest above the noise of float32."""
    images = []
    for pixels_CHW in soft_images(16, preprocessing.height, seed=5).numpy():
        pixels_HWC = np.clip(pixels_CHW.transpose(1, 2, 0) * 60 + 128, 0, 255)
        content = PillowImage.fromarray(pixels_HWC.astype(np.uint8))
        images.append(Image(content, None, "PNG", "RGB", content.size))
    with torch.no_grad():
        x = torch.from_numpy(np.stack([preprocessing(image) for image in images]))
        highest = classifier(x).topk(2).values
    return images[int((highest[:, 0] - highest[:, 1]).argmax())]


def _head_runs_on_no_cell(name: str) -> None:
    """At its native size there is no map, one of a single cell, or one of other lengths."""
    size = architecture(name).inputs.image_size
    backbone = build_backbone(name, find_weights(name, NONE), size, seed=0)
    with torch.no_grad():
        embedding, cells = backbone(soft_images(1, size))
    assert cells.ndim != 4 or cells.shape[1] != embedding.shape[1] or cells.shape[-1] == 1


def _descriptors_pass(row: Architecture) -> Passed:
    """The graph at the smallest size, and a head, whose fit itself proves its parity."""
    size = row.inputs.minimum_size
    images = soft_images(24, size).clamp(-1, 1).numpy()
    session = open_session(descriptor_graph(row.name, size, size))
    (embedding_ND,) = session.run(["embedding"], {"image": images})
    targets_N = (images[:, 0].mean((1, 2)) > images[:, 1].mean((1, 2))).astype(np.int64)
    data = TrainingData(embedding_ND, targets_N, np.ones(24), [""] * 24, num_classes=2)
    head = fit_classical_head(data, SvmStage(method="svm", kernel="linear", Cs=(1.0,), folds=3), 0)
    (logits_NC,) = open_session(head.graph).run(["logits"], {"embedding": embedding_ND})
    assert np.ptp(logits_NC, axis=0).max() > LEAST_SPREAD
    return Passed(embedding_ND.shape[1], 0)
