"""Options that are wrong are refused in one sentence that names them, before any work is done."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import holotype
from holotype.errors import HolotypeError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reading": {"label_pattern": "x"}}, "expected holotype.ReadingOptions"),
        ({"resources": None}, "expected holotype.Resources"),
        ({"resuming": True}, "expected holotype.Resuming"),
    ],
)
def test_a_value_of_another_type_is_named(
    synthetic: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(HolotypeError, match=message):
        holotype.train(synthetic, model="hog", output=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_an_image_is_no_recipe(synthetic: Path) -> None:
    image = next(synthetic.glob("*/*.png"))
    with pytest.raises(HolotypeError, match="expected a YAML file, got bytes that are no text"):
        holotype.train(synthetic, model="hog", recipe=image)


def test_choices_are_checked_before_the_work(synthetic: Path, tmp_path: Path) -> None:
    on_leak: Any = "mend"
    with pytest.raises(HolotypeError, match="on_leak is 'mend', expected one of refuse, repair"):
        holotype.split(synthetic, output=tmp_path / "parts", on_leak=on_leak)
    method: Any = "best"
    with pytest.raises(HolotypeError, match="method is 'best', expected one of auto, average"):
        holotype.ensemble(["a", "b"], method=method)
    with pytest.raises(HolotypeError, match="runs is 'runs', expected a list"):
        holotype.ensemble("runs")


def test_a_negative_seed_draws_nothing(tmp_path: Path) -> None:
    with pytest.raises(HolotypeError, match="seed -1: expected a whole number of at least 0"):
        holotype.fetch("synthetic", output=tmp_path / "shapes", seed=-1)


def test_columns_that_nothing_is_known_by_are_shown(synthetic: Path) -> None:
    table = pd.DataFrame({"Pfad": ["a.png"], "Art": ["a"]})
    with pytest.raises(HolotypeError, match="its columns are 'Pfad', 'Art'"):
        holotype.audit(table)


def test_an_evaluation_never_takes_the_place_of_a_run(synthetic: Path, tmp_path: Path) -> None:
    run = holotype.train(synthetic, model="hog", output=tmp_path / "run")
    before = (run.path / "report" / "metrics.json").read_bytes()
    with pytest.raises(HolotypeError, match="is a run, and its report stays what it is"):
        holotype.evaluate(run, synthetic, output=run.path)
    assert (run.path / "report" / "metrics.json").read_bytes() == before
    for path in (run.path, run.files.bundle):
        report = holotype.evaluate(path, synthetic)
        assert any("taught this classifier" in caveat for caveat in report.caveats)
