"""What a caller says of a call besides the call itself: in the path, in headers, in metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hetagent.gateway.headers import OWN_PREFIX, Headers, header

__all__ = ["Labels", "labels_of"]

_LONGEST = 200
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")


@dataclass(frozen=True, slots=True)
class Labels:
    """What the record has of it.

    Attributes:
        workload: The group it belongs to.
        trace: What the calls of one run of the agent share.
        conversation: What the calls of one conversation share.
        client: Whose call it is.
        interactive: Whether a person talks with the model in it.
        tags: Name of the gateway's key that let it in.
    """

    workload: str | None = None
    trace: str | None = None
    conversation: str | None = None
    client: str | None = None
    interactive: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


def labels_of(
    headers: Headers, data: Mapping[str, Any], *, workload: str | None, tags: Mapping[str, str]
) -> Labels:
    """Read the labels of a call.

    The path's workload goes before the header's, and a header before the metadata of the body.
    Without a header of our own, the trace is that of W3C's ``traceparent``, and the client is
    OpenAI's ``safety_identifier`` or ``user``, or Anthropic's ``metadata.user_id``. A label that
    is no short text is left out: it must not cost the caller the call.
    """
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}

    def said(name: str) -> str | None:
        own = header(headers, OWN_PREFIX + name.encode())
        return _short(own) or _short(metadata.get(f"hetagent_{name}"))

    users = (data.get("safety_identifier"), data.get("user"), metadata.get("user_id"))
    return Labels(
        workload=_short(workload) or said("workload"),
        trace=said("trace") or _trace(headers),
        conversation=said("conversation"),
        client=said("client") or next((one for one in map(_short, users) if one), None),
        interactive=(said("interactive") or "").lower() in ("1", "true", "yes"),
        tags=tags,
    )


def _trace(headers: Headers) -> str | None:
    found = _TRACEPARENT.fullmatch(header(headers, b"traceparent") or "")
    return found.group(1) if found else None


def _short(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return None
    return value.strip()[:_LONGEST] or None
