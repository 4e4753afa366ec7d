"""Labels that came back as feedback in a request log."""

import time
from pathlib import Path

from holotype.dataset.image_facts import ImageFacts
from holotype.serving.request_log.feedback_store import FeedbackRow, FeedbackStore
from holotype.serving.request_log.kept_images import KeptImages
from holotype.serving.request_log.log_writer import LogSettings, LogWriter
from holotype.watching.labelling.label_sheet import SheetRow, write_sheet
from holotype.watching.labelling.logged_images import read_logged_images
from holotype.watching.retraining.collected_labels import collect_labels
from tests.serving.log_rows import row

CELLS, TURTLES = "c" * 64, "e" * 64


def write_log(
    log: Path, rows: list[tuple[int, str]], labels: dict[int, str], *, request: str = ""
) -> Path:
    """Answered images, each with the number of its content; and feedback, in its order.

    Args:
        request: all of them are of this one, without a key.
    """
    one: dict[str, object] = {"request_id": request, "key": ""} if request else {}
    writer = LogWriter(log, LogSettings(images=KeptImages()))
    for number, (content, digest) in enumerate(rows):
        facts = ImageFacts(8, 8, "PNG", 4, 0.5, 0.2, f"{content:064x}")
        one |= {"image": number} if request else {}
        writer.append(row(number, digest=digest, facts=facts, **one), b"%04d" % content)
    writer.close()
    store = FeedbackStore(log)
    begin_s = time.time() - 100
    for place, (number, label) in enumerate(labels.items()):
        name, image = (request, number) if request else (f"r{number:06d}", 0)
        feedback = FeedbackRow(name, image, label, time_s=begin_s + place)
        store.add([feedback])
    store.close()
    return log


def test_what_another_classifier_of_the_same_server_answered_is_left_out(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [(1, CELLS), (2, TURTLES)], {0: "crack", 1: "Donatella"})
    found = collect_labels([log], {CELLS})
    assert [image.label for image in found.images] == ["crack"]
    assert found.num_not_kept == 0


def test_of_an_image_that_was_sent_twice_the_latest_feedback_counts(tmp_path: Path) -> None:
    rows = [(1, CELLS), (1, CELLS), (2, CELLS), (2, CELLS)]
    labels = {0: "crack", 1: "dark", 3: "crack", 2: "dark"}
    log = write_log(tmp_path / "log", rows, labels)
    assert [image.label for image in collect_labels([log], {CELLS}).images] == ["dark", "dark"]


def test_an_image_of_one_request_with_a_random_one_is_of_its_group(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [(1, CELLS), (2, CELLS)], {1: "crack"}, request="one")
    logged = read_logged_images(log, CELLS, days=1).images
    rows = [SheetRow("images/0", "dark", "random", logged[0].group)]
    write_sheet(tmp_path / "sheet", rows, [logged[0].file], {})
    found = collect_labels([log, tmp_path / "sheet"], {CELLS}).images
    assert sorted((image.label, image.group) for image in found) == [
        ("crack", "request one"), ("dark", "request one"),
    ]  # fmt: skip
    alone = write_log(tmp_path / "alone", [(1, CELLS)], {0: "crack"}, request="two")
    assert [image.group for image in collect_labels([alone], {CELLS}).images] == [""]


def test_feedback_for_an_earlier_answer_to_the_same_image_is_its_label(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [(1, CELLS), (2, CELLS), (1, CELLS)], {0: "crack"})
    found = read_logged_images(log, CELLS, days=1).images
    assert {(int(image.sha256, 16), image.label) for image in found} == {(1, "crack"), (2, "")}
