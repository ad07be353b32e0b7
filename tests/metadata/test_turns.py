"""Processes take turns at writing: whoever has just written is behind those that wait."""

import threading
import time
from pathlib import Path

from registry.metadata.turns import Turns

WAIT = 10.0


def test_who_waits_is_before_who_has_just_written(tmp_path: Path) -> None:
    turns = [Turns(tmp_path / "lock") for _ in range(3)]
    order: list[int] = []
    waiting = [threading.Event() for _ in turns]

    def take(number: int) -> None:
        waiting[number].set()
        with turns[number].turn():
            order.append(number)

    with turns[0].turn():
        others = [threading.Thread(target=take, args=(number,)) for number in (1, 2)]
        for number, thread in enumerate(others, 1):
            thread.start()
            waiting[number].wait(WAIT)
            time.sleep(0.2)  # into its wait in the kernel, which nothing tells of
    with turns[0].turn():
        order.append(0)
    for thread in others:
        thread.join(WAIT)
    assert order[0] == 1, "the one that waited longest"
    assert sorted(order) == [0, 1, 2]
    for turn in turns:
        turn.close()


def test_one_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0

    def write() -> None:
        nonlocal inside, most
        turns = Turns(tmp_path / "lock")
        for _ in range(50):
            with turns.turn():
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1
        turns.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert most == 1
