"""The pages of galleries: who is this, confirm, add as new, and the history of an individual."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import holotype
from holotype.serving.http.keys import add_key
from tests.bundle.tiny import write_tiny
from tests.dashboard.browsing import Visit
from tests.identification.individuals import Sighting, sightings, write, write_table
from tests.serving.running import running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle and a gallery of it, two folders deep."""
    place = tmp_path_factory.mktemp("pages")
    write_tiny(place / "tiny").without_decision()
    table = write_table(place / "images" / "table.csv", sightings(12, 2, 1, ("left", "right")))
    gallery = holotype.Gallery(place / "turtles" / "<known>", place / "tiny")
    gallery.add(table, attributes={"side": None})
    for right in ("look", "review"):
        (place / right).write_text(add_key(place / "keys.json", right, 1000.0, [right]))
    return place


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ("--dashboard", "--keys", folder / "keys.json", "--workers", "1")
        with running(folder / "tiny", *words) as server:
            yield server.url


@pytest.fixture
def visit(address: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Somebody with the right of the parameter."""
    with httpx.Client(base_url=address, follow_redirects=True, timeout=60) as client:
        found = Visit(None, client)
        found.answer = client.get("/dashboard/login")
        found.submit("login", key=(folder / request.param).read_text())
        yield found


def ask(visit: Visit, *paths: Path) -> str:
    visit.get("/dashboard/identify/")
    visit.get(next(link for link in visit.page.links if "gallery?" in link))
    files = [("images", (path.name, path.read_bytes(), "image/png")) for path in paths]
    visit.submit("identify/ask", files=files, **{"attribute-side": "left"})
    assert visit.status == 200, visit.page.text
    return visit.page.text


@pytest.mark.parametrize("visit", ["review"], indirect=True)
def test_somebody_known_is_confirmed_and_in_the_history(visit: Visit, tmp_path: Path) -> None:
    text = ask(visit, *write(tmp_path, [Sighting(3, 9), Sighting(3, 9, 1)]))
    assert "t03" in text
    assert visit.answer.text.count('type="radio"') == 5
    visit.submit("identify/confirm", individual="t03")
    assert "6 images" in visit.page.text
    assert visit.page.text.count("upload/") >= 2
    image = next(found["src"] for tag, found in visit.page.tags if tag == "img")
    answer = visit.client.get(visit.answer.url.join(str(image)))
    assert answer.headers["content-type"].startswith("image/")


@pytest.mark.parametrize("visit", ["review"], indirect=True)
def test_images_that_were_asked_about_together_are_added_as_one_encounter(
    visit: Visit, folder: Path, tmp_path: Path
) -> None:
    ask(visit, *write(tmp_path, [Sighting(7, 9), Sighting(7, 9, 1)]))
    visit.submit("identify/confirm", individual="t07")
    assert visit.status == 200
    (found,) = holotype.Gallery(folder / "turtles" / "<known>").history("t07")
    added = [image for image in found.images if image.file.startswith("upload/")]
    assert len(added) == 2
    assert len({image.encounter for image in added} - {""}) == 1


@pytest.mark.parametrize("visit", ["review"], indirect=True)
def test_somebody_new_is_added_under_a_new_name(visit: Visit, tmp_path: Path) -> None:
    ask(visit, *write(tmp_path, [Sighting(40, 0)]))
    visit.submit("identify/confirm", new_name="t03")
    assert visit.status == 422
    assert "choose it, or another new name" in visit.page.text
    ask(visit, *write(tmp_path, [Sighting(40, 0)]))
    visit.submit("identify/confirm", new_name="<i>new</i>")
    assert visit.status == 200
    assert "<i>new</i>" in visit.page.text  # as text
    assert "<i>" not in visit.answer.text
    assert "<i>new</i>" in ask(visit, *write(tmp_path / "again", [Sighting(40, 1)]))


@pytest.mark.parametrize("visit", ["review"], indirect=True)
def test_a_blank_is_no_new_name_and_what_was_added_beside_a_known_image_is_said(
    visit: Visit, folder: Path, tmp_path: Path
) -> None:
    ask(visit, *write(tmp_path, [Sighting(8, 9)]))
    visit.submit("identify/confirm", individual="t08", new_name=" ")
    assert visit.status == 200
    known = folder / "images" / "images" / "t09" / "e0" / "0-left.png"
    ask(visit, known, *write(tmp_path / "new", [Sighting(8, 7)]))
    visit.submit("identify/confirm", individual="t08")
    assert visit.status == 422
    assert "1 of 2 images added to 't08'" in visit.page.text
    assert "in the gallery as 't09'" in visit.page.text


@pytest.mark.parametrize("visit", ["look"], indirect=True)
def test_who_may_only_look_may_ask_and_not_add(visit: Visit, tmp_path: Path) -> None:
    text = ask(visit, *write(tmp_path, [Sighting(5, 9)]))
    assert "t05" in text
    assert "Add these images" not in text
    token = next(found["value"] for tag, found in visit.page.tags if found.get("name") == "token")
    visit.post("confirm", {"csrf": visit.token, "token": token, "individual": "t05"})
    assert visit.status == 403


@pytest.mark.parametrize("visit", ["look"], indirect=True)
@pytest.mark.parametrize("of", ["", "../..", "tiny", "\0", "x" * 999, "turtles"])
def test_what_is_no_gallery_is_a_page(visit: Visit, of: str) -> None:
    visit.get("/dashboard/identify/gallery", params={"of": of})
    assert visit.status == 422
    assert "there is no gallery" in visit.page.text
