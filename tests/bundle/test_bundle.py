"""A bundle is written whole or not at all, and nothing in it is believed before it is checked."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from holotype.bundle.bundle import Bundle, load_bundle, strip_metadata, write_bundle
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import predict_images
from holotype.bundle.manifest import Decision
from holotype.bundle.onnx_runtime import open_session
from holotype.bundle.sanitise_graph import (
    EXTERNAL_DATA,
    MESSAGES_WITH_TENSORS,
    refuse_endless_operators,
    refuse_external_data,
)
from holotype.errors import (
    BundleError,
    CorruptBundle,
    ExternalDataRefused,
    NotABundle,
    UnsealedBundle,
)
from tests.bundle.tiny import (
    CLASSES,
    EMBEDDING,
    backbone_model,
    head_model,
    manifest,
    model_of,
    write_images,
    write_tiny,
)

DECISION = Decision(temperature=1.7, predictions_sha256="0" * 64, num_images=40)


def test_what_is_written_loads_from_the_run_and_from_the_bundle(tmp_path: Path) -> None:
    written = write_tiny(tmp_path / "run" / "bundle")
    for path in (tmp_path / "run", str(tmp_path / "run" / "bundle")):
        loaded = load_bundle(path)
        assert loaded.manifest == written.manifest
        assert loaded.sha256 == written.sha256
        assert loaded.classes == CLASSES
        assert loaded.temperature == 1.0


def test_the_same_training_gives_the_same_bytes(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a")
    write_tiny(tmp_path / "b")
    for file in ("manifest.json", "backbone.onnx", "head.onnx"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_manifest_holds_the_hash_of_each_graph_and_no_path(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    text = (tmp_path / "bundle" / "manifest.json").read_text()
    for file in ("backbone.onnx", "head.onnx"):
        digest = hashlib.sha256((tmp_path / "bundle" / file).read_bytes()).hexdigest()
        assert json.loads(text)["files"][file] == digest
    assert str(tmp_path) not in text


def test_a_bundle_that_fails_to_open_leaves_nothing_behind(tmp_path: Path) -> None:
    wrong_head = head_model(weight_CD=np.ones((7, EMBEDDING), np.float32))
    with pytest.raises(CorruptBundle, match=r"logits of \['N', 3\]"):
        write_bundle(
            tmp_path / "bundle",
            backbone=backbone_model().SerializeToString(),
            head=wrong_head.SerializeToString(),
            manifest=manifest(),
        )
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    with pytest.raises(BundleError, match="nothing is overwritten"):
        write_tiny(tmp_path / "bundle")


def test_graphs_are_stripped_of_local_paths_and_compute_the_same() -> None:
    model = backbone_model()
    trace = 'File "/home/someone/secret/train.py", line 8, in forward'
    model.doc_string = trace
    model.metadata_props.add(key="trace", value=trace)
    model.graph.node[0].metadata_props.add(key="trace", value=trace)
    model.graph.node[0].doc_string = trace
    model.graph.initializer[0].doc_string = trace
    stripped = strip_metadata(model.SerializeToString())
    assert b"secret" not in stripped
    assert stripped == strip_metadata(stripped)
    assert stripped == strip_metadata(backbone_model().SerializeToString())
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(graph).run(None, {"image": x})
        for graph in (model.SerializeToString(), stripped)
    )
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_decision_is_sealed_once_and_survives_loading(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    sealed = bundle.with_decision(DECISION)
    assert sealed.temperature == 1.7
    assert bundle.manifest.decision is None
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.manifest.decision == DECISION
    assert loaded.sha256 == sealed.sha256 != bundle.sha256
    for again in (sealed, loaded):
        with pytest.raises(BundleError, match="sealed already"):
            again.with_decision(DECISION)
    with pytest.raises(BundleError, match="changed since it was loaded"):
        bundle.with_decision(DECISION)


def test_a_path_without_a_bundle_says_what_was_expected(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotABundle, match="expected a finished run"):
            load_bundle(path)


def _flip_a_bit(directory: Path) -> None:
    path = directory / "backbone.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut_short(directory: Path) -> None:
    path = directory / "head.onnx"
    path.write_bytes(path.read_bytes()[:-10])


def _move_out(directory: Path) -> None:
    outside = directory.parent / "outside.onnx"
    (directory / "head.onnx").rename(outside)
    (directory / "head.onnx").symlink_to(outside)


def _make_a_pipe(directory: Path) -> None:
    (directory / "head.onnx").unlink()
    os.mkfifo(directory / "head.onnx")


def _list_a_file_outside(directory: Path) -> None:
    path = directory / "manifest.json"
    value = json.loads(path.read_text())
    value["files"]["../../etc/passwd"] = "0" * 64
    path.write_text(json.dumps(value))


def _huge_manifest(directory: Path) -> None:
    with (directory / "manifest.json").open("wb") as file:
        file.truncate(1 << 34)  # sparse: no disk is used, and none of it may be read


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (_flip_a_bit, "backbone.onnx is not what the manifest says"),
        (_cut_short, "head.onnx is not what the manifest says"),
        (lambda d: (d / "head.onnx").unlink(), "head.onnx is missing"),
        (lambda d: (d / "plugin.py").write_text("boom"), "'plugin.py' does not belong"),
        (_move_out, "head.onnx is not a file of its own"),
        (_make_a_pipe, "head.onnx is not a file of its own"),
        (_list_a_file_outside, "the manifest lists"),
        (_huge_manifest, "larger than 8 MiB"),
        (lambda d: (d / "manifest.json").write_bytes(b"\x80\x04."), "makes no sense"),
    ],
)
def test_a_corrupted_bundle_is_refused_in_one_line(
    tmp_path: Path, corrupt: Callable[[Path], object], message: str
) -> None:
    write_tiny(tmp_path / "bundle")
    corrupt(tmp_path / "bundle")
    with pytest.raises(CorruptBundle, match=message) as caught:
        load_bundle(tmp_path / "bundle")
    assert "\n" not in str(caught.value)


def test_what_a_file_browser_leaves_behind_does_not_matter(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    (tmp_path / "bundle" / ".DS_Store").write_bytes(b"x")
    shutil.copytree(tmp_path / "bundle", tmp_path / "copy")
    assert load_bundle(tmp_path / "copy").classes == CLASSES


def _swap_head(directory: Path, head: bytes) -> None:
    """What a forger does: another graph, and the manifest's hash made to fit."""
    (directory / "head.onnx").write_bytes(head)
    path = directory / "manifest.json"
    value = json.loads(path.read_text())
    value["files"]["head.onnx"] = hashlib.sha256(head).hexdigest()
    path.write_text(json.dumps(value))


def _point_elsewhere(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def _external_initializer() -> bytes:
    model = head_model()
    _point_elsewhere(model.graph.initializer[0])
    return bytes(model.SerializeToString())


def _external_constant_in_a_subgraph() -> bytes:
    """A Constant in one branch of an If: no initializer of the main graph is external."""
    inner = numpy_helper.from_array(np.ones(3, np.float32), "inner")
    _point_elsewhere(inner)
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=inner)],
        "branch",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
    )
    model = head_model()
    model.graph.node.append(
        helper.make_node("If", ["flag"], ["z"], then_branch=branch, else_branch=branch)
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    return bytes(model.SerializeToString())


def _external_constant_in_a_function() -> bytes:
    inner = numpy_helper.from_array(np.ones(3, np.float32), "inner")
    _point_elsewhere(inner)
    model = head_model()
    model.functions.append(
        helper.make_function(
            "own", "F", [], ["y"], [helper.make_node("Constant", [], ["y"], value=inner)],
            [helper.make_opsetid("", 20)],
        )
    )  # fmt: skip
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "make",
    [_external_initializer, _external_constant_in_a_subgraph, _external_constant_in_a_function],
)
def test_a_graph_that_reads_other_files_is_refused(
    tmp_path: Path, make: Callable[[], bytes]
) -> None:
    write_tiny(tmp_path / "bundle")
    _swap_head(tmp_path / "bundle", make())
    with pytest.raises(ExternalDataRefused, match=r"head\.onnx reads its tensors from other files"):
        load_bundle(tmp_path / "bundle")


def test_a_graph_that_reads_other_files_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ExternalDataRefused):
        write_bundle(
            tmp_path / "bundle",
            backbone=backbone_model().SerializeToString(),
            head=_external_initializer(),
            manifest=manifest(),
        )
    assert list(tmp_path.iterdir()) == []


def _with_a_long_key(model: ModelProto) -> bytes:
    """The same model to ONNX Runtime, which drops all bits but 32 of the key of a field."""
    graph, rest = model.graph.SerializeToString(), ModelProto()
    rest.CopyFrom(model)
    rest.ClearField("graph")
    key = bytes([7 << 3 | 2 | 128, 128, 128, 128, 128 >> 3])  # field 7, and bit 32
    assert 128 <= len(graph) < 1 << 14
    length = bytes([len(graph) & 127 | 128, len(graph) >> 7])
    return bytes(rest.SerializeToString()) + key + length + graph


def test_a_graph_with_a_loop_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    """A loop may run for ever, and a call of ONNX Runtime cannot be ended."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["goes_on"]),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", len(CLASSES)]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", len(CLASSES)]),
        ],
    )
    model = head_model()
    model.graph.node[0].output[0] = "first"
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
    model.graph.node.append(helper.make_node("Loop", ["", "true", "first"], ["logits"], body=body))
    with pytest.raises(CorruptBundle, match="operator Loop, which may never end"):
        write_bundle(
            tmp_path / "bundle", backbone=backbone_model().SerializeToString(),
            head=model.SerializeToString(), manifest=manifest(),
        )  # fmt: skip
    hidden = _with_a_long_key(model)
    assert [one.name for one in open_session(hidden).get_outputs()] == ["logits"]
    with pytest.raises(CorruptBundle, match="is no ONNX graph"):
        refuse_endless_operators(hidden, "it")
    model.graph.node[-1].CopyFrom(helper.make_node("Identity", ["first"], ["logits"], name="Loop"))
    refuse_endless_operators(model.SerializeToString(), "the word alone does no harm")


def test_an_unsealed_bundle_is_opened_by_its_own_run_alone(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle", unsealed=True)
    with pytest.raises(UnsealedBundle, match="is not sealed"):
        load_bundle(tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle", unsealed=True).manifest.unsealed
    sealed = bundle.without_decision()
    assert load_bundle(tmp_path / "bundle").sha256 == sealed.sha256
    assert sealed.sha256 == write_tiny(tmp_path / "other").sha256


def test_a_manifest_is_what_its_hash_says(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle", unsealed=True).without_decision()
    assert (bundle.path / "manifest.sha256").read_text() == f"{bundle.sha256}  manifest.json\n"
    changed = (bundle.path / "manifest.json").read_bytes().replace(b'"crack"', b'"track"')
    (bundle.path / "manifest.json").write_bytes(changed)
    with pytest.raises(CorruptBundle, match=r"is not what manifest\.sha256 says"):
        load_bundle(bundle.path)


def test_every_message_that_may_hold_a_tensor_is_walked() -> None:
    """The table of field numbers is that of onnx.proto as the onnx package knows it."""
    expected: dict[str, dict[int, str]] = {}
    waiting = [ModelProto.DESCRIPTOR]
    reaches: set[str] = {"TensorProto"}
    fields: dict[str, dict[int, str]] = {}
    while waiting:
        descriptor = waiting.pop()
        if descriptor.name in fields:
            continue
        inner = [field for field in descriptor.fields if field.message_type is not None]
        fields[descriptor.name] = {field.number: field.message_type.name for field in inner}
        waiting += [field.message_type for field in inner]
    for _ in fields:  # to the fixed point
        reaches |= {name for name, kinds in fields.items() if reaches & set(kinds.values())}
    for name in reaches - {"TensorProto"}:
        expected[name] = {n: kind for n, kind in fields[name].items() if kind in reaches}
    assert expected == MESSAGES_WITH_TENSORS
    assert TensorProto.DESCRIPTOR.fields_by_name["external_data"].number == EXTERNAL_DATA


@pytest.mark.parametrize(
    "graph", [b"\x0blocation", b"\xff" * 11 + b"location", b"\x3a\x7flocation"]
)
def test_bytes_that_are_no_protobuf_are_refused(graph: bytes) -> None:
    with pytest.raises(CorruptBundle, match="is no ONNX graph"):
        refuse_external_data(graph, "head.onnx")


def test_a_harmless_tensor_called_location_is_no_external_data(tmp_path: Path) -> None:
    head = head_model()
    head.graph.initializer[0].name = head.graph.node[0].input[1] = "location"
    write_bundle(
        tmp_path / "bundle",
        backbone=backbone_model().SerializeToString(),
        head=head.SerializeToString(),
        manifest=manifest(),
    )
    assert load_bundle(tmp_path / "bundle").classes == CLASSES


def _future_opset() -> bytes:
    model = head_model()
    model.opset_import[0].version = 999
    return bytes(model.SerializeToString())


def _future_ir() -> bytes:
    model = head_model()
    model.ir_version = 999
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(head_model(operator="Evil").SerializeToString(), id="custom operator"),
        pytest.param(_future_opset(), id="opset of the future"),
        pytest.param(_future_ir(), id="IR of the future"),
        pytest.param(b"MZ not a graph", id="no protobuf"),
        pytest.param(b"", id="empty"),
        pytest.param(backbone_model().SerializeToString(), id="another graph"),
        pytest.param(
            head_model(weight_CD=np.ones((5, EMBEDDING), np.float32)).SerializeToString(),
            id="other classes",
        ),
    ],
)
def test_a_graph_that_does_not_open_or_fit_is_refused_in_one_line(
    tmp_path: Path, head: bytes
) -> None:
    write_tiny(tmp_path / "bundle")
    _swap_head(tmp_path / "bundle", head)
    paths = write_images(tmp_path / "images", 1)
    with pytest.raises(CorruptBundle) as caught:
        predict_images(load_bundle(tmp_path / "bundle"), image_sources(paths))
    assert "\n" not in str(caught.value)
    assert "head.onnx" in str(caught.value)


def test_a_head_with_numbers_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    weights = np.full((3, EMBEDDING), np.nan, np.float32)
    _swap_head(tmp_path / "bundle", head_model(weight_CD=weights).SerializeToString())
    with pytest.raises(CorruptBundle, match="not finite"):
        predict_images(
            load_bundle(tmp_path / "bundle"), image_sources(write_images(tmp_path / "images", 1))
        )


def _head_of(*steps: tuple[str, NDArray[Any], int]) -> bytes:
    """A head of operators with a constant and an axis each; it opens, and fails when it runs."""
    names = ["embedding", *(f"x{n}" for n in range(1, len(steps))), "logits"]
    graph = helper.make_graph(
        [
            helper.make_node(operator, [names[n], f"c{n}"], [names[n + 1]], axis=axis)
            for n, (operator, _, axis) in enumerate(steps)
        ],
        "head",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", EMBEDDING])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", "columns"])],
        [numpy_helper.from_array(step[1], f"c{n}") for n, step in enumerate(steps)],
    )
    return bytes(model_of(graph).SerializeToString())


THREE_COLUMNS = ("Gather", np.array([0, 1, 2]), 1)
FIVE_ROWS = ("Compress", np.ones(5, bool), 0)
SEVEN_COLUMNS = ("Compress", np.ones(7, bool), 1)
OUT_OF_RANGE = ("Gather", np.array([0, 1, 99]), 1)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        pytest.param(_head_of(OUT_OF_RANGE), "cannot be run", id="index out of range"),
        pytest.param(_head_of(THREE_COLUMNS, FIVE_ROWS), "answers 64 images with", id="rows"),
        pytest.param(_head_of(SEVEN_COLUMNS), r"\(7,\) numbers an image", id="columns"),
    ],
)
def test_a_graph_that_opens_but_answers_wrongly_is_refused_in_one_line(
    tmp_path: Path, head: bytes, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_tiny(tmp_path / "bundle")
    _swap_head(tmp_path / "bundle", head)
    with pytest.raises(CorruptBundle, match=message) as caught:
        predict_images(
            load_bundle(tmp_path / "bundle"), image_sources(write_images(tmp_path / "images", 1))
        )
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == "", "ONNX Runtime says nothing beside it"


def test_sessions_open_only_when_they_are_used(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    assert not {"backbone", "head"} & set(vars(bundle))
    assert isinstance(bundle, Bundle)
    assert bundle.backbone is bundle.backbone


def test_the_graph_on_disk_is_valid_onnx(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    for file in ("backbone.onnx", "head.onnx"):
        onnx.checker.check_model(str(tmp_path / "bundle" / file), full_check=True)
