"""The history of a training is there while it goes on, and is that of the end."""

import csv
from pathlib import Path

import pytest

from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.finetuning.history import history_writer, write_history


def epochs(stage: str, *numbers: int) -> list[EpochMetrics]:
    return [EpochMetrics(stage, n, 1 / (n + 1), 0.5, 0.25 * n, 0.01, 10) for n in numbers]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.csv"


def test_after_every_epoch_the_file_is_that_of_all_so_far(file: Path, tmp_path: Path) -> None:
    add, rows = history_writer(file), [*epochs("head", 0, 1), *epochs("finetune", 0, 1, 2)]
    for count, epoch in enumerate(rows, start=1):
        add(epoch)
        write_history(rows[:count], tmp_path / "expected.csv")
        with file.open(newline="") as ours, (tmp_path / "expected.csv").open(newline="") as theirs:
            assert list(csv.reader(ours)) == list(csv.reader(theirs))


def test_a_resumed_training_keeps_what_it_does_not_repeat(file: Path) -> None:
    rows = [*epochs("head", 0, 1), *epochs("finetune", 0, 1, 2)]
    for epoch in rows:
        history_writer(file)(epoch)
    history_writer(file)(epochs("finetune", 1)[0])  # of a new process
    with file.open(newline="") as opened:
        told = [(row["stage"], row["epoch"]) for row in csv.DictReader(opened)]
    assert told == [("head", "0"), ("head", "1"), ("finetune", "0"), ("finetune", "1")]


def test_a_damaged_file_is_begun_anew(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    history_writer(file)(epochs("head", 0)[0])
    with file.open(newline="") as opened:
        assert [row["stage"] for row in csv.DictReader(opened)] == ["head"]
