"""The files of a stage: its best weights, and the state from which it resumes.

    checkpoints/
      finetune.safetensors         best weights and result of a finished stage
      finetune.state.safetensors   state of an unfinished stage

Tensors by name and one JSON text: nothing in these files can be executed. Each is written beside
its place and renamed into it, so that a process may be killed at any moment.
"""

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.architectures.pretrained_weights import strip_prefix
from holotype.errors import CorruptCheckpoint
from holotype.files import atomic_write
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.finetuning.training_state import LoopState, StageResult, TrainingSums

if TYPE_CHECKING:
    from torch import Tensor


TRAINABLE, BEST, OPTIMISER = "trainable/", "best/", "optimiser/"


def stage_weights_file(directory: Path, stage: str) -> Path:
    """The file of the best weights of a finished stage."""
    return directory / f"{stage}.safetensors"


def resume_state_file(directory: Path, stage: str) -> Path:
    """The file of the last state of an unfinished stage."""
    return directory / f"{stage}.state.safetensors"


def write_stage_result(
    ended: "StageResult",
    weights: "Mapping[str, Tensor]",
    directory: Path,
    *,
    classes: Sequence[str],
) -> None:
    """Write the best weights of a finished stage, and remove its state.

    Args:
        weights: of the whole classifier.
        classes: of its logits.
    """
    note = {
        "rows": [asdict(row) for row in ended.rows],
        "best_epoch": ended.best_epoch,
        "classes": list(classes),
    }
    _write(stage_weights_file(directory, ended.stage), weights, note)
    resume_state_file(directory, ended.stage).unlink(missing_ok=True)


def read_stage_result(
    directory: Path, stage: str
) -> "tuple[StageResult, dict[str, Tensor]] | None":
    """The result of a stage and its weights; None where it has not finished.

    Raises:
        CorruptCheckpoint: the file cannot be read or lacks a field.
    """
    path = stage_weights_file(directory, stage)
    if not path.is_file():
        return None
    weights, note = _read(path)
    with _making_sense(path):
        rows = [EpochMetrics(**row) for row in note["rows"]]
        return StageResult(stage, range(len(rows))[note["best_epoch"]], rows), weights


def checkpoint_classes(file: Path) -> tuple[str, ...]:
    """The classes of the weights that a stage wrote."""
    _, note = _read(file)
    with _making_sense(file):
        return tuple(str(name) for name in note["classes"])


def write_state(state: "LoopState", directory: Path, stage: str) -> None:
    """Write the state of an unfinished stage."""
    import torch

    tensors = {f"{TRAINABLE}{name}": tensor for name, tensor in state.trainable_state.items()}
    tensors |= {f"{BEST}{name}": tensor for name, tensor in state.best_trainable_state.items()}
    numbers: dict[str, dict[str, Any]] = {}
    for key, values in state.optimiser["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{OPTIMISER}{key}/{name}"] = value
            else:
                numbers.setdefault(str(key), {})[name] = value
    note = {
        "epoch": state.epoch,
        "groups": state.optimiser["param_groups"],
        "numbers": numbers,
        "schedule": state.schedule,
        "best_metrics": asdict(state.best_metrics),
        "lowest_monitored": state.lowest_monitored,
        "last_improved_epoch": state.last_improved_epoch,
        "rows": [asdict(row) for row in state.rows],
        "step": state.step,
        "sums": asdict(state.sums),
    }
    _write(resume_state_file(directory, stage), tensors, note)


def read_state(directory: Path, stage: str) -> "LoopState | None":
    """The last state of a stage; None where there is none.

    Raises:
        CorruptCheckpoint: the file cannot be read or lacks a field.
    """
    path = resume_state_file(directory, stage)
    if not path.is_file():
        return None
    tensors, note = _read(path)
    with _making_sense(path):
        moments: dict[int, dict[str, Any]] = {
            int(key): dict(values) for key, values in note["numbers"].items()
        }
        for full_name, tensor in strip_prefix(tensors, OPTIMISER).items():
            key, name = full_name.split("/", 1)
            moments.setdefault(int(key), {})[name] = tensor
        return LoopState(
            epoch=int(note["epoch"]),
            trainable_state=strip_prefix(tensors, TRAINABLE),
            optimiser={"state": moments, "param_groups": note["groups"]},
            schedule=note["schedule"],
            best_metrics=EpochMetrics(**note["best_metrics"]),
            best_trainable_state=strip_prefix(tensors, BEST),
            lowest_monitored=float(note["lowest_monitored"]),
            last_improved_epoch=int(note["last_improved_epoch"]),
            rows=[EpochMetrics(**row) for row in note["rows"]],
            step=int(note["step"]),
            sums=TrainingSums(**note["sums"]),
        )


def _write(path: Path, tensors: "Mapping[str, Tensor]", note: dict[str, Any]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # Cloned: two names may share memory, which the format refuses.
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(note)
    with atomic_write(path) as temporary:
        try:
            save_file(plain, temporary, metadata={"note": text, "sha256": _digest(plain, text)})
        except SafetensorError as error:  # such as a full disk
            raise OSError(errno.EIO, str(error), str(path)) from None


def _digest(tensors: "Mapping[str, Tensor]", note: str) -> str:
    """SHA-256 of everything in a file, so that a changed bit is no other number."""
    import torch

    h = hashlib.sha256(note.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        h.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        h.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return h.hexdigest()


def _read(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            text = metadata.get("note", "")
            note = json.loads(text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise _corrupt(path, str(error)) from None
    if not isinstance(note, dict):
        raise _corrupt(path, "its note is not an object")
    if metadata.get("sha256") not in (None, _digest(tensors, text)):
        raise _corrupt(path, "its content is not what was written")
    return tensors, note


@contextmanager
def _making_sense(path: Path) -> Iterator[None]:
    """Raise what goes wrong with the values of a file as `CorruptCheckpoint`."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise _corrupt(path, reason) from None


def _corrupt(path: Path, reason: str) -> CorruptCheckpoint:
    return CorruptCheckpoint(
        f"{str(path)!r} cannot be read ({' '.join(reason.split())[:120]}). Remove it to train this "
        "stage again, and call again with --resume."
    )
