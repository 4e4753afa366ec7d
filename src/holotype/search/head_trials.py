"""Trials of heads on the kept features of a frozen network: hundreds a minute.

Nothing is decoded and no graph is run: the embeddings of training and validation images are
computed once for each network and image size, and a trial fits a head to them and scores it with
NumPy. Threads are enough, since fitting leaves the interpreter.

Shape suffixes: N images, D embedding, C classes.
"""

import importlib
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.inference import predictions_of_index
from holotype.dataset.index import Index
from holotype.dataset.splitting.assignment import atomic_group_names
from holotype.errors import HolotypeError, InvalidRecipe
from holotype.evaluation.fit_decision import fit_decision
from holotype.predictions import Predictions, softmax
from holotype.run_directory import RunDirectory
from holotype.search.trial_record import TrialRecord, scores
from holotype.search.trials import Asked
from holotype.search_directory import SearchDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.config.stage_config import GradientStage, LinearStage, WhiteningStage
from holotype.training.features.initial_backbone import PretrainedBackbone, targets_and_weights
from holotype.training.heads.logistic_regression import fit_linear_head
from holotype.training.heads.svm_forest import fit_head
from holotype.training.heads.training_data import TrainingData
from holotype.training.train_stages import training_data
from holotype.training.training_resources import Runtime

# What a recipe or its numbers may do wrong; anything else is a fault of ours and not recorded.
EXPECTED = (HolotypeError, ValueError, ArithmeticError, MemoryError, np.linalg.LinAlgError)

# What heads are fitted with. Of threads that import parts of one package at the same time for the
# first time, as where a search goes on, one may see half of it.
IMPORTED_FIRST = (
    "scipy.optimize", "sklearn.decomposition", "sklearn.ensemble", "sklearn.linear_model",
    "sklearn.model_selection", "sklearn.pipeline", "sklearn.preprocessing", "sklearn.svm",
)  # fmt: skip


@dataclass(eq=False)
class HeadTrials:
    """Runs the trials of a batch in threads.

    Attributes:
        search: where they are written.
        index: the images of train and validation.
        runtime: for features that are not kept yet.
        jobs: threads.
    """

    search: SearchDirectory
    index: Index
    runtime: Runtime
    jobs: int
    _features: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def copies(self) -> list[frozenset[str]]:
        """Sets of paths that show one image, by the audit of the search."""
        return RunDirectory(self.search.path).duplicate_clusters()

    def run(self, asked: Sequence[Asked]) -> None:
        """Run the trials and write how each ended."""
        from threadpoolctl import threadpool_limits

        for name in IMPORTED_FIRST:
            importlib.import_module(name)
        with threadpool_limits(limits=1), ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(self._run_one, asked))

    def keep_features(self, recipe: Recipe) -> list[NDArray[np.float32]]:
        """The embeddings of train and of validation (N, D), computed where they are not kept."""
        key = repr((recipe.model, recipe.model_options, recipe.weights, recipe.preprocessing))
        with self._lock:
            if key not in self._features:
                backbone = PretrainedBackbone(recipe, self.index, self.runtime.progress)
                self._features[key] = [
                    training_data(backbone, self.runtime, part).features_ND
                    for part in ("train", "val")
                ]
            return self._features[key]

    def _run_one(self, asked: Asked) -> None:
        began = time.monotonic()
        directory = self.search.trial(asked.number)
        try:
            predictions = self.predict(asked.recipe)
            directory.run.write_recipe(asked.recipe.to_yaml())
            predictions.write(directory.run.predictions / "val.parquet")
            ended: Mapping[str, Any] = {"state": "complete", **scores(predictions)}
        except EXPECTED as error:
            reason = str(error) if isinstance(error, HolotypeError) else repr(error)
            ended = {"state": "failed", "reason": " ".join(reason.split())}
        seconds = round(time.monotonic() - began, 3)
        TrialRecord(asked.number, params=asked.params, seconds=seconds, **ended).write(directory)

    def predict(self, recipe: Recipe) -> Predictions:
        """What the head of a recipe says of validation, with its temperature.

        Raises:
            InvalidRecipe: the recipe has more than a head.
        """
        embeds = recipe.head_spec.embedding is not None
        if len(recipe.stages) > 1 or recipe.gradient_stages or embeds:
            raise InvalidRecipe(
                f"recipe {recipe.name!r} trains more than a head; leave --heads out, or take "
                "linear, svm or forest."
            )
        train_ND, val_ND = self.keep_features(recipe)
        backbone = PretrainedBackbone(recipe, self.index, self.runtime.progress, self.copies)
        train, targets_N, weights_N = targets_and_weights(backbone, "train")
        data = TrainingData(
            train_ND, targets_N, weights_N.astype(np.float64),
            atomic_group_names(train.table, backbone.copies), len(train.classes),
        )  # fmt: skip
        return _with_temperature(self.index.part("val"), head_logits(data, recipe, val_ND))


def head_logits(
    data: TrainingData, recipe: Recipe, features_ND: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Fit the head of a recipe to `data`; its logits (N, C) for other embeddings."""
    stage = recipe.stages[0]
    assert not isinstance(stage, GradientStage | WhiteningStage)
    if isinstance(stage, LinearStage):
        head = fit_linear_head(data, stage, recipe.seed)
        return features_ND @ head.weight_CD.T + head.bias_C
    return fit_head(data, stage, recipe.seed).logits(features_ND).astype(np.float32)


def _with_temperature(index: Index, logits_NC: NDArray[np.float32]) -> Predictions:
    """The predictions of an index, calibrated as a bundle seals them."""
    plain = predictions_of_index(index, logits_NC)
    temperature = fit_decision(plain).temperature
    return replace(plain, probabilities_NC=softmax(logits_NC, temperature))
