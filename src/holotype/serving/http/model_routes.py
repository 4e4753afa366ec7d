"""`/v1/models`: what is served."""

from typing import Any

from fastapi import APIRouter, Request

from holotype.bundle.references import REFERENCES
from holotype.explanation.available_methods import CAM_DESCRIPTIONS, OCCLUSION_DESCRIPTION
from holotype.serving.deployment import ModelVersion
from holotype.serving.http.descriptions import problems
from holotype.serving.http.problems import Problem
from holotype.serving.http.schemas import ModelDetails, ModelList, ModelSummary, TrafficStatus
from holotype.serving.http.service import service_of

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", responses=problems(401, 429))
async def list_models(request: Request) -> ModelList:
    """The models that are served."""
    champions = service_of(request).traffic.champions
    return ModelList(models=[ModelSummary(**_summary(version)) for version in champions.values()])


@router.get("/{name}", responses=problems(401, 404, 422, 429))
async def describe_model(request: Request, name: str) -> ModelDetails:
    """One model: its classes, what it can do, its metrics and its card."""
    version = service_of(request).traffic.champions.get(name)
    if version is None:
        raise Problem("no_such_model")
    manifest = version.manifest
    return ModelDetails(
        **_summary(version),
        says_unknown=manifest.decision is not None and manifest.decision.unknown is not None,
        prediction_sets=has_sets(version),
        neighbours=has_references(version),
        heatmap=CAM_DESCRIPTIONS.get(manifest.cam, OCCLUSION_DESCRIPTION),
        embedding_size=manifest.embedding_size,
        image_ms=version.image_ms,
        metrics=dict(version.metrics),
        card=version.card,
    )


@router.get("/{name}/traffic", responses=problems(401, 404, 422, 429))
async def describe_traffic(request: Request, name: str) -> TrafficStatus:
    """Which versions are in service, how they compare, and what became of the log."""
    try:
        return TrafficStatus(**service_of(request).traffic.status(name))
    except KeyError:
        raise Problem("no_such_model") from None


def has_sets(version: ModelVersion) -> bool:
    """Whether images were held back to calibrate prediction sets on."""
    decision = version.manifest.decision
    return decision is not None and decision.calibration_set is not None


def has_references(version: ModelVersion) -> bool:
    """Whether the bundle keeps the embeddings of its training images."""
    return REFERENCES in version.manifest.files


def _summary(version: ModelVersion) -> dict[str, Any]:
    return {
        "model": version.model,
        "version": version.version,
        "digest": version.digest,
        "architecture": version.manifest.model,
        "classes": list(version.classes),
    }
