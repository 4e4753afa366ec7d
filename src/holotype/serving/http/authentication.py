"""Who may ask: the holder of a bearer key, where the server has keys."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from holotype.serving.http.problems import Problem
from holotype.serving.http.service import service_of

BEARER = HTTPBearer(
    auto_error=False, description="A key that `holotype serve keys add` made; none on loopback."
)


async def require_key(
    request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> None:
    """Refuse a request without a valid key, or beyond the rate of its key.

    Raises:
        Problem: 401 or 429.
    """
    keys = service_of(request).keys
    if keys is None:
        return
    key = keys.find(sent.credentials) if sent is not None else None
    if key is None:
        raise Problem("unauthorised", headers={"WWW-Authenticate": "Bearer"})
    request.state.client = key.name
    if wait_s := keys.wait_s(key):
        raise Problem("too_many_requests", headers={"Retry-After": str(wait_s)})
