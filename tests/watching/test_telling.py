"""Who is told of what, and what happens where nobody listens."""

import json
import shutil
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holotype.errors import UsageError
from holotype.watching.monitoring.monitors import Monitors
from holotype.watching.telling.messages import (
    Telling,
    message,
    naming,
    sentence,
    should_tell,
    tell,
)
from holotype.watching.telling.prometheus_textfile import prometheus_text
from holotype.watching.watch_state import ToldState, WatchState, read_state
from tests.watching.test_watch_status import FOUND

HOUR_S = 3600.0
QUIET = replace(FOUND, alarm=False, kind=None)


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted; `/moved` sends elsewhere."""

    got: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/moved":
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
        else:
            self.got.append(json.loads(body))
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Hook", (Hook,), {"got": got}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


class Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP as takes one message."""

    mails: list[str]

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            command = line.split()[0].upper()
            if command == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = []
                while (text := self.rfile.readline()) != b".\r\n":
                    lines.append(text.decode())
                self.mails.append("".join(lines))
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 fine\r\n")


@pytest.fixture
def mailbox() -> Iterator[tuple[str, list[str]]]:
    mails: list[str] = []
    server = socketserver.TCPServer(("127.0.0.1", 0), type("Mailbox", (Mailbox,), {"mails": mails}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}", mails
    server.shutdown()
    server.server_close()


def test_the_webhook_gets_an_alarm_as_json(hook: tuple[str, list[dict[str, Any]]]) -> None:
    url, got = hook
    assert tell(FOUND, Telling(webhook=f"{url}/hook")) == []
    assert got == [json.loads(json.dumps(message(FOUND)))]
    assert got[0]["kind"] == "label shift"
    assert got[0]["alarm"] is True


def test_a_redirect_is_not_followed(hook: tuple[str, list[dict[str, Any]]]) -> None:
    url, got = hook
    (failure,) = tell(FOUND, Telling(webhook=f"{url}/moved"))
    assert "307" in failure
    assert got == []


def test_a_mail_says_it_in_its_subject(mailbox: tuple[str, list[str]]) -> None:
    place, mails = mailbox
    assert tell(FOUND, Telling(email="me@example.org", smtp=place)) == []
    assert f"Subject: {sentence(FOUND)[:40]}" in mails[0]
    assert "To: me@example.org" in mails[0]


def test_what_cannot_be_sent_is_said_and_no_secret_of_the_address_is() -> None:
    telling = Telling(
        webhook="http://127.0.0.1:9/hook?token=secret", email="me@example.org", smtp="127.0.0.1:9"
    )
    failures = tell(FOUND, telling)
    assert len(failures) == 2
    assert "secret" not in " ".join(failures)


def test_a_password_that_cannot_be_sent_is_a_failure_in_words(
    mailbox: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, mails = mailbox
    monkeypatch.setenv("HOLOTYPE_SMTP_PASSWORD", "pässword")
    (failure,) = tell(FOUND, Telling(email="me@example.org", smtp=f"me@{place}"))
    assert "HOLOTYPE_SMTP_PASSWORD has other characters than ASCII" in failure
    assert mails == []


class Forged(socketserver.StreamRequestHandler):
    """A mail server that offers TLS with a certificate of its own making, and asks who is there."""

    context: ssl.SSLContext
    heard: list[bytes]

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            self.heard.append(line)
            if line.upper().startswith(b"STARTTLS"):
                self.wfile.write(b"220 go on\r\n")
                with suppress(OSError):
                    secured = self.context.wrap_socket(self.connection, server_side=True)
                    self.rfile = secured.makefile("rb")
                    self.wfile = secured.makefile("wb", 0)  # type: ignore[assignment]
            else:
                self.wfile.write(b"250-here\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")


def test_a_password_goes_to_no_server_that_cannot_prove_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=mail.example.org", "-keyout", "key.pem", "-out", "certificate.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    heard: list[bytes] = []
    kind = type("Here", (Forged,), {"context": context, "heard": heard})
    monkeypatch.setenv("HOLOTYPE_SMTP_PASSWORD", "secret")
    with socketserver.TCPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"me@127.0.0.1:{server.server_address[1]}"
        (failure,) = tell(FOUND, Telling(email="me@example.org", smtp=place))
        server.shutdown()
    assert "CERTIFICATE_VERIFY_FAILED" in failure
    assert [line.split()[0].upper() for line in heard] == [b"EHLO", b"STARTTLS"]


def test_a_state_of_the_first_version_tells_nothing_again(tmp_path: Path) -> None:
    told = ToldState(True, HOUR_S, "input")
    WatchState("d" * 64, Monitors({}), told={"caller": told}).write(tmp_path)
    with np.load(tmp_path / "state.npz") as arrays:
        words = json.loads(str(arrays["words"]))
    words |= {"format_version": 1, "told": {"alarm": True, "at_s": HOUR_S, "kind": "input"}}
    np.savez(tmp_path / "state.npz", words=np.array(json.dumps(words)))
    found = read_state(tmp_path)
    assert found is not None
    assert found.told == dict.fromkeys(("caller", "webhook", "email"), told)


@pytest.mark.parametrize(
    ("told", "alarm", "kind", "now_s", "expected"),
    [
        (ToldState(), False, "", 0.0, False),  # quiet from the start
        (ToldState(), True, "input", 0.0, True),
        (ToldState(True, 0.0, "input"), True, "input", HOUR_S, False),  # the quiet time
        (ToldState(True, 0.0, "input"), True, "novelty", HOUR_S, True),  # another kind
        (ToldState(True, 0.0, "input"), True, "input", 25 * HOUR_S, True),
        (ToldState(True, 0.0, "input"), False, "", HOUR_S, True),  # all clear
        (ToldState(False, HOUR_S, ""), False, "", 2 * HOUR_S, False),  # once
    ],
)
def test_an_alarm_is_told_once_in_the_quiet_time_and_so_is_all_clear(
    told: ToldState, alarm: bool, kind: str, now_s: float, expected: bool
) -> None:
    assert should_tell(told, alarm, kind, now_s, 24.0) is expected


def test_addresses_that_make_no_sense_are_refused() -> None:
    for wrong in (
        {"webhook": "file:///etc/passwd"},
        {"webhook": "http://127.0.0.1:9/hook?token=secret x"},
        {"webhook": "http://127.0.0.1:9/hook?token=secret\n"},
        {"email": "nobody"},
        {"email": "a@b\r\nBcc: c@d"},
        {"smtp": "host:port"},
        {"quiet_hours": -1.0},
    ):
        with pytest.raises(UsageError):
            Telling(**wrong)


def test_what_an_alarm_is_named_by_is_said() -> None:
    named = [
        {"kind": "input", "windows": 1, "images": 1},
        {"kind": "novelty", "windows": 2, "images": 1200},
    ]
    once = replace(FOUND, changes={"named": named[:1], "asked_again": True})
    twice = replace(FOUND, changes={"named": named, "asked_again": False})
    assert naming(once) == "Named by 1 image of 1 window; asked again with the next changed window."
    assert naming(twice) == "Named by 1,200 images of 2 windows; input by 1."
    assert naming(FOUND) == naming(QUIET) == naming(replace(once, kind="service")) == ""
    assert message(twice)["named"] == named


def test_prometheus_reads_the_metrics() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    odd = replace(FOUND, model=replace(FOUND.model, name='a "name"\\'))
    families = {each.name: each for each in text_string_to_metric_families(prometheus_text(odd))}
    alarms = {each.labels["kind"]: each.value for each in families["holotype_watch_alarm"].samples}
    assert alarms == {"input": 0, "label shift": 1, "novelty": 0, "service": 0}
    (evidence,) = families["holotype_watch_evidence"].samples
    assert evidence.labels["model"] == 'a "name"\\'
    assert evidence.value == 0.5


def test_without_a_window_nothing_is_called_clear() -> None:
    assert sentence(replace(FOUND, alarm=False, windows=())).endswith(
        "the log has no whole window."
    )
    assert sentence(replace(FOUND, alarm=False)).endswith("all clear.")
