"""Versions of one tiny classifier that answer differently."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from holotype.bundle.bundle import Bundle, write_bundle
from holotype.bundle.manifest import Decision
from tests.bundle.tiny import backbone_model, head_model, manifest
from tests.serving.running import Running

DECISION = Decision(temperature=1.5, predictions_sha256="0" * 64, num_images=10)


def write_version(directory: Path, seed: int, **changes: object) -> Bundle:
    """A bundle whose head is drawn anew for each seed."""
    return write_bundle(
        directory,
        backbone=backbone_model().SerializeToString(),
        head=head_model(seed).SerializeToString(),
        manifest=manifest(decision=DECISION, **changes),
    )


def ask(
    server: Running, image: Path, key: str | None = None, client: httpx.Client | None = None
) -> httpx.Response:
    """The answer of the model `tiny`."""
    headers = {"content-type": "image/png"} | ({"x-route-key": key} if key else {})
    post = httpx.post if client is None else client.post
    return post(f"{server.url}/v1/models/tiny/predict", content=image.read_bytes(), headers=headers)


def tell(server: Running, answer: httpx.Response, label: str) -> httpx.Response:
    """Feedback for an answer."""
    body = {"request_id": answer.json()["request_id"], "label": label}
    return httpx.post(f"{server.url}/v1/feedback", json=body)


def traffic(server: Running) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.url}/v1/models/tiny/traffic").json()
    return found


def ask_often(
    server: Running, images: Sequence[Path], keys: Sequence[str | None]
) -> list[httpx.Response]:
    """One answer for each key, on one connection."""
    with httpx.Client() as client:
        return [ask(server, images[n % len(images)], key, client) for n, key in enumerate(keys)]
