"""Whatever is typed: exit code 0, 1 or 2, one line of error, no traceback, no late refusal.

`make test-all` draws many command lines and recipes, the default suite a few. HOLOTYPE_FUZZ sets
their number.
"""

import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from hypothesis import HealthCheck, Phase, event, given, seed, settings

from holotype.cli.app import VERBS, run
from holotype.text_tables import printable
from holotype.training import train_stages
from tests.cli.command_lines import LEFT_OUT, command_lines, make_place, recipes

FEW, MANY = 8, int(os.environ.get("HOLOTYPE_FUZZ", "400"))
MEMORY_BYTES = 12 * 2**30


@dataclass
class Training:
    """Whether the first stage has begun to train."""

    began: bool = False


@pytest.fixture(scope="module")
def training() -> Iterator[Training]:
    """Stages are cut short, and the first one is noticed."""
    from holotype.training.finetuning.finetune import FineTuner

    state = Training()

    def noticed(train: Callable[..., Any], position: int) -> Callable[..., Any]:
        def begin(*args: Any, **kwargs: Any) -> Any:
            state.began = True
            words = list(args)
            words[position] = shortened(words[position])
            return train(*words, **kwargs)

        return begin

    with pytest.MonkeyPatch.context() as patch:
        for owner, name, position in (
            (train_stages, "_fit_linear", 0), (train_stages, "_fit_classical", 0),
            (FineTuner, "train", 2),
        ):  # fmt: skip
            patch.setattr(owner, name, noticed(getattr(owner, name), position))
        yield state


def shortened(stage: Any) -> Any:
    """The stage with fewer epochs, views and trees: what is asked is whether it ends well."""
    most = {"epochs": 1, "views": 2, "trees": 10, "folds": 2, "accumulation": 2}
    changes = {
        key: min(value, most[key])
        for key in most
        if (value := getattr(stage, key, None)) is not None
    }
    return stage.model_copy(update=changes)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("fuzz") / "place")


@pytest.fixture(scope="module", autouse=True)
def no_requests() -> Iterator[None]:
    """Servers begin as ever, and end at once instead of waiting for requests."""

    async def end(_: uvicorn.Server, **options: Any) -> None:
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.Server, "serve", end)
        yield


@pytest.fixture(scope="module", autouse=True)
def bounded_memory() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def check(words: list[str], capsys: pytest.CaptureFixture[str], training: Training) -> None:
    """Run a command in the working directory; it ends as it should, whatever was typed."""
    training.began = False
    code = run(words)
    said = capsys.readouterr()
    event(f"{words[0]} exit {code}")
    assert code in (0, 1, 2), said.err
    assert printable(said.out + said.err) == said.out + said.err
    errors = [line for line in said.err.splitlines() if line.startswith("error:")]
    assert len(errors) <= 1
    assert all(line.endswith((".", ".`", "?")) for line in errors), errors
    assert "Traceback" not in said.err
    assert not (training.began and code == 2), f"refused after training began: {errors}"


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, database=None, print_blob=False,
        phases=(Phase.generate, Phase.shrink) if examples > FEW else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


class _Elsewhere:
    """A copy of the place as working directory, thrown away afterwards."""

    def __init__(self, place: Path) -> None:
        self.place, self.before = place, Path.cwd()

    def __enter__(self) -> Path:
        self.folder = tempfile.mkdtemp(prefix="fuzz-")
        copy = Path(self.folder) / "place"
        shutil.copytree(self.place, copy, symlinks=True)
        os.chdir(copy)
        return copy

    def __exit__(self, *_: object) -> None:
        os.chdir(self.before)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.timeout(3600)
def test_any_command_line_ends_well(
    examples: int, place: Path, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    @seed(int(os.environ.get("HOLOTYPE_FUZZ_SEED", "0")))
    @_settings(examples)
    @given(words=command_lines())
    def fuzz(words: list[str]) -> None:
        with _Elsewhere(place):
            check(words, capsys, training)

    fuzz()


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.timeout(3600)
def test_any_recipe_ends_well(
    examples: int, place: Path, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    @seed(int(os.environ.get("HOLOTYPE_FUZZ_SEED", "0")))
    @_settings(examples)
    @given(fields=recipes())
    def fuzz(fields: dict[str, Any]) -> None:
        with _Elsewhere(place) as folder:
            (folder / "mine.yaml").write_text(yaml.safe_dump(fields, allow_unicode=True))
            check(["train", "photos", "--recipe", "mine.yaml", "--output", "out"], capsys, training)

    fuzz()


def test_every_verb_is_drawn_or_left_out_for_a_reason() -> None:
    assert set(LEFT_OUT) <= {verb for verb, _, _ in VERBS}
