"""The audit with a network: what it says of labels that were made wrong on purpose."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from holotype.dataset.index import Index, read_index
from holotype.dataset.splitting.assignment import atomic_group_names
from holotype.errors import DatasetError
from holotype.pipeline.audit import audit


def _spoilt(synthetic: Path, folder: Path) -> tuple[Path, set[str]]:
    """A table of the synthetic set with six wrong labels, and which they are."""
    index = read_index(synthetic)
    rows, wrong = ["path,label"], set()
    for number, (path, label) in enumerate(
        zip(index.table["path"], index.table["label"], strict=True)
    ):
        if number % 20 == 7:
            label = index.classes[(index.classes.index(label) + 1) % len(index.classes)]
            wrong.add(str(index.file(path)))
        rows.append(f"{index.file(path)},{label}")
    folder.mkdir(exist_ok=True)
    (folder / "table.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder / "table.csv", wrong


@pytest.mark.slow
def test_the_pretrained_network_finds_wrong_labels(synthetic: Path, tmp_path: Path) -> None:
    table, wrong = _spoilt(synthetic, tmp_path / "spoilt")
    found = audit(table, labels=True)
    named = {str(found.index.file(issue.path)) for issue in found.findings.label_errors}
    assert len(named & wrong) / len(wrong) >= 0.8
    assert len(named & wrong) / len(named) >= 0.6
    noise = found.findings.noise_rate
    assert noise is not None
    assert noise.low <= len(wrong) / 120 <= noise.high
    found.write(tmp_path / "audit")
    assert sorted(path.name for path in (tmp_path / "audit").iterdir()) == [
        "audit.json", "index.html", "issues.csv",
    ]  # fmt: skip


def _blind(recipe: object, usable: Index, *_: object) -> NDArray[np.float32]:
    """The embeddings of a network that sees nothing."""
    return np.random.default_rng(0).normal(size=(len(usable), 8)).astype(np.float32)


def test_a_network_that_cannot_tell_the_classes_apart_accuses_nobody(
    synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holotype.pipeline.audit._embeddings", _blind)
    findings = audit(synthetic).findings
    assert findings.label_errors == ()
    assert findings.noise_rate is None
    assert "does not tell these classes apart" in findings.skipped_checks[0]


def test_data_of_one_class_and_data_of_a_handful_are_audited_without_labels(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holotype.pipeline.audit._embeddings", _blind)
    index = read_index(synthetic)
    for name, count in (("one", 12), ("few", 4)):
        rows = ["path,label"] + [f"{index.file(path)},a" for path in index.table["path"][:count]]
        (tmp_path / f"{name}.csv").write_text("\n".join(rows), encoding="utf-8")
    one = audit(tmp_path / "one.csv").findings
    assert one.skipped_checks == ("Labels were not looked at: images of one class only.",)
    asked: dict[str, Any]
    for name, asked in (
        ("one", {"labels": True}), ("one", {"fail_on": "label_error"}),
        ("few", {"labels": True}), ("few", {"fail_on": "outlier"}),
    ):  # fmt: skip
        with pytest.raises(DatasetError, match=r"not looked at: .* --labels and --fail-on ask"):
            audit(tmp_path / f"{name}.csv", **asked)
    assert not audit(tmp_path / "few.csv", fail_on="leak").failed
    assert not audit(tmp_path / "one.csv", fail_on="leak").failed
    (said,) = audit(tmp_path / "few.csv").findings.skipped_checks
    assert said.startswith("Labels, outliers and neighbours were not looked at")


def test_groups_and_copies_that_overlap_share_a_fold(synthetic: Path) -> None:
    index = read_index(synthetic)
    index.table.loc[[0, 1], "group"] = "specimen"
    paths = index.table["path"]
    units = atomic_group_names(
        index.table, [frozenset([paths[1], paths[5]]), frozenset([paths[7], paths[8]])]
    )
    assert units[0] == units[1] == units[5] != ""
    assert units[7] == units[8] not in ("", units[0])
    assert units[2] == ""
