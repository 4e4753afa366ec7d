"""Messages to people and programs: a webhook and e-mail, with a quiet time and an all clear.

Nothing of the log but numbers and names of classes leaves the machine.
"""

import http.client
import json
import os
import re
import smtplib
import ssl
import urllib.request
from dataclasses import dataclass, replace
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

from holotype.errors import UsageError
from holotype.progress import pluralize
from holotype.watching.watch_state import ToldState
from holotype.watching.watch_status import WatchStatus

TIMEOUT_S = 10.0
PASSWORD = "HOLOTYPE_SMTP_PASSWORD"


@dataclass(frozen=True)
class Telling:
    """Who is told.

    Attributes:
        webhook: a URL that gets a JSON object by POST.
        email: an address that gets a message.
        smtp: the server for that, HOST, HOST:PORT or USER@HOST:PORT; the password of the user is
            in the environment variable HOLOTYPE_SMTP_PASSWORD, and then TLS is required.
        email_from: the sender; by default the receiver.
        quiet_hours: an alarm is told again after so long, while it lasts.
    """

    webhook: str | None = None
    email: str | None = None
    smtp: str = "localhost"
    email_from: str | None = None
    quiet_hours: float = 24.0

    def __post_init__(self) -> None:
        if self.webhook is not None:
            url = urlsplit(self.webhook)
            # A blank cannot be sent, and the error of that would tell the address with its token.
            is_sendable = re.fullmatch("[!-~]+", self.webhook)
            if url.scheme not in ("http", "https") or not url.hostname or not is_sendable:
                raise UsageError("--webhook is no URL; expected https://HOST/PATH.")
        for address in (self.email, self.email_from):
            if address is not None and ("@" not in address or any(c in address for c in "\r\n")):
                raise UsageError(f"{address!r} is no e-mail address; expected NAME@HOST.")
        if self.quiet_hours < 0:
            raise UsageError(f"--quiet-hours is {self.quiet_hours:g}; expected at least 0.")
        _ = self.server

    @property
    def channels(self) -> dict[str, "Telling"]:
        """Each alone, as any may fail: who reads what a look prints, the webhook, the e-mail."""
        found = {"caller": replace(self, webhook=None, email=None)}
        if self.webhook is not None:
            found["webhook"] = replace(self, email=None)
        if self.email is not None:
            found["email"] = replace(self, webhook=None)
        return found

    @property
    def server(self) -> tuple[str, str, int]:
        """User, host and port of the mail server.

        Raises:
            UsageError: it is none.
        """
        user, _, place = self.smtp.rpartition("@")
        host, _, port = place.partition(":")
        if not host or (port and not port.isdigit()):
            raise UsageError(f"--smtp is {self.smtp!r}; expected HOST, HOST:PORT or USER@HOST:PORT")
        return user, host, int(port or (587 if user else 25))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The message goes where the user said, and nowhere else."""

    def redirect_request(self, *_arguments: Any, **_keywords: Any) -> None:
        return None


def should_tell(told: ToldState, alarm: bool, kind: str, now_s: float, quiet_hours: float) -> bool:
    """Whether a message is due: an alarm, another kind, all clear, or the quiet time is over."""
    if not alarm:
        return told.alarm
    is_over = now_s - told.at_s >= quiet_hours * 3600
    return not told.alarm or told.kind != kind or (quiet_hours > 0 and is_over)


def tell(status: WatchStatus, telling: Telling) -> list[str]:
    """Send the messages that were asked for.

    Returns:
        What could not be sent, in words; empty where all was.
    """
    failures = []
    if telling.webhook is not None:
        try:
            _post(telling.webhook, message(status))
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(f"the webhook at {urlsplit(telling.webhook).hostname}: {error}")
    if telling.email is not None:
        try:
            _send_email(status, telling)
        except (OSError, ValueError, smtplib.SMTPException) as error:
            failures.append(f"e-mail by {telling.server[1]}: {error}")
    return failures


def message(status: WatchStatus) -> dict[str, Any]:
    """What a webhook gets."""
    return {
        "text": sentence(status),
        "model": status.model.name,
        "version": status.model.version,
        "digest": status.model.digest,
        "alarm": status.alarm,
        "kind": status.kind,
        "alarm_since": status.alarm_since,
        "change_since": status.change_since,
        "named": list(status.changes.get("named", ())),
        "monitors": [each.name for each in status.monitors if each.evidence >= 1],
        "accuracy": dict(status.accuracy),
    }


def sentence(status: WatchStatus) -> str:
    """The state of a model in one sentence."""
    if not status.alarm and not status.windows:
        return f"{status.model.name}: nothing is known yet, the log has no whole window."
    if not status.alarm:
        return f"{status.model.name}: all clear."
    which = [each.name for each in status.monitors if each.evidence >= 1]
    what = f" ({', '.join(which[:5])})" if which else ""
    return (
        f"{status.model.name}: {status.kind} has changed since {status.change_since}{what}."
        if status.kind in ("input", "service")
        else f"{status.model.name}: {status.kind} since {status.change_since}{what}."
    )


def naming(status: WatchStatus) -> str:
    """What an alarm got its name by, and whether it may get another; "" where that is not known."""
    named = list(status.changes.get("named", ()))
    if not named or not named[-1]["images"] or status.kind == "service":
        return ""
    *before, last = named
    earlier = "".join(f"; {each['kind']} by {each['images']:,}" for each in reversed(before))
    again = status.changes.get("asked_again")
    return (
        f"Named by {pluralize(last['images'], 'image')} of {pluralize(last['windows'], 'window')}"
        f"{earlier}{'; asked again with the next changed window' if again else ''}."
    )


def _post(url: str, value: dict[str, Any]) -> None:
    request = urllib.request.Request(
        url, json.dumps(value).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.build_opener(_NoRedirects).open(request, timeout=TIMEOUT_S):
        pass


def _send_email(status: WatchStatus, telling: Telling) -> None:
    assert telling.email is not None
    mail = EmailMessage()
    mail["Subject"] = " ".join(sentence(status).split())[:200]
    mail["From"] = telling.email_from or telling.email
    mail["To"] = telling.email
    mail.set_content(json.dumps(message(status), indent=2) + "\n")
    user, host, port = telling.server
    with smtplib.SMTP(host, port, timeout=TIMEOUT_S) as server:
        if user:
            password = os.environ.get(PASSWORD, "")
            if not password.isascii():
                raise ValueError(f"{PASSWORD} has other characters than ASCII; choose another")
            server.starttls(context=ssl.create_default_context())  # else any certificate will do
            server.login(user, password)
        server.send_message(mail)
