"""Elements of a page. Text is escaped by the serializer, whatever it is; nothing is pasted."""

from __future__ import annotations

import re
from xml.etree import ElementTree

__all__ = ["Element", "Node", "el", "rendered"]

Element = ElementTree.Element
Node = Element | str

# What neither XML nor HTML allows, escaped or not.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def el(tag: str, *children: Node | None, **attributes: object) -> Element:
    """An element.

    Args:
        tag: Its name.
        children: Elements and text, in order; ``None`` is left out.
        attributes: By name, ``_`` standing for ``-`` and a trailing one for nothing; ``None`` is
            left out.
    """
    found = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            found.set(name.rstrip("_").replace("_", "-"), _clean(_attribute(value)))
    for child in children:
        if isinstance(child, str):
            _append_text(found, _clean(child))
        elif child is not None:
            found.append(child)
    return found


def rendered(element: Element) -> str:
    """As HTML."""
    return ElementTree.tostring(element, encoding="unicode", method="html")


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def _attribute(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
