"""Try it: images are sent by a form, and the answers are those of the API and of `predict`."""

import csv
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image

import holotype
from holotype.dashboard_pages.page import _environment
from holotype.dashboard_pages.try_it import uploads as uploads_module
from holotype.dashboard_pages.try_it.answers import ImageAnswer, as_predictions
from holotype.dashboard_pages.try_it.try_it_pages import Asked
from holotype.dashboard_pages.try_it.uploads import Uploads
from holotype.serving.engine.job import DeadlineExceeded, EngineError, WorkerDied
from holotype.serving.http.problems import Problem
from tests.dashboard.browsing import Elements, Visit
from tests.dashboard.made_classifiers import HOSTILE_CLASSES
from tests.serving.running import Running

ONE = "served:tiny"


def send(
    browser: Visit,
    images: list[Path],
    model: str = ONE,
    names: list[str] | None = None,
    **fields: str,
) -> Elements:
    """Send images by the form, as a browser without scripts does."""
    browser.get("/dashboard/try")
    called = names or [path.name for path in images]
    files = [
        ("images", (name, path.read_bytes(), "image/png"))
        for name, path in zip(called, images, strict=True)
    ]
    return browser.submit("try", files=files, model=model, **fields)


def heatmap_of(page: Elements) -> str:
    """The address of the first heatmap of a page."""
    sources = [str(found.get("src")) for tag, found in page.tags if tag == "img"]
    return next(source for source in sources if "heatmap.png" in source)


def test_classifiers_in_service_and_runs_can_be_chosen(browser: Visit) -> None:
    values: list[str | None] = []
    for _ in range(100):  # the folder is looked over beside the first page
        page = browser.get("/dashboard/try")
        values = [found.get("value") for tag, found in page.tags if tag == "option"]
        if "still being looked for" not in page.text:
            break
    assert values[0] == ONE
    assert {"one", "two"} <= set(values)


def test_answers_are_those_of_the_api(browser: Visit, server: Running, images: list[Path]) -> None:
    page = send(browser, images, coverage="0.8")
    for path in images:
        asked = httpx.post(
            f"{server.url}/v1/models/tiny/predict?coverage=0.8",
            content=path.read_bytes(),
            headers={"content-type": "image/png"},
        )
        (expected,) = asked.json()["predictions"]
        for name, share in expected["probabilities"].items():
            assert f"{name} {100 * share:.1f} %" in page.text
        if expected["unknown"]:
            assert (
                f"unknown it is of no known class; the nearest is {expected['class']}" in page.text
            )
        else:
            assert f"{expected['class']} {100 * expected['probability']:.1f} %" in page.text
        assert f"Set at 80.0 % coverage: {' '.join(expected['set'])}" in page.text
    assert page.text.count("it is of no known class") in (1, 2, 3)


def test_the_table_is_that_of_predict(
    browser: Visit, classifiers: Path, images: list[Path], tmp_path: Path
) -> None:
    page = send(browser, images, coverage="0.8")
    link = next(link for link in page.links if "answers.csv" in link)
    browser.get(link)
    assert browser.answer.headers["content-type"] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(browser.answer.text)))
    expected = tmp_path / "answers.csv"
    holotype.predict(classifiers / "one", images, output=expected, coverage=0.8)
    rows = list(csv.DictReader(expected.open(newline="", encoding="utf-8")))
    assert [row["file"] for row in found] == [path.name for path in images]
    for mine, theirs in zip(found, rows, strict=True):
        assert {**mine, "file": ""} == {**theirs, "file": ""}


def test_the_heatmap_is_that_of_the_api(
    browser: Visit, server: Running, images: list[Path]
) -> None:
    page = send(browser, images[:1])
    address = next(
        str(found["src"]) for tag, found in page.tags if "heatmap" in str(found.get("src"))
    )
    browser.get(address)
    assert browser.answer.headers["content-type"] == "image/png"
    asked = httpx.post(
        f"{server.url}/v1/models/tiny/explain",
        content=images[0].read_bytes(),
        headers={"content-type": "image/png"},
    )
    assert browser.answer.content == asked.content


def test_a_map_on_which_no_place_stands_out_says_so_below(
    browser: Visit, server: Running, tmp_path: Path
) -> None:
    white = tmp_path / "white.png"
    Image.new("RGB", (40, 36), "white").save(white)
    address = heatmap_of(send(browser, [white]))
    browser.get(address)
    drawn = Image.open(io.BytesIO(browser.answer.content))
    asked = httpx.post(
        f"{server.url}/v1/models/tiny/explain",
        content=white.read_bytes(),
        headers={"content-type": "image/png"},
    )
    alone = Image.open(io.BytesIO(asked.content))
    assert alone.size == (40, 36)
    assert drawn.height > alone.height
    assert drawn.crop((12, 12, 52, 48)).tobytes() == alone.convert(drawn.mode).tobytes()
    assert min(drawn.crop((0, 60, *drawn.size)).convert("L").tobytes()) < 128  # words


def test_one_image_has_a_page_with_every_class_and_method(
    browser: Visit, images: list[Path]
) -> None:
    page = send(browser, images)
    page = browser.get(next(link for link in page.links if "/2?" in link))
    assert "All 4 images" in page.text
    values = [found.get("value") for tag, found in page.tags if tag == "option"]
    assert values == ["auto", "cam", "occlusion", "", "crack", "dark", "fine"]
    pages = []
    for wanted in ("cam", "occlusion"):
        address = str(browser.answer.url).partition("?")[0]
        browser.get(f"{address}?model={ONE}&method={wanted}&class=dark")
        browser.get(heatmap_of(browser.page))
        pages.append(browser.answer.content)
        assert Image.open(io.BytesIO(pages[-1])).size == (40, 36)
        browser.get(address)
    assert pages[0] != pages[1]


def test_two_classifiers_answer_side_by_side_and_their_names_run_nothing(
    browser: Visit, images: list[Path]
) -> None:
    page = send(browser, images[:1], beside="two", names=[HOSTILE_CLASSES[2] + ".png"])
    tags = [tag for tag, _ in page.tags]
    assert "<script>alert" not in browser.answer.text
    assert len([found for tag, found in page.tags if tag == "img" and "onerror" in found]) == 0
    assert tags.count("script") == 3
    for name in HOSTILE_CLASSES[:1]:
        assert name in page.text
    assert "\\u202egnp.exe\\x1b[31m" in page.text
    assert "\u202e" not in browser.answer.text
    assert "\x1b" not in browser.answer.text
    assert page.text.count("as CSV") == 2
    browser.get(next(link for link in page.links if "/0?" in link))
    assert "<script>alert" not in browser.answer.text
    assert "onerror" not in {key for _, found in browser.page.tags for key in found}


def test_the_evidence_for_a_hostile_class_can_be_drawn(browser: Visit, images: list[Path]) -> None:
    page = send(browser, images[:1], model="two")
    address = str(browser.answer.url).partition("?")[0] + "/0"
    for place, name in enumerate(HOSTILE_CLASSES):
        page = browser.get(address, params={"model": "two"})
        values = [found.get("value") for tag, found in page.tags if tag == "option"]
        assert values[-3:][place] == name
        browser.client.get(
            f"{address}/heatmap.png", params={"model": "two", "class": name}
        ).raise_for_status()


def test_a_file_that_is_no_image_costs_itself_only(
    browser: Visit, images: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(images[0].read_bytes()[:200])
    text = tmp_path / "text.png"
    text.write_text("no image")
    page = send(browser, [images[0], broken, text])
    assert "The image is cut off or damaged" in page.text
    assert "The bytes are no image" in page.text
    assert browser.status == 200
    assert page.text.count("evidence for") == 1


def test_images_can_be_added_to_those_that_were_sent(browser: Visit, images: list[Path]) -> None:
    send(browser, images[:2])
    files = [("images", ("third.png", images[2].read_bytes(), "image/png"))]
    page = browser.submit("try", files=files)
    assert "3 images" in page.text
    assert "third.png" in page.text


def test_nobody_else_sees_them(browser: Visit, server: Running, images: list[Path]) -> None:
    send(browser, images[:1])
    address = str(browser.answer.url).partition("?")[0]
    assert httpx.get(f"{address}?model={ONE}").status_code == 422
    assert httpx.get(f"{address}/0/image.jpg").status_code == 422
    assert browser.client.get(f"{address}/0/image.jpg").status_code == 200


@pytest.mark.parametrize(
    "model", ["..", "../..", "/etc", "nothing", "one/../../x", "served:other", "a\x00b", ""]
)
def test_only_what_lies_below_the_folder_is_opened(
    model: str, browser: Visit, images: list[Path]
) -> None:
    send(browser, images[:1])
    address = str(browser.answer.url).partition("?")[0]
    answer = browser.client.get(f"{address}/answers.csv", params={"model": model})
    assert answer.status_code == 422
    assert "Traceback" not in answer.text


def test_too_many_and_too_large_are_told_on_a_page(browser: Visit, images: list[Path]) -> None:
    page = send(browser, images[:1] * 17)
    assert browser.status == 413
    assert "At most 16 files" in page.text
    browser.get("/dashboard/try")
    files = [("images", ("large.png", b"x" * (33 << 20), "image/png"))]
    page = browser.submit("try", files=files, model=ONE)
    assert browser.status == 413
    assert "At most 32 MiB" in page.text


def test_without_an_image_the_form_says_so(browser: Visit) -> None:
    browser.get("/dashboard/try")
    page = browser.submit("try", files=[("images", ("", b"", "image/png"))], model=ONE)
    assert browser.status == 422
    assert "no image" in page.text


@pytest.mark.parametrize("coverage", ["2", "0.5", "nan", "x"])
def test_a_coverage_that_cannot_be_promised_is_refused(
    coverage: str, browser: Visit, images: list[Path]
) -> None:
    send(browser, images[:1])
    address = str(browser.answer.url).partition("?")[0]
    page = browser.get(address, params={"model": ONE, "coverage": coverage})
    assert browser.status == 422
    assert "coverage" in page.text


def test_trying_is_no_traffic(browser: Visit, server: Running, images: list[Path]) -> None:
    def images_counted() -> Any:
        text = httpx.get(f"{server.url}/metrics").text
        return [line for line in text.splitlines() if line.startswith("holotype_images_total")]

    before = images_counted()
    send(browser, images)
    assert images_counted() == before


def test_images_that_are_sent_at_the_same_time_are_all_kept() -> None:
    uploads, before = Uploads(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            made = list(threads.map(lambda _: uploads.add("me", [("a", b"x")] * 5), range(400)))
    finally:
        sys.setswitchinterval(before)
    assert all(uploads.find(one.id, "me") is one for one in made)
    assert uploads.size == 2000


def test_one_upload_that_grows_keeps_to_the_memory_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads_module, "MAX_BYTES", 100)
    uploads, last = Uploads(), ""
    for number in range(20):
        last = uploads.add("me", [(str(number), b"x" * 30)], to=last).id
        assert uploads.size <= 100
    found = uploads.find(last, "me")
    assert found is not None
    assert found.images[-1] == ("19", b"x" * 30)


def test_the_oldest_images_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads_module, "MAX_BYTES", 100)
    uploads = Uploads()
    first = uploads.add("me", [("a", b"x" * 60)])
    second = uploads.add("me", [("b", b"x" * 30)])
    assert uploads.find(first.id, "me") is first
    assert uploads.find(first.id, "you") is None
    third = uploads.add("me", [("c", b"x" * 30)])
    assert uploads.find(first.id, "me") is None
    assert uploads.find(second.id, "me") is second
    assert uploads.find(third.id, "me") is third
    assert uploads.size == 60


@pytest.mark.parametrize("error", [DeadlineExceeded(), WorkerDied()])
def test_a_table_that_lacks_an_image_for_want_of_an_answer_is_not_given(error: EngineError) -> None:
    classifier: Any = None  # not asked
    with pytest.raises(Problem):
        as_predictions(classifier, ["late.png"], [error], None)


@pytest.mark.parametrize("refusing", [0, 1])
def test_where_one_of_two_classifiers_refuses_an_image_the_other_is_shown(refusing: int) -> None:
    made = SimpleNamespace
    answers = [ImageAnswer(classes=("a", "b"), probabilities=(0.9, 0.1)) for _ in range(2)]
    answers[refusing] = ImageAnswer(problem="The image is cut off.")
    version = made(classes=("a", "b"), version="1", manifest=made(model="m"))
    text = _environment().get_template("try_it/image.html.j2").render(
        upload=made(id="u", images=[1]), place=0, name="n", answers=answers, similar=[None] * 2,
        classifiers=[made(id=f"r{n}", name=f"r{n}", version=version) for n in range(2)],
        has_map=[True] * 2, chosen=Asked(model="r0", beside="r1"), url=str, static=str, csrf="",
        visitor=made(rights=(), needs_key=False, name=""), sections=[], here="",
    )  # fmt: skip
    assert text.count("heatmap.png") == 1
    assert f"model=r{1 - refusing}" in heatmap_of(Elements(text))
    assert "The image is cut off." in text
