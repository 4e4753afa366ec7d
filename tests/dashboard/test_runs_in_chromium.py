"""Data and Runs in Chromium: by mouse and by keys, console empty, nothing that axe-core finds."""

import csv
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holotype.dataset.auditing.issues_csv import Issue
from holotype.dataset.near_duplicates.search import NearDuplicate
from holotype.run_directory import RunDirectory
from tests.dashboard.chromium import Person, look
from tests.dashboard.made_classifiers import HOSTILE, hostile_names
from tests.dashboard.made_runs import make_index, make_run
from tests.dashboard.test_label_pages import labels
from tests.dashboard.test_label_pages import write as write_sheet_of

pytestmark = pytest.mark.slow

CLASSES = ("ant", "bee", "cat")
ISSUES = [Issue(f"{n:06d}.png", "label_error", f"evidence {n}", "look") for n in range(6)]
LONG = (
    "Rhabdophis_tigrinus_formosanus_" * 5,
    "ヤマカガシの腹側の鱗を撮影した写真" * 5,
    "Schneckengehäuse mit außergewöhnlich langem Namen " * 3,
)
LONG_RUN = "長い名前のラン" * 8
PAIRS = [NearDuplicate("000000.png", "000001.png", "resized", "all the same", 0.99)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chromium") / "runs"
    index = make_index(folder / "images", CLASSES, 240, files=True)
    for number, name in enumerate(("one", "two", "three")):
        make_run(folder / name, index, seed=number, issues=ISSUES, pairs=PAIRS)
    names = hostile_names(200)
    hostile = make_index(folder / "images", names, 800)
    hostile.table["path"] = [f"{n:03d} {names[n % 200]}" for n in range(800)]
    issues = [Issue(path, "label_error", path, path) for path in hostile.table["path"][:50]]
    make_run(folder / "hostile", hostile, issues=issues)
    long = make_index(folder / "images", [name.strip() for name in LONG], 240)
    long.table["path"] = [f"{n:03d}/{LONG[n % 3]}{LONG[n % 2]}.png" for n in range(240)]
    paths = long.table["path"]
    make_run(
        folder / LONG_RUN, long,
        issues=[Issue(path, "label_error", f"evidence {path}", LONG[2]) for path in paths[:9]],
        pairs=[NearDuplicate(paths[0], paths[1], "resized", LONG[0], 0.99)],
    )  # fmt: skip
    for by in ("mouse", "keys"):
        write_sheet_of(folder / f"label-{by}", list(CLASSES))
        write_sheet_of(folder / f"label-many-{by}", hostile_names(200))
    write_sheet_of(folder / "label-long", [name.strip() for name in LONG])
    for name in HOSTILE:
        make_run(folder / "names" / name.replace("/", "_"), index)
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "holotype", "dashboard", str(folder), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--workers", "1"], stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stderr is not None
    while not (found := re.search(r"http://\S+/dashboard/", process.stderr.readline())):
        assert process.poll() is None
    yield found[0]
    process.terminate()
    process.wait(timeout=30)
    process.stderr.close()


def answers(folder: Path, run: str) -> dict[str, dict[str, str]]:
    with (folder / run / "audit" / "issues.csv").open(encoding="utf-8", newline="") as opened:
        return {row["path"]: row for row in csv.DictReader(opened)}


PAGES = {
    "runs": "runs/", "run": "runs/run?run=one", "start": "runs/start", "data": "data/",
    "gallery": "data/gallery?of=one", "image": "data/image?of=one&row=0",
    "confusion": "data/confusion?of=one", "duplicates": "data/duplicates?of=one",
    "review": "data/review/?of=three&reviewer=Anna",
    "hostile-gallery": "data/gallery?of=hostile", "hostile-run": "runs/run?run=hostile",
    "hostile-confusion": "data/confusion?of=hostile",
    "hostile-review": "data/review/?of=hostile&reviewer=%3Cscript%3E",
    "hostile-runs": "runs/?words=names",
    "long-gallery": f"data/gallery?of={LONG_RUN}", "long-image": f"data/image?of={LONG_RUN}&row=4",
    "long-confusion": f"data/confusion?of={LONG_RUN}", "long-run": f"runs/run?run={LONG_RUN}",
    "long-duplicates": f"data/duplicates?of={LONG_RUN}", "long-data": "data/?words=長い",
    "long-review": f"data/review/?of={LONG_RUN}&reviewer=Anna", "long-runs": "runs/?words=長い",
    "long-label": "data/label/?of=label-long", "hostile-label": "data/label/?of=label-many-mouse",
    "long-leaderboard": f"runs/leaderboard?run={LONG_RUN}",
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_at_both_widths(page: Any, url: str, name: str) -> None:
    page.goto(url + PAGES[name])
    page.wait_for_load_state("networkidle")
    look(page, name)


def test_200_hostile_names_are_legible_and_run_nothing(page: Any, url: str) -> None:
    page.goto(url + "data/gallery?of=hostile")
    options = page.locator("#label option").all_text_contents()
    assert len(options) == 201
    shown = "\n".join(options)
    for letter in "\u202e\u2066\u2069\u200f\x1b\x07":
        assert letter not in shown
    assert "\\u202egnp.exe 2" in shown
    assert "<script>alert(1)</script> 0" in shown
    for number in range(0, 200, 7):
        page.goto(url + f"data/image?of=hostile&row={number}")
        assert page.locator("h1").text_content().startswith(f"{number:03d} ")


def test_labels_are_reviewed_by_keys_alone(page: Any, url: str, folder: Path) -> None:
    page.goto(url + "data/review/?of=one&kind=label_error")
    page.keyboard.press("Tab")
    page.locator("#reviewer").focus()
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    page.wait_for_url("**reviewer=Anna**")
    page.keyboard.press("a")
    page.get_by_text("2 of 6").wait_for()
    page.keyboard.press("c")  # asks for the class
    page.keyboard.type("cat")
    page.keyboard.press("Enter")
    page.get_by_text("3 of 6").wait_for()
    page.keyboard.press("d")
    page.get_by_text("4 of 6").wait_for()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("3 of 6").wait_for()
    page.keyboard.press("u")
    page.get_by_text("2 answered by Anna").wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_text("4 of 6").wait_for()
    rows = answers(folder, "one")
    said = [
        (rows[f"{n:06d}.png"]["confirmed"], rows[f"{n:06d}.png"]["new_label"]) for n in range(4)
    ]
    assert said == [("yes", ""), ("yes", "cat"), ("", ""), ("", "")]


def test_labels_are_reviewed_by_mouse_without_scripts(
    chromium: Any, url: str, folder: Path
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url + "data/review/?of=two&kind=label_error&reviewer=Ben")
    page.get_by_role("button", name="Dismiss").click()
    assert "2 of 6" in page.locator("main").text_content()
    page.get_by_label("its label is").select_option("cat")
    page.get_by_role("button", name="Correct").click()
    rows = answers(folder, "two")
    assert rows["000000.png"]["confirmed"] == "no"
    assert rows["000001.png"]["new_label"] == "cat"
    context.close()


def test_logged_images_are_labelled(person: Person, url: str, folder: Path) -> None:
    page, sheet = person.page, f"label-{person.by}"
    page.goto(url)
    person.section("Data")
    person.link(sheet)
    page.get_by_text("1 of 3 · 0 labelled").wait_for()
    assert page.locator("figure img").evaluate("one => one.decode().then(() => one.naturalWidth)")
    look(page, f"label-{person.by}")
    answer(person, "2", "bee 2")
    page.get_by_text("2 of 3 · 1 labelled").wait_for()
    person.fill("Another class", "dáe")
    person.button("It is this")
    page.get_by_text("3 of 3 · 2 labelled").wait_for()
    answer(person, "1", "ant 1")
    page.get_by_text("3 of 3 · 3 labelled").wait_for()
    assert labels(folder / sheet) == ["bee", "dáe", "ant"]
    answer(person, "ArrowLeft", "← Previous")
    page.get_by_text("said 1", exact=True).wait_for()
    look(page, f"labelled-{person.by}")
    answer(person, "u", "Take back u")
    page.get_by_text("2 of 3 · 2 labelled").wait_for()
    answer(person, "ArrowRight", "Next →")
    page.get_by_text("3 of 3 · 2 labelled").wait_for()
    assert labels(folder / sheet) == ["bee", "", "ant"]


def answer(person: Person, key: str, name: str) -> None:
    """By its key, or by the button or link of this name."""
    if person.by == "keys":
        person.page.keyboard.press(key)
    else:
        role = "link" if key.startswith("Arrow") else "button"
        person.page.get_by_role(role, name=name, exact=True).click()


def test_one_of_many_classes_is_chosen_from_a_list(person: Person, url: str, folder: Path) -> None:
    page, sheet = person.page, f"label-many-{person.by}"
    page.goto(f"{url}data/label/?of={sheet}")
    if person.by == "keys":
        page.keyboard.press("c")
        page.keyboard.type("<script>alert(1)</script> 0")
        page.keyboard.press("Enter")
    else:
        person.fill("it is", "<script>alert(1)</script> 0")
        page.get_by_role("button", name="Choose").click()
    page.get_by_text("2 of 3 · 1 labelled").wait_for()
    assert labels(folder / sheet) == ["<script>alert(1)</script> 0", "", ""]


def test_from_the_matrix_to_an_image(person: Person, url: str) -> None:
    page = person.page
    page.goto(url)
    person.section("Data")
    person.link("Confusion matrix of one")
    cell = page.locator(".matrix td:not(.right) a").first
    count = cell.text_content()
    person.press(cell)
    page.wait_for_url("**/gallery**")
    assert page.locator("[role=status] b").text_content() == count
    person.press(page.locator(".gallery a").first)
    page.wait_for_url("**/image**")
    assert "SHA-256" in page.locator("main").text_content()


def test_images_are_filtered_and_turned_over(person: Person, url: str) -> None:
    page = person.page
    page.goto(url + "data/gallery?of=one")
    person.fill("Label", "cat")
    if person.by == "keys":  # by mouse the choice alone does
        person.fill("Part", "train")
        person.button("Show")
    page.wait_for_url("**label=2**")
    assert page.locator("[role=status] b").text_content() == ("40" if person.by == "keys" else "80")
    page.goto(url + "data/gallery?of=one")
    person.link("Next →")
    page.get_by_text("49 to 96 shown").wait_for()


def test_near_duplicates_are_looked_at_side_by_side(person: Person, url: str) -> None:
    page = person.page
    page.goto(url)
    person.section("Data")
    person.link("Near-duplicates of one")
    page.wait_for_url("**/duplicates**")
    page.wait_for_load_state("networkidle")
    assert "1 pair of near-duplicates" in page.inner_text("main")
    pair = page.locator(".pair")
    assert "two labels" in pair.inner_text()
    assert "all the same" in pair.inner_text()
    images = pair.locator("img")
    left, right = (images.nth(n).bounding_box() for n in range(2))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert images.evaluate_all("all => all.every((one) => one.naturalWidth > 0)")
    person.press(pair.locator("a").nth(1))
    page.wait_for_url("**/image**row=1**")
    assert page.locator("h1").inner_text() == PAIRS[0].second
    person.link("Near-duplicates")
    page.wait_for_url("**/duplicates**")


def test_a_run_is_tagged_and_found_by_its_tag(person: Person, url: str) -> None:
    page = person.page
    page.goto(url)
    person.section("Runs")
    person.link("three")
    person.fill("Words with commas between them", f"by {person.by}, ")
    person.button("Keep")
    page.locator(f"#tags[value='by {person.by}']").wait_for()  # as the server has it
    person.section("Runs")
    person.fill("Tag", f"by {person.by}")
    if person.by == "keys":
        person.button("Show")
    page.wait_for_url("**tag=by**")
    assert page.locator("[role=status] b").text_content() == "1"


def test_chosen_runs_are_compared(person: Person, url: str) -> None:
    page = person.page
    page.goto(url + "runs/")
    for name in ("one", "two", "three"):
        person.press(page.get_by_label(f"Compare {name}", exact=True))
    person.button("Compare the chosen runs")
    page.get_by_text("Test ·").wait_for(timeout=120_000)
    assert page.locator("table").first.locator("tbody tr").count() == 3
    look(page, "leaderboard")


@pytest.mark.parametrize(
    ("kind", "words", "ended"),
    [
        ("sweep", ["--recipe", "linear", "--seeds", "0", "1", "--data"], "2 runs: 2 finished"),
        ("search", ["--recipe", "linear", "--trials", "2"], "3 trials: 3 complete"),
    ],
)
def test_a_sweep_and_a_search_are_watched(
    page: Any, url: str, folder: Path, synthetic: Path, kind: str, words: list[str], ended: str
) -> None:
    verb = "tune" if kind == "search" else kind
    command = [sys.executable, "-m", "holotype", verb, *words, str(synthetic)]
    process = subprocess.Popen([*command, "--model", "hog", "--output", str(folder / kind)])
    try:
        while not (folder / kind / f"{kind}.json").exists():
            assert process.poll() is None
            time.sleep(0.1)
        page.goto(url + f"runs/{kind}?run={kind}")
        page.get_by_role("button", name="Stop").wait_for()
        page.get_by_text(ended).wait_for(timeout=300_000)
        assert process.wait(timeout=300) == 0
        page.get_by_role("button", name="Stop").wait_for(state="detached")
        look(page, kind)
    finally:
        process.kill()
        process.wait()


HOLD = """
import signal, sys, time
from pathlib import Path
from holotype.run_directory import RunDirectory
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.finetuning.history import history_writer
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
run = Path(sys.argv[1])
add = history_writer(run / "history.csv")
with RunDirectory(run).lock():
    for epoch in range(1000):
        add(EpochMetrics("finetune", epoch, 1 / (epoch + 1), 1 / (epoch + 2), 0.5, 0.001, 10))
        time.sleep(1)
"""


def test_a_training_is_watched_and_stopped(person: Person, url: str, folder: Path) -> None:
    page, name = person.page, f"live-{person.by}"
    run = folder / name
    run.mkdir()
    RunDirectory(run).write_recipe(
        "name: finetune\nmodel: x\nstages:\n- {name: finetune, epochs: 9}\n"
    )
    process = subprocess.Popen([sys.executable, "-c", HOLD, run])
    try:
        while not (run / "history.csv").exists():
            time.sleep(0.2)
        page.goto(url + f"runs/run?run={name}")
        page.get_by_text("training by process").wait_for()
        page.locator(".curves canvas").first.wait_for()
        before = page.locator("#moving tbody tr").count()
        page.locator(f"#moving tbody tr >> nth={before + 1}").wait_for()  # without being loaded
        look(page, "live")
        person.button("Stop")
        assert process.wait(timeout=30) == 7
        page.locator("#moving .state.stopped").wait_for()
        page.get_by_role("button", name="Stop").wait_for(state="detached")
    finally:
        process.kill()
        process.wait()


def test_a_training_is_started_from_the_form(
    person: Person, url: str, folder: Path, synthetic: Path
) -> None:
    page, name = person.page, f"started-{person.by}"
    page.goto(url + "runs/")
    person.link("Start a training")
    person.fill("Images: a folder or a table on this server's machine", str(synthetic))
    person.fill("Name of the run", name)
    person.fill("Recipe", "linear")
    person.fill("Model", "hog")
    person.fill("Image size", "32")
    person.button("Write the command")
    assert f"holotype train {synthetic}" in page.locator("#command").text_content()
    look(page, "command")
    person.button("Start it here")
    page.get_by_role("link", name=name).wait_for(timeout=120_000)
    look(page, "started")
    person.link(name)
    page.get_by_text("Scores on").wait_for(timeout=300_000)
    assert (folder / name / "report" / "index.html").exists()
