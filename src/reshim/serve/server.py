"""Listens, hands each connection to a session, and outlives whatever comes."""

import logging
import socketserver
import threading
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import cast

from reshim.errors import UserError
from reshim.serve.messages import write_close, write_text
from reshim.serve.session import Session

log = logging.getLogger(__name__)

CONNECTIONS = 4
"""At a time; further ones are turned away in words."""

IDLE_SECONDS = 300.0
"""Without a byte; then the connection is closed."""


@dataclass
class Limits:
    """How much strangers may hold."""

    connections: int = CONNECTIONS
    idle_seconds: float = IDLE_SECONDS


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
        self.request.settimeout(shared.limits.idle_seconds)
        with self.request.makefile("rb") as incoming, self.request.makefile("wb") as outgoing:
            if not shared.places.acquire(blocking=False):
                _refuse(
                    outgoing, f"{shared.limits.connections} scans are being received; send it again later"
                )
                return
            try:
                _answer(shared, incoming, outgoing)
            finally:
                shared.places.release()


def _answer(shared: _Shared, incoming: BufferedIOBase, outgoing: BufferedIOBase) -> None:
    try:
        received = shared.session.receive(incoming)
        with shared.computing:
            cards = shared.session.answer(received, outgoing)
        for card in cards:
            log.info("%s: %d slices in %.1f s", card.method, card.adapt["of_slices"], card.seconds)
    except UserError as error:
        log.warning("refused: %s", error)
        _refuse(outgoing, str(error))
    except TimeoutError:
        log.warning("closed: no byte came for %g seconds", shared.limits.idle_seconds)
    except OSError as error:
        log.warning("the connection broke: %s", error)
    except MemoryError:
        log.warning("refused: out of memory")
        _refuse(outgoing, "the scan needs more memory than the server has; start it with a smaller --max-gib")


def _refuse(outgoing: BufferedIOBase, reason: str) -> None:
    try:
        write_text(outgoing, reason)
        write_close(outgoing)
        outgoing.flush()
    except OSError:
        log.debug("nobody reads the refusal")
