"""The classical family from images to report: descriptors without a network, and no torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from skimage.feature import hog
from sklearn.datasets import load_digits

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.bundle.sanitise_graph import strip_metadata
from holotype.dataset.index import read_index_file
from holotype.errors import InvalidRecipe
from holotype.explanation.compute_heatmap import heatmap
from holotype.pipeline.run import Run
from holotype.predictions import read_predictions
from holotype.progress import Progress
from holotype.training.config.resolve import resolve_recipe
from holotype.training.train_stages import train
from holotype.training.training_resources import Runtime
from tests.bundle.tiny import embedded, predicted

ROOT = Path(__file__).parents[2]
QUICK = {"stages.0.folds": "3", "stages.0.pca": "[64]", "stages.0.gamma": "[1]"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four digits as people wrote them, 8 × 8 pixels each; some 360 images."""
    folder = tmp_path_factory.mktemp("digits") / "digits"
    images, targets = load_digits(n_class=4, return_X_y=True)
    for number, (image, target) in enumerate(zip(images[:360], targets[:360], strict=True)):
        path = folder / str(target) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image.reshape(8, 8) * (255 / 16)).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def hog_run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """`holotype train digits --model hog` in a process of its own, and what that imported."""
    output = tmp_path_factory.mktemp("runs") / "digits-1"
    words = ["train", str(digits), "--model", "hog", "--output", str(output)]
    for key, value in QUICK.items():
        words += ["--set", f"{key}={value}"]
    program = (
        "import json, sys; from holotype.cli.app import run;"
        "from tests.plot_stand_ins import stand_ins; plots = stand_ins(); plots.__enter__();"
        "code = run(json.loads(sys.argv[1])); print(json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(words)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return output, modules


def test_training_on_descriptors_never_imports_torch(hog_run: tuple[Path, list[str]]) -> None:
    _, modules = hog_run
    assert "sklearn.svm" in modules
    assert [name for name in modules if name.split(".")[0] in ("torch", "timm")] == []


def test_digits_are_read_by_hog_and_a_support_vector_machine(
    hog_run: tuple[Path, list[str]],
) -> None:
    run, _ = hog_run
    metrics = json.loads((run / "report" / "metrics.json").read_text())
    assert metrics["accuracy"]["value"] > 0.95
    assert metrics["accuracy"]["low"] > 0.85  # of 54 images
    assert "svm (rbf): C = " in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_the_bundle_is_one_like_any_other(hog_run: tuple[Path, list[str]]) -> None:
    run, _ = hog_run
    bundle = load_bundle(run)
    assert bundle.manifest.model == "hog"
    assert bundle.manifest.weights is None
    assert bundle.manifest.decision is not None
    stored = read_predictions(run / "predictions" / "test.parquet")
    index = read_index_file(run / "index.parquet")
    again = predicted(bundle, [index.file(path) for path in stored.ids])
    assert np.abs(again.probabilities_NC - stored.probabilities_NC).max() < 1e-6
    assert bundle.temperature == pytest.approx(1, abs=0.7)  # calibrated before it was asked


def test_the_embedding_that_ships_is_scikit_images(hog_run: tuple[Path, list[str]]) -> None:
    run, _ = hog_run
    bundle, index = load_bundle(run), read_index_file(run / "index.parquet")
    files = [index.file(path) for path in index.table["path"][:5]]
    for file, embedding in zip(files, embedded(bundle, files).embeddings_ND, strict=True):
        framed = Image.open(file).resize((64, 64), Image.Resampling.BICUBIC)
        grey = np.asarray(framed, np.float64) / 255
        expected = hog(grey, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2))
        assert np.abs(embedding - expected).max() < 1e-4


def test_its_heatmap_is_an_occlusion_map(hog_run: tuple[Path, list[str]]) -> None:
    run, _ = hog_run
    bundle, index = load_bundle(run), read_index_file(run / "index.parquet")
    shown = heatmap(bundle, index.file(index.part("test").table["path"].iloc[0]))
    assert shown.method == "occlusion map"
    assert shown.values_hw.max() == 1
    assert shown.values_hw.min() < 0.5


@pytest.fixture(scope="module")
def forest_run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A forest on all descriptors, named in an order of one's own."""
    return holotype.train(
        digits, output=tmp_path_factory.mktemp("runs") / "forest", model="lbp+colour+hog",
        recipe="forest", overrides={
            "stages.0.trees": "20", "stages.0.depths": "[null]", "stages.0.leaf_sizes": "[1]",
            "stages.0.folds": "3",
        },
    )  # fmt: skip


def test_a_forest_on_all_descriptors_reads_digits_too(forest_run: Run) -> None:
    assert forest_run.metrics["accuracy"].value > 0.9
    assert load_bundle(forest_run.path).manifest.model == "hog+lbp+colour"
    assert (forest_run.files.report / "index.html").is_file()


def test_a_linear_head_goes_on_descriptors_too(hog_run: tuple[Path, list[str]]) -> None:
    run, _ = hog_run
    recipe = resolve_recipe("linear", model="hog")
    runtime = Runtime(checkpoints=run / "checkpoints", device="cpu", progress=Progress())
    trained = train(recipe, read_index_file(run / "index.parquet"), name="digits", runtime=runtime)
    # One product, and the same backbone as under any other head.
    assert [node.op_type for node in onnx.load_from_string(trained.head).graph.node] == ["Gemm"]
    assert strip_metadata(trained.backbone) == (run / "bundle" / "backbone.onnx").read_bytes()
    assert "linear head: C = " in trained.notes[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_size": 60}, "nearest is 64"),
        ({"image_size": 8}, "nearest is 16"),
        ({"recipe": "finetune"}, "nothing to train by gradient"),
    ],
)
def test_what_descriptors_cannot_do_is_refused_in_one_line(
    digits: Path, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidRecipe, match=said) as refusal:
        holotype.train(digits, output=tmp_path / "run", model="hog", **options)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()
