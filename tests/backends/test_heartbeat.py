"""Ranks that watch each other: silence is told with the rank's number, an end and a slow rank are not."""

import queue
import socket
import threading
from collections.abc import Callable
from time import sleep
from typing import Any

import pytest

from mlx_melpa.backends.heartbeat import watch

SILENCE = 0.45


@pytest.fixture
def told() -> "queue.Queue[str]":
    return queue.Queue()


@pytest.fixture
def first(told: Any) -> Callable[[int], tuple[int, threading.Thread]]:
    """Begins rank 0 of several, and gives the port that the others are told, and what ends when all have come."""

    def begin(ranks: int) -> tuple[int, threading.Thread]:
        port: queue.Queue[int] = queue.Queue()

        def gather(data: bytes) -> list[bytes]:
            port.put(int(data))
            return [data]

        how = {"silence": SILENCE, "gone": told.put}
        own = threading.Thread(target=watch, args=(0, ranks, "127.0.0.1", gather), kwargs=how, daemon=True)
        own.start()
        return port.get(timeout=5), own

    return begin


def other(rank: int, port: int, told: Any) -> None:
    watch(rank, 3, "127.0.0.1", lambda _: [str(port).encode()], silence=SILENCE, gone=told.put)


def test_a_rank_that_falls_silent_is_named(first: Any, told: Any) -> None:
    port, own = first(3)
    other(1, port, told)
    with socket.create_connection(("127.0.0.1", port)) as mute:
        mute.sendall((2).to_bytes(4, "big"))
        own.join(5)
        said = told.get(timeout=5)
    assert "rank 2 of 3 has given no sign" in said and "--resume" in said
    assert told.empty()


def test_rank_0_is_watched_too(told: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        other(1, mute.getsockname()[1], told)
        assert "rank 0 of 3 has given no sign" in told.get(timeout=5)


def test_ranks_that_give_signs_or_end_are_left_alone(first: Any, told: Any) -> None:
    port, own = first(3)
    other(1, port, told)
    with socket.create_connection(("127.0.0.1", port)) as ends:
        ends.sendall((2).to_bytes(4, "big"))
        own.join(5)
    sleep(3 * SILENCE)
    assert told.empty()


def test_what_cannot_be_watched_is_said(told: Any, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    other(1, closed, told)
    assert "rank 1 can't watch rank 0" in caplog.text
