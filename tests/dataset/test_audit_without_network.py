import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.auditing.findings import KINDS, Findings
from holotype.dataset.auditing.issue_reviews import FOUND_COLUMNS
from holotype.dataset.auditing.issues_csv import issues_of, write_findings
from holotype.dataset.index import read_index
from holotype.dataset.splitting.splitter import split


def photograph(number: int) -> Image.Image:
    """One of many images without common content: a region of a large photograph."""
    whole = Image.fromarray(skimage.data.immunohistochemistry())
    row, column = divmod(number, 7)
    return whole.crop((column * 70, row * 70, column * 70 + 70, row * 70 + 70))


def plain_data(root: Path, per_class: int = 4) -> Path:
    for number in range(3 * per_class):
        path = root / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(number).save(path)
    return root


def look_at(root: Path) -> Findings:
    return audit(read_index(root))


def test_clean_data_have_no_findings(tmp_path: Path) -> None:
    findings = look_at(plain_data(tmp_path))
    assert not findings.has_findings
    assert issues_of(findings) == []
    assert findings.summary_rows() == []
    assert findings.class_counts == {"a": 4, "b": 4, "c": 4}
    assert findings.imbalance == 1
    assert findings.imbalance_note == "every class has 4 usable images"
    assert findings.given_parts == {}
    assert findings.sizes == ((70, 70),) * 3
    assert findings.formats == {"PNG": 12}
    assert findings.modes == {"RGB": 12}


def test_statistics_alone_are_no_findings(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    for number in range(12, 30):
        photograph(number).convert("L").save(root / "a" / f"{number}.jpg")
    (root / "a" / "notes.txt").touch()
    findings = look_at(root)
    assert findings.imbalance == 22 / 4
    assert findings.imbalance_note == "the largest class is 5.5 times the smallest"
    assert findings.modes == {"L": 18, "RGB": 12}
    assert findings.ignored == ("a/notes.txt",)
    assert not findings.has_findings


def test_broken_images_are_named_with_reason_and_advice(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    whole = root / "whole.jpg"
    photograph(20).save(whole, quality=95)
    content = whole.read_bytes()
    whole.unlink()
    (root / "a/empty.jpg").touch()
    (root / "a/text.jpg").write_text("this is text")
    for percent in (1, 50, 99):
        (root / f"b/cut{percent}.jpg").write_bytes(content[: len(content) * percent // 100])
    (root / "b/gone.jpg").symlink_to("nowhere.jpg")
    with Image.new("1", (20_000, 20_000)) as huge:
        huge.save(root / "c/huge.png")
    findings = look_at(root)
    problems = {refusal.path: refusal.problem for refusal in findings.unusable}
    assert problems == {
        "a/empty.jpg": "empty_file",
        "a/text.jpg": "not_an_image",
        "b/cut1.jpg": "truncated_image",
        "b/cut50.jpg": "truncated_image",
        "b/cut99.jpg": "truncated_image",
        "b/gone.jpg": "unreadable_file",
        "c/huge.png": "too_many_pixels",
    }
    assert findings.unusable_paths == set(problems)
    assert all(refusal.reason and refusal.advice for refusal in findings.unusable)
    assert findings.class_counts == {"a": 4, "b": 4, "c": 4}
    assert findings.has_findings
    assert [issue.path for issue in issues_of(findings)] == sorted(problems)


def test_equal_files_are_redundant_or_a_conflict(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    shutil.copy(root / "a/0.png", root / "a/copy.png")
    shutil.copy(root / "b/1.png", root / "c/other label.png")
    findings = look_at(root)
    assert [(d.paths, d.is_conflict) for d in findings.exact_duplicates] == [
        (("a/0.png", "a/copy.png"), False),
        (("b/1.png", "c/other label.png"), True),
    ]
    assert findings.conflicts == findings.exact_duplicates[1:]
    assert findings.near_duplicates == ()
    issues = {issue.path: issue for issue in issues_of(findings)}
    assert set(issues) == {"a/copy.png", "b/1.png", "c/other label.png"}
    assert issues["a/copy.png"].problem == "exact_duplicate"
    assert "'a/0.png'" in issues["a/copy.png"].evidence
    assert issues["b/1.png"].problem == "label_conflict"
    assert "'c/other label.png' as 'c'" in issues["b/1.png"].evidence
    assert set(findings.duplicate_clusters) == {
        frozenset({"a/0.png", "a/copy.png"}),
        frozenset({"b/1.png", "c/other label.png"}),
    }


def test_copies_under_one_label_need_nothing_and_so_are_no_failure(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    shutil.copy(root / "a/0.png", root / "a/copy.png")
    photograph(1).resize((120, 120)).save(root / "b/larger.png")
    findings = look_at(root)
    counts = findings.counts()
    assert (counts["exact_duplicate"], counts["near_duplicate"]) == (1, 1)
    assert not findings.has_findings
    shutil.copy(root / "a/0.png", root / "c/copy.png")
    assert look_at(root).has_findings


def test_a_near_duplicate_is_reported_with_its_original(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    photograph(0).resize((120, 120)).save(root / "a/larger.png")
    photograph(1).save(root / "c/recompressed.jpg", quality=60)
    findings = look_at(root)
    issues = {issue.path: issue for issue in issues_of(findings)}
    assert set(issues) == {"a/0.png", "b/1.png", "c/recompressed.jpg"}
    assert issues["a/0.png"].problem == "near_duplicate"
    assert "'a/larger.png'" in issues["a/0.png"].evidence
    assert issues["b/1.png"].problem == "label_conflict"
    assert "'c/recompressed.jpg'" in issues["b/1.png"].evidence
    assert len(findings.near_duplicate_conflicts) == 1


def test_an_equal_file_and_a_near_duplicate_make_one_cluster(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    shutil.copy(root / "a/0.png", root / "b/same.png")
    photograph(0).resize((100, 100)).save(root / "c/resized.png")
    findings = look_at(root)
    assert findings.duplicate_clusters == [frozenset({"a/0.png", "b/same.png", "c/resized.png"})]
    parts = split(read_index(root), keep_together=findings.duplicate_clusters).table.set_index(
        "path"
    )["split"]
    assert len(set(parts[sorted(findings.duplicate_clusters[0])])) == 1


def test_an_oversized_cluster_of_near_duplicates_is_not_grouped_but_equal_files_are(
    tmp_path: Path,
) -> None:
    root = plain_data(tmp_path)
    for number in range(12):
        shutil.copy(root / "b/1.png", root / f"b/same {number:02d}.png")
        level = 1 - 0.01 * (number + 1)
        darker = photograph(0).point(lambda v, level=level: round(v * level))
        darker.save(root / f"c/near {number:02d}.png")
    findings = look_at(root)
    equal = frozenset({"b/1.png", *(f"b/same {n:02d}.png" for n in range(12))})
    assert findings.duplicate_clusters == [equal]
    (cluster,) = findings.oversized_clusters
    assert len(cluster) > 10
    assert all(path == "a/0.png" or path.startswith("c/near") for path in cluster)
    assert findings.near_duplicates == ()
    reported = {issue.path for issue in issues_of(findings) if issue.problem == "oversized_cluster"}
    assert reported == cluster
    assert findings.counts()["oversized_cluster"] == 1


def test_every_kind_of_finding_has_a_name_and_a_count(tmp_path: Path) -> None:
    counts = look_at(plain_data(tmp_path)).counts()
    assert tuple(counts) == KINDS
    assert set(counts.values()) == {0}


def test_copies_and_groups_across_a_given_split_are_leaks(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    photograph(0).save(root / "copy of 0.jpg", quality=80)
    rows = ["path,label,group,split", "copy of 0.jpg,a,,test"]
    for number in range(12):
        part = ("train", "val", "test")[number % 3]
        group = "turtle 7" if number in (3, 4, 6) else ""
        rows.append(f"{'abc'[number % 3]}/{number}.png,{'abc'[number % 2]},{group},{part}")
    (root / "t.csv").write_text("\n".join(rows))
    findings = audit(read_index(root / "t.csv"))
    copies, grouped = findings.leaks
    assert (copies.kind, set(copies.paths), set(copies.parts)) == (
        "duplicates",
        {"a/0.png", "copy of 0.jpg"},
        {"train", "test"},
    )
    assert (grouped.kind, grouped.name, grouped.count) == ("group", "turtle 7", 3)
    assert set(grouped.parts) == {"train", "val"}
    leaking = {issue.path for issue in issues_of(findings) if "leak" in issue.problem}
    assert {"a/0.png", "copy of 0.jpg", "b/4.png"} <= leaking


def test_classes_are_counted_in_each_part_that_was_given(tmp_path: Path) -> None:
    counts = {"train": {"a": 3, "b": 2}, "val": {"a": 1}, "test": {"a": 1, "b": 1}}
    number = 0
    for part, of_part in counts.items():
        for name, images in of_part.items():
            (tmp_path / part / name).mkdir(parents=True)
            for _ in range(images):
                photograph(number).save(tmp_path / part / name / f"{number}.png")
                number += 1
    (tmp_path / "train" / "b" / "empty.png").touch()  # is not counted
    findings = audit(read_index(tmp_path, allow_class_mismatch=True))
    assert findings.given_parts == counts | {"val": {"a": 1, "b": 0}}
    assert list(findings.given_parts) == ["train", "val", "test"]
    assert findings.to_json()["given_parts"] == findings.given_parts
    assert findings.class_table() == (
        ("class", "usable images", "train", "val", "test"),
        [("a", 5, 3, 1, 1), ("b", 3, 2, 0, 1)],
    )


def test_classes_too_small_to_split_count_separate_images(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    (root / "rare").mkdir()
    photograph(30).save(root / "rare/1.png")
    photograph(30).resize((100, 100)).save(root / "rare/2.png")
    photograph(31).save(root / "rare/3.png")
    findings = look_at(root)
    assert findings.small_classes == {"rare": 2}
    assert findings.has_findings


def test_almost_uniform_images_are_suspicious(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    Image.new("RGB", (90, 90), (3, 3, 3)).save(root / "a/black.png")
    noise = np.random.default_rng(0).integers(200, 206, (90, 90), dtype=np.uint8)
    Image.fromarray(noise).save(root / "a/blank.png")
    assert {image.path for image in look_at(root).quality_issues} == {"a/black.png", "a/blank.png"}


def test_an_animation_warns_every_time(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    frames = [photograph(20), photograph(21)]
    frames[0].save(root / "a/film.gif", save_all=True, append_images=frames[1:])
    assert list(look_at(root).warnings) == ["a/film.gif"]
    assert list(look_at(root).warnings) == ["a/film.gif"]


def test_undecodable_names_are_findings(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    target = bytes(root / "a") + b"/\xfe.png"
    with open(target, "wb") as file:
        file.write((root / "a/0.png").read_bytes())
    findings = look_at(root)
    assert [(r.path, r.problem) for r in findings.unusable] == [(r"a/\xfe.png", "undecodable_name")]
    assert findings.num_images == 13


@pytest.mark.parametrize("name", ["new\nline", "re\rturn", 'quo"te', "com,ma", "🐢", "=1+1"])
def test_the_files_of_an_audit_survive_every_name(tmp_path: Path, name: str) -> None:
    root = plain_data(tmp_path / "data")
    (root / f"a/{name}.jpg").write_text("broken")
    photograph(0).resize((100, 100)).save(root / f"b/{name}.png")
    write_findings(look_at(root), tmp_path / "out")
    with (tmp_path / "out" / "issues.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*FOUND_COLUMNS, "confirmed", "new_label"]
    assert {row["confirmed"] for row in rows} == {""}
    assert {row["path"] for row in rows} >= {f"a/{name}.jpg", f"b/{name}.png"}
    assert len(rows) == len({row["path"] for row in rows})
    written = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert (written["num_images"], written["num_usable"]) == (14, 13)
    assert written["classes"] == {"a": 4, "b": 5, "c": 4}
    (unusable,) = written["unusable_images"]
    assert (unusable["path"], unusable["problem"]) == (f"a/{name}.jpg", "not_an_image")
    (pair,) = written["near_duplicates"]
    assert (pair["first"], pair["second"]) == (f"b/{name}.png", "a/0.png")
    assert pair["labels"] == ["b", "a"]
    assert written["duplicate_clusters"] == [sorted([f"b/{name}.png", "a/0.png"])]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "audit.json",
        "issues.csv",
    ]


def test_the_next_audit_keeps_confirmations_of_images_with_the_same_problem(
    tmp_path: Path,
) -> None:
    root, issues = plain_data(tmp_path / "data"), tmp_path / "out" / "issues.csv"
    (root / 'a/empty, "1".jpg').touch()
    (root / "a/broken.jpg").write_text("no image")
    write_findings(look_at(root), tmp_path / "out")
    written = issues.read_text(encoding="utf-8")
    assert written.count(',"",""\n') == 2
    issues.write_text(written.replace(',"",""\n', ',"yes",""\n'), encoding="utf-8")
    (root / "a/broken.jpg").write_bytes(b"")  # another problem than the confirmed one
    write_findings(look_at(root), tmp_path / "out")
    with issues.open(encoding="utf-8", newline="") as file:
        confirmed = {row["path"]: row["confirmed"] for row in csv.DictReader(file)}
    assert confirmed == {'a/empty, "1".jpg': "yes", "a/broken.jpg": ""}


def test_an_audit_touches_nothing_and_reports_its_progress(tmp_path: Path) -> None:
    root = plain_data(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    told: list[tuple[int, int]] = []
    (root / "a/new.png").write_bytes((root / "a/0.png").read_bytes() + b"tail")
    before[root / "a/new.png"] = (root / "a/new.png").stat().st_mtime_ns
    before[root / "a"] = (root / "a").stat().st_mtime_ns
    audit(read_index(root), on_progress=lambda done, total: told.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert told[-1] == (13, 13)


def test_data_without_a_readable_image_can_be_audited(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("no image")
    findings = look_at(tmp_path)
    assert len(findings.unusable) == 2
    assert findings.class_counts == {"a": 0, "b": 0}
    assert findings.imbalance_note == "no class has a usable image"
    one = Findings(num_images=1, class_counts={"a": 1, "b": 0})
    assert one.imbalance_note == "the largest class has 1 usable image, another has none"
    assert findings.sizes == ()
    json.dumps(findings.to_json())
