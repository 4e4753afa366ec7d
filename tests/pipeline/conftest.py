"""One small run on real parts, that the tests of the road look at from many sides."""

from pathlib import Path
from typing import Any

import pytest

import holotype
from holotype.pipeline.run import Run
from tests.plot_stand_ins import drawing

# The pretrained network at a quarter of its size: the mechanics are the same, the time is not.
SMALL: dict[str, Any] = {
    "image_size": 64,
    "overrides": {"stages.1.views": "2", "stages.1.trainable": "2"},
}


@pytest.fixture(scope="session")
def finetuned(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`finetune` on the synthetic set, two epochs."""
    output = tmp_path_factory.mktemp("runs") / "shapes-1"
    with drawing():
        return holotype.train(
            synthetic, output=output, image_size=64, overrides={"epochs": 2, **SMALL["overrides"]}
        )
