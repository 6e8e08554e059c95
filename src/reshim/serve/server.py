"""Listens, hands each connection to a session, and outlives whatever comes."""

import logging
import socket
import socketserver
import threading
import time
from dataclasses import dataclass, field
from io import BufferedIOBase, BufferedReader
from typing import cast

from reshim.errors import UserError
from reshim.serve.messages import write_close, write_text
from reshim.serve.session import Session

log = logging.getLogger(__name__)

CONNECTIONS = 4
"""At a time; further ones are turned away in words."""

IDLE_SECONDS = 300.0
"""Without a byte in the middle of a scan; then the connection is closed."""

OPENING_SECONDS = 20.0
"""Without a first byte: who connects and says nothing does not hold a place for long."""

DRAIN_SECONDS = 30.0
"""For which the rest of a refused scan is read away. Closed before that, the connection would be reset, and
a client that is still sending would never see why it was refused."""


@dataclass
class Limits:
    """How much strangers may hold."""

    connections: int = CONNECTIONS
    idle_seconds: float = IDLE_SECONDS
    opening_seconds: float = OPENING_SECONDS
    drain_seconds: float = DRAIN_SECONDS


@dataclass
class _Shared:
    session: Session
    limits: Limits
    places: threading.BoundedSemaphore = field(init=False)
    computing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.places = threading.BoundedSemaphore(self.limits.connections)


class Server(socketserver.ThreadingTCPServer):
    """Reconstructs scans that are streamed to it, one at a time."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], session: Session, limits: Limits | None = None) -> None:
        self.shared = _Shared(session, limits or Limits())
        super().__init__(address, _Connection)


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        shared = cast(Server, self.server).shared
        limits = shared.limits
        with self.request.makefile("rb") as incoming, self.request.makefile("wb") as outgoing:
            if shared.places.acquire(blocking=False):
                try:
                    answered = self._answer(shared, incoming, outgoing)
                finally:
                    shared.places.release()
            else:
                _refuse(outgoing, f"{limits.connections} scans are being received; send it again later")
                answered = False
        if not answered:
            _drain(self.request, limits.drain_seconds)

    def _answer(self, shared: _Shared, incoming: BufferedReader, outgoing: BufferedIOBase) -> bool:
        self.request.settimeout(shared.limits.opening_seconds)
        try:
            incoming.peek(1)
        except TimeoutError:
            log.warning("closed: nothing came for %g seconds", shared.limits.opening_seconds)
            return True
        except OSError as error:
            log.warning("the connection broke: %s", error)
            return True
        self.request.settimeout(shared.limits.idle_seconds)
        return _answer(shared, incoming, outgoing)


def _answer(shared: _Shared, incoming: BufferedIOBase, outgoing: BufferedIOBase) -> bool:
    """Images or a reason; whether nothing of the scan can still be on its way."""
    try:
        received = shared.session.receive(incoming)
        with shared.computing:
            cards = shared.session.answer(received, outgoing)
        for card in cards:
            log.info("%s: %d slices in %.1f s", card.method, card.adapt["of_slices"], card.seconds)
    except UserError as error:
        log.warning("refused: %s", error)
        _refuse(outgoing, str(error))
        return False
    except TimeoutError:
        log.warning("closed: no byte came for %g seconds", shared.limits.idle_seconds)
    except OSError as error:
        log.warning("the connection broke: %s", error)
    except MemoryError:
        log.warning("refused: out of memory")
        _refuse(outgoing, "the scan needs more memory than the server has; start it with a smaller --max-gib")
        return False
    return True


def _drain(connection: socket.socket, seconds: float) -> None:
    """Say that nothing more comes, and read away what is still being sent, for so long."""
    end = time.monotonic() + seconds
    try:
        connection.shutdown(socket.SHUT_WR)
        while (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(1 << 16):
                return
    except OSError:
        log.debug("the refused client is gone")


def _refuse(outgoing: BufferedIOBase, reason: str) -> None:
    try:
        write_text(outgoing, reason)
        write_close(outgoing)
        outgoing.flush()
    except OSError:
        log.debug("nobody reads the refusal")
