"""Ctrl-C in a training: the step is finished and saved, and the same training ends as an unbroken one."""

import json
import signal
import threading

import pytest

from seas_train.training import loop
from seas_train.training.interrupts import held_back
from tests.train.small_stage import stage, weights


def interrupted(made, step, times=1):
    """Let so many interrupts come in the middle of a step."""
    whole = made.losses_of

    def losses_of(batch):
        if batch[0] == step:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return whole(batch)

    made.losses_of = losses_of
    return made


def step_of(folder):
    return json.loads((folder / "checkpoint" / "state.json").read_text())["step"]


@pytest.mark.parametrize("step", [0, 3, 6])
def test_an_interrupt_saves_the_step_it_came_in(tmp_path, step):
    unbroken = stage(tmp_path / "whole", every=100)
    unbroken.folder.mkdir()
    loop.run(unbroken)
    broken = tmp_path / "broken"
    broken.mkdir()
    with pytest.raises(KeyboardInterrupt):
        loop.run(interrupted(stage(broken, every=100), step))
    assert step_of(broken) == step + 1
    again = stage(broken, every=100)
    loop.run(again)
    assert weights(again) == weights(unbroken)


def test_a_second_interrupt_does_not_wait(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        loop.run(interrupted(stage(tmp_path, every=100), 3, times=2))
    assert not (tmp_path / "checkpoint").exists()


def test_the_usual_way_is_back_afterwards(tmp_path):
    loop.run(stage(tmp_path))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_ways_and_other_threads_are_left_alone():
    def own(_number, _frame):
        pass

    before = signal.signal(signal.SIGINT, own)
    try:
        with held_back() as asked:
            assert signal.getsignal(signal.SIGINT) is own
            assert not asked()
    finally:
        signal.signal(signal.SIGINT, before)
    seen = []

    def elsewhere():
        with held_back() as asked:
            seen.append((signal.getsignal(signal.SIGINT), asked()))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [(signal.default_int_handler, False)]
