"""The answers of late, by request: what feedback is joined with. Older ones are in the log."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from holotype.serving.request_log.feedback_store import FeedbackRow, seconds_of
from holotype.serving.request_log.log_row import Arm, hashed_key
from holotype.serving.request_log.read_log import LogQuery, read_log

MAX_ANSWERS = 20_000  # images, some 20 MB
# A request id begins with its time in milliseconds: the log need not be read from its beginning.
_TIME_DIGITS = 12
_SPAN_S = 600.0  # an answer comes so long after its request at most

_COLUMNS = ("arm", "share", "experiment", "key", "model", "digest", "top_classes", "time")


@dataclass(slots=True)
class RecentAnswer:
    """What was answered for one image, and what a challenger in shadow said.

    Attributes:
        unit: the hash of its request key, or of its request.
    """

    arm: Arm = "champion"
    share: float = 0.0
    experiment: str = ""
    unit: str = ""
    model: str = ""
    digest: str = ""
    predicted: str = ""
    answered_s: float = 0.0
    shadow_digest: str = ""
    shadow_predicted: str = ""

    def feedback(self, request_id: str, image: int, label: str, client: str) -> FeedbackRow:
        """The row that says what was true."""
        return FeedbackRow(
            request_id, image, label, client, self.arm, self.share, self.experiment, self.unit,
            self.model, self.digest, self.predicted, self.shadow_digest, self.shadow_predicted,
            self.answered_s,
        )  # fmt: skip


class RecentAnswers:
    """The last answers; not for two threads at once."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, int], RecentAnswer] = OrderedDict()

    def of(self, request_id: str, image: int) -> RecentAnswer:
        """The answer of an image, still empty where there was none."""
        place = (request_id, image)
        if place not in self._answers:
            self._answers[place] = RecentAnswer()
            if len(self._answers) > MAX_ANSWERS:
                self._answers.popitem(last=False)
        return self._answers[place]

    def find(self, request_id: str, image: int) -> RecentAnswer | None:
        found = self._answers.get((request_id, image))
        return found if found is not None and found.predicted else None


def find_in_log(folder: Path, request_id: str, image: int) -> RecentAnswer | None:
    """An answer that is no longer remembered; slow, as the log is read.

    Raises:
        DatasetError: the log cannot be read.
    """
    try:
        asked_s = int(request_id[:_TIME_DIGITS], 16) / 1000
    except ValueError:
        return None
    if asked_s > time.time() + _SPAN_S:
        return None
    query = LogQuery(_COLUMNS, equal={"request_id": request_id, "image": image})
    rows = read_log(folder, asked_s - 1, asked_s + _SPAN_S, query)
    found = RecentAnswer()
    for n, arm in enumerate(rows["arm"]):
        names = rows["top_classes"][n]
        predicted = str(names[0]) if len(names) else ""
        if arm == "shadow":
            found.shadow_digest, found.shadow_predicted = str(rows["digest"][n]), predicted
            continue
        found.arm, found.predicted = arm, predicted
        for name in ("experiment", "model", "digest"):
            setattr(found, name, str(rows[name][n]))
        found.share = float(rows["share"][n])
        found.unit = str(rows["key"][n]) or hashed_key(request_id)
        found.answered_s = seconds_of(rows["time"][n])
    return found if found.predicted else None


def new_request_id(random: str) -> str:
    """An id of 32 hexadecimal digits that begins with the time in milliseconds.

    Args:
        random: hexadecimal digits that nobody can guess, at least 20.
    """
    return f"{int(time.time() * 1000):0{_TIME_DIGITS}x}{random}"[:32]
