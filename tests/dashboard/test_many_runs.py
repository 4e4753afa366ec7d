"""10,000 runs and 50,000 images: every page in less than 300 ms at the server, memory bounded."""

import json
import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holotype.dashboard_pages.page import prepare_pages
from holotype.dataset.auditing.issues_csv import Issue
from holotype.dataset.near_duplicates.search import NearDuplicate
from tests.dashboard.browsing import Visit, open_dashboard
from tests.dashboard.made_runs import make_index, make_run

pytestmark = pytest.mark.slow

RUNS, IMAGES = 10_000, 50_000
LIMIT_S = 0.3
CLASSES = tuple(f"species {n:02d}" for n in range(20))
FILES = ("recipe.yaml", "report/metrics.json", "environment.json")


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    folder = tmp_path_factory.mktemp("many") / "runs"
    index = make_index(folder / "images", CLASSES, IMAGES)
    index.table["label"] = index.table["label"].astype("str")
    issues = [Issue(f"{n:06d}.png", "label_error", f"evidence {n}", "look") for n in range(2000)]
    pairs = [
        NearDuplicate(f"{n:06d}.png", f"{n + 1:06d}.png", "resized", "same", 0.99)
        for n in range(0, 2000, 2)
    ]
    make_run(folder / "large", index, issues=issues, pairs=pairs)
    first = make_run(folder / "runs" / "00000", make_index(folder / "images", CLASSES, 400))
    for number in range(1, RUNS):
        run = folder / "runs" / f"{number:05d}"
        (run / "report").mkdir(parents=True)
        for file in FILES:
            shutil.copyfile(first / file, run / file)
    opened = open_dashboard(folder)
    began = time.monotonic()
    while not (page := opened.get("/dashboard/runs/")).text.count(f"{RUNS + 1:,} of"):
        assert time.monotonic() - began < 600, page.text[:500]
        time.sleep(1)
    print(f"{RUNS} runs were read in {time.monotonic() - began:.0f} s")
    yield opened
    shutil.rmtree(folder)


PAGES = (
    "runs/", "runs/?order=accuracy", "runs/?words=0999", "runs/?page=150&model=hog",
    "runs/run?run=runs/00000", "runs/run?run=large", "data/", "data/?words=large",
    "data/gallery?of=large", "data/gallery?of=large&page=1000",
    "data/gallery?of=large&answer=wrong&order=confident&low=0.2",
    "data/gallery?of=large&words=0499&label=3", "data/gallery?of=large&finding=label_error",
    "data/image?of=large&row=49999", "data/confusion?of=large", "data/duplicates?of=large&page=9",
    "data/review/?of=large&reviewer=Anna&number=1500", "data/thumbnail?of=large&row=49999",
    "", "try", "identify/", "service/", "specimens/", "runs/start", "runs/started",
)  # fmt: skip


def seconds(visit: Visit, page: str) -> float:
    """Processor time of all threads: what a page takes on a machine with nothing else to do."""
    began = time.process_time()
    answer = visit.client.get(f"/dashboard/{page}")
    took = time.process_time() - began
    assert answer.status_code == 200
    return took


def seconds_anew(visit: Visit, page: str) -> float:
    """Of a page of whose data set nothing is in memory."""
    visit.app.state.dashboard.kept.pop("data files", None)
    return seconds(visit, page)


def test_every_page_answers_in_less_than_300_ms(visit: Visit) -> None:
    prepare_pages()  # as the server does at its start
    first = {page: seconds_anew(visit, page) for page in PAGES}
    # The least of some, since the folder is looked over beside them.
    anew = {page: min(seconds_anew(visit, page) for _ in range(3)) for page in PAGES}
    again = {page: min(seconds(visit, page) for _ in range(3)) for page in PAGES}
    print("the first time, with all files of the data set read anew, and with none")
    for page in PAGES:
        print(*(f"{1000 * one[page]:5.0f} ms" for one in (first, anew, again)), page)
    assert max(anew.values()) < LIMIT_S
    assert max(again.values()) < LIMIT_S


def test_a_run_that_changes_is_seen_and_costs_no_page_its_time(visit: Visit) -> None:
    folder = Path(visit.app.state.dashboard.folder)
    visit.get("/dashboard/runs/run?run=runs/00077")
    visit.submit("tags?run=runs%2F00077", tags="seen")
    assert "1 of 10,001" in visit.get("/dashboard/runs/?tag=seen").text
    (folder / "runs" / "00078" / "tags.json").write_text(json.dumps(["other"]))
    began = time.monotonic()
    while "1 of 10,001" not in visit.get("/dashboard/runs/?tag=other").text:
        assert time.monotonic() - began < 20
        time.sleep(0.2)
    times = []
    for _ in range(10):
        time.sleep(0.3)  # so that the folder is looked over at every other page
        times.append(seconds(visit, "runs/"))
    print("runs/ while the folder is looked over:", [f"{1000 * one:.0f}" for one in times])
    assert sorted(times)[len(times) // 2] < LIMIT_S


def test_an_answer_of_a_review_takes_less_than_300_ms(visit: Visit) -> None:
    times = []
    visit.get("/dashboard/data/review/?of=large&kind=label_error&reviewer=Anna&number=7")
    for _ in range(5):
        began = time.process_time()
        visit.submit("answer?of=large", decision="dismiss")
        times.append(time.process_time() - began)
    print("answers and the next image:", [f"{1000 * one:.0f} ms" for one in times])
    assert sorted(times)[2] < 2 * LIMIT_S  # two requests


def test_memory_is_bounded(visit: Visit) -> None:
    def resident_mb() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    for page in PAGES:
        seconds(visit, page)
    before = resident_mb()
    folder = Path(visit.app.state.dashboard.folder)
    for number in range(8):  # more data sets of 50,000 images than are kept
        index = folder / "large" / "index.parquet"
        os.utime(index, (number, number))
        for page in PAGES[8:]:
            seconds(visit, page)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{before:.0f} MB, {resident_mb():.0f} MB after 8 readings, peak {peak:.0f} MB")
    assert resident_mb() < before + 150
