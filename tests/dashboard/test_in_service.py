"""In service: the pages say what the registry, the traffic and the metrics say, and move it."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import holotype
from holotype.dashboard_pages.runs.folder_index import FolderIndex
from holotype.watching.watch_status import (
    MonitorRecord,
    WatchedModel,
    WatchStatus,
    WindowRecord,
)
from tests.dashboard.browsing import Visit
from tests.dashboard.made_classifiers import write_run
from tests.serving.running import Running
from tests.serving.versions import write_version

HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> holotype.Registry:
    """Two versions of `cells`, of which the first is the champion."""
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(tmp_path / "registry"))
    found = holotype.Registry(who=HOSTILE)
    for seed in (1, 2):
        write_run(tmp_path / f"r{seed}", write_version(tmp_path / f"r{seed}" / "bundle", seed))
        found.add(tmp_path / f"r{seed}" / "bundle", name="cells", reason=HOSTILE)
    found.promote("cells", 1, reason="the first")
    return found


def test_versions_champion_and_history_are_those_of_the_registry(
    registry: holotype.Registry, visit: Visit
) -> None:
    page = visit.get("/dashboard/service/")
    assert "cells 2 1" in page.text
    page = visit.get("model?name=cells")
    assert "Version 1 is the champion" in page.text
    assert "<script>alert" not in visit.answer.text
    assert "\u202e" not in visit.answer.text
    for event in registry.history("cells").events:
        assert event.change in page.text
    assert "the first" in page.text


def test_a_version_that_cannot_be_compared_needs_force_and_a_reason(
    registry: holotype.Registry, visit: Visit
) -> None:
    page = visit.get("/dashboard/service/promote?name=cells&version=2")
    assert "cannot be compared" in page.text
    page = visit.submit("promote", reason="")
    assert visit.status == 422
    assert "reason is needed" in page.text
    visit.get("/dashboard/service/promote?name=cells&version=2")
    fields = {**visit.page.forms[-1]["fields"], "reason": "why"}
    del fields["force"]
    page = visit.post("promote", fields)
    assert visit.status == 422
    assert registry.current_version("cells") == 1
    visit.get("/dashboard/service/promote?name=cells&version=2")
    page = visit.submit("promote", reason="we know better")
    assert "Version 2 is the champion" in page.text
    assert "we know better" in page.text
    assert registry.current_version("cells") == 2
    page = visit.submit("rollback", reason="it was not")
    assert "Version 1 is the champion" in page.text
    assert registry.history("cells").events[-1].reason == "it was not"


def test_a_champion_that_has_moved_meanwhile_is_not_moved_again(
    registry: holotype.Registry, visit: Visit
) -> None:
    visit.get("/dashboard/service/promote?name=cells&version=2")
    page = visit.page.forms[-1]["fields"]
    registry.promote("cells", 2, force=True, reason="quicker")
    told = visit.post("promote", {**page, "reason": "mine"})
    assert visit.status == 422
    assert "look again" in told.text


def test_only_who_may_promote_is_shown_how_and_may(
    registry: holotype.Registry, visit_with_keys: Callable[..., Visit]
) -> None:
    visit = visit_with_keys()
    visit.login("review")
    page = visit.get("/dashboard/service/model?name=cells")
    assert "Promote" not in page.text
    assert "Roll back" not in page.text
    token = visit.token
    for path in ("promote", "rollback"):
        visit.post(path, {"csrf": token, "name": "cells", "version": "2", "reason": "x"})
        assert visit.status == 403
    visit.login("promote", name="ada")
    visit.get("/dashboard/service/promote?name=cells&version=2")
    visit.submit("service/promote", reason="mine")
    assert registry.current_version("cells") == 2
    assert registry.history("cells").events[-1].who == "ada"


def test_traffic_is_what_the_metrics_count(
    browser: Visit, server: Running, images: list[Path]
) -> None:
    for path in images:
        headers = {"content-type": "image/png"}
        httpx.post(
            f"{server.url}/v1/models/tiny/predict", content=path.read_bytes(), headers=headers
        ).raise_for_status()
    text = httpx.get(f"{server.url}/metrics").text
    line = next(
        line
        for line in text.splitlines()
        if line.startswith("holotype_images_total{") and 'outcome="answered"' in line
    )
    page = browser.get("/dashboard/service/")
    assert f"champion answered {float(line.split()[-1]):.0f}" in page.text
    status = httpx.get(f"{server.url}/v1/models/tiny/traffic").json()
    assert f"Version {status['champion']['version']} answers" in page.text


def test_without_a_registry_the_page_says_how_to_make_one(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(tmp_path / "none"))
    assert "holotype registry add" in visit.get("/dashboard/service/").text
    assert "holotype registry add" in visit.get("/dashboard/service/model?name=x").text
    assert not (tmp_path / "none").exists()


def test_a_registry_that_cannot_be_read_is_not_called_missing(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "registry.db").write_bytes(b"no database " * 100)
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(tmp_path / "damaged"))
    for address in ("/dashboard/service/", "/dashboard/service/model?name=x"):
        text = visit.get(address).text
        assert "cannot be used" in text
        assert "holotype registry add" not in text


def test_what_watching_found_has_a_page(visit: Visit) -> None:
    folder = Path(visit.app.state.dashboard.folder) / "watch-cells"
    folder.mkdir()
    window = WindowRecord(31, "2026-11-26T20:15:00Z", "2026-11-26T21:15:00Z", 200, 187, 2.5)
    status = WatchStatus(
        WatchedModel(HOSTILE, 3, "d" * 64, "registry://cells@champion"), "log",
        "2026-11-26T21:15:00Z", alarm=True, kind="novelty", change_since=window.start,
        monitors=(MonitorRecord("entropy", "output", 2.5, 9e9, 4000.0),), windows=(window,),
        accuracy={"estimated": {"value": None, "low": None, "high": None, "reason": "unlike any"}},
        changes={
            "named": [{"kind": "novelty", "windows": 1, "images": 187}], "asked_again": True,
            "classes": [{"name": HOSTILE, "reference": 0.5, "answered": 0.25, "by_em": 0.2}],
        },
    )  # fmt: skip
    status.write(folder)
    page = visit.get("/dashboard/service/")
    page = visit.get(next(link for link in page.links if "watch?" in link))
    for told in ("novelty since 2026-11-26T20:15:00Z", "Named by 187 images of 1 window; asked",
                 "entropy output 2.5", "unlike any", "0.500 0.250 0.200",
                 "31 2026-11-26 20:15:00 2026-11-26 21:15:00 200 187"):  # fmt: skip
        assert told in page.text, page.text
    assert "<script>alert" not in visit.answer.text
    for of in ("", "..", "nowhere"):
        visit.get(f"/dashboard/service/watch?of={of}")
        assert visit.status == 422


def test_alarms_are_shown_first_and_what_has_no_window_is_not_called_good(visit: Visit) -> None:
    folder = Path(visit.app.state.dashboard.folder)
    for n in range(15):
        (folder / f"watch-{n:02d}").mkdir()
        model = WatchedModel(f"cells {n}", 3, "d" * 64, "x")
        WatchStatus(model, "log", "now", alarm=n == 14, kind="input" if n == 14 else None).write(
            folder / f"watch-{n:02d}"
        )
    page = visit.get("/dashboard/service/")
    assert page.text.index("cells 14") < page.text.index("cells 0")
    assert "And 3 more" in page.text
    assert "Nothing is known yet" in page.text
    assert 'class="good"' not in visit.answer.text
    page = visit.get("/dashboard/service/watch?of=watch-00")
    assert 'class="good"' not in visit.answer.text


@pytest.mark.parametrize("page", ["identify/", "service/", "data/"])
def test_a_folder_that_is_still_being_read_is_not_called_empty(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setattr(FolderIndex, "is_complete", False)
    found = visit.get(f"/dashboard/{page}")
    assert "being read for the first time" in found.text
    assert "There is no gallery" not in found.text
    assert "No folder of" not in found.text
