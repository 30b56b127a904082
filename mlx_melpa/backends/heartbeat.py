"""Heartbeats between rank 0 and the other ranks. If a rank stops responding, all ranks stop within a minute."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ..errors import MelpaError

SILENCE = 45.0
"""Seconds without a heartbeat after which a rank counts as gone, counted while this process itself runs."""
BEATS = 9
"""Heartbeats in that time; one that arrives resets the count."""
_log = logging.getLogger(__name__)


def _end(message: str) -> None:
    """Ends the process: its main thread waits in a collective, where no exception reaches it."""
    _log.error(message)
    os._exit(1)


def watch(
    rank: int,
    ranks: int,
    host: str,
    gather: Callable[[bytes], list[bytes]],
    *,
    silence: float = SILENCE,
    gone: Callable[[str], None] = _end,
) -> None:
    """Starts a thread that exchanges heartbeats: each rank with rank 0. Every rank calls it at once.

    `host` is the machine of rank 0, `gather` an all-gather of bytes. A process that ends closes its connection, which
    the collectives notice at once. A machine that vanishes closes none: `gone` is called with a message that names the
    rank, within `silence` seconds and one heartbeat. A connection that can't be made is logged.
    """
    every = silence / BEATS
    if rank:
        port = int(gather(b"")[0])
        links = _joined(rank, host, port, silence)
    else:
        with socket.create_server(("", 0), backlog=ranks) as server:
            gather(str(server.getsockname()[1]).encode())
            links = _accepted(server, ranks, silence)
    for other in set(range(1, ranks) if rank == 0 else [0]) - links.keys():
        _log.warning(f"rank {rank} can't watch rank {other}: should its machine vanish, this is noticed late")
    threading.Thread(target=_listen, args=(links, ranks, every, gone), daemon=True).start()


def _joined(rank: int, host: str, port: int, within: float) -> dict[int, socket.socket]:
    try:
        link = socket.create_connection((host, port), timeout=within)
        link.sendall(rank.to_bytes(4, "big"))
    except OSError:
        return {}
    return {0: link}


def _accepted(server: socket.socket, ranks: int, within: float) -> dict[int, socket.socket]:
    """The connections of the other ranks, of those that connected in time."""
    links: dict[int, socket.socket] = {}
    until = time.monotonic() + within
    while len(links) < ranks - 1 and (left := until - time.monotonic()) > 0:
        server.settimeout(left)
        with suppress(OSError):
            link, _ = server.accept()
            link.settimeout(left)
            rank = int.from_bytes(link.recv(4), "big")
            if 0 < rank < ranks:
                links[rank] = link
    return links


def _listen(links: dict[int, socket.socket], ranks: int, every: float, gone: Callable[[str], None]) -> None:
    missed = dict.fromkeys(links, 0)
    for link in links.values():
        link.setblocking(False)
    while missed:
        time.sleep(every)
        for rank in list(missed):
            try:
                links[rank].send(b".")
                heard = links[rank].recv(4096)
            except ConnectionError:
                heard = b""
            except OSError:  # nothing came, or the network is down
                missed[rank] += 1
                if missed[rank] > BEATS:
                    return gone(silent(rank, ranks, round(every * BEATS)))
                continue
            if heard:
                missed[rank] = 0
            else:
                links[rank].close()
                del missed[rank]
    return None


RESTART = "What was stored is whole: start again, meta-train with --resume, with as many ranks as you like"


def lost(rank: int, count: int, error: Exception) -> MelpaError:
    """The error of a rank whose collective failed."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return MelpaError(
        f"rank {rank} of {count} lost touch with another rank ({reason}); the launcher names the one that ended. "
        f"{RESTART}"
    )


def silent(rank: int, count: int, seconds: float) -> str:
    """The message about a rank that is connected and sends no heartbeat."""
    return (
        f"error: rank {rank} of {count} has given no sign for {seconds:g} seconds: it is stuck, or its machine or "
        f"network is gone. {RESTART}"
    )
