"""What a caller says of a call besides the call itself: in the path, in headers, in metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hetagent.gateway.headers import OWN_PREFIX, Headers, header
from hetagent.learn.marks import Marks, marks_of

__all__ = ["call_marks"]

_LONGEST = 200
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")


def call_marks(
    headers: Headers, data: Mapping[str, Any], *, workload: str | None, tags: Mapping[str, str]
) -> Marks:
    """Read what is said of a call.

    The path's workload goes before the header's, and a header before the metadata of the body.
    Where none of them says it, the trace is that of W3C's ``traceparent``, and the client is
    OpenAI's ``safety_identifier`` or ``user``. What is no short text is left out: it must not cost
    the caller the call.
    """

    def said(name: str) -> str | None:
        return _short(header(headers, OWN_PREFIX + name.encode()))

    interactive = said("interactive")
    in_path = Marks(workload=_short(workload), tags=tags)
    in_headers = Marks(
        workload=said("workload"),
        trace=said("trace"),
        conversation=said("conversation"),
        client=said("client"),
        interactive=None if interactive is None else interactive.lower() in ("1", "true", "yes"),
    )
    users = (data.get("safety_identifier"), data.get("user"))
    by_the_api = Marks(
        trace=_trace(headers), client=next((one for one in map(_short, users) if one), None)
    )
    return in_path.over(in_headers).over(marks_of(data.get("metadata"))).over(by_the_api)


def _trace(headers: Headers) -> str | None:
    found = _TRACEPARENT.fullmatch(header(headers, b"traceparent") or "")
    return found.group(1) if found else None


def _short(value: Any) -> str | None:
    return value.strip()[:_LONGEST] or None if isinstance(value, str) else None
