"""Labels that came back as feedback in a request log."""

import time
from pathlib import Path

from holotype.dataset.image_facts import ImageFacts
from holotype.serving.request_log.feedback_store import FeedbackRow, FeedbackStore
from holotype.serving.request_log.kept_images import KeptImages
from holotype.serving.request_log.log_writer import LogSettings, LogWriter
from holotype.watching.retraining.collected_labels import collect_labels
from tests.serving.log_rows import row

CELLS, TURTLES = "c" * 64, "e" * 64


def write_log(log: Path, rows: list[tuple[int, str]], labels: dict[int, str]) -> Path:
    """Answered images, each with the number of its content; and feedback, in its order."""
    writer = LogWriter(log, LogSettings(images=KeptImages()))
    for number, (content, digest) in enumerate(rows):
        facts = ImageFacts(8, 8, "PNG", 4, 0.5, 0.2, f"{content:064x}")
        writer.append(row(number, digest=digest, facts=facts), b"%04d" % content)
    writer.close()
    store = FeedbackStore(log)
    begin_s = time.time() - 100
    for place, (number, label) in enumerate(labels.items()):
        feedback = FeedbackRow(f"r{number:06d}", 0, label, time_s=begin_s + place)
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
