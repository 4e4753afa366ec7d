"""The pages of “Try it”: send images, see what one or two classifiers say, and why.

An upload is kept for a while, and everything else is in the address: another classifier, coverage
or method is a link. Nothing of it is logged or counted as traffic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from holotype.dashboard_pages.addresses import changed_fields, query_string
from holotype.dashboard_pages.classifiers import (
    OpenedClassifier,
    ask,
    classifier_choices,
    open_classifiers,
)
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.page import page_router, posted_form, redirect, relative_url, render
from holotype.dashboard_pages.runs.run_places import folder_index_of
from holotype.dashboard_pages.try_it.answers import ImageAnswer, as_predictions, image_answer
from holotype.dashboard_pages.try_it.training_images import similar_images, training_image
from holotype.dashboard_pages.try_it.uploads import Upload, Uploads
from holotype.dashboard_pages.visitors import MayLook, visitor_of
from holotype.errors import UsageError
from holotype.explanation.available_methods import CAM_DESCRIPTIONS
from holotype.serving.engine.job import JobAnswer
from holotype.serving.http.model_routes import has_references, has_sets
from holotype.serving.http.problems import Problem, problem_of

IMAGES_ON_A_PAGE = 12
SHOWN_CLASSES = 5
SIMILAR = 8
THUMBNAIL, LARGE = 360, 720  # pixels of the longer side

router = page_router("try")


@dataclass(frozen=True)
class Asked:
    """What an address asks for, besides the images.

    Attributes:
        model, beside: classifiers; nothing beside where it is empty.
        coverage: of prediction sets; None for none.
        method: of the heatmap.
        class_name: that the heatmap is for; the predicted one where it is empty.
        page: of the list of images, from 0.
    """

    model: str = ""
    beside: str = ""
    coverage: float | None = None
    method: Literal["auto", "cam", "occlusion"] = "auto"
    class_name: str = ""
    page: int = 0

    def query(self, **changes: object) -> str:
        """The part of an address that asks for this."""
        values = changed_fields(self, changes)
        if "class_name" in values:
            values["class"] = values.pop("class_name")
        return query_string(values)


def asked(
    model: str = "",
    beside: str = "",
    coverage: str = "",
    method: Literal["auto", "cam", "occlusion"] = "auto",
    class_name: Annotated[str, Query(alias="class")] = "",
    page: Annotated[int, Query(ge=0, le=1000)] = 0,
) -> Asked:
    """A dependency: what the query says; a field that was left empty is nothing.

    Raises:
        UsageError: the coverage is no share that can be promised.
    """
    share = None
    if coverage.strip():
        try:
            share = float(coverage)
        except ValueError:
            share = 0.0
        if not 0.5 < share < 1:
            raise UsageError(f"the coverage is {coverage!r}; expected a share above 0.5, below 1.")
    return Asked(model, beside, share, method, class_name, page)


Choices = Annotated[Asked, Depends(asked)]


@router.get("")
def show_form(request: Request, visitor: MayLook, chosen: Choices) -> Response:
    """The form alone."""
    return render(request, "try_it/form.html.j2", **_form_values(request, chosen))


@router.post("")
def send_images(request: Request, visitor: MayLook) -> Response:
    """Keep the images, and go to the page of their answers."""
    form = posted_form(request)
    if not form.files:
        raise Problem("no_image", "Choose at least one image.")
    upload = _uploads(request).add(visitor.session.id, form.files, form.get("upload"))
    values = {key: form.get(key) for key in ("model", "beside", "coverage") if form.get(key)}
    path = f"try/{upload.id}?{query_string(values)}"
    if form.get("reply") == "json":  # to a script that sends many, a few at a time
        return JSONResponse({"upload": upload.id, "page": relative_url(request, path)})
    return redirect(request, path)


@router.get("/training/image.jpg")
async def show_training_image(request: Request, visitor: MayLook, run: str, name: str) -> Response:
    """An image that a run was trained on, where it still lies where it did."""
    content = await training_image(request, run, name)
    options = {"longest": THUMBNAIL, "local": True}
    return await _drawn(request, "thumbnail", "", content, options, "image/jpeg")


@router.get("/{upload_id}")
async def show_answers(
    request: Request, upload_id: str, visitor: MayLook, chosen: Choices
) -> Response:
    """What the chosen classifiers say of each image of an upload."""
    upload = _upload(request, upload_id)
    first = chosen.page * IMAGES_ON_A_PAGE
    shown = upload.images[first : first + IMAGES_ON_A_PAGE]
    classifiers = await _classifiers(request, chosen)
    by_classifier = [
        await _answers(request, one, [content for _, content in shown], chosen.coverage)
        for one in classifiers
    ]
    cards = [
        {
            "place": first + row,
            "name": name,
            "answers": [answers[row] for answers in by_classifier],
        }
        for row, (name, _) in enumerate(shown)
    ]
    return render(
        request,
        "try_it/answers.html.j2",
        upload=upload,
        cards=cards,
        classifiers=classifiers,
        shown_classes=SHOWN_CLASSES,
        has_map=[one.version.manifest.cam in CAM_DESCRIPTIONS for one in classifiers],
        num_pages=-(-len(upload.images) // IMAGES_ON_A_PAGE),
        **await run_in_threadpool(_form_values, request, chosen),
    )


@router.get("/{upload_id}/answers.csv")
async def download_answers(
    request: Request, upload_id: str, visitor: MayLook, chosen: Choices
) -> Response:
    """The answers for all images, as `holotype predict --output answers.csv` writes them."""
    upload = _upload(request, upload_id)
    classifier = await open_classifiers(request).open(chosen.model)
    options = _options(request, classifier, chosen.coverage)
    engine = dashboard_of(request).service.engine
    contents = [content for _, content in upload.images]
    found = await ask(engine, "predict", classifier.digest, contents, options)
    names = [name for name, _ in upload.images]
    text = as_predictions(classifier, names, found, chosen.coverage).to_csv()
    return Response(
        text.encode("utf-8", "backslashreplace"),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": 'attachment; filename="answers.csv"'},
    )


@router.get("/{upload_id}/{place}")
async def show_image(
    request: Request, upload_id: str, place: int, visitor: MayLook, chosen: Choices
) -> Response:
    """One image: all classes, the heatmap of any, and the training images that are most like it."""
    upload = _upload(request, upload_id)
    name, content = _image(upload, place)
    classifiers = await _classifiers(request, chosen)
    answers = [(await _answers(request, one, [content], chosen.coverage))[0] for one in classifiers]
    similar = [
        await similar_images(request, one, content, SIMILAR)
        if has_references(one.version) and not answer.problem
        else None
        for one, answer in zip(classifiers, answers, strict=True)
    ]
    return render(
        request,
        "try_it/image.html.j2",
        upload=upload,
        place=place,
        name=name,
        classifiers=classifiers,
        answers=answers,
        similar=similar,
        has_map=[one.version.manifest.cam in CAM_DESCRIPTIONS for one in classifiers],
        **await run_in_threadpool(_form_values, request, chosen),
    )


@router.get("/{upload_id}/{place}/image.jpg")
async def show_thumbnail(
    request: Request, upload_id: str, place: int, visitor: MayLook, large: bool = False
) -> Response:
    """The image, upright and scaled down, as a worker decodes it."""
    _, content = _image(_upload(request, upload_id), place)
    longest = LARGE if large else THUMBNAIL
    return await _drawn(request, "thumbnail", "", content, {"longest": longest}, "image/jpeg")


@router.get("/{upload_id}/{place}/heatmap.png")
async def show_heatmap(
    request: Request,
    upload_id: str,
    place: int,
    visitor: MayLook,
    chosen: Choices,
    large: bool = False,
) -> Response:
    """Where the evidence for a class lies."""
    _, content = _image(_upload(request, upload_id), place)
    classifier = await open_classifiers(request).open(chosen.model)
    if chosen.class_name and chosen.class_name not in classifier.version.classes:
        raise UsageError(f"the classifier has no class {chosen.class_name!r}.")
    options = {
        "longest": LARGE if large else THUMBNAIL,
        "method": chosen.method,
        "class": chosen.class_name or None,
        "caption": True,
    }
    return await _drawn(request, "explain", classifier.digest, content, options, "image/png")


async def _drawn(
    request: Request,
    task: Literal["thumbnail", "explain"],
    digest: str,
    content: bytes,
    options: dict[str, Any],
    media_type: str,
) -> Response:
    engine = dashboard_of(request).service.engine
    options = {**_file_options(request), **options}
    (found,) = await ask(engine, task, digest, [content], options)
    if not isinstance(found, JobAnswer):
        raise problem_of(found)
    headers = {"cache-control": "private, max-age=3600"}
    return Response(bytes(found.parts[0]), media_type=media_type, headers=headers)


async def _classifiers(request: Request, chosen: Asked) -> list[OpenedClassifier]:
    opened = open_classifiers(request)
    return [await opened.open(choice) for choice in (chosen.model, chosen.beside) if choice]


async def _answers(
    request: Request, classifier: OpenedClassifier, images: Sequence[bytes], coverage: float | None
) -> list[ImageAnswer]:
    engine = dashboard_of(request).service.engine
    options = _options(request, classifier, coverage)
    found = await ask(engine, "predict", classifier.digest, images, options)
    return [image_answer(classifier, one) for one in found]


def _options(
    request: Request, classifier: OpenedClassifier, coverage: float | None
) -> dict[str, Any]:
    wanted = coverage if has_sets(classifier.version) else None
    return {"coverage": wanted, **_file_options(request)}


def _file_options(request: Request) -> dict[str, Any]:
    """On loopback without keys a visitor's files are of this machine, and of any format."""
    return {"local": True} if not visitor_of(request).needs_key else {}


def _form_values(request: Request, chosen: Asked) -> dict[str, Any]:
    """What the form of the classifiers shows."""
    dashboard = dashboard_of(request)
    return {
        "chosen": chosen,
        "choices": classifier_choices(request),
        "all_known": folder_index_of(request).is_complete,
        "limits": dashboard.service.settings.limits,
    }


def _uploads(request: Request) -> Uploads:
    found: Uploads = dashboard_of(request).kept.setdefault("uploads", Uploads())
    return found


def _upload(request: Request, upload_id: str) -> Upload:
    found = _uploads(request).find(upload_id, visitor_of(request).session.id)
    if found is None:
        raise UsageError("these images are no longer kept; send them again.")
    return found


def _image(upload: Upload, place: int) -> tuple[str, bytes]:
    if not 0 <= place < len(upload.images):
        raise Problem("no_such_path")
    return upload.images[place]
