"""What is frozen is computed once."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image as PillowImage

import holotype.imaging.decode
import holotype.training.data.loader as loader
from holotype.dataset.index import Index, read_index
from holotype.errors import ImageError
from holotype.files import cache_directory
from holotype.imaging.preprocessing import Preprocessing
from holotype.training.config.augmentation_config import Augmentation
from holotype.training.data.augmentations import apply_view, sample_view
from holotype.training.features.disk_budget import DiskBudget
from holotype.training.features.frozen_features import (
    CachedFeatures,
    FeatureExtractor,
    UncachedFeatures,
    ViewPlan,
    cache_features,
    cached_or_live_features,
    onnx_feature_extractor,
)

HALF = (0.5, 0.5, 0.5)
PREPROCESSING = Preprocessing(16, 16, "squash", "bilinear", HALF, HALF)


def _mean_colour(output: str = "embedding") -> FeatureExtractor:
    """image -> (N, 3): the mean of each channel."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], [output]),
        ],
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", 3])],
    )
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    return onnx_feature_extractor(model.SerializeToString(), output)


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
        decode, run = holotype.imaging.decode.decode, onnxruntime.InferenceSession.run

        def counted_decode(*args: object, **kwargs: object) -> object:
            self.decodes += 1
            return decode(*args, **kwargs)

        def counted_run(*args: object, **kwargs: object) -> object:
            self.runs += 1
            return run(*args, **kwargs)

        monkeypatch.setattr(loader, "decode", counted_decode)
        monkeypatch.setattr(onnxruntime.InferenceSession, "run", counted_run)


def test_features_are_what_the_graph_says_of_the_preprocessed_image(
    index: Index, fresh_cache: Path
) -> None:
    kept = cache_features(_mean_colour(), PREPROCESSING, index)
    expected = [PREPROCESSING.load(index.file(p)).mean(axis=(1, 2)) for p in index.table["path"]]
    assert np.allclose(kept.first_view(), np.stack(expected), atol=1e-6)


def test_for_a_gpu_processes_decode_and_the_features_are_the_same(
    index: Index, fresh_cache: Path
) -> None:
    """The road of a GPU, with a session that runs here."""
    views = ViewPlan(2, Augmentation(), seed=4)
    part = _mean_colour()
    expected, _ = cached_or_live_features(part, PREPROCESSING, index, views)
    on_gpu = replace(part, identity="other", device="cuda")
    found, _ = cached_or_live_features(on_gpu, PREPROCESSING, index, views)
    for number in (0, 1):
        asked = list(range(10)), [number] * 10
        assert np.allclose(found.batch(*asked), expected.batch(*asked), atol=1e-6)
    index.file(index.table["path"].iloc[-1]).write_bytes(b"something else")
    with pytest.raises(ImageError, match="changed"):
        cache_features(replace(on_gpu, identity="third"), PREPROCESSING, index)


def test_a_second_pass_decodes_nothing_and_runs_nothing(
    index: Index, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = _Counter(monkeypatch)
    first = cache_features(_mean_colour(), PREPROCESSING, index).first_view()
    assert counter.decodes == 10
    assert counter.runs > 0
    counter.decodes = counter.runs = 0
    again = cache_features(_mean_colour(), PREPROCESSING, index).first_view()
    assert (counter.decodes, counter.runs) == (0, 0)
    assert np.array_equal(first, again)


def test_every_view_is_the_image_changed_as_its_view_says(
    index: Index, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = _Counter(monkeypatch)
    augmentation = Augmentation()
    views = ViewPlan(3, augmentation, seed=4)
    kept, _ = cached_or_live_features(_mean_colour(), PREPROCESSING, index, views)
    assert counter.decodes < 30
    row = index.table.iloc[7]
    image = holotype.imaging.decode.decode(index.file(row.path))
    view = sample_view(augmentation, seed=4, sha256=row.sha256, number=2)
    looked = apply_view(PREPROCESSING.frame(image), view)
    expected = PREPROCESSING.tensor(looked).mean(axis=(1, 2))
    assert np.allclose(kept.batch([7], [2])[0], expected, atol=1e-6)


def test_views_of_another_seed_are_others_but_the_image_itself_is_shared(
    index: Index, fresh_cache: Path
) -> None:
    def keys(seed: int) -> list[str]:
        views = ViewPlan(2, Augmentation(), seed)
        kept, _ = cached_or_live_features(_mean_colour(), PREPROCESSING, index, views)
        assert isinstance(kept, CachedFeatures)
        return list(kept.keys[0])

    assert keys(1)[0] == keys(2)[0]
    assert keys(1)[1] != keys(2)[1]


def test_another_preprocessing_or_graph_is_another_space(index: Index, fresh_cache: Path) -> None:
    cache_features(_mean_colour(), PREPROCESSING, index)
    other = Preprocessing(16, 16, "crop", "bilinear", HALF, HALF)
    cache_features(_mean_colour(), other, index)
    assert len(list((cache_directory() / "features").iterdir())) == 2


def test_an_image_that_changed_since_the_index_is_refused_and_what_was_done_is_kept(
    index: Index, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = index.table["path"].iloc[-1]
    index.file(last).write_bytes(b"something else")
    with pytest.raises(ImageError, match="changed"):
        cache_features(_mean_colour(), PREPROCESSING, index)
    counter = _Counter(monkeypatch)
    cache_features(_mean_colour(), PREPROCESSING, index.without({last}))
    assert counter.decodes <= 2


def test_what_does_not_fit_the_budget_is_computed_anew_and_is_bit_for_bit_the_same(
    index: Index, fresh_cache: Path
) -> None:
    views = ViewPlan(3, Augmentation(), seed=4)
    part = _mean_colour("cut2")
    live, said = cached_or_live_features(part, PREPROCESSING, index, views, budget=DiskBudget(100))
    assert isinstance(live, UncachedFeatures)
    assert "10 images (3 views of each)" in said
    assert "HOLOTYPE_DISK_BUDGET" in said
    assert not (cache_directory() / "features").exists()
    # 10 images, 3 views, 3 numbers of 2 bytes
    kept, said = cached_or_live_features(part, PREPROCESSING, index, views, budget=DiskBudget(180))
    assert isinstance(kept, CachedFeatures)
    assert said == ""
    rows = [3, 0, 9, 3]
    assert live.batch(rows, [2, 0, 1, 1]).dtype == np.float16
    assert np.array_equal(live.batch(rows, [2, 0, 1, 1]), kept.batch(rows, [2, 0, 1, 1]))
    assert np.array_equal(live.batch(range(len(live)), [0] * len(live)), kept.first_view())
    assert len(live) == len(kept) == 10


def test_what_is_kept_already_needs_no_room(index: Index, fresh_cache: Path) -> None:
    cache_features(_mean_colour(), PREPROCESSING, index)
    kept, said = cached_or_live_features(_mean_colour(), PREPROCESSING, index, budget=DiskBudget(0))
    assert isinstance(kept, CachedFeatures)
    assert said == ""


_KILLED = """
import sys, time
from pathlib import Path
import holotype.training.features.frozen_features as features
from holotype.dataset.index import read_index
from tests.training.test_frozen_features import PREPROCESSING, _mean_colour

class Slow:
    def __init__(self, session):
        self.session = session
    def get_inputs(self):
        return self.session.get_inputs()
    def run(self, *arguments):
        time.sleep(0.2)
        return self.session.run(*arguments)

features.SHARD = 4
part = _mean_colour()
slow = features.FeatureExtractor(part.identity, part.output, lambda: Slow(part.open_session()))
features.cache_features(slow, PREPROCESSING, read_index(Path(sys.argv[1])))
"""


def test_a_pass_that_is_killed_keeps_what_it_had_done(
    tmp_path: Path, index: Index, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = subprocess.Popen([sys.executable, "-c", _KILLED, str(index.root)])
    folder = cache_directory() / "features"
    until = time.monotonic() + 60
    while not list(folder.glob("*/[!.]*.keys")) and time.monotonic() < until:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    counter = _Counter(monkeypatch)
    kept = cache_features(_mean_colour(), PREPROCESSING, index)
    assert 0 < counter.decodes < 10
    expected = [PREPROCESSING.load(index.file(p)).mean(axis=(1, 2)) for p in index.table["path"]]
    assert np.allclose(kept.first_view(), np.stack(expected), atol=1e-6)


def test_a_shard_is_written_before_it_fills_the_memory(
    index: Index, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "holotype.training.features.frozen_features.SHARD_BYTES", 60
    )  # 5 images of 12 bytes
    cache_features(_mean_colour(), PREPROCESSING, index)
    assert len(list((cache_directory() / "features").glob("*/*.keys"))) == 2
