"""Three classifiers that train in seconds and need no network.

`shapes` is the session's folder of 120 images; `many_shapes` has 420, since a promise about
unknown images takes 59 validation images or more.
"""

from pathlib import Path

import pytest

import holotype
from tests.api.programs import QUICK


@pytest.fixture(scope="session")
def shapes(synthetic: Path) -> Path:
    return synthetic


@pytest.fixture(scope="session")
def many_shapes(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("many") / "shapes"
    holotype.fetch("synthetic", output=folder, classes=3, images=420)
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def run(runs: Path, shapes: Path) -> holotype.Run:
    """A linear head on histograms of oriented gradients."""
    return holotype.train(
        shapes, model="hog", recipe="linear", overrides=QUICK, output=runs / "hog"
    )


@pytest.fixture(scope="session")
def other_run(runs: Path, shapes: Path) -> holotype.Run:
    """The same split, with local binary patterns beside the gradients."""
    return holotype.train(
        shapes, model="hog+lbp", recipe="linear", overrides=QUICK, output=runs / "hog+lbp"
    )


@pytest.fixture(scope="session")
def sure_run(runs: Path, many_shapes: Path) -> holotype.Run:
    """It may answer "unknown", and makes prediction sets."""
    return holotype.train(
        many_shapes,
        model="hog+lbp",
        recipe="linear",
        overrides={**QUICK, "unknown": 0.05, "references": True},
        ratios=(0.6, 0.15, 0.15, 0.1),
        output=runs / "sure",
    )


@pytest.fixture(scope="session")
def both(runs: Path, run: holotype.Run, other_run: holotype.Run) -> holotype.Run:
    """The mean of two runs."""
    return holotype.ensemble([run.path, other_run.path], method="average", output=runs / "both")


@pytest.fixture
def classifier(run: holotype.Run) -> holotype.Classifier:
    return holotype.load(run.path)


@pytest.fixture
def sure(sure_run: holotype.Run) -> holotype.Classifier:
    return holotype.load(sure_run.path)
