"""Two reviewers at once, and a server that is killed in the middle: at most the last answers go."""

import http.cookiejar
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from holotype.dataset.auditing.issue_reviews import read_reviewed_issues
from holotype.dataset.auditing.issues_csv import Issue
from tests.dashboard.made_runs import make_index, make_run

pytestmark = pytest.mark.slow

ISSUES = [Issue(f"{n:06d}.png", "label_error", f"evidence {n}", "look") for n in range(60)]


class Reviewer(threading.Thread):
    """Answers one image after the other, until the server does not answer any more."""

    def __init__(self, url: str, name: str, enough: threading.Event) -> None:
        super().__init__()
        self.url, self.reviewer, self.enough = url, name, enough
        self.answered: list[str] = []
        self.together = [self]
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.browser = urllib.request.build_opener(jar)

    def run(self) -> None:
        query = {"of": "one", "kind": "label_error", "reviewer": self.reviewer}
        address = f"{self.url}data/review/?{urllib.parse.urlencode(query)}"
        try:
            for number in range(len(ISSUES)):
                page = self.browser.open(f"{address}&number={number}").read().decode()
                fields = dict(re.findall(r'name="(csrf|mark|kind|reviewer)" value="([^"]*)"', page))
                form = urllib.parse.urlencode({**fields, "decision": "dismiss"}).encode()
                self.browser.open(f"{self.url}data/review/answer?of=one", form).read()
                self.answered.append(ISSUES[number].path)
                if len(self.answered) >= 15 and all(one.answered for one in self.together):
                    self.enough.set()
        except (OSError, urllib.error.URLError):  # killed
            self.enough.set()


def test_a_killed_server_loses_at_most_the_last_answer_of_each(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    run = make_run(folder / "one", make_index(folder / "images", ("a", "b"), 80), issues=ISSUES)
    command = [sys.executable, "-m", "holotype", "dashboard", str(folder), "--port", "0"]
    server = subprocess.Popen([*command, "--workers", "1"], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    while not (found := re.search(r"http://\S+/dashboard/", server.stderr.readline())):
        assert server.poll() is None
    enough = threading.Event()
    reviewers = [Reviewer(found[0], name, enough) for name in ("Anna", "Ben")]
    for one in reviewers:
        one.together = reviewers
        one.start()
    assert enough.wait(timeout=120)
    server.kill()
    server.wait()
    server.stderr.close()
    for one in reviewers:
        one.join()
    issues = read_reviewed_issues(run / "audit" / "issues.csv")
    assert [issue.path for issue in issues] == [issue.path for issue in ISSUES]
    for one in reviewers:
        kept = [i.path for i in issues if one.reviewer in {r.reviewer for r in i.reviews}]
        assert 0 < len(one.answered) < len(ISSUES)
        assert kept[: len(one.answered)] == one.answered
        assert len(kept) <= len(one.answered) + 1
