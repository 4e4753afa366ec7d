"""What is frozen is computed once."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image as PillowImage

import holotype.images
import holotype.training.features as features
from holotype.dataset.index import Index, read_index
from holotype.errors import ImageRefused
from holotype.kept import cache_directory
from holotype.preprocessing import Preprocessing
from holotype.training.augment import draw_view, look
from holotype.training.features import FrozenPart, keep_features, onnx_part
from holotype.training.recipe import Augmentation

HALF = (0.5, 0.5, 0.5)
PREPROCESSING = Preprocessing(16, 16, "squash", "bilinear", HALF, HALF)


def _mean_colour() -> FrozenPart:
    """image -> embedding (N, 3): the mean of each channel."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["embedding"]),
        ],
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3])],
    )
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    return onnx_part(model.SerializeToString(), "embedding")


@pytest.fixture
def index(tmp_path: Path) -> Index:
    rng = np.random.default_rng(0)
    for n in range(10):
        file = tmp_path / "data" / f"class{n % 2}" / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)
        PillowImage.fromarray(pixels).save(file)
    return read_index(tmp_path / "data")


class _Counter:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decodes = self.runs = 0
        decode, run = holotype.images.decode, onnxruntime.InferenceSession.run

        def counted_decode(*args: object, **kwargs: object) -> object:
            self.decodes += 1
            return decode(*args, **kwargs)  # type: ignore[arg-type]

        def counted_run(*args: object, **kwargs: object) -> object:
            self.runs += 1
            return run(*args, **kwargs)

        monkeypatch.setattr(features, "decode", counted_decode)
        monkeypatch.setattr(onnxruntime.InferenceSession, "run", counted_run)


def test_features_are_what_the_graph_says_of_the_preprocessed_picture(
    index: Index, fresh_cache: Path
) -> None:
    kept = keep_features(_mean_colour(), PREPROCESSING, index)
    expected = [PREPROCESSING.load(index.file(p)).mean(axis=(1, 2)) for p in index.table["path"]]
    assert np.allclose(kept.first_view(), np.stack(expected), atol=1e-6)


def test_a_second_pass_decodes_nothing_and_runs_nothing(
    index: Index, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = _Counter(monkeypatch)
    first = keep_features(_mean_colour(), PREPROCESSING, index).first_view()
    assert counter.decodes == 10
    assert counter.runs > 0
    counter.decodes = counter.runs = 0
    again = keep_features(_mean_colour(), PREPROCESSING, index).first_view()
    assert (counter.decodes, counter.runs) == (0, 0)
    assert np.array_equal(first, again)


def test_every_view_is_the_picture_changed_as_its_view_says(
    index: Index, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = _Counter(monkeypatch)
    augmentation = Augmentation()
    kept = keep_features(
        _mean_colour(), PREPROCESSING, index,
        views=3, augmentation=augmentation, seed=4,
    )  # fmt: skip
    assert counter.decodes < 30
    row = index.table.iloc[7]
    image = holotype.images.decode(index.file(row.path))
    view = draw_view(augmentation, seed=4, sha256=row.sha256, number=2)
    looked = look(PREPROCESSING.frame(image), view, PREPROCESSING.background)
    expected = PREPROCESSING.tensor(looked).mean(axis=(1, 2))
    assert np.allclose(kept.batch([7], [2])[0], expected, atol=1e-6)


def test_views_of_another_seed_are_others_but_the_picture_itself_is_shared(
    index: Index, fresh_cache: Path
) -> None:
    def keys(seed: int) -> list[str]:
        kept = keep_features(
            _mean_colour(), PREPROCESSING, index,
            views=2, augmentation=Augmentation(), seed=seed,
        )  # fmt: skip
        return list(kept.keys[0])

    assert keys(1)[0] == keys(2)[0]
    assert keys(1)[1] != keys(2)[1]


def test_another_preprocessing_or_graph_is_another_space(index: Index, fresh_cache: Path) -> None:
    keep_features(_mean_colour(), PREPROCESSING, index)
    other = Preprocessing(16, 16, "crop", "bilinear", HALF, HALF)
    keep_features(_mean_colour(), other, index)
    assert len(list((cache_directory() / "features").iterdir())) == 2


def test_a_picture_that_changed_since_the_index_is_refused_and_what_was_done_is_kept(
    index: Index, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = index.table["path"].iloc[-1]
    index.file(last).write_bytes(b"something else")
    with pytest.raises(ImageRefused, match="changed"):
        keep_features(_mean_colour(), PREPROCESSING, index)
    counter = _Counter(monkeypatch)
    keep_features(_mean_colour(), PREPROCESSING, index.without({last}))
    assert counter.decodes <= 2
