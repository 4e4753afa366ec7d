"""int8: a bundle of its own, which ships only where it is as right and truly faster.

It is a run directory, so that `compare` puts it beside the original:

    DIR/int8/
      bundle/              the quantised backbone, the same head, a decision sealed anew
      predictions/         val.parquet, and test.parquet, which decided nothing
      recipe.yaml, index.parquet
      model.onnx, …        one graph with its code, as every export
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holotype.architectures.dense_head_onnx import export_dense_head
from holotype.bundle.bundle import Bundle
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import predict_images, predict_index
from holotype.bundle.manifest import BACKBONE, HEAD, CamSupport
from holotype.comparison.aligned_predictions import align_predictions
from holotype.comparison.cost import evenly_spread
from holotype.comparison.significance import gain_at_least
from holotype.dataset.index import Index
from holotype.dataset.splitting.assignment import atomic_group_names
from holotype.ensembles.ensemble_recipe import read_ensemble_recipe
from holotype.errors import ExportRefused
from holotype.exports.export_format import ExportOptions
from holotype.exports.int8_quantisation import (
    CALIBRATION_IMAGES,
    Speedup,
    measure_speedup,
    quantise,
)
from holotype.exports.onnx_formats import write_onnx
from holotype.exports.write_export import Parity, ProofImages, finish_export
from holotype.pipeline.training_run.single_run import predict_part
from holotype.pipeline.training_run.train_and_seal import write_and_calibrate
from holotype.predictions import Predictions
from holotype.progress import Progress
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import read_fields, resolve_recipe
from holotype.training.config.stage_config import LinearStage
from holotype.training.data.class_weights import inverse_frequency
from holotype.training.features.frozen_features import cache_features, onnx_feature_extractor
from holotype.training.features.initial_backbone import EMBEDDING
from holotype.training.heads.logistic_regression import fit_linear_head
from holotype.training.heads.training_data import TrainingData
from holotype.training.train_stages import TrainedModel

MARGIN = 0.01  # of accuracy: what int8 may lose at most
MIN_SPEEDUP = 1.5
PROOF_IMAGES = 32


@dataclass(frozen=True)
class Int8Trial:
    """A quantised classifier beside the original one, on validation.

    Attributes:
        accuracy, accuracy_before: weighted.
        gain: accuracy minus that before; paired.
        gain_at_least: its lower bound, one-sided 95 %.
        images: of validation.
        speedup: of the forward pass, in the same minute.
    """

    accuracy: float
    accuracy_before: float
    gain: float
    gain_at_least: float
    images: int
    speedup: Speedup

    @property
    def is_accepted(self) -> bool:
        return self.gain_at_least >= -MARGIN and self.speedup.factor >= MIN_SPEEDUP

    def __str__(self) -> str:
        return (
            f"accuracy on {self.images:,} validation images {self.accuracy:.2%}, before "
            f"{self.accuracy_before:.2%}; paired difference {100 * self.gain:+.2f} points, at "
            f"least {100 * self.gain_at_least:+.2f} (one-sided 95 %); "
            f"{self.speedup.factor:.2f} times as fast "
            f"({1000 * self.speedup.before_s:.1f} → {1000 * self.speedup.after_s:.1f} ms a batch)"
        )


def write_int8(
    bundle: Bundle,
    run: RunDirectory,
    index: Index,
    directory: Path,
    reduce_range: bool,
    progress: Progress,
) -> tuple[Parity, str]:
    """Quantise, seal, judge on validation, and write the run into an empty directory.

    Returns:
        How the one graph agrees with the quantised bundle, and the numbers that let it ship.

    Raises:
        ExportRefused: it loses more than a point, or that cannot be shown with these images; or
            it is less than 1.5 times as fast.
    """
    int8_run = RunDirectory(directory)
    quantised, trial = try_int8(bundle, run, index, int8_run, reduce_range, progress)
    if not trial.is_accepted:
        raise ExportRefused(
            f"{bundle.name}: int8 is not written: {trial}. It must lose at most 1 point and be at "
            f"least {MIN_SPEEDUP:g} times as fast; export onnx or fp16."
        )
    progress.log(f"int8: {trial}")
    predict_part("test", index, quantised, int8_run, progress)
    files = [index.file(path) for path in index.part("val").table["path"]]
    sources = image_sources(evenly_spread(files, PROOF_IMAGES))
    predictions = predict_images(quantised, sources)
    proof = ProofImages([Path(one) for one in predictions.ids], predictions.probabilities_NC)
    written = write_onnx(quantised, directory, ExportOptions())
    notes = (
        f"Weights and activations of 8 bits{' (7 for weights)' if reduce_range else ''}: {trial}.",
        "On processors without VNNI sums of 8-bit products may overflow, which "
        "`--reduce-range` avoids; that could not be tried on the machine that made this.",
    )
    parity = finish_export(
        quantised, "int8", directory, replace(written, notes=notes), proof, ExportOptions()
    )
    return parity, str(trial)


def try_int8(
    bundle: Bundle,
    run: RunDirectory,
    index: Index,
    int8_run: RunDirectory,
    reduce_range: bool,
    progress: Progress,
) -> tuple[Bundle, Int8Trial]:
    """The quantised bundle, written into a run, and how it compares.

    Raises:
        ExportRefused: an ensemble, or a run without validation images.
    """
    if bundle.members or read_ensemble_recipe(run.recipe):
        raise ExportRefused(
            f"{bundle.name}: int8 quantises one network, and this is the mean of several; export "
            "a member, or the run that one came from."
        )
    if bundle.trained_on_validation:
        stage = read_fields(str(run.recipe))["stages"][-1]["name"]
        raise ExportRefused(
            f"{bundle.name}: int8 is judged on validation images, and this classifier learnt from "
            f"them too (refit). Export {run.path}@{stage}, which did not."
        )
    validation = index.part("val")
    if len(validation) == 0 or len(index.part("train")) == 0:
        raise ExportRefused(
            f"{bundle.name}: int8 is calibrated on training images and judged on validation, and "
            "this run has not both."
        )
    recipe = resolve_recipe(run.recipe, model=bundle.manifest.model)
    inputs_NCHW = _calibration_inputs(bundle, index)
    progress.log(f"quantising, calibrated on {len(inputs_NCHW)} training images")
    graph = quantise(bundle.graphs[BACKBONE], inputs_NCHW, reduce_range=reduce_range)
    cam: CamSupport = "none" if bundle.manifest.cam == "none" else "approximate"
    manifest = replace(bundle.manifest, decision=None, files={}, cam=cam)
    int8_run.write_recipe(recipe.to_yaml())
    index.write(int8_run.index)
    head = _head(bundle, recipe, graph, index, run.duplicate_clusters())
    # The views that were sealed for the original: which they are was measured there.
    views = "none" if bundle.views == "one" else bundle.views
    sealed = recipe.model_copy(update={"test_time_augmentation": views})
    quantised = write_and_calibrate(index, TrainedModel(graph, head, manifest, sealed), int8_run)
    speedup = measure_speedup(bundle.graphs[BACKBONE], graph, inputs_NCHW)
    before, after = (predict_index(one, validation) for one in (bundle, quantised))
    return quantised, _trial(before, after, speedup)


def _head(
    bundle: Bundle,
    recipe: Recipe,
    graph: bytes,
    index: Index,
    copies: Sequence[frozenset[str]],
) -> bytes:
    """A linear head on plain images fitted again, on embeddings of the quantised backbone.

    Any other is kept as it is.
    """
    stage = recipe.stages[-1]
    if not isinstance(stage, LinearStage) or stage.views > 1:
        return bundle.graphs[HEAD]
    training = index.part("train")
    kept = cache_features(onnx_feature_extractor(graph, EMBEDDING), recipe.preprocessing, training)
    weights_N = np.array(training.table["weight"], np.float64)
    if recipe.class_weights == "balanced":
        weights_N = (
            weights_N
            * inverse_frequency(training.targets_N, weights_N, len(index.classes))[
                training.targets_N
            ]
        )
    data = TrainingData(
        kept.first_view(), training.targets_N, weights_N,
        atomic_group_names(training.table, copies), len(index.classes),
    )  # fmt: skip
    fitted = fit_linear_head(data, stage, recipe.seed)
    return export_dense_head([(fitted.weight_CD, fitted.bias_C)], [])


def _trial(before: Predictions, after: Predictions, speedup: Speedup) -> Int8Trial:
    answers = align_predictions({"before": before, "after": after}, "val")
    correct_MN = answers.correct_MN.astype(np.float64)
    weights_N = answers.weights_N
    gain, at_least = gain_at_least(correct_MN[1] - correct_MN[0], weights_N, answers.units)
    accuracies = correct_MN @ weights_N / weights_N.sum()
    return Int8Trial(
        float(accuracies[1]), float(accuracies[0]), gain, at_least, len(weights_N), speedup
    )


def _calibration_inputs(bundle: Bundle, index: Index) -> NDArray[np.float32]:
    """Model inputs of training images, of all classes in turn."""
    table = index.part("train").table
    rank = table.groupby("label").cumcount()
    chosen = table.assign(rank=rank).sort_values(["rank", "path"]).head(CALIBRATION_IMAGES)
    return np.stack([bundle.preprocessing.load(index.file(path)) for path in chosen["path"]])
