"""How much and how long the gateway lets one call have."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hetagent.errors import InputError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take; times are in seconds.

    Attributes:
        body_bytes: Of a request's body; beyond it the answer is 413.
        at_once: Calls under way at the same time; beyond it the answer is 503.
        header_seconds: Until the head of a request is there.
        body_seconds: Between two pieces of a request's body.
        connect_seconds: Until the upstream takes the connection.
        read_seconds: Between two pieces of the upstream's answer, and until the first.
        send_seconds: Until a client that reads slowly takes the next piece.
        stop_seconds: For what is under way when the gateway is told to stop.
        record_bytes: Requests and responses that are under way or wait to be recorded, all
            together; a call that comes beyond it is not recorded, and counted.

    Raises:
        InputError: One of them is not above 0.
    """

    body_bytes: int = 64 * 1024 * 1024
    at_once: int = 1000
    header_seconds: float = 30.0
    body_seconds: float = 60.0
    connect_seconds: float = 10.0
    read_seconds: float = 600.0
    send_seconds: float = 60.0
    stop_seconds: float = 60.0
    record_bytes: int = 512 * 1024 * 1024

    def __post_init__(self) -> None:
        for one in fields(self):
            if not getattr(self, one.name) > 0:
                raise InputError(
                    f"{one.name}={getattr(self, one.name)!r} is no limit.",
                    hint="Give a number above 0.",
                )
