"""Server-sent events, as the HTML standard has them (section 9.2.6), from bytes in any pieces."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

__all__ = ["Event", "EventReader", "event_bytes"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        data: Its data lines, joined by line feeds.
        name: Its type; empty where it has none.
    """

    data: str
    name: str = ""


class EventReader:
    """Reads events from a stream of bytes."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._rest: list[str] = []
        self._held = ""
        self._data: list[str] = []
        self._name = ""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that a piece of the stream completes."""
        return self._read(self._decoder.decode(piece))

    def end(self) -> list[Event]:
        """What the end of the stream completes: an event whose empty line is missing."""
        found = self._read(self._decoder.decode(b"", final=True) + "\n")
        return [*found, *self._dispatch()]

    def _read(self, text: str) -> list[Event]:
        if "\n" not in text and "\r" not in text and not self._held:
            self._rest.append(text)  # a long line may come in many pieces
            return []
        # A carriage return at the end may be the first half of a line's end.
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r")
        first, *others = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines = ["".join([*self._rest, first]), *others]
        self._rest = [lines.pop()]
        events: list[Event] = []
        for line in lines:
            if line:
                self._field(line)
            else:
                events.extend(self._dispatch())
        return events

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value

    def _dispatch(self) -> list[Event]:
        found = [Event("\n".join(self._data), self._name)] if self._data else []
        self._data, self._name = [], ""
        return found


def event_bytes(event: Event) -> bytes:
    """An event as it is sent."""
    head = f"event: {event.name}\n" if event.name else ""
    lines = "".join(f"data: {line}\n" for line in event.data.split("\n"))
    return f"{head}{lines}\n".encode("utf-8", errors="replace")
