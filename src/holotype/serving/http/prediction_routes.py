"""`/v1/models/NAME/predict`, `/embed`, `/explain` and `/neighbours`."""

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from holotype.explanation.available_methods import CAM_DESCRIPTIONS
from holotype.serving.deployment import ModelVersion
from holotype.serving.engine.job import JobAnswer
from holotype.serving.http.descriptions import ONE, image_path
from holotype.serving.http.image_request import read_images
from holotype.serving.http.model_routes import has_references, has_sets
from holotype.serving.http.problems import Problem
from holotype.serving.http.request_options import (
    ExplainOptions,
    NeighbourOptions,
    NoOptions,
    PredictOptions,
    options_of,
)
from holotype.serving.http.schemas import EmbedAnswer, NeighboursAnswer, PredictAnswer

PNG = {200: {"content": {"image/png": {}}, "description": "A PNG image."}}

router = APIRouter(prefix="/v1/models/{name}", tags=["answers"])


@router.post("/predict", response_model=PredictAnswer, **image_path(PredictOptions))
async def predict(request: Request) -> Response:
    """The class of one image or several; an image that cannot be used costs itself only."""
    asked = options_of(request, PredictOptions)
    work = await read_images(request)
    version = work.route.version
    options: dict[str, Any] = {"explain": True} if asked.explain else {}
    if asked.coverage is not None:
        if not has_sets(version):
            raise Problem("not_possible", "No images were held back to calibrate sets on.")
        options["coverage"] = asked.coverage
    found = await work.answers("predict", options)
    refused = work.refused(found)
    predictions, notes = [], dict[str, None]()
    for place, answer in enumerate(found):
        if isinstance(answer, JobAnswer):
            predictions.append(_prediction(version, place, answer, asked.top_k))
            notes.update(dict.fromkeys(answer.facts["notes"]))
    body = {"predictions": predictions, "refused": refused, "notes": list(notes)}
    return work.response(body, found)


@router.post("/embed", response_model=EmbedAnswer, **image_path(NoOptions))
async def embed(request: Request) -> Response:
    """The embeddings of one image or several: what the head of the classifier sees."""
    work = await read_images(request)
    found = work.all_answered(await work.answers("embed", {}))
    rows = [np.frombuffer(answer.parts[0], np.float32).tolist() for answer in found]
    return work.response({"embeddings": rows}, found)


@router.post("/explain", response_class=Response, **image_path(ExplainOptions, ONE, PNG))
async def explain(request: Request) -> Response:
    """The image with the evidence for a class over it."""
    asked = options_of(request, ExplainOptions)
    work = await read_images(request, max_images=1)
    version = work.route.version
    if asked.class_name is not None and asked.class_name not in version.classes:
        raise Problem("invalid_parameter", "The classifier has no class of this name.")
    if asked.method == "cam" and version.manifest.cam not in CAM_DESCRIPTIONS:
        raise Problem("not_possible", "It has no class activation map; use method=occlusion.")
    options = {"class": asked.class_name, "method": asked.method}
    (found,) = work.all_answered(await work.answers("explain", options))
    headers = {"x-model-version": version.version, "x-bundle-digest": version.digest}
    return Response(bytes(found.parts[0]), media_type="image/png", headers=headers)


@router.post("/neighbours", response_model=NeighboursAnswer, **image_path(NeighbourOptions, ONE))
async def neighbours(request: Request) -> Response:
    """The training images most like an image; only of bundles that keep references."""
    asked = options_of(request, NeighbourOptions)
    work = await read_images(request, max_images=1)
    if not has_references(work.route.version):
        raise Problem("not_possible", "The bundle keeps no references to its training images.")
    (found,) = work.all_answered(await work.answers("neighbours", {"count": asked.count}))
    return work.response({"neighbours": found.facts["neighbours"]}, [found])


def _prediction(
    version: ModelVersion, place: int, answer: JobAnswer, top_k: int | None
) -> dict[str, Any]:
    probabilities_C = np.frombuffer(answer.parts[0], np.float64)
    order = np.argsort(-probabilities_C, kind="stable")[:top_k]
    facts, classes = answer.facts, version.classes
    found: dict[str, Any] = {
        "image": place,
        "class": classes[facts["predicted"]],
        "probability": float(probabilities_C[facts["predicted"]]),
        "probabilities": {classes[c]: float(probabilities_C[c]) for c in order},
        "unknown": facts["unknown"],
        "set": None if facts["set"] is None else [classes[c] for c in facts["set"]],
        "warnings": facts["warnings"],
    }
    if "explanation" in facts:
        png = base64.b64encode(answer.parts[2]).decode()
        found["explanation"] = {**facts["explanation"], "png": png}
    return found
