"""The words of `tune` and `sweep` that reach their requests, and those that are refused."""

from pathlib import Path

import pytest

from holotype.errors import UsageError
from holotype.search.tune import SearchRequest
from tests.conftest import Cli


def test_tune_takes_the_size_of_images(
    cli: Cli, synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SearchRequest] = []

    def stop(request: SearchRequest) -> None:
        asked.append(request)
        raise UsageError("enough")

    monkeypatch.setattr("holotype.cli.tune.run_search", stop)
    cli("tune", synthetic, "--model", "resnet18", "--image-size", 96)
    assert [request.training.image_size for request in asked] == [96]
    assert asked[0].base().image_size == 96


def test_what_a_sweep_keeps_is_called_checkpoints(cli: Cli, synthetic: Path) -> None:
    """`--keep` is that of `clean`, which keeps runs."""
    code, _, err = cli("sweep", "--data", synthetic, "--keep", 3)
    assert code == 2
    assert "--keep" in err
    code, _, err = cli("sweep", "--data", synthetic, "--keep-checkpoints", 0)
    assert code == 2
    assert "--keep-checkpoints is 0" in err
