"""An image's numbers depend on the image and the bundle alone; a bad image costs itself."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

import holotype.bundle.embedding as embedding
import holotype.bundle.image_sources as sources
import holotype.bundle.inference as inference
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.embedding import embed
from holotype.bundle.image_sources import ImageFile, image_sources
from holotype.bundle.inference import predict_images, predict_index, run_head
from holotype.bundle.manifest import Decision
from holotype.bundle.onnx_runtime import open_session, run_graph
from holotype.dataset.index import Index
from holotype.errors import DatasetError, EmptyDataset, ImageError, UsageError
from holotype.files import sha256_of
from holotype.imaging.decode import decode
from tests.bundle.tiny import (
    CLASSES,
    PREPROCESSING,
    SIDE,
    embedded,
    predicted,
    write_images,
    write_tiny,
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    bundle = write_tiny(tmp_path / "bundle")
    return bundle.with_decision(
        Decision(temperature=1.5, predictions_sha256="0" * 64, num_images=9)
    )


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return write_images(tmp_path / "images", 23)


def index_of(paths: list[Path], labels: list[str] | None = None) -> Index:
    root = paths[0].parent
    rows = len(paths)
    table = pd.DataFrame(
        {
            "path": [path.name for path in paths],
            "label": labels or [CLASSES[n % 3] for n in range(rows)],
            "group": [f"g{n // 2}" for n in range(rows)],
            "split": ["test"] * rows,
            "fold": list(range(rows)),
            "weight": [1 + n / 10 for n in range(rows)],
            "sha256": [sha256_of(path) for path in paths],
            "width": [40] * rows,
            "height": [36] * rows,
            "format": ["PNG"] * rows,
        }
    )
    return Index(root, table, CLASSES)


def by_hand(bundle: Bundle, path: Path) -> NDArray[np.float64]:
    """The tiny classifier in NumPy and Pillow alone, from the weights in its graphs."""
    import onnx
    from onnx import numpy_helper

    small = Image.open(path).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(small, np.float64).transpose(2, 0, 1) / 127.5 - 1
    tensors: dict[str, NDArray[Any]] = {}
    for graph in bundle.graphs.values():
        for tensor in onnx.load_model_from_string(graph).graph.initializer:
            tensors[tensor.name] = numpy_helper.to_array(tensor).astype(np.float64)
    patches = pixels.reshape(3, 8, 4, 8, 4)
    feature_map = np.maximum(np.einsum("chiwj,dcij->dhw", patches, tensors["kernel"]), 0)
    logits = tensors["w"] @ feature_map.mean(axis=(1, 2)) + tensors["b"]
    exponentials = np.exp((logits - logits.max()) / 1.5)
    return np.asarray(exponentials / exponentials.sum())


def test_probabilities_are_what_the_graphs_say_computed_by_hand(
    bundle: Bundle, images: list[Path]
) -> None:
    predictions = predict_images(bundle, image_sources(images[:5]))
    refused = predictions.refused
    assert not refused
    for path, probabilities in zip(images, predictions.probabilities_NC, strict=False):
        np.testing.assert_allclose(probabilities, by_hand(bundle, path), atol=1e-6)
    assert np.ptp(predictions.probabilities_NC, axis=0).max() > 0.2


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("keep", [True, False])
def test_probabilities_are_the_same_whatever_the_batch_the_order_and_the_threads(
    bundle: Bundle,
    images: list[Path],
    workers: int,
    keep: bool,
    fresh_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = np.concatenate([predicted(bundle, [path]).probabilities_NC for path in images])
    order = np.random.default_rng(workers).permutation(len(images))
    shuffled = index_of(images).table.iloc[order].reset_index(drop=True)
    index = Index(images[0].parent, shuffled, CLASSES)
    monkeypatch.setattr(embedding, "SHARD", 5)
    for _ in range(2):  # the second time from what is kept
        predictions = predict_index(bundle, index, workers=workers, use_cache=keep)
        np.testing.assert_allclose(predictions.probabilities_NC, alone[order], atol=1e-7)
    by_batch = run_graph(
        bundle.backbone,
        len(images),
        lambda position: bundle.preprocessing.load(images[position]),
        outputs=["embedding"],
        batch_size=16,
    )
    embeddings = np.concatenate([batch.outputs["embedding"] for batch in by_batch])
    np.testing.assert_array_equal(embeddings, embedded(bundle, images).embeddings_ND)


def test_the_head_gives_the_same_bits_whatever_stands_beside_an_image(
    bundle: Bundle, images: list[Path]
) -> None:
    embeddings_ND = np.repeat(embedded(bundle, images).embeddings_ND, 4, axis=0)
    together = run_head(bundle, embeddings_ND)
    assert len(together) > inference.HEAD_ROWS
    for row in (0, 63, 64, 91):
        np.testing.assert_allclose(
            run_head(bundle, embeddings_ND[row : row + 1])[0], together[row], atol=1e-6
        )


def test_predictions_carry_the_index_and_the_truth(bundle: Bundle, images: list[Path]) -> None:
    index = index_of(images[:4], ["fine", "crack", "fine", "dark"])
    predictions = predict_index(bundle, index)
    refused = predictions.refused
    assert not refused
    assert predictions.ids == ("000.png", "001.png", "002.png", "003.png")
    assert predictions.targets_N.tolist() == [2, 0, 2, 1]
    assert predictions.groups == ("g0", "g0", "g1", "g1")
    assert predictions.folds_N.tolist() == [0, 1, 2, 3]
    assert predictions.weights_N.tolist() == [1.0, 1.1, 1.2, 1.3]
    assert predictions.sha256 == tuple(sha256_of(path) for path in images[:4])


def test_a_bad_image_costs_itself_only(bundle: Bundle, images: list[Path]) -> None:
    images[3].write_bytes(b"")
    images[8].write_bytes(images[8].read_bytes()[:200])
    images[11].write_text("no image")
    good = [path for n, path in enumerate(images) if n not in (3, 8, 11)]
    by_index = predict_index(bundle, index_of(images))
    for predictions in (by_index, predict_images(bundle, image_sources(images))):
        refused = predictions.refused
        assert [Path(refusal.file).name for refusal in refused] == ["003.png", "008.png", "011.png"]
        assert [refusal.problem for refusal in refused] == [
            "empty_file",
            "truncated_image",
            "not_an_image",
        ]
        assert [Path(name).name for name in predictions.ids] == [path.name for path in good]
        expected = predicted(bundle, good).probabilities_NC
        np.testing.assert_array_equal(predictions.probabilities_NC, expected)


def test_files_that_vanish_or_change_after_indexing_are_refused_by_name(
    bundle: Bundle, images: list[Path], fresh_cache: Path
) -> None:
    index = index_of(images[:4])
    images[0].unlink()
    images[1].write_bytes(images[5].read_bytes())
    predictions = predict_index(bundle, index)
    refused = predictions.refused
    assert predictions.ids == ("002.png", "003.png")
    assert "No such file" in refused[0].reason
    assert "changed since it was indexed" in refused[1].reason


def test_what_is_kept_is_neither_decoded_nor_run_again(
    bundle: Bundle, images: list[Path], fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = index_of(images)
    decoded: list[str] = []

    def counted(content: bytes, **options: Any) -> Any:
        decoded.append(options["name"])
        return decode(content, **options)

    monkeypatch.setattr(sources, "decode", counted)
    first = predict_index(bundle, index)
    assert sorted(decoded) == sorted(path.name for path in images)
    decoded.clear()
    again = load_bundle(bundle.path)
    second = predict_index(again, index)
    assert decoded == []
    assert "backbone" not in vars(again), "no session of the backbone was opened"
    np.testing.assert_array_equal(first.logits_NC, second.logits_NC)
    images[0].with_name("copy.png").write_bytes(images[0].read_bytes())
    predict_index(bundle, index_of([images[0].with_name("copy.png")]))
    assert decoded == [], "a copy under another name is the same image"
    predict_index(bundle, index, use_cache=False)
    assert len(decoded) == len(images)


def test_a_pass_that_is_killed_goes_on_where_it_was(
    bundle: Bundle, images: list[Path], fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "SHARD", 8)
    files = [ImageFile(path.name, path, sha256_of(path)) for path in images]

    def kill(done: int) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(bundle, files, workers=1, on_progress=kill)
    progress: list[int] = []
    whole = embed(bundle, files, on_progress=progress.append)
    assert progress[0] > 8, "at least one shard of the first pass was found"
    assert progress[-1] == len(files)
    np.testing.assert_array_equal(
        whole.embeddings_ND, embed(bundle, files, use_cache=False).embeddings_ND
    )


def test_predicting_files_keeps_nothing(
    bundle: Bundle, images: list[Path], fresh_cache: Path
) -> None:
    predict_images(bundle, image_sources(images))
    assert not fresh_cache.exists()


def test_an_unknown_label_is_an_error_that_names_the_known_ones(
    bundle: Bundle, images: list[Path]
) -> None:
    with pytest.raises(DatasetError, match=r"'cracks'.*did you mean 'crack'.*crack, dark, fine"):
        predict_index(bundle, index_of(images[:2], ["crack", "cracks"]))


def test_folders_are_searched_in_order_and_hidden_files_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "new" / "b", 1)
    write_images(tmp_path / "new" / "a.b", 2)
    write_images(tmp_path / "new" / ".hidden", 1)
    (tmp_path / "new" / "notes.txt").write_text("x")
    (tmp_path / "odd.name").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert [file.id for file in image_sources(["odd.name", Path("new")])] == [
        "odd.name",
        "new/a.b/000.png",
        "new/a.b/001.png",
        "new/b/000.png",
    ]


def test_paths_that_lead_to_no_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataset, match="no image below"):
        image_sources([tmp_path])
    with pytest.raises(UsageError, match="there is no image"):
        image_sources([tmp_path / "nowhere.jpg"])
    assert image_sources([]) == []


@pytest.mark.parametrize("name", ["two words.png", "it's \"q\".png", "a\nb.png", "🐢.png", "x" * 251 + ".png"])  # fmt: skip  # noqa: E501
def test_any_file_name_is_predicted(bundle: Bundle, images: list[Path], name: str) -> None:
    images[0].with_name(name).write_bytes(images[0].read_bytes())
    predictions = predicted(bundle, [images[0].with_name(name)])
    assert predictions.ids[0].endswith(name)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
def test_a_name_that_is_no_text_is_predicted_under_a_name_that_can_be_printed(
    bundle: Bundle, images: list[Path]
) -> None:
    folder = images[0].parent / "odd"
    folder.mkdir()
    (folder / os.fsdecode(b"t\xfcrtle.png")).write_bytes(images[0].read_bytes())
    (name,) = predicted(bundle, str(folder)).ids
    assert name.endswith(r"odd/t\xfcrtle.png")
    name.encode()


def test_memory_is_bounded_when_the_consumer_is_slow(bundle: Bundle) -> None:
    loaded = 0
    lock = threading.Lock()

    def load(position: int) -> NDArray[np.float32]:
        nonlocal loaded
        with lock:
            loaded += 1
        return np.zeros((3, SIDE, SIDE), np.float32)

    batches = run_graph(
        bundle.backbone, 1000, load, outputs=["feature_map"], workers=3, batch_size=2
    )
    seen = 0
    for batch in batches:
        seen += len(batch.positions)
        assert loaded <= seen + 2 * 3 * 2
        if seen >= 100:
            break
    batches.close()
    after = loaded
    assert after < 150
    assert threading.active_count() < 3 + 1 + 3
    assert loaded == after


def test_an_error_that_is_no_refusal_stops_the_pass(bundle: Bundle) -> None:
    def load(position: int) -> NDArray[np.float32]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run_graph(bundle.backbone, 100, load, outputs=["embedding"]))


def test_positions_come_in_order_with_every_refusal(bundle: Bundle) -> None:
    def load(position: int) -> NDArray[np.float32]:
        if position % 7 == 0 or 20 <= position < 30:
            raise ImageError(str(position), "bad", "mend it")
        return np.full((3, SIDE, SIDE), position / 50, np.float32)

    good, bad = [], []
    for batch in run_graph(bundle.backbone, 50, load, outputs=["embedding"], workers=4):
        good += batch.positions
        bad += [position for position, _ in batch.refused]
        assert len(batch.outputs.get("embedding", ())) == len(batch.positions)
    assert bad == [n for n in range(50) if n % 7 == 0 or 20 <= n < 30]
    assert good == [n for n in range(50) if n not in bad]


def test_a_session_runs_on_as_many_threads_as_it_is_told(bundle: Bundle) -> None:
    session = open_session(bundle.graphs["head.onnx"], threads=1)
    assert session.get_session_options().intra_op_num_threads == 1
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_predicting_leaves_heavy_libraries_alone(bundle: Bundle, images: list[Path]) -> None:
    """Torch above all, but also what would make the first prediction take seconds."""
    code = (
        "import sys\n"
        "from holotype.bundle.bundle import load_bundle\n"
        "from holotype.bundle.image_sources import image_sources\n"
        "from holotype.bundle.inference import predict_images\n"
        f"sources = image_sources({str(images[0])!r})\n"
        f"predictions = predict_images(load_bundle({str(bundle.path)!r}), sources)\n"
        "assert len(predictions) == 1\n"
        "heavy = {'torch', 'timm', 'pandas', 'pyarrow', 'scipy', 'sklearn', 'skimage',\n"
        "         'matplotlib', 'onnx', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_tiny_preprocessing_is_the_one_that_the_oracle_assumes() -> None:
    assert (PREPROCESSING.mean, PREPROCESSING.std) == ((0.5,) * 3, (0.5,) * 3)
