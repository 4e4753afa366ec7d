"""Who may what, in Chromium: a key of the server with each right, by mouse and by keys alone."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import holotype
from holotype.dataset.auditing.issue_reviews import read_reviewed_issues
from holotype.dataset.auditing.issues_csv import Issue
from holotype.serving.http.keys import add_key, remove_key
from tests.dashboard.chromium import Person, look
from tests.dashboard.made_classifiers import write_classifiers
from tests.dashboard.made_runs import make_index, make_run
from tests.dashboard.test_run_pages import HOLD
from tests.serving.running import Running, running
from tests.serving.versions import write_version

pytestmark = pytest.mark.slow

RIGHTS = ("look", "review", "promote")
ISSUES = [Issue(f"{n:06d}.png", "label_error", f"evidence {n}", "look") for n in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with findings, a registry with two versions, a classifier."""
    folder = write_classifiers(tmp_path_factory.mktemp("rights"))
    index = make_index(folder / "images", ("ant", "bee", "cat"), 24, files=True)
    make_run(folder / "found", index, issues=ISSUES)
    registry = holotype.Registry(folder / "registry")
    for seed in (1, 2):
        bundle = write_version(folder / "versions" / str(seed), seed)
        registry.add(bundle.path, name="cells", reason="made")
    registry.promote("cells", 1, reason="the first")
    registry.close()
    return folder


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    """A key for each way to go about the pages, with one right."""
    return {
        name: add_key(folder / "keys.json", name, 1000.0, rights)
        for by in ("mouse", "keys")
        for name, rights in [
            *((f"{by}-{right}", (right,)) for right in RIGHTS),
            (f"{by}-api", ()),
            (f"{by}-leaving", ("look",)),
        ]
    }


@pytest.fixture(scope="module")
def server(folder: Path, keys: dict[str, str]) -> Iterator[Running]:
    words = ("tiny=one", "--workers", "1", "--dashboard", "--keys", "keys.json")
    with running(*words, folder=folder) as found:
        yield found


@pytest.fixture
def url(server: Running) -> str:
    return f"{server.url}/dashboard/"


@pytest.fixture
def live(folder: Path, person: Person) -> Iterator["subprocess.Popen[bytes]"]:
    """A training that can be stopped, in a run of its own."""
    run = make_run(folder / f"live-{person.by}", make_index(folder, ("a", "b"), 24))
    (run / "report" / "metrics.json").unlink()
    process = subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def log_in(person: Person, url: str, key: str) -> None:
    """From any page, which asks for a key first and is shown afterwards."""
    person.page.goto(url)
    person.page.wait_for_url("**/login**")
    person.fill("Key", key)
    person.button("Log in")


def test_wrong_keys_open_nothing(person: Person, url: str, keys: dict[str, str]) -> None:
    page = person.page
    log_in(person, url, "holotype_wrong")
    page.get_by_role("alert").get_by_text("This is no key of this server.").wait_for()
    look(page, "login")
    person.fill("Key", keys[f"{person.by}-api"])
    person.button("Log in")
    page.get_by_role("alert").get_by_text("This key is for the API alone.").wait_for()
    assert page.get_by_role("navigation").count() == 0


def test_looking_changes_nothing(
    person: Person, url: str, keys: dict[str, str], live: "subprocess.Popen[bytes]"
) -> None:
    page = person.page
    log_in(person, f"{url}runs/run?run=live-{person.by}", keys[f"{person.by}-look"])
    page.get_by_text("To stop it takes a key with the right").wait_for()
    assert page.get_by_role("button", name="Stop").count() == 0
    assert page.get_by_label("Words with commas between them").count() == 0
    look(page, "run-of-who-may-look")
    person.section("Data")
    person.link("Review of found")
    page.get_by_text("may look, and not review").wait_for()
    assert page.locator("form[data-review]").count() == 0
    person.section("In service")
    person.link("cells")
    page.get_by_role("heading", name="History").wait_for()
    assert page.get_by_role("button", name="Roll back").count() == 0
    assert page.get_by_role("link", name="version 2…").count() == 0
    page.goto(f"{url}runs/start")
    page.get_by_text("To start a training takes a key with the right").wait_for()
    look(page, "start-of-who-may-look")
    person.button("Log out")
    page.wait_for_url("**/login**")
    page.goto(url)
    page.wait_for_url("**/login**")
    assert live.poll() is None


def test_reviewing_is_kept_under_the_name_of_the_key(
    person: Person, url: str, keys: dict[str, str], folder: Path, live: "subprocess.Popen[bytes]"
) -> None:
    page, name = person.page, f"{person.by}-review"
    log_in(person, f"{url}data/review/?of=found&kind=label_error", keys[name])
    page.get_by_text("1 of 6").wait_for()
    page.wait_for_load_state()  # keys are heard from then on
    assert page.get_by_label("Your name").count() == 0
    if person.by == "mouse":
        person.button("Accept")
    else:
        page.keyboard.press("a")
    page.get_by_text(f"1 answered by {name}").wait_for()
    first = read_reviewed_issues(folder / "found" / "audit" / "issues.csv")[0]
    assert name in {review.reviewer for review in first.reviews}
    page.goto(f"{url}runs/run?run=live-{person.by}")
    page.get_by_text("To stop it takes a key with the right").wait_for()
    person.fill("Words with commas between them", "seen")
    person.button("Keep")
    page.locator("#tags[value='seen']").wait_for()  # as the server has it
    assert json.loads((folder / f"live-{person.by}" / "tags.json").read_text()) == ["seen"]
    assert live.poll() is None


def test_promoting_stops_and_promotes_under_the_name_of_the_key(
    person: Person, url: str, keys: dict[str, str], folder: Path, live: "subprocess.Popen[bytes]"
) -> None:
    page, name = person.page, f"{person.by}-promote"
    log_in(person, f"{url}runs/run?run=live-{person.by}", keys[name])
    person.button("Stop")
    assert live.wait(timeout=30) == 7
    page.locator("#moving .state.stopped").wait_for()
    person.section("In service")
    person.link("cells")
    with closing(holotype.Registry(folder / "registry")) as registry:
        champion = registry.current_version("cells")
    other = 3 - champion
    person.link(f"version {other}…")
    person.fill("Reason", f"because {name} says so")
    person.press(page.get_by_label("Promote it all the same"))
    person.button("Make it the champion")
    page.get_by_text(f"Version {other} is the champion").wait_for()
    with closing(holotype.Registry(folder / "registry")) as registry:
        event = registry.history("cells").events[-1]
    assert (event.who, event.reason) == (name, f"because {name} says so")


def test_a_key_that_is_removed_opens_nothing_any_more(
    person: Person, url: str, keys: dict[str, str], folder: Path
) -> None:
    page, name = person.page, f"{person.by}-leaving"
    log_in(person, f"{url}runs/", keys[name])
    page.get_by_role("heading", name="Runs").wait_for()
    remove_key(folder / "keys.json", name)
    page.wait_for_timeout(1500)  # the server looks at its keys every second
    page.reload()
    page.wait_for_url("**/login**")
