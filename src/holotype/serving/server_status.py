"""Asks a running server what it answers with."""

import json
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from holotype.errors import HolotypeError, UsageError

_TIMEOUT_S = 10.0


class ServerUnreachable(HolotypeError):
    """A server that does not answer, or refuses to."""


def server_status(url: str, model: str | None = None, key: str | None = None) -> list[Any]:
    """The traffic of one model of a server, or of all.

    Args:
        url: of the server, with the path prefix where it has one.
        model: its name in the path of requests.
        key: that the server needs.

    Raises:
        UsageError: it is no URL of a server.
        ServerUnreachable: it does not answer, or refuses to.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url is {url!r}; expected such as 'http://127.0.0.1:8000'.")
    names: Sequence[str | None] = [model]
    if model is None:
        names = model_names(_get(url, "/v1/models", key), url)
    return [_get(url, f"/v1/models/{quote(str(name), safe='')}/traffic", key) for name in names]


def model_names(listed: Any, url: str) -> list[str]:
    """The models that `GET /v1/models` lists.

    Raises:
        UsageError: another kind of server answered; several list their models at that path.
    """
    try:
        return [str(one["model"]) for one in listed["models"]]
    except (KeyError, TypeError):
        raise _another_server(url) from None


def json_of(body: bytes, url: str) -> Any:
    """What a server answered.

    Raises:
        UsageError: it is no JSON, so another kind of server answered.
    """
    try:
        return json.loads(body)
    except ValueError:
        raise _another_server(url) from None


def _another_server(url: str) -> UsageError:
    return UsageError(
        f"what answers at {url} is no server of Holotype; expected the address that "
        "`holotype serve` prints."
    )


def _get(url: str, path: str, key: str | None) -> Any:
    try:
        request = Request(url.rstrip("/") + path)
        if key is not None:  # which is not for another server that this one redirects to
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        with urlopen(request, timeout=_TIMEOUT_S) as answer:
            return json_of(answer.read(), url)
    except HTTPError as error:
        advice = {401: " Give its key by --key.", 404: " GET /v1/models lists what it serves."}
        raise ServerUnreachable(
            f"{url} refuses {path} with status {error.code}.{advice.get(error.code, '')}"
        ) from error
    except (URLError, OSError, ValueError, HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split()).rstrip(".")
        raise ServerUnreachable(
            f"{url} does not answer: {reason}. Is the server running?"
        ) from error
