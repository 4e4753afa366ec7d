"""Label next: what is chosen of a request log, and the folder that a person gets."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import holotype
from holotype.bundle.bundle import Bundle
from holotype.cli.watch import _name_to_retrain
from holotype.dataset.image_facts import ImageFacts
from holotype.errors import DatasetError, HolotypeError, RunExists, UsageError
from holotype.serving.request_log.feedback_store import FeedbackRow, FeedbackStore
from holotype.serving.request_log.kept_images import KeptImages
from holotype.serving.request_log.log_writer import LogSettings, LogWriter
from holotype.watching.labelling.gradient_embeddings import (
    GradientEmbeddings,
    gradient_embeddings,
    kmeans_plus_plus,
)
from holotype.watching.labelling.label_sheet import read_sheet, write_label
from tests.bundle.tiny import write_tiny
from tests.conftest import Cli
from tests.serving.log_rows import row

SURE, UNSURE = (0.98, 0.01, 0.01), (0.4, 0.35, 0.25)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny(tmp_path_factory.mktemp("labelled") / "tiny")


def write_log(
    folder: Path, bundle: Bundle, *, sure: int = 40, unsure: int = 10, **changes: object
) -> Path:
    """Sure answers whose embeddings are alike, and unsure ones that point everywhere."""
    rng = np.random.default_rng(0)
    settings = LogSettings(images=KeptImages())
    writer = LogWriter(folder, settings)
    for n in range(sure + unsure):
        content = png(n)
        sha256 = f"{n:064x}"
        is_sure = n < sure
        embedding_D = np.ones(8) + 0.01 * rng.normal(size=8) if is_sure else rng.normal(size=8)
        fields: dict[str, object] = {
            "digest": bundle.sha256, "key": "", "unknown": None,
            "probabilities": SURE if is_sure else UNSURE,
            "embedding_D": embedding_D.astype(np.float32),
            "facts": ImageFacts(8, 8, "PNG", len(content), 0.5, 0.2, sha256),
        }  # fmt: skip
        writer.append(row(n, **{**fields, **changes}), content)
    writer.close()
    return folder


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def number_of(row_of_sheet: object) -> int:
    return int(row_of_sheet.sha256, 16)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def log(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log") / "log", bundle)


def test_distances_are_those_of_the_outer_products() -> None:
    rng = np.random.default_rng(0)
    found = GradientEmbeddings(
        rng.normal(size=(6, 3)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32)
    )
    whole = np.einsum("nc,nd->ncd", found.residuals_NC, found.embeddings_ND).reshape(6, -1)
    expected = ((whole - whole[2]) ** 2).sum(axis=1)
    np.testing.assert_allclose(found.squared_distance_N(2), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.squared_length_N, (whole**2).sum(axis=1), rtol=1e-4)


def test_copies_of_one_image_are_drawn_once() -> None:
    rng = np.random.default_rng(1)
    three = rng.normal(size=(3, 5))
    probabilities = np.full((30, 2), 0.5)
    found = gradient_embeddings(probabilities, np.repeat(three, 10, axis=0))
    drawn = kmeans_plus_plus(found, 30, seed=0)
    assert len(drawn) <= 3
    assert len({row // 10 for row in drawn}) == len(drawn)


def test_an_unknown_image_counts_as_unsure_whatever_its_probabilities() -> None:
    probabilities = np.array([[0.99, 0.01], [0.99, 0.01]])
    found = gradient_embeddings(
        probabilities, np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([False, True])
    )
    assert found.squared_length_N[1] > 100 * found.squared_length_N[0]


def test_unsure_images_are_chosen_and_random_ones_are_a_sample_of_all(
    log: Path, bundle: Bundle, tmp_path: Path
) -> None:
    found = holotype.label_next(
        bundle.path, log=log, budget=16, random_share=0.5, output=tmp_path / "to-label"
    )
    assert found.counts == {"chosen": 8, "random": 8}
    chosen = [number_of(each) for each in found.rows if each.purpose == "chosen"]
    random = [number_of(each) for each in found.rows if each.purpose == "random"]
    assert sum(number >= 40 for number in chosen) >= 6  # a fifth of the log is unsure
    assert not set(chosen) & set(random)
    assert sum(number < 40 for number in random) >= 4
    assert read_sheet(found.path / "labels.csv") == list(found.rows)
    assert all((found.path / each.path).is_file() for each in found.rows)
    assert len(found.to_frame()) == 16
    assert "16 images to label" in repr(found)
    assert json.dumps(found.to_json())
    selection = json.loads((found.path / "labelling.json").read_text())
    assert (selection["answered"], selection["not_kept"]) == (50, 0)


def test_random_images_cover_what_has_a_label_and_chosen_ones_do_not(
    bundle: Bundle, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log", bundle)
    store = FeedbackStore(log)
    store.add([FeedbackRow(f"r{n:06d}", 0, "cross") for n in range(40, 50)])
    store.close()
    everything = holotype.label_next(
        bundle.path, log=log, budget=50, random_share=1.0, output=tmp_path / "all"
    )
    assert {number_of(each) for each in everything.rows} == set(range(50))
    chosen = holotype.label_next(
        bundle.path, log=log, budget=10, random_share=0.0, output=tmp_path / "chosen"
    )
    assert all(number_of(each) < 40 for each in chosen.rows)


def test_what_has_a_label_in_an_earlier_folder_is_not_chosen_again(
    log: Path, bundle: Bundle, tmp_path: Path
) -> None:
    first = holotype.label_next(
        bundle.path, log=log, budget=8, random_share=0.0, output=tmp_path / "first"
    )
    for each in first.rows[:6]:
        write_label(first.path / "labels.csv", each.path, "cross")
    second = holotype.label_next(
        bundle.path, log=log, budget=8, random_share=0.0, output=tmp_path / "second",
        labelled=[first.path],
    )  # fmt: skip
    has_label = {number_of(each) for each in first.rows[:6]}
    assert second.rows
    assert not has_label & {number_of(each) for each in second.rows}
    with pytest.raises(HolotypeError, match="nowhere"):
        holotype.label_next(
            bundle.path, log=log, labelled=[tmp_path / "nowhere"], output=tmp_path / "third"
        )


def test_what_is_not_kept_is_said(bundle: Bundle, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", bundle)
    gone = sorted((log / "images").rglob("*.png"))[:5]
    for file in gone:
        file.unlink()
    found = holotype.label_next(bundle.path, log=log, budget=50, output=tmp_path / "to-label")
    assert "5 of 50 answered images are not kept" in found.notes[0]
    assert not {file.stem for file in gone} & {each.sha256 for each in found.rows}


def test_images_of_one_key_share_a_group(bundle: Bundle, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", bundle, key="turtle-7")
    found = holotype.label_next(bundle.path, log=log, budget=5, output=tmp_path / "to-label")
    assert len({each.group for each in found.rows}) == 1
    assert found.rows[0].group.startswith("key ")


def test_refusals_say_what_to_do(log: Path, bundle: Bundle, tmp_path: Path) -> None:
    other = write_tiny(tmp_path / "other", name="other")
    with pytest.raises(DatasetError, match="has no answer of other"):
        holotype.label_next(other.path, log=log)
    with pytest.raises(UsageError, match="budget 0"):
        holotype.label_next(bundle.path, log=log, budget=0)
    held = tmp_path / "held"
    held.mkdir()
    (held / "labels.csv").write_text("path,label\n")
    with pytest.raises(RunExists, match="already holds"):
        holotype.label_next(bundle.path, log=log, output=held)
    with pytest.raises(OSError, match="/proc/none/labels"):  # before the log is read
        holotype.label_next(bundle.path, log=tmp_path / "nowhere", output="/proc/none")
    kept_none = write_log(tmp_path / "log", bundle)
    for file in (kept_none / "images").rglob("*.png"):
        file.unlink()
    with pytest.raises(DatasetError, match="none is kept"):
        holotype.label_next(bundle.path, log=kept_none, output=tmp_path / "new")


def test_the_command_says_how_labels_come_back(
    log: Path, bundle: Bundle, tmp_path: Path, cli: Cli
) -> None:
    words = ("watch", "label-next", bundle.path, "--log", log, "--budget", 5)
    code, said, told = cli(*words, "--output", tmp_path / "to-label")
    assert code == 0
    assert "5 images to label" in said
    assert "send feedback" in told
    assert told.endswith(f"Next: holotype retrain registry://NAME --with {tmp_path / 'to-label'}\n")
    assert _name_to_retrain("registry://cells@champion") == "registry://cells"
    code, said, _ = cli(*words, "--output", tmp_path / "other", "--json")
    assert json.loads(said)["counts"] == {"chosen": 3, "random": 2}
