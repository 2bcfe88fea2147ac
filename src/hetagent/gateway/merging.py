"""How the pieces of a streamed message are put together, those of unknown fields too."""

from __future__ import annotations

from typing import Any

__all__ = ["merge"]

Json = dict[str, Any]

# Said once, or the same again in each piece; never in parts.
_WHOLE = frozenset({"role", "id", "type", "index"})


def merge(whole: Json, piece: Json) -> None:
    """Add a piece of an object to what is there of it, in place.

    Strings are continued and lists extended. Items with an ``index`` are pieces of the item with
    that index, as tool calls are; the index itself belongs to the stream and is left out.
    """
    for name, value in piece.items():
        known = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif name in _WHOLE:
            whole[name] = value if value != "" or known is None else known
        elif isinstance(value, list):
            whole[name] = _extended(known if isinstance(known, list) else [], value, name)
        elif isinstance(value, dict):
            target = dict(known) if isinstance(known, dict) else {}
            merge(target, value)
            whole[name] = target
        elif isinstance(value, str) and isinstance(known, str):
            # Some servers repeat a function's name in each piece.
            whole[name] = known if name == "name" and known == value else known + value
        else:
            whole[name] = value


def _extended(known: list[Any], pieces: list[Any], name: str) -> list[Any]:
    if name != "tool_calls" and not any(_is_indexed(one) for one in pieces):
        return known + pieces
    items = list(known)
    for piece in pieces:
        if not isinstance(piece, dict):
            items.append(piece)
            continue
        place = _place(items, piece)
        while len(items) <= place:
            items.append({})
        target = items[place]
        if isinstance(target, dict):
            merge(target, {key: value for key, value in piece.items() if key != "index"})
    return items


def _place(items: list[Any], piece: Json) -> int:
    """Which item a piece belongs to; without an index, a new id begins a new item."""
    if _is_indexed(piece):
        # An index far beyond what is there is no place, but a server's mistake.
        return min(int(piece["index"]), len(items))
    last = items[-1] if items else None
    starts = last is None or (piece.get("id") and piece["id"] != last.get("id"))
    return len(items) if starts else len(items) - 1


def _is_indexed(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    index = value.get("index")
    return isinstance(index, int) and not isinstance(index, bool) and index >= 0
