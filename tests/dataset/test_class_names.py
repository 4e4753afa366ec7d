"""Names of classes that look alike."""

import os
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from holotype.dataset.auditing.findings import Findings
from holotype.dataset.class_names import class_differences, similar_class_names
from holotype.dataset.index import read_index, require_classes
from holotype.errors import EmptyDataset, SplitClassMismatch, did_you_mean
from tests.dataset.indices import class_folders, paint

COMPOSED, DECOMPOSED = "d\u00f6g", "do\u0308g"


def test_one_name_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    class_folders(tmp_path, f"{COMPOSED}/1.png", f"{DECOMPOSED}/2.png", "cat/3.png")
    assert read_index(tmp_path).classes == ("cat", COMPOSED)


def test_split_folders_of_two_systems_hold_the_same_classes(tmp_path: Path) -> None:
    class_folders(tmp_path, *(f"train/{name}/1.png" for name in ("a", COMPOSED)))
    class_folders(tmp_path, *(f"test/{name}/1.png" for name in ("a", DECOMPOSED)))
    assert read_index(tmp_path).classes == ("a", COMPOSED)


def test_folders_and_tables_meet_in_one_form(tmp_path: Path) -> None:
    class_folders(tmp_path / "one", f"{DECOMPOSED}/1.png")
    table = pd.DataFrame({"path": [str(paint(tmp_path / "2.png"))], "label": [COMPOSED]})
    assert read_index([tmp_path / "one", table]).classes == (COMPOSED,)
    by_name = class_folders(tmp_path / "flat", f"{DECOMPOSED}.1.png")
    assert read_index(by_name, label_pattern=r"(.+)\.\d").classes == (COMPOSED,)
    assert unicodedata.normalize("NFD", COMPOSED) == DECOMPOSED


@pytest.mark.parametrize(
    "twin", ["Cat", "cat ", " cat", "c\u0430t", "cat\u200b", "cat\u00a0", "\uff43at"]
)
def test_class_names_that_look_alike_are_a_finding(twin: str) -> None:
    findings = Findings(num_images=9, class_counts={"cat": 3, "dog": 3, twin: 3})
    assert findings.counts()["similar_class"] == 1
    assert findings.has_findings
    (note,) = findings.similar_class_notes()
    assert repr("cat") in note
    assert ascii(twin) in note


def test_other_names_are_no_twins() -> None:
    assert similar_class_names(["cat", "cats", "dog", "d\u00f6g"]) == []


def test_a_suggestion_that_prints_like_the_word_shows_what_differs() -> None:
    assert did_you_mean("c\u0430t", ["cat"]) == r"; did you mean 'cat' ('cat', and not 'c\u0430t')?"
    assert did_you_mean("cot", ["cat"]) == "; did you mean 'cat'?"


def test_messages_about_different_classes_show_what_differs(tmp_path: Path) -> None:
    class_folders(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/c\u0430t/1.png")
    class_folders(tmp_path, "test/dog/1.png")
    with pytest.raises(
        SplitClassMismatch, match=r"train lacks .* \('c\\u0430t'\); test lacks 'cat'"
    ):
        read_index(tmp_path)
    said = class_differences(("a", ["cat", "dog"]), ("b", ["c\u0430t", "dog"]))
    assert said == "only 'a' has 'cat'; only 'b' has 'c\u0430t' ('c\\u0430t')"
    assert class_differences(("a", ["cat"]), ("b", ["cat"])) == ""
    assert class_differences(("a", "12345"), ("b", "")) == "only 'a' has '1', '2', '3', …"


def test_names_that_are_no_text_are_the_reason_that_is_given(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    with open(folder + b"/1.png", "wb") as file:
        file.write(paint(tmp_path / "aside" / "1.png").read_bytes())
    (tmp_path / "aside/1.png").unlink()
    with pytest.raises(EmptyDataset, match=r"valid UTF-8; the first is '\\xff/1.png'"):
        require_classes(read_index(tmp_path))
