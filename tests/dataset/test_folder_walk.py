"""What is an image below a folder, what is passed over, and what is said of it."""

import io
import os
import shutil
import sys
from pathlib import Path

import pytest

import holotype
from holotype.bundle.image_sources import image_sources
from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.index import read_index
from holotype.dataset.reading.folder_walk import is_holotype_output, walk_folder
from holotype.errors import DatasetError, EmptyDataset, UsageError
from holotype.progress import Progress
from tests.dataset.indices import class_folders, paint

HEIC = b"\0\0\0\x18ftypheic" + bytes(200)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("1.HEIC", HEIC, "truncated_image"),
        ("no_extension", HEIC, "truncated_image"),
        ("1.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "truncated_image"),
        ("1.jxl", b"\xff\x0a12", "unsupported_format"),
        ("1.pam", b"P7\nWIDTH 1\n", "unsupported_format"),
        ("1.pgm.old", b"P5\n1 1\n255\n", "truncated_image"),
        ("1.tga", b"anything", "unsupported_format"),
        ("1.nef", b"II*\0" + bytes(200), "unsupported_format"),
        ("1.psd", b"8BPS" + bytes(200), "unsupported_format"),
        ("1.svg", b"<svg></svg>", "unsupported_format"),
        ("1.heif", b"", "empty_file"),
    ],
)
def test_an_image_that_is_not_read_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    class_folders(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / name).write_bytes(content)
    (refused,) = audit(read_index(tmp_path)).unusable
    assert (refused.path, refused.problem) == (f"a/{name}", problem)


def test_avif_and_images_without_an_extension_are_read(tmp_path: Path) -> None:
    class_folders(tmp_path, "a/1.avif", "b/2.png")
    shutil.move(tmp_path / "b/2.png", tmp_path / "b/2")
    assert list(read_index(tmp_path).table["format"]) == ["AVIF", "PNG"]


@pytest.mark.parametrize("name", ["@eaDir", "$RECYCLE.BIN", "__MACOSX", ".thumbnails", "#recycle"])
def test_folders_of_systems_are_no_classes(tmp_path: Path, name: str) -> None:
    class_folders(tmp_path, "a/1.png", "b/2.png", f"{name}/3.png", f"a/{name}/4.png")
    index = read_index(tmp_path)
    assert index.classes == ("a", "b")
    assert len(index) == 2
    assert index.reading_notes() == [
        f"not used: 2 hidden images and folders of the system, the first: '{min(name, 'a')}/"
        f"{'' if name < 'a' else name + '/'}'."
    ]


def test_hidden_images_are_counted_and_other_hidden_files_are_not(tmp_path: Path) -> None:
    class_folders(tmp_path, "a/1.png", "b/2.png", "b/._2.png", "b/.thumb.jpg")
    (tmp_path / ".DS_Store").touch()
    note = "not used: 2 hidden images and folders of the system, the first: 'b/._2.png'."
    assert read_index(tmp_path).reading_notes() == [note]
    said = io.StringIO()
    assert len(image_sources(tmp_path, Progress(stream=said))) == 2
    assert note in said.getvalue()


@pytest.mark.parametrize(
    "names",
    [
        ("recipe.yaml", "train.log"),
        ("manifest.json", "head.onnx"),
        ("audit.json", "issues.csv"),
        ("metrics.json", "index.html"),
        ("explanations.csv",),
        ("split.json", "table.csv"),
    ],
)
def test_what_holotype_wrote_is_passed_over_and_that_is_said(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    class_folders(tmp_path, "a/1.png", "b/2.png", "runs/one/report/3.png")
    for name in names:
        (tmp_path / "runs/one" / name).touch()
    index = read_index(tmp_path)
    assert index.classes == ("a", "b")
    assert index.reading_notes() == ["not used: 1 folder that Holotype wrote, 'runs/one/'."]
    assert len(image_sources(tmp_path)) == 2
    with pytest.raises(EmptyDataset, match="written by Holotype"):
        read_index(tmp_path / "runs")


def test_an_audit_within_the_data_is_recognised_by_the_next(tmp_path: Path) -> None:
    class_folders(tmp_path, "a/1.png", "b/2.png")
    for _ in range(2):
        holotype.audit(tmp_path, quick=True, output=tmp_path / "audit")
    assert is_holotype_output(tmp_path / "audit")
    assert read_index(tmp_path).classes == ("a", "b")


@pytest.mark.parametrize("output", ["", "a"])
def test_an_output_among_the_images_is_refused(tmp_path: Path, output: str) -> None:
    class_folders(tmp_path, "a/1.png", "b/2.png")
    with pytest.raises(UsageError, match="among the images"):
        holotype.audit(tmp_path, quick=True, output=tmp_path / output)
    with pytest.raises(UsageError, match="among the images"):
        holotype.augment(tmp_path, output=tmp_path / output / "sheet.png")


def test_what_is_not_used_is_said_in_one_line_for_each_reason(tmp_path: Path) -> None:
    class_folders(tmp_path, "train/a/1.png", "train/b/2.png", "test/3.png", "test/4.png")
    (tmp_path / "train/c").mkdir()
    (tmp_path / "train/a/notes.txt").touch()
    assert read_index(tmp_path).reading_notes() == [
        "not used: 2 images in no class folder, the first: 'test/3.png'.",
        "not used: 1 file that is no image, 'train/a/notes.txt'.",
        "not used: 1 class folder without images, 'train/c/'.",
    ]


def test_predict_walks_as_train_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class_folders(tmp_path / "store", "a/1.png", "b/2.png")
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").symlink_to(tmp_path / "store/a")
    (data / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (data / "loop").symlink_to(data)
    (data / "x.heic").write_bytes(HEIC)
    (data / "notes.txt").touch()
    found = image_sources(data, Progress(stream=sys.stderr))
    assert [Path(file.id).name for file in found] == ["1.png", "gone.png", "x.heic"]
    assert "not used: 1 file that is no image, 'notes.txt'." in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    paint(tmp_path / "a/1.png")
    (tmp_path / "a").chmod(0)
    try:
        with pytest.raises(DatasetError, match="cannot be read"):
            walk_folder(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o755)
