"""The pages of a data set, read and used as a browser without scripts does."""

import csv
import io
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from PIL import Image

from holotype.dashboard_pages.addresses import mark_of
from holotype.dashboard_pages.static_files import PLACES
from holotype.dataset.auditing.issues_csv import Issue
from holotype.dataset.index import Index, read_index_file
from holotype.dataset.near_duplicates.search import NearDuplicate
from holotype.evaluation.report_data import read_report
from holotype.files import sha256_of
from tests.dashboard.browsing import Visit
from tests.dashboard.made_runs import make_index, make_run, predict

CLASSES = ("ant", "bee", "cat")
ISSUES = [Issue(f"{n:06d}.png", "label_error", f"evidence {n}", "look") for n in range(6)]
PAIRS = [NearDuplicate("000000.png", "000001.png", "resized", "all the same", 0.99)]


@pytest.fixture
def run(visit: Visit) -> Path:
    folder = Path(visit.app.state.dashboard.folder)
    index = make_index(folder / "images", CLASSES, 120, files=True)
    return make_run(folder / "one", index, issues=ISSUES, pairs=PAIRS)


def answers(run: Path) -> dict[str, dict[str, str]]:
    with (run / "audit" / "issues.csv").open(encoding="utf-8", newline="") as opened:
        return {row["path"]: row for row in csv.DictReader(opened)}


def test_every_style_and_script_of_the_package_is_served() -> None:
    kept = {path.name for path in files("holotype.dashboard_pages").joinpath("static").iterdir()}
    assert {name for name in kept if name.endswith((".css", ".js"))} <= PLACES.keys()


def test_a_run_is_found_and_opened(visit: Visit, run: Path) -> None:
    visit.get("/dashboard/")
    page = visit.get(next(link for link in visit.page.links if link == "data/"))
    assert "1 found" in page.text
    page = visit.get(next(link for link in page.links if "gallery" in link))
    assert "120 of 120 images" in page.text
    assert visit.status == 200


def test_pages_of_a_gallery_follow_each_other(visit: Visit, run: Path) -> None:
    visit.get("/dashboard/data/gallery?of=one&label=1")
    seen = re.findall(r"<bdi>(\d{6}\.png)</bdi>", visit.answer.text)
    assert seen == [f"{n:06d}.png" for n in range(1, 120, 3)]
    page = visit.get("/dashboard/data/gallery?of=one")
    (following,) = [link for link in page.links if link.startswith("?")]
    page = visit.get(following)
    assert "49 to 96 shown" in page.text


def test_a_cell_of_the_matrix_opens_as_many_images_as_it_says(visit: Visit, run: Path) -> None:
    visit.get("/dashboard/data/confusion?of=one")
    report = read_report(run / "report" / "metrics.json")
    cells = re.findall(r'href="([^"]+)" aria-label="(\d+) images of (\w+) predicted as (\w+)"',
                       visit.answer.text)  # fmt: skip
    assert len(cells) == int((report.confusion_CC > 0).sum())
    for _, count, true, said in cells:
        number = report.confusion_CC[CLASSES.index(true), CLASSES.index(said)]
        assert int(count) == number
    link, count, *_ = cells[1]
    assert f"{count} of 120 images" in visit.get(link).text


def test_a_cell_of_out_of_fold_predictions_opens_no_image_of_test(visit: Visit, run: Path) -> None:
    index = read_index_file(run / "index.parquet")
    (run / "predictions" / "val.parquet").unlink()
    predict(index, "train").write(run / "predictions" / "oof.parquet")
    visit.get("/dashboard/data/confusion?of=one&part=oof")
    cells = re.findall(r'href="([^"]+)" aria-label="(\d+) images of', visit.answer.text)
    assert cells
    for link, count in cells:
        visit.get("/dashboard/data/confusion?of=one&part=oof")
        assert f" {count} of 120 images" in visit.get(link).text


def test_one_image_says_what_the_files_say(visit: Visit, run: Path) -> None:
    table = read_index_file(run / "index.parquet").table
    page = visit.get("/dashboard/data/image?of=one&row=0")
    assert table["sha256"][0] in page.text
    assert "label_error" in page.text
    assert "evidence 0" in page.text
    assert "resized: all the same" in page.text  # of the near-duplicate


def test_thumbnails_are_small_and_drawn_by_a_worker(browser: Visit, classifiers: Path) -> None:
    index = make_index(classifiers / "pictures", CLASSES, 60, files=True)
    make_run(classifiers / "pictured", index)
    Image.new("RGB", (900, 600), (200, 0, 0)).save(classifiers / "pictures" / "000006.png")
    (classifiers / "pictures" / "000007.png").write_bytes(b"no image")
    (classifiers / "pictures" / "000008.png").unlink()
    page = browser.get("/dashboard/data/gallery?of=pictured")
    sources = [str(found["src"]) for tag, found in page.tags if tag == "img"]
    assert len(sources) == 48
    expected = [("image/png", (120, 90)), ("image/jpeg", (160, 107))]
    for source, (kind, size) in zip(sources[5:7], expected, strict=True):
        answer = browser.client.get(urljoin(str(browser.answer.url), source))
        assert answer.headers["content-type"] == kind
        assert len(answer.content) < 10_000
        assert Image.open(io.BytesIO(answer.content)).size == size
    for source in sources[7:9]:
        answer = browser.client.get(urljoin(str(browser.answer.url), source))
        assert answer.headers["content-type"] == "image/svg+xml"


def test_thumbnails_are_of_the_index_only(visit: Visit, run: Path) -> None:
    for query in ("of=one&row=120", "of=one&row=-1", "of=one&row=x", "of=..&row=0", "of=one",
                  "of=one&row=0&side=9999", "of=images&row=0",
                  "of=one&row=" + "9" * 5000):  # fmt: skip
        visit.get(f"/dashboard/data/thumbnail?{query}")
        assert visit.status == 422, query


def test_answers_of_the_review_are_kept_and_the_next_image_is_shown(
    visit: Visit, run: Path
) -> None:
    before = {file: sha256_of(file) for file in run.parent.rglob("*") if file.is_file()}
    page = visit.get("/dashboard/data/review/?of=one")
    assert "Say who you are first" in page.text
    visit.get("/dashboard/data/review/?of=one&kind=label_error&reviewer=Anna")
    visit.submit("answer?of=one", decision="dismiss")
    assert "2 of 6" in visit.page.text
    visit.submit("answer?of=one", decision="correct", label=mark_of("cat"))
    visit.submit("answer?of=one", decision="accept")
    rows = answers(run)
    assert [(rows[f"{n:06d}.png"]["confirmed"], rows[f"{n:06d}.png"]["new_label"])
            for n in range(4)] == [("no", ""), ("yes", "cat"), ("yes", ""), ("", "")]  # fmt: skip
    assert "3 answered by Anna" in visit.page.text
    visit.get("/dashboard/data/review/?of=one&kind=label_error&reviewer=Anna&number=1")
    assert "correct to cat" in visit.page.text
    visit.submit("answer?of=one", decision="withdraw")
    assert answers(run)["000001.png"]["confirmed"] == ""
    after = {file: sha256_of(file) for file in before}
    changed = {file.name for file in before if after[file] != before[file]}
    assert changed == {"issues.csv"}


def test_what_others_said_is_seen_after_ones_own_answer(visit: Visit, run: Path) -> None:
    address = "/dashboard/data/review/?of=one&kind=label_error&number=0&reviewer="
    visit.get(address + "Anna")
    visit.submit("answer?of=one", decision="accept")
    assert "Anna : accept" not in visit.get(address + "Ben").text
    visit.submit("answer?of=one", decision="dismiss")
    page = visit.get(address + "Ben")
    assert "Anna : accept" in page.text
    assert "1 disputed" in page.text
    assert "all say the same on 0.0 % of them" in page.text


def test_an_answer_without_a_class_or_of_an_old_page_is_refused(visit: Visit, run: Path) -> None:
    before = answers(run)
    visit.get("/dashboard/data/review/?of=one&reviewer=Anna")
    page = visit.submit("answer?of=one", decision="correct")
    assert visit.status == 422
    assert "Choose the right class" in page.text
    visit.get("/dashboard/data/review/?of=one&reviewer=Anna")
    page = visit.submit("answer?of=one", decision="accept", mark="0" * 24)
    assert "made anew by an audit" in page.text
    visit.get("/dashboard/data/review/?of=one&reviewer=Anna")
    page = visit.submit("answer?of=one", decision="correct", label=mark_of("wasp"))
    assert "classes have changed" in page.text
    assert answers(run) == before


def test_blanks_in_the_name_of_a_reviewer_hide_no_answer(visit: Visit, run: Path) -> None:
    address = "/dashboard/data/review/?of=one&kind=label_error&reviewer=Ada++Lovelace"
    visit.get(address)
    visit.submit("answer?of=one", decision="accept")
    assert "2 of 6 · 1 answered by Ada Lovelace" in visit.page.text
    assert "1 answered by Ada Lovelace" in visit.get(address).text


def test_reviewing_takes_the_right_and_the_name_is_that_of_the_key(
    visit_with_keys: Callable[..., Visit],
) -> None:
    visit = visit_with_keys()
    folder = Path(visit.app.state.dashboard.folder)
    run = make_run(folder / "one", make_index(folder / "images", CLASSES, 24), issues=ISSUES)
    visit.login("look", name="eve")
    page = visit.get("/dashboard/data/review/?of=one")
    assert "may look, and not review" in page.text
    fields = {"csrf": visit.token, "decision": "accept", "mark": "x", "reviewer": "Anna"}
    visit.post("/dashboard/data/review/answer?of=one", fields)
    assert visit.status == 403
    visit.submit("logout")
    visit.login("review", name="ada")
    visit.get("/dashboard/data/review/?of=one")
    visit.submit("answer?of=one", decision="accept", reviewer="Anna")
    assert '"reviewer": "ada"' in answers(run)["000000.png"]["reviews"]


def test_near_duplicates_stand_side_by_side(visit: Visit, run: Path) -> None:
    page = visit.get("/dashboard/data/duplicates?of=one")
    assert "1 pair of near-duplicates" in page.text
    assert "two labels" in page.text
    shown = [str(found["src"]) for tag, found in page.tags if tag == "img"]
    assert [parse_qs(urlsplit(one).query)["row"] for one in shown] == [["0"], ["1"]]


def test_an_audit_alone_is_a_data_set(visit: Visit, synthetic: Path) -> None:
    import holotype

    folder = Path(visit.app.state.dashboard.folder)
    holotype.audit(synthetic, quick=True, output=folder / "looked")
    page = visit.get("/dashboard/data/")
    assert "looked" in page.text
    assert "120 of 120 images" in visit.get("/dashboard/data/gallery?of=looked").text
    assert "no predictions" in visit.get("/dashboard/data/confusion?of=looked").text


HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202egnp.exe",
    "a\x1b[31mred", "{{7*7}}", "javascript:alert(1)", "' onmouseover='x", "a\nb",
)  # fmt: skip


def test_hostile_names_are_shown_and_do_nothing(visit: Visit) -> None:
    folder = Path(visit.app.state.dashboard.folder)
    index = make_index(folder / "images", HOSTILE, 64)
    table = index.table.assign(path=[f"{n:02d}{HOSTILE[n % 8]}" for n in range(64)])
    issues = [Issue(path, "label_error", path, path) for path in table["path"]]
    make_run(folder / "one", Index(index.root, table, index.classes), issues=issues)
    pages = ("gallery?", "image?row=2&", "confusion?", "review/?reviewer=%3Cscript%3E&",
             "review/?reviewer=A&number=3&")  # fmt: skip
    for path in (f"{page}of=one" for page in pages):
        page = visit.get(f"/dashboard/data/{path}")
        assert visit.status == 200, page.text[:400]
        scripts = [found for tag, found in page.tags if tag == "script"]
        assert all("src" in found for found in scripts)
        assert not any(name.startswith("on") for _, found in page.tags for name in found)
        assert "\u202e" not in visit.answer.text
        assert "\x1b" not in visit.answer.text
    visit.get("/dashboard/data/gallery?of=one")
    assert "\\u202egnp.exe" in visit.page.text
    assert "\\x1b[31mred" in visit.page.text
    visit.get("/dashboard/data/review/?of=one&kind=label_error&reviewer=A")
    visit.submit("answer?of=one", decision="correct", label=mark_of("a\nb"))
    assert "a\nb" in {row["new_label"] for row in answers(folder / "one").values()}
