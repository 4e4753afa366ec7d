"""States within an epoch, and what becomes of SIGTERM."""

import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from holotype.errors import Terminated
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
    assert states[-1].epoch == 1  # outside a step it ends at once: this state is whole

    class WithinStep(StopSignal):
        def checkpoint_is_due(self) -> bool:
            os.kill(os.getpid(), signal.SIGTERM)
            return False

    states.clear()
    stop_signal = WithinStep()
    with stop_signal.handling_sigterm(), pytest.raises(Terminated, match="step 1 of 6 of epoch 1"):
        train(classifier(), HOW, states=states, stop_signal=stop_signal)
    assert [state.step for state in states] == [0, 1]


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
