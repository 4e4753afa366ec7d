"""States within an epoch, and what becomes of SIGTERM."""

import os
import signal
import threading
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from holotype.architectures.onnx_export import export_backbone, extract_outputs
from holotype.architectures.torch_classifier import Backbone
from holotype.errors import Terminated
from holotype.progress import Progress
from holotype.training.finetuning.checkpoint import read_state, write_state
from holotype.training.finetuning.training_state import LoopState
from holotype.training.interruption import StopSignal
from tests.training.tiny import classifier, same, stage, train

HOW = stage(epochs=2, accumulation=2, batch_size=8, mixup={"probability": 0.5, "alpha": 0.4})


def _dropping() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 3))


def test_a_training_goes_on_in_the_middle_of_an_epoch_with_the_same_bits(tmp_path: Path) -> None:
    states: list[LoopState] = []
    undisturbed = classifier(head=_dropping())
    ended = train(undisturbed, HOW, states=states, stop_signal=StopSignal(checkpoint_minutes=0))
    within = [state for state in states if state.step]
    assert [(state.epoch, state.step) for state in within] == [
        (epoch, step) for epoch in (0, 1) for step in range(1, 7)
    ]
    for state in within:
        write_state(state, tmp_path, "top")
        again = classifier(head=_dropping())
        went_on = train(again, HOW, resume=read_state(tmp_path, "top"))
        assert same(again, undisturbed)
        assert repr(went_on.rows) == repr(ended.rows)


def test_states_within_an_epoch_change_nothing() -> None:
    start, watched, plain = (classifier(head=_dropping()) for _ in range(3))
    within, states = list[LoopState](), list[LoopState]()
    train(watched, HOW, states=within, stop_signal=StopSignal(checkpoint_minutes=0))
    train(plain, HOW, states=states)
    assert any(state.step for state in within)
    assert not any(state.step for state in states)  # ten minutes have not passed
    assert same(watched, plain)
    assert not same(start, plain)


def test_sigterm_is_heard_after_the_step_and_the_state_is_left_first() -> None:
    stop_signal, states = StopSignal(), list[LoopState]()

    class Terminating(list[LoopState]):
        """Sends the signal when the second epoch is about to begin."""

        def append(self, state: LoopState) -> None:
            states.append(state)
            if state.epoch == 1 and not state.step:
                signal.raise_signal(signal.SIGTERM)

    with stop_signal.handling_sigterm(), pytest.raises(Terminated):
        train(classifier(), HOW, states=Terminating(), stop_signal=stop_signal)
    assert states[-1].epoch == 1  # between two steps it ends at once: this state is whole

    class WithinStep(StopSignal):
        def checkpoint_is_due(self) -> bool:
            if not self.stop_requested:  # a second one would end the process at once
                os.kill(os.getpid(), signal.SIGTERM)
            return False

    states.clear()
    stop_signal = WithinStep()
    with stop_signal.handling_sigterm(), pytest.raises(Terminated, match="step 1 of 6 of epoch 1"):
        train(classifier(), HOW, states=states, stop_signal=stop_signal)
    assert [state.step for state in states] == [0, 1]


class _TerminatedOnce(nn.Module):
    """Gets SIGTERM in its first pass after `armed`, in the middle of whoever runs it."""

    armed = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.armed:
            self.armed = False
            signal.raise_signal(signal.SIGTERM)
        return x


def test_sigterm_within_an_export_is_heard_after_it_and_does_not_change_the_graph() -> None:
    """An exception that a handler raises is swallowed by torch, which exports another graph."""
    torch.manual_seed(0)
    terminated = _TerminatedOnce()
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), terminated, nn.ReLU())
    backbone = Backbone({"all": layers}, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    undisturbed = export_backbone(backbone.eval(), 16, 16).SerializeToString()
    stop_signal = StopSignal()
    terminated.armed = True
    with stop_signal.handling_sigterm():
        graph = export_backbone(backbone, 16, 16).SerializeToString()
        with pytest.raises(Terminated, match="SIGTERM"):
            stop_signal.raise_if_requested()
    assert not terminated.armed
    assert extract_outputs(onnx.load_from_string(graph), ["embedding"]) == extract_outputs(
        onnx.load_from_string(undisturbed), ["embedding"]
    )


def test_work_that_shows_progress_stops_at_its_next_line_or_step() -> None:
    stop_signal = StopSignal()
    progress = Progress(check=stop_signal.raise_if_requested)
    with stop_signal.handling_sigterm(), progress.bar("working") as update:
        progress.log("begun")
        update(1, 2)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Terminated):
            update(2, 2)
        with pytest.raises(Terminated):
            progress.log("more")


def test_another_thread_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def listen() -> None:
        with StopSignal().handling_sigterm():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]
