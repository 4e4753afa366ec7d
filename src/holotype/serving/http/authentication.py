"""Who may ask: the holder of a bearer key, where the server has keys."""

from starlette.datastructures import Headers

from holotype.serving.http.keys import Keys
from holotype.serving.http.problems import Problem

OPEN_PATHS = ("/healthz", "/readyz", "/openapi.json")  # for whoever asks


def client_of(headers: Headers, path: str, keys: Keys | None) -> str:
    """The name of the key that came with a request; empty where none is needed.

    Raises:
        Problem: 401 without a valid key, 429 beyond its rate.
    """
    if keys is None or path in OPEN_PATHS:
        return ""
    scheme, _, presented = headers.get("authorization", "").partition(" ")
    key = keys.find(presented.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        raise Problem("unauthorised", headers={"WWW-Authenticate": "Bearer"})
    if wait_s := keys.wait_s(key):
        raise Problem("too_many_requests", headers={"Retry-After": str(wait_s)})
    return key.name
