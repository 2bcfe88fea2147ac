"""How outcomes look on a terminal."""

from __future__ import annotations

import json
from typing import Any

from rich.text import Text

from hetagent.outcome import Outcome

__all__ = ["confidence_text", "seconds_text", "served_text", "value_text"]

_SURE, _UNSURE = 0.9, 0.5
_COLOURS = {"slm": "green", "llm": "magenta", "both": "cyan", "none": "red"}


def value_text(outcome: Outcome[Any]) -> Text:
    """The value on one line, or why there is none."""
    if outcome.served_by == "none" and outcome.error is not None:
        return Text(f"({outcome.reason}) {outcome.error.message}", style="red")
    if outcome.served_by == "none" and outcome.draft is not None:
        return Text(f"({_shown(outcome.to_dict()['draft']['value'])}?)", style="dim")
    if outcome.served_by == "none":
        return Text(f"({outcome.reason})", style="red")
    return Text(_shown(outcome.to_dict()["value"]))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        given = [f"{key} {_plain(part)}" for key, part in value.items() if part is not None]
        return ", ".join(given) or "-"
    return _plain(value)


def confidence_text(confidence: float | None) -> Text:
    """Green where sure, red where not, a dash where there is none."""
    if confidence is None:
        return Text("-", style="dim")
    colour = "green" if confidence >= _SURE else "yellow" if confidence >= _UNSURE else "red"
    return Text(f"{confidence:.2f}", style=colour)


def served_text(outcome: Outcome[Any]) -> Text:
    """Who served it."""
    return Text(outcome.served_by, style=_COLOURS[outcome.served_by])


def seconds_text(seconds: float) -> Text:
    """A duration, in milliseconds below a second."""
    return Text(f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
