"""How many images a second the classical family takes: the graph alone, and all of `predict`.

    .venv/bin/python benchmarks/classical_speed.py

Images are small PNG files (the drawn set, 96 px wide) on disk; the head is a support vector
machine or a forest trained on 600 of them. `graph` is the descriptor graph on inputs in memory;
`predict` is files -> decode -> resize -> descriptors -> head -> probabilities, with nothing kept.
Both on all cores, as `holotype predict` runs them. Each rate is the median of the rounds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from holotype.bundle.building.hog_lbp_graph import descriptor_graph, descriptor_size
from holotype.bundle.bundle import Bundle, write_bundle
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import predict_images
from holotype.bundle.manifest import Manifest
from holotype.bundle.onnx_runtime import available_cores, open_session, run_graph
from holotype.dataset.sources.synthetic import make_synthetic
from holotype.training.config.resolve import resolve_recipe
from holotype.training.config.stage_config import ForestStage, SvmStage
from holotype.training.heads.svm_forest import ClassicalHead, fit_classical_head
from holotype.training.heads.training_data import TrainingData

MODELS = ("hog", "lbp", "colour", "hog+lbp", "hog+lbp+colour")
TRAINED_ON = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file-size", type=int, default=96, help="of the PNG files, in pixels")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = make_synthetic(
            Path(folder) / "data", classes=4, images=arguments.images,
            image_size=arguments.file_size,
        )  # fmt: skip
        files = sorted(data.glob("*/*.png"))
        print(f"{len(files)} PNG files of {arguments.file_size} px, {available_cores()} cores")
        print("images/s             graph  predict, svm  predict, forest")
        for model in MODELS:
            svm, forest = _bundles(model, files, Path(folder))
            inputs = [svm.preprocessing.load(file) for file in files[:64]]
            works = [
                lambda svm=svm, inputs=inputs: _run(svm, inputs, len(files)),
                lambda svm=svm: predict_images(svm, image_sources(files)),
                lambda forest=forest: predict_images(forest, image_sources(files)),
            ]
            rates = [_rate(work, len(files), arguments.rounds) for work in works]
            print(f"{model:16}{rates[0]:>14}{rates[1]:>14}{rates[2]:>17}", flush=True)


def _bundles(model: str, files: list[Path], folder: Path) -> list[Bundle]:
    """The descriptors with both heads, trained on some of the images."""
    recipe = resolve_recipe("svm", model=model)
    side = recipe.image_size
    backbone = descriptor_graph(model, side, side)
    some = files[:: max(1, len(files) // TRAINED_ON)]
    loaded = [recipe.preprocessing.load(file) for file in some]
    session = open_session(backbone)
    batches = run_graph(session, len(some), loaded.__getitem__, outputs=["embedding"])
    features_ND = np.concatenate([batch.outputs["embedding"] for batch in batches])
    classes = tuple(sorted({file.parent.name for file in files}))
    targets_N = np.array([classes.index(file.parent.name) for file in some], np.int64)
    manifest = Manifest(
        name=model, model=model, classes=classes, preprocessing=recipe.preprocessing,
        embedding_size=descriptor_size(model, side, side),
    )  # fmt: skip
    return [
        write_bundle(
            folder / f"{model}-{number}", backbone=backbone, head=head.graph, manifest=manifest
        )
        for number, head in enumerate(_heads(features_ND, targets_N, len(classes)))
    ]


def _heads(
    features_ND: np.ndarray, targets_N: np.ndarray, num_classes: int
) -> tuple[ClassicalHead, ClassicalHead]:
    """With settings from the middle of the recipes': the speed is what matters here."""
    count = len(targets_N)
    data = TrainingData(features_ND, targets_N, np.ones(count), [""] * count, num_classes)
    svm = SvmStage(method="svm", kernel="rbf", Cs=(3.0,), pca=(128,), folds=2)
    forest = ForestStage(method="random_forest", trees=100, folds=2)
    return fit_classical_head(data, svm, 0), fit_classical_head(data, forest, 0)


def _run(bundle: Bundle, inputs: list[np.ndarray], count: int) -> None:
    for _ in run_graph(
        bundle.backbone, count, lambda n: inputs[n % len(inputs)], outputs=["embedding"]
    ):
        pass


def _rate(work: Callable[[], object], count: int, rounds: int) -> str:
    """By the clock, and in brackets by the processor: what cores that do nothing else would do."""
    by_clock, by_processor = [], []
    for _ in range(rounds):
        started, used = time.perf_counter(), time.process_time()
        work()
        by_clock.append(time.perf_counter() - started)
        by_processor.append((time.process_time() - used) / available_cores())
    rates = [count / statistics.median(seconds) for seconds in (by_clock, by_processor)]
    return f"{rates[0]:.0f} ({rates[1]:.0f})"


if __name__ == "__main__":
    main()
