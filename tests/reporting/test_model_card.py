"""The model card: what the hub reads of it, what a person reads, and what no name can break."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from holotype.bundle.bundle import Bundle
from holotype.bundle.manifest import Decision, Manifest, OODDetector, PretrainedWeights
from holotype.dataset.index import COLUMNS, Index
from holotype.evaluation.build_report import build_report
from holotype.files import write_json
from holotype.imaging.preprocessing import Preprocessing
from holotype.predictions import Predictions
from holotype.reporting.model_card import write_model_card
from holotype.reporting.plot_labels import to_single_line
from holotype.reporting.report_page import ReportContext
from holotype.reporting.templates import escape_markdown
from holotype.run_directory import RunDirectory
from tests.evaluation.made import called, made

NASTY = (
    "a|b", "*bold* _and_ `code`", "<script>alert(1)</script>", "[x](http://x.y) $z$", "yes: no",
    "1. one", "- minus", "# head", "--- ", "two\nlines", "&amp; 50 % ~off~", "\\", "Käfer 甲虫",
)  # fmt: skip
APACHE = PretrainedWeights("package", "Apache-2.0", "cd" * 32)
UNKNOWN = OODDetector(
    score="energy", threshold=0.1, false_rejection_rate=0.05, num_images=45, neighbours=1
)
CONTEXT = ReportContext(
    title="cells-1",
    run_name="cells-1",
    model="efficientnet_lite0",
    recipe="finetune",
    data="300 images of 3 classes in cells",
    audit=[("labels probably wrong", 3, "look at each")],
    notes=["The val part has no image of: rare."],
    command="holotype train cells --recipe cells-1/recipe.yaml",
)


def bundle_of(classes: tuple[str, ...], **changes: object) -> Bundle:
    preprocessing = Preprocessing(
        height=64, width=64, fit="squash", interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    fields: dict[str, object] = {
        "name": "cells", "model": "efficientnet_lite0", "classes": classes,
        "preprocessing": preprocessing, "embedding_size": 8, "weights": APACHE,
        "decision": Decision(1.25, "ef" * 32, 45), "versions": {"holotype": "0.1.0"},
    }  # fmt: skip
    manifest = Manifest(**{**fields, **changes})
    return Bundle(Path("bundle"), manifest, "ab" * 32, {})


def index_of(predictions: Predictions) -> Index:
    """Every image three times: to learn from, to choose by, and to be judged on."""
    labels = [predictions.classes[target] for target in predictions.targets_N]
    tables = []
    for part in ("train", "val", "test"):
        table = pd.DataFrame({"label": labels, "split": part})
        table["path"] = [f"{part}/{name}" for name in predictions.ids]
        table["sha256"] = table["path"]
        tables.append(table.assign(group="", fold=-1, weight=1.0, width=8, height=8, format="PNG"))
    return Index(Path("cells"), pd.concat(tables)[list(COLUMNS)], predictions.classes)


def card_of(
    run: Path,
    predictions: Predictions,
    *,
    context: ReportContext = CONTEXT,
    bundle: Bundle | None = None,
    index: Index | None = None,
    part: str = "test",
) -> str:
    report = build_report(predictions, part=part)
    write_model_card(
        RunDirectory(run), report, context=context,
        bundle=bundle or bundle_of(predictions.classes),
        index=index or index_of(predictions), validation=replace(report, part="val"),
        seeds={"training": 7, "split": 42},
    )  # fmt: skip
    return (run / "MODEL_CARD.md").read_text(encoding="utf-8")


def named(predictions: Predictions, classes: tuple[str, ...]) -> Predictions:
    return replace(predictions, classes=classes)


def parsed(text: str) -> list[Token]:
    body = text.split("\n---\n", 1)[1]
    return MarkdownIt("commonmark").enable("table").parse(body)


def tables(text: str) -> list[list[list[str]]]:
    """Tables, rows, and cells as a reader sees them."""
    found: list[list[list[str]]] = []
    for before, token in zip([None, *parsed(text)], parsed(text), strict=False):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and before and before.type in ("th_open", "td_open"):
            found[-1][-1].append("".join(child.content for child in token.children or []))
    return found


def headings(text: str) -> list[str]:
    tokens = parsed(text)
    return [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]


def table_with(text: str, first: str) -> list[list[str]]:
    return next(rows for rows in tables(text) if rows[0][0] == first)


def test_the_hub_reads_the_header_with_the_scores_that_the_report_has(tmp_path: Path) -> None:
    predictions = made(weighted=True)
    text = card_of(tmp_path, predictions)
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData)
    assert data.license == "apache-2.0"
    assert (data.pipeline_tag, data.library_name) == ("image-classification", "holotype")
    assert data.model_name == "cells-1"
    results = {(one.dataset_split, one.metric_type): one for one in data.eval_results or []}
    report = build_report(predictions)
    for part in ("test", "validation"):
        for name, kind in (("accuracy", "accuracy"), ("macro_f1", "f1"), ("log_loss", "log_loss")):
            estimate = report[name]
            assert results[part, kind].metric_value == pytest.approx(estimate.value, abs=1e-6)
            assert f"{estimate.low:.3f} – {estimate.high:.3f}" in results[part, kind].metric_name
    # Written out by the hub's own writer, it is the same header.
    header = yaml.safe_load(text.split("---\n")[1])
    assert yaml.safe_load(data.to_yaml()) == header


def test_every_part_of_a_card_is_there(tmp_path: Path) -> None:
    text = card_of(tmp_path, made())
    assert headings(text) == [
        "cells-1", "Intended use", "Data", "Scores", "By class", "Limits", "Licence",
        "How to repeat it",
    ]  # fmt: skip
    for said in (
        "The val part has no image of: rare.", "No groups were given", "labels probably wrong",
        "fitted on 45 images before test was read", "ab" * 32, "training 7, split 42",
        "holotype 0.1.0", CONTEXT.command, "pretrained weights under Apache-2.0",
        "predicts one of them all the same",
    ):  # fmt: skip
        assert said in text


def test_scores_stand_with_their_intervals_and_validation_beside(tmp_path: Path) -> None:
    predictions = made()
    rows = table_with(card_of(tmp_path, predictions), "Score")
    accuracy = build_report(predictions)["accuracy"]
    cells = [f"{accuracy.value:.3f}", f"{accuracy.low:.3f} – {accuracy.high:.3f}"]
    assert rows[0][1::2] == ["test", "validation"]
    assert rows[1] == ["Accuracy", *cells, *cells]


def test_names_are_shown_as_they_are_and_make_no_markup(tmp_path: Path) -> None:
    predictions = named(made(260, len(NASTY)), NASTY)
    nasty = NASTY[2]
    context = replace(CONTEXT, title=nasty, run_name=NASTY[9], data=nasty, notes=NASTY)
    context = replace(context, audit=[(nasty, 1, nasty)], command="train '```\n# not a heading'")
    text = card_of(tmp_path, predictions, context=context)
    rows = table_with(text, "Class")
    assert [row[0] for row in rows[1:]] == [to_single_line(name).strip() for name in NASTY]
    assert len(headings(text)) == 8
    tokens = parsed(text)
    assert not [token for token in tokens if token.type in ("html_block", "ordered_list_open")]
    inner = {child.type for token in tokens for child in token.children or []}
    assert inner <= {"text", "text_special", "code_inline", "strong_open", "strong_close"}
    data = ModelCard(text).data
    assert data.to_dict()["model-index"][0]["name"] == "two\\nlines"


@given(st.text(min_size=1))
def test_any_text_is_read_back_from_markdown(text: str) -> None:
    markdown = MarkdownIt("commonmark").enable("table")
    for around, heads in (
        (f"| x |\n|---|\n| {escape_markdown(text)} |", 1),
        (f"- {escape_markdown(text)}", 0),
        (f"# {escape_markdown(text)}", 0),
    ):
        inline = [token for token in markdown.parse(around) if token.type == "inline"]
        shown = "".join(child.content for token in inline[heads:] for child in token.children or [])
        assert shown.split() == to_single_line(text).split()


@pytest.mark.parametrize(
    ("weights", "licence", "said"),
    [
        (None, "unknown", "from random weights"),
        (APACHE, "apache-2.0", "Apache-2.0"),
        (PretrainedWeights("file", "unknown", "00" * 32), "unknown", "Find it out"),
        (PretrainedWeights("hub", "CC-BY-NC-4.0", "00" * 32), "cc-by-nc-4.0", "CC-BY-NC-4.0"),
        (PretrainedWeights("hub", "Our own / v2", "00" * 32), "other", "Our own / v2"),
    ],
)
def test_the_licence_is_that_of_the_weights(
    tmp_path: Path, weights: PretrainedWeights | None, licence: str, said: str
) -> None:
    predictions = made(60)
    text = card_of(tmp_path, predictions, bundle=bundle_of(predictions.classes, weights=weights))
    header = ModelCard(text).data.to_dict()
    assert header["license"] == licence
    assert ("license_name" in header) == (licence == "other")
    assert said in text.split("## Licence")[1]


def test_members_bring_all_their_licences(tmp_path: Path) -> None:
    predictions = made(60)
    bsd = PretrainedWeights("hub", "BSD-3-Clause", "11" * 32)
    members = tuple(bundle_of(predictions.classes, weights=one) for one in (APACHE, bsd, None))
    whole = replace(bundle_of(predictions.classes, weights=None), members=members)
    text = card_of(tmp_path, predictions, bundle=whole)
    header = ModelCard(text).data.to_dict()
    assert header["license"] == "other"
    assert header["license_name"] == "apache-2.0-and-bsd-3-clause"
    assert "Apache-2.0 and BSD-3-Clause" in text
    assert "weighted mean of 3 members" in text


@pytest.mark.parametrize("num_classes", [2, 12, 100])
def test_however_many_classes_it_is_two_pages_with_whole_names(
    tmp_path: Path, num_classes: int
) -> None:
    classes = tuple(
        f"{n:04d} {'Quinqueloculina seminulum var. longirostra':<55}" for n in range(1000)
    )
    predictions = named(made(4 * num_classes, num_classes), classes[:num_classes])
    text = card_of(tmp_path, predictions)
    rows = table_with(text, "Class")[1:]
    assert len(rows) == (num_classes if num_classes <= 20 else 10)
    assert all(
        re.fullmatch(r"\d{4} Quinqueloculina seminulum var. longirostra", r[0]) for r in rows
    )
    assert len(text.split("\n---\n", 1)[1]) < 9_000
    recalls = {one.name.strip(): one.recall.value for one in build_report(predictions).per_class}
    if num_classes > 20:
        lowest = sorted(value for value in recalls.values() if value is not None)[:10]
        assert [recalls[row[0]] for row in rows] == lowest


def test_what_was_not_tested_says_so_and_what_was_never_called_too(tmp_path: Path) -> None:
    predictions = called([0, 0, 1, 1], [0, 1, 1, 1], 4)
    rows = {row[0]: row for row in table_with(card_of(tmp_path, predictions), "Class")}
    assert rows["class 2"][2] == "0"
    assert not re.search(r"\d", rows["class 2"][3] + rows["class 2"][4])
    assert not re.search(r"\d", rows["class 3"][4])


def test_groups_and_equal_files_on_two_sides_are_counted(tmp_path: Path) -> None:
    predictions = made(30)
    index = index_of(predictions)
    table = index.table.assign(group=[f"g{n % 30}" for n in range(90)])
    table.loc[table["path"] == "val/folder/0.png", "sha256"] = "train/folder/0.png"
    text = card_of(tmp_path, predictions, index=replace(index, table=table))
    assert "Groups in more than one part: 30 of 30." in text
    assert "Files with equal bytes in more than one part: 1." in text
    apart = index.table.assign(group=index.table["split"])
    text = card_of(tmp_path, predictions, index=replace(index, table=apart))
    assert "No group is in two parts. No file is in two parts." in text
    assert table_with(text, "Part")[1:] == [
        [name, "30", "3", "1"] for name in ("training", "validation", "test")
    ]


def test_folds_are_the_parts_of_a_cross_validation(tmp_path: Path) -> None:
    predictions = made(40)
    index = index_of(predictions)
    rows = index.table[index.table["split"] == "train"]
    table = rows.assign(split="", fold=np.arange(40) % 4)
    folds = [build_report(predictions, part=f"fold {n}") for n in range(4)]
    text = card_of(
        tmp_path, predictions, index=replace(index, table=table), part="out of fold",
        context=replace(CONTEXT, folds=folds),
    )  # fmt: skip
    parts = table_with(text, "Part")[1:]
    assert [row[:2] for row in parts] == [[f"fold {n}", "10"] for n in range(4)]
    assert "On predictions out of fold" in text
    assert "before test was read" not in text
    weights_N = np.where(np.arange(40) < 3, 0.0, 1.0)  # excluded, and kept to be tested on
    text = card_of(
        tmp_path, predictions, index=replace(index, table=table.assign(weight=weights_N)),
        part="out of fold", context=replace(CONTEXT, folds=folds),
    )  # fmt: skip
    assert sum(int(row[1]) for row in table_with(text, "Class")[1:]) == 40 - 3


def test_a_classifier_that_may_say_unknown_is_described_so(tmp_path: Path) -> None:
    predictions = made(60)
    decision = Decision(1.0, "ef" * 32, 45, unknown=UNKNOWN)
    text = card_of(tmp_path, predictions, bundle=bundle_of(predictions.classes, decision=decision))
    assert "“unknown” flag is raised for at most 5 % of images of its classes, with 95 %" in text
    assert "Every image is assigned a class" not in text


def test_what_training_took_is_said_and_that_a_part_of_it_is_not_known(tmp_path: Path) -> None:
    environment = {"python": "3.11.7", "training_seconds": 3000, "peak_memory_mb": 1234.5}
    write_json(tmp_path / "environment.json", environment)
    text = card_of(tmp_path, made(60))
    assert "Training time: 50 min" in text
    assert "Peak memory: 1,234 MB" in text
    assert "python 3.11.7" in text
    write_json(tmp_path / "environment.json", {**environment, "training_resumed": True})
    assert "Training time: at least 50 min" in card_of(tmp_path, made(60))
