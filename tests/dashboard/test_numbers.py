"""The numbers on a page are those of the files and of the API, all of them, in their order."""

import json
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import holotype
from holotype.dashboard_pages.runs import run_pages
from holotype.predictions import read_predictions
from holotype.reporting.templates import fixed, interval, signed
from holotype.watching.watch_status import (
    MonitorRecord,
    WatchedModel,
    WatchStatus,
    WindowRecord,
)
from tests.dashboard.browsing import Visit
from tests.dashboard.made_runs import make_index, make_run
from tests.registry.made import write_run
from tests.serving.running import Running

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def folder(visit: Visit) -> Path:
    folder = Path(visit.app.state.dashboard.folder)
    index = make_index(folder / "images", CLASSES, 240)
    for number, name in enumerate(("one", "two", "bad")):
        make_run(folder / name, index, seed=number, wrong=0.9 if name == "bad" else 0.1)
    return folder


def rows_of(visit: Visit, label: str) -> list[list[str]]:
    """The cells of the table that is called so."""
    return visit.page.tables[label]


def number(estimate: dict[str, float] | None) -> list[str]:
    """A score of a file as a page writes it: its value, and its interval."""
    if estimate is None:
        return ["–", ""]
    low, high = estimate["low"], estimate["high"]
    return [fixed(estimate["value"]), "" if low is None else f"{fixed(low)} – {fixed(high)}"]


def test_the_leaderboard_has_all_numbers_of_compare(
    visit: Visit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_pages, "WAIT_S", 120)
    visit.get("/dashboard/runs/leaderboard?run=one&run=two&run=bad")
    compared = holotype.compare([folder / name for name in ("one", "two", "bad")], speed_images=0)
    assert list(compared.leaderboards) == ["test", "val"]
    for board in compared.leaderboards.values():
        expected = []
        for n in board.order:
            behind = board.difference_to_best(n)
            accuracy = board.accuracies[n]
            to_best = ["–", ""]
            if behind is not None:
                to_best = [signed(behind.value), f"{signed(behind.low)} – {signed(behind.high)}"]
            expected.append(
                [
                    board.rank_text(n), board.names[n], fixed(accuracy.value), interval(accuracy),
                    *to_best, *(fixed(board.value(score, n)) for score in board.scores),
                ]
            )  # fmt: skip
        assert rows_of(visit, f"Leaderboard on {board.title}") == expected
        assert expected[-1][1] == "bad"


def test_a_run_has_all_numbers_of_its_report(visit: Visit, folder: Path) -> None:
    visit.get("/dashboard/runs/run?run=one")
    metrics = json.loads((folder / "one" / "report" / "metrics.json").read_bytes())
    names = [row[0].replace(" ", "_") for row in rows_of(visit, "Scores")]
    assert {"accuracy", "macro_f1", "log_loss"} <= set(names)
    for name, row in zip(names, rows_of(visit, "Scores"), strict=True):
        assert row[1:] == number(metrics[name])
    expected = [
        [
            name, str(one["support"]), *number(one["recall"]), *number(one["precision"]),
            number(one["f1"])[0],
        ]
        for name, one in metrics["per_class"].items()
    ]  # fmt: skip
    assert rows_of(visit, "Scores of classes") == expected
    assert len(expected) == 3


def test_a_confusion_matrix_counts_the_rows_of_the_predictions(visit: Visit, folder: Path) -> None:
    for part in ("test", "val"):
        visit.get(f"/dashboard/data/confusion?of=one&part={part}")
        predictions = read_predictions(folder / "one" / "predictions" / f"{part}.parquet")
        pairs = list(zip(predictions.targets_N, predictions.predicted_N, strict=True))
        expected = [
            [name, *(str(pairs.count((true, said))) for said in range(3))]
            for true, name in enumerate(CLASSES)
        ]
        assert rows_of(visit, "Confusion matrix") == expected


def test_registered_versions_have_the_numbers_of_their_runs(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(tmp_path / "registry"))
    registry = holotype.Registry()
    for n, accuracy in enumerate((0.7, 0.9, 0.8)):
        run = write_run(tmp_path / f"run-{n}", "x" * (n + 1), accuracy=accuracy)
        registry.add(run, name="cells", reason=f"number {n}")
    registry.promote("cells", 2, reason="the best")
    files = [tmp_path / f"run-{n}" / "report" / "metrics.json" for n in range(3)]
    scores = [number(json.loads(file.read_bytes())["accuracy"]) for file in files]
    told = registry.show("cells").to_json()
    visit.get("/dashboard/service/")
    assert rows_of(visit, "Registered classifiers") == [
        ["cells", "3", str(told["champion"]), *scores[1], str(told["versions"][0]["version"])]
    ]
    visit.get("/dashboard/service/model?name=cells")
    assert [row[:4] for row in rows_of(visit, "Versions")] == [
        ["3", "", *scores[2]], ["2", "champion", *scores[1]], ["1", "", *scores[0]],
    ]  # fmt: skip
    for row, version in zip(rows_of(visit, "Versions"), told["versions"], strict=True):
        assert row[2:4] == number(version["accuracy"])
    page = visit.get("/dashboard/service/promote?name=cells&version=3")
    assert "Accuracy -10.0 points" in page.text
    assert "on 200 images of val" in page.text
    registry.close()


def test_traffic_has_all_counts_of_the_metrics_and_of_the_api(
    browser: Visit, server: Running, images: list[Path]
) -> None:
    for content in [*(path.read_bytes() for path in images), b"no image"]:
        httpx.post(
            f"{server.url}/v1/models/tiny/predict", content=content,
            headers={"content-type": "image/png"},
        )  # fmt: skip
    browser.get("/dashboard/service/")
    counted: list[list[str]] = []
    seconds: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text):
        for sample in family.samples:
            if sample.name == "holotype_images_total":
                found = [sample.labels[name] for name in ("version", "arm", "outcome")]
                counted.append([*found[:2], found[2].replace("_", " "), f"{sample.value:,.0f}"])
            elif family.name == "holotype_image_seconds":
                kind = sample.name.rpartition("_")[2]
                if kind in ("sum", "count"):
                    seconds[sample.labels["stage"], kind] = sample.value
    assert len({row[2] for row in counted}) > 1  # answered, and refused
    assert rows_of(browser, "Images of tiny") == counted
    for stage, words in (("queue", "Waiting"), ("run", "Decoding and inference")):
        mean_ms = 1000 * seconds[stage, "sum"] / seconds[stage, "count"]
        assert f"{words}: {mean_ms:.1f} ms on average" in browser.page.text
    status = httpx.get(f"{server.url}/v1/models/tiny/traffic").json()
    assert f"Version {status['champion']['version']} answers" in browser.page.text


def test_what_watching_found_is_that_of_its_file(visit: Visit) -> None:
    folder = Path(visit.app.state.dashboard.folder)
    monitors = [
        MonitorRecord("brightness", "input", 1.25, 5000.0, 2000.0),
        MonitorRecord("class crack", "output", 0.125, 2.5, 2000.0),
    ]
    windows = [
        WindowRecord(n, f"2026-01-0{n}T00:00:00Z", f"2026-01-0{n}T12:00:00Z", 1000 * n, 7, 0.5 * n)
        for n in (1, 2, 3)
    ]
    model = WatchedModel("cells", 2, "0" * 64, "registry://cells@champion")
    accuracy = {"feedback": {"value": 0.875, "low": 0.75, "high": 0.9375, "reason": "of 40"}}
    alarm = ("input", "2026-01-03T12:00:00Z", "2026-01-02T00:00:00Z")
    WatchStatus(
        model,
        "log",
        "2026-01-04T00:00:00Z",
        True,
        *alarm,
        monitors=monitors,
        windows=windows,
        accuracy=accuracy,
    ).write(folder / "watch-cells")
    page = visit.get("/dashboard/service/")
    found = json.loads((folder / "watch-cells" / "watch.json").read_bytes())
    assert f"Something changed: {found['kind']}, since {found['change_since']}" in page.text
    assert f"3 windows, written {found['written_at']}, in watch-cells" in page.text
    visit.get("/dashboard/service/watch?of=watch-cells")
    assert rows_of(visit, "Monitors") == [
        [one["name"], one["about"], fixed(one["evidence"])] for one in found["monitors"]
    ]
    assert rows_of(visit, "Windows") == [
        [
            str(one["number"]), one["start"][:19].replace("T", " "),
            one["end"][:19].replace("T", " "), f"{one['images']:,}", str(one["groups"]),
            fixed(one["evidence"]),
        ]
        for one in reversed(found["windows"])
    ]  # fmt: skip
    (said,) = rows_of(visit, "Accuracy")
    estimate = found["accuracy"]["feedback"]
    assert said[:3] == ["feedback", *number(estimate)]
