"""Every family of the catalogue goes the whole road: `holotype train` leaves a bundle and a report.

One small network of each, at its smallest size, from random weights. Killed after its last stage, a
run goes on to the same bundle, though what it exports was loaded and not trained.
"""

import json
import shutil
from pathlib import Path

import pytest

from holotype.architectures.catalog import architecture
from holotype.architectures.catalog_rows import ARCHITECTURES
from holotype.bundle.bundle import load_bundle
from holotype.dataset.sources.synthetic import make_synthetic
from holotype.predictions import read_predictions
from tests.conftest import Cli

FAMILIES = {
    "Descriptors": "lbp",
    "CNN": "cnn_baseline",
    "CNN v2": "cnn_v2_dense",
    "ResNet": "resnet18",
    "ResNetV2": "resnet101_v2",
    "EfficientNet-Lite": "efficientnet_lite0",
    "EfficientNet": "efficientnet_b0",
    "EfficientNetV2": "efficientnetv2_s",
    "MobileNet": "mobilenetv1",
    "MobileNetV2": "mobilenetv2",
    "MobileNetV3": "mobilenetv3_small",
    "DenseNet": "densenet121",
    "VGG": "vgg19_scratch",
    "Inception": "googlenet",
    "NASNet-A": "nasnet_large",
    "ConvNeXt": "convnext_tiny",
    "ViT": "vit_small",
    "DINOv2": "dinov2_small",
}
QUICK = ("CNN",)  # other tests of this folder train descriptors and a ResNet

SCRATCH = (
    "--recipe", "scratch", "--weights", "none", "--epochs", 1, "--batch-size", 16,
    "--set", "stages.0.views=1", "--set", "stages.0.augmentation=null",
)  # fmt: skip
# Random and small, it amplifies the rounding of float32 beyond what the export allows: torch
# differs as much from itself in float64.
SIZES = {"EfficientNetV2": 96}
SVM = ("--recipe", "svm", "--set", "stages.0.folds=2", "--set", "stages.0.pca=[8]")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images of three shapes."""
    return make_synthetic(tmp_path_factory.mktemp("few") / "shapes", 3, 60, image_size=48)


def test_no_family_is_left_out() -> None:
    assert set(FAMILIES) == {row.family for row in ARCHITECTURES}
    assert all(architecture(name).family == family for family, name in FAMILIES.items())


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "family",
    [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in FAMILIES],
)
def test_a_family_ends_in_a_bundle_and_a_report(
    family: str, few: Path, tmp_path: Path, cli: Cli
) -> None:
    row = architecture(FAMILIES[family])
    how = SVM if row.kind == "classical" else SCRATCH
    words = (
        "train", few, "--output", tmp_path / "run", "--model", row.name, *how,
        "--image-size", SIZES.get(family, row.inputs.minimum_size), "--json",
    )  # fmt: skip
    code, out, error = cli(*words)
    assert code == 0, error
    bundle = load_bundle(json.loads(out)["bundle"])
    assert bundle.manifest.model == row.name
    assert bundle.manifest.weights is None
    assert bundle.manifest.decision is not None
    stored = read_predictions(tmp_path / "run" / "predictions" / "test.parquet")
    assert stored.probabilities_NC.sum(axis=1) == pytest.approx(1)
    assert (tmp_path / "run" / "report" / "index.html").is_file()

    code, out, error = cli("predict", tmp_path / "run", few / stored.ids[0])
    assert code == 0, error
    assert Path(stored.ids[0]).name in out

    for name in ("bundle", "predictions", "report", "stages"):
        shutil.rmtree(tmp_path / "run" / name, ignore_errors=True)
    code, out, error = cli(*words, "--resume")
    assert code == 0, error
    assert load_bundle(tmp_path / "run").sha256 == bundle.sha256
