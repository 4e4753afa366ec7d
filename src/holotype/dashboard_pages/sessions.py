"""Sessions: a signed cookie says who somebody is; nothing is kept of them at the server.

The cookie holds a random id, the name and the hash of the key that was given at login, and when.
Rights are looked up for every request, so that a key that is removed opens nothing any more.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from holotype.files import atomic_write

COOKIE = "holotype_session"
LASTS_S = 7 * 24 * 3600
SECRET_BYTES = 32


@dataclass(frozen=True)
class Session:
    """What the cookie says.

    Attributes:
        id: random; tokens of forms are made of it.
        key, key_sha256: the name and the hash of the key that was given; empty before a login.
        since_s: in seconds since 1970.
    """

    id: str
    key: str = ""
    key_sha256: str = ""
    since_s: float = 0.0


class SessionSigner:
    """Signs cookies, and the tokens of forms, with a secret that only this server has."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def new_session(self, key: str = "", key_sha256: str = "") -> Session:
        return Session(secrets.token_urlsafe(18), key, key_sha256, time.time())

    def cookie(self, session: Session) -> str:
        """The session as the value of a cookie."""
        payload = _encoded(json.dumps(asdict(session)).encode())
        return f"{payload}.{self._signature('session', payload)}"

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie; None where it was not signed here, or is too old."""
        payload, _, signature = cookie.partition(".")
        if not hmac.compare_digest(
            signature.encode(), self._signature("session", payload).encode()
        ):
            return None
        found = Session(**json.loads(base64.urlsafe_b64decode(payload + "==")))
        return found if 0 <= time.time() - found.since_s < LASTS_S else None

    def form_token(self, session: Session) -> str:
        """What a form of this session must send along (CSRF)."""
        return self._signature("form", session.id)

    def is_form_token(self, session: Session, token: str) -> bool:
        return hmac.compare_digest(
            token.encode("utf-8", "replace"), self.form_token(session).encode()
        )

    def _signature(self, purpose: str, text: str) -> str:
        message = f"{purpose}:{text}".encode("utf-8", "replace")
        return _encoded(hmac.new(self._secret, message, hashlib.sha256).digest())


def session_secret(file: Path) -> bytes:
    """The secret of a server, made where there is none; a new one ends all sessions.

    Only the user of the process may read the file.
    """
    if not file.is_file() or len(file.read_bytes()) != SECRET_BYTES:
        with atomic_write(file) as temporary:
            temporary.chmod(0o600)
            temporary.write_bytes(secrets.token_bytes(SECRET_BYTES))
    return file.read_bytes()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
