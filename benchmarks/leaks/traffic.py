"""Calls through a gateway: every case by each form of call, whole and streamed, well and badly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from benchmarks.leaks.cases import Case
from benchmarks.leaks.upstream import WAYS

__all__ = ["send"]

_TOOL = {
    "type": "function",
    "function": {
        "name": "keep_note",
        "parameters": {"type": "object", "properties": {"note": {"type": "string"}}},
    },
}


def send(base: str, cases: Sequence[Case]) -> int:
    """Make the calls; how many are to be recorded."""
    import httpx

    count = 0
    with httpx.Client(timeout=120) as client:
        for at, case in enumerate(cases):
            for path, body, headers in _calls(case, at):
                try:
                    with client.stream("POST", base + path, json=body, headers=headers) as answer:
                        answer.read()
                except httpx.RemoteProtocolError:
                    pass  # it was to break off
                count += 1
            if at % 7 == 0:
                broken = f'{{"model": "echo", "messages": [{case.text}'.encode()
                client.post(f"{base}/v1/chat/completions", content=broken)
                client.post(f"{base}/v1/none/{quote(case.text, safe='')[:300]}")
    return count


def _calls(case: Case, at: int) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    secret = case.values[0] if case.values else "nobody"
    ascii_secret = quote(secret)[:200]
    system = {"role": "system", "content": case.marked}
    user = {"role": "user", "content": case.text}
    way = WAYS[at % len(WAYS)]
    keys = {"authorization": f"Bearer {ascii_secret}", "x-hetagent-client": ascii_secret}
    plain = {"model": way, "messages": [system, user]}
    yield "/v1/chat/completions", {**plain, "user": secret, "tools": [_TOOL]}, keys
    marked = {"x-hetagent-trace": f"run-{at // 3}", "cookie": f"session={ascii_secret}"}
    yield f"/w/notes/v1/chat/completions?from={ascii_secret}", {**plain, "stream": True}, marked
    if at % 3 == 0:
        earlier = {"role": "assistant", "content": None, "tool_calls": [
            {"id": "t-1", "type": "function", "function":
             {"name": "keep_note", "arguments": json.dumps({"note": case.text})}}]}  # fmt: skip
        result = {"role": "tool", "tool_call_id": "t-1", "content": json.dumps({"kept": case.text})}
        body = {**plain, "model": "echo", "messages": [system, user, earlier, result],
                "metadata": {"tags": secret, "conversation": secret[:60]}}  # fmt: skip
        yield "/v1/chat/completions", body, {}
    if at % 3 == 1:
        content = [{"type": "text", "text": case.text}]
        body = {"model": way, "max_tokens": 99, "system": case.marked, "stream": at % 2 == 0,
                "messages": [{"role": "user", "content": content}],
                "metadata": {"user_id": secret}}  # fmt: skip
        yield "/v1/messages", body, {"x-api-key": ascii_secret}
    if at % 3 == 2:
        body = {"model": "echo", "input": f"{case.marked} {case.text}"}
        yield "/v1/embeddings", body, {}
