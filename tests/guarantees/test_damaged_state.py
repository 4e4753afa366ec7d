"""Files by which work goes on, and what other verbs read of a run: damaged, they are one line."""

from itertools import pairwise
from pathlib import Path

import pytest

from holotype.errors import CorruptFile, HolotypeError
from holotype.executors.job_sheet import Job, JobSheet
from holotype.registry.version_record import read_version_record
from holotype.run_directory import RunDirectory
from holotype.search.run_trial import EpochReports
from holotype.search.sweeping.sweep_plan import combine_plan
from holotype.search.trial_record import read_record
from holotype.search.trials import read_asked
from holotype.search_directory import SearchDirectory
from holotype.serving.model_sources import run_facts
from holotype.tracking.tracked_values import tracked_values
from tests.conftest import Cli
from tests.registry.made import write_run, write_sealed

DAMAGED = {
    "empty": b"",
    "no text": b"\xff\x00\xfe",
    "a list": b"[1]",
    "other keys": b'{"one": 1}',
    "deep": b"[" * 3000,
}
of_each = pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)


def is_one_line(error: HolotypeError) -> bool:
    return "\n" not in str(error) and str(error).endswith(".")


@of_each
def test_what_a_search_goes_on_by(content: bytes, tmp_path: Path) -> None:
    trial = SearchDirectory(tmp_path).trial(0)
    trial.path.mkdir(parents=True)
    for file in (trial.record, trial.asked, trial.epochs):
        file.write_bytes(content)
    for read in (read_record, read_asked, lambda _: EpochReports(trial, ())):
        with pytest.raises(CorruptFile) as caught:
            read(trial)
        assert is_one_line(caught.value)


@pytest.mark.parametrize("content", [DAMAGED[one] for one in ("empty", "no text", "other keys")])
def test_the_plan_of_a_sweep_and_the_space_of_a_search(
    content: bytes, tmp_path: Path, cli: Cli
) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(content)
    with pytest.raises(HolotypeError) as caught:
        combine_plan(file, {})
    assert is_one_line(caught.value)
    words = ("--model", "hog", "--space", file, "--output", tmp_path / "search")
    code, _, said = cli("tune", tmp_path, *words)
    assert code in (1, 2)
    assert "Traceback" not in said


def test_aliases_of_a_plan_cannot_use_up_the_memory(tmp_path: Path) -> None:
    rows = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    rows += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghi")]
    (tmp_path / "plan.yaml").write_text("\n".join(rows))
    with pytest.raises(HolotypeError, match="its aliases make more than"):
        combine_plan(tmp_path / "plan.yaml", {})


@of_each
def test_what_other_verbs_read_of_a_run(content: bytes, tmp_path: Path) -> None:
    run = RunDirectory(write_run(tmp_path / "run"))
    bundle = write_sealed(tmp_path / "bundle")
    metrics = run.report / "metrics.json"
    recipe, scores = run.recipe.read_bytes(), metrics.read_bytes()
    if content != DAMAGED["other keys"]:  # which are harmless where few are needed
        metrics.write_bytes(content)
        for read in (lambda: run_facts(run.bundle), lambda: read_version_record(run, bundle)):
            with pytest.raises(CorruptFile):
                read()
        metrics.write_bytes(scores)
        run.recipe.write_bytes(content)
        with pytest.raises(HolotypeError):
            tracked_values(run)
    run.recipe.write_bytes(recipe)
    run.history.write_bytes(b"stage,epoch,loss\n" + content + b",1,x\n")
    with pytest.raises(HolotypeError):
        tracked_values(run)


@of_each
def test_how_far_a_job_is(content: bytes, tmp_path: Path) -> None:
    sheet = JobSheet(tmp_path, [Job("one", (), tmp_path / "log")])
    sheet.result_file(0).write_bytes(content)
    with pytest.raises(CorruptFile):
        sheet.result(0)
