"""A finished training as a value: its path, its scores, its classifier, read when asked for."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.arguments import shown
from holotype.dataset.index import Index, read_index_file
from holotype.ensembles.ensemble_recipe import EnsembleRecipe, read_ensemble_recipe
from holotype.errors import NotARun, WrongType, did_you_mean
from holotype.evaluation.report_data import Metrics, Report, read_report
from holotype.files import read_json, reading
from holotype.notebook import html_result
from holotype.pipeline.classifier import Classifier, load
from holotype.predictions import Predictions, read_predictions
from holotype.registry.resolve_registered import registered_path
from holotype.run_directory import RunDirectory
from holotype.text_tables import short_text
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import read_fields

if TYPE_CHECKING:
    import pandas as pd


class Run(os.PathLike[str]):
    """What a training or an ensemble left on disk.

    Args:
        path: a run directory, `RUN@STAGE` for what one stage of it left, or `registry://NAME@ALIAS`
            for what the registry keeps of a run.

    Raises:
        NotARun: there is no run at this path; or, from a property, it is not finished.

    Attributes:
        path: the directory.
        files: the name of everything in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise WrongType(f"a run is the path of its directory, not {shown(path)}.")
        self.files = RunDirectory.open(registered_path(path))
        self.path: Path = self.files.path

    @property
    def metrics(self) -> Metrics:
        """The scores of the report: `run.metrics["accuracy"]` prints `0.912 [0.887, 0.934]`."""
        return self.report.metrics

    @property
    def report(self) -> Report:
        """On test; on validation or out of fold where no image was kept for a test."""
        if self._is_stage and not self.files.metrics.is_file():
            raise NotARun(
                f"{str(self.path)!r} is what a stage left, which has no report; holotype.compare "
                "scores it beside its run."
            )
        return read_report(self.files.require_metrics())

    @property
    def recipe(self) -> Recipe | EnsembleRecipe:
        """Everything that decided the run."""
        of_ensemble = read_ensemble_recipe(self.files.recipe)
        return of_ensemble or Recipe.model_validate(read_fields(str(self.files.recipe)))

    @property
    def index(self) -> Index:
        """One row per image, with its label, group and split."""
        return read_index_file(self.files.index)

    @property
    def history(self) -> "pd.DataFrame":
        """`history.csv`: one row per epoch; no rows where no stage had epochs.

        Example:
            >>> holotype.Run("runs/photos-1").history[["epoch", "val_loss"]]  # doctest: +SKIP
               epoch  val_loss
            0      0  1.386294
            1      1  0.702101

        Raises:
            NotARun: it did not train by itself, as an ensemble or a run with folds.
        """
        import pandas as pd

        if not self.files.history.is_file():
            raise NotARun(
                f"{str(self.path)!r} has no history.csv: expected a run that trained by itself, "
                "not an ensemble, a run with folds, or one that is not finished."
            )
        return pd.read_csv(self.files.history)

    @property
    def classifier(self) -> Classifier:
        """The classifier that ships."""
        return load(self.path)

    def predictions(self, split: str = "test") -> Predictions:
        """What the classifier says of the images of one split.

        Args:
            split: `val`, `test`, or `oof` of a cross-validated run.

        Raises:
            NotARun: the run holds no predictions of this split.
        """
        known = sorted(file.stem for file in self.files.predictions.glob("[!.]*.parquet"))
        if split not in known:
            hint = did_you_mean(split, known)
            raise NotARun(
                f"{str(self.path)!r} has no predictions of {split!r}{hint} "
                f"It has those of {', '.join(known) or 'none'}."
            )
        return read_predictions(self.files.predictions / f"{split}.parquet")

    def to_json(self) -> dict[str, Any]:
        """Where things are, the images that could not be read, and the scores."""
        audit = self.files.audit / "audit.json"
        found = read_json(audit) if audit.is_file() else {}
        with reading(audit):
            refused = sorted(str(image["path"]) for image in found.get("unusable_images", []))
        return {
            "run": str(self.path),
            "bundle": str(self.files.bundle),
            "report": str(self.files.report / "index.html"),
            "refused": refused,
            "metrics": self.report.to_json(),
        }

    def __fspath__(self) -> str:
        return str(self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return short_text(f"Run {self.path}", *self._summary())

    def _repr_html_(self) -> str:
        return html_result(f"Run {self.path}", notes=self._summary())

    @property
    def _is_stage(self) -> bool:
        return self.files.root_run != self.files

    def _summary(self) -> list[str]:
        if not self.files.metrics.is_file():
            return ["what a stage left" if self._is_stage else "not finished"]
        report = self.report
        images = f"{report.num_images:,} images ({report.part})"
        return [f"accuracy {report.metrics['accuracy']} on {images}", f"report   {report.path}"]
