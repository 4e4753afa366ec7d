"""Review of findings: one image at a time, by keys or by buttons; answers go to issues.csv."""

import shlex

from fastapi import Request
from starlette.responses import Response

from holotype.dashboard_pages.addresses import (
    mark_of,
    marked,
    next_open,
    query_string,
    whole_number,
)
from holotype.dashboard_pages.data.agreement import reviewer_agreement
from holotype.dashboard_pages.data.data_sets import DataSet, data_set_of
from holotype.dashboard_pages.data.gallery_pages import partners_of
from holotype.dashboard_pages.data.image_table import audit_directory
from holotype.dashboard_pages.data.thumbnails import SIDES_PX
from holotype.dashboard_pages.page import page_router, posted_form, redirect, render
from holotype.dashboard_pages.visitors import MayLook, MayReview
from holotype.dataset.auditing.issue_reviews import ReviewedIssue, record_review
from holotype.dataset.auditing.issues_csv import JOINT
from holotype.errors import UsageError
from holotype.serving.http.request_body import Form

router = page_router("data/review")


@router.get("/")
def show_review(request: Request, visitor: MayLook) -> Response:
    data = data_set_of(request)
    kinds = _kinds(data.issues)
    asked = request.query_params
    kind = asked.get("kind", "label_error" if "label_error" in kinds else "")
    issues = _of_kind(data.issues, kind)
    reviewer = _one_line(visitor.name or asked.get("reviewer", ""))
    number = min(whole_number(asked.get("number", "")), max(0, len(issues) - 1))
    issue = issues[number] if issues else None
    own = None
    if issue is not None:
        own = next((one for one in issue.reviews if one.reviewer == reviewer), None)
    row = data.table.row_of.get(issue.path) if issue is not None else None

    def address(number: int) -> str:
        return query_string({"of": data.of, "kind": kind, "number": number, "reviewer": reviewer})

    return render(
        request, "data/review.html.j2", data=data, table=data.table, kinds=kinds, kind=kind,
        issues=issues, issue=issue, number=number, reviewer=reviewer, own=own, row=row,
        mark_of=mark_of,
        partners=partners_of(data, issue.path)[:3] if issue is not None else [],
        num_answered=sum(_has_answer(one, reviewer) for one in issues),
        num_disputed=sum(one.is_disputed for one in data.issues),
        agreement=reviewer_agreement(data.issues), address=address, side=SIDES_PX[1],
        file=shlex.quote(str(audit_directory(data.directory) / "issues.csv")),
        is_named=bool(visitor.name),
    )  # fmt: skip


@router.post("/answer")
def answer(request: Request, visitor: MayReview) -> Response:
    """Keep an answer before the next image is shown."""
    data, form = data_set_of(request), posted_form(request)
    issues = _of_kind(data.issues, form.get("kind"))
    paths = [one.path for one in issues]
    path = marked(paths, form.get("mark"))
    if path is None:
        raise UsageError("The table was made anew by an audit meanwhile; begin again.")
    reviewer = _one_line(visitor.name or form.get("reviewer"))
    word = form.get("decision")
    record_review(
        audit_directory(data.directory) / "issues.csv",
        path,
        reviewer,
        None if word == "withdraw" else word,  # type: ignore[arg-type]
        label=_label(form, data) if word == "correct" else "",
        classes=data.table.classes,
    )
    number = paths.index(path)
    if word != "withdraw":
        number = next_open([_has_answer(one, reviewer) for one in issues], number)
    query = {
        "of": data.of, "kind": form.get("kind"), "number": number, "reviewer": reviewer,
    }  # fmt: skip
    return redirect(request, f"data/review/?{query_string(query)}")


def _label(form: Form, data: DataSet) -> str:
    """The class that was chosen.

    Raises:
        UsageError: none, or one that is no longer in the list.
    """
    if not form.get("label"):
        raise UsageError("Choose the right class beside “Correct” first.")
    label = marked(data.table.classes, form.get("label"))
    if label is None:
        raise UsageError("The classes have changed meanwhile; go back, load the page and choose.")
    return label


def _one_line(name: str) -> str:
    """As the name of a reviewer is kept."""
    return " ".join(name.split())


def _kinds(issues: list[ReviewedIssue]) -> dict[str, int]:
    """Kinds of findings and how many images have each."""
    counts: dict[str, int] = {}
    for issue in issues:
        for kind in issue.problem.split(JOINT):
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))


def _of_kind(issues: list[ReviewedIssue], kind: str) -> list[ReviewedIssue]:
    return [one for one in issues if not kind or kind in one.problem.split(JOINT)]


def _has_answer(issue: ReviewedIssue, reviewer: str) -> bool:
    return any(review.reviewer == reviewer for review in issue.reviews)
