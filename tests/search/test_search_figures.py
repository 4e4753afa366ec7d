"""The figures of a search are drawn whatever the table of its family says of a key."""

from pathlib import Path

import pytest

from holotype.evaluation.intervals import Estimate
from holotype.search.asking import Asker
from holotype.search.report.search_figures import all_figures, parameter_importance
from holotype.search.search_result import Search
from holotype.search.search_space import SearchSpace, family_space
from holotype.search.trial_record import TrialRecord
from holotype.training.config.resolve import resolve_recipe

MODELS = ("hog", "lbp", "colour", "hog+lbp", "hog+lbp+colour")


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return family_space("classical", resolve_recipe("svm", model="hog"))


def search_of(space: SearchSpace, records: list[TrialRecord]) -> Search:
    default = TrialRecord(0, "complete", accuracy=0.5, log_loss=1.0)
    return Search(Path("search"), (default, *records), space, Estimate(0.5, 0.4, 0.6, "95 %"), None)


def test_a_gamma_that_a_linear_kernel_does_not_have_is_left_out_of_the_figures(
    space: SearchSpace,
) -> None:
    drawn = Asker(space, 0, 40).ask(0)
    assert any(params.get("stages.0.gamma", 1) is None for params in drawn)
    records = [
        TrialRecord(number, "complete", params, accuracy=0.5 + number / 100, log_loss=1.0)
        for number, params in enumerate(drawn, start=1)
    ]
    search = search_of(space, records)
    assert "stages.0.gamma" in parameter_importance(search)
    assert all(figure is not None for figure in all_figures(search).values())


def test_the_importance_of_five_networks_is_told_by_each_of_them(space: SearchSpace) -> None:
    """Their places in the table are no order, of which thirds could be made."""
    records = [
        TrialRecord(n + 1, "complete", {"model": MODELS[n % 5]}, (0.9, 0.5)[n % 5 % 2], 1.0)
        for n in range(40)
    ]
    assert parameter_importance(search_of(space, records))["model"] == pytest.approx(1)
