"""The record of a call, from the bytes that went through."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hetagent.gateway.assemble import Assembled, assemble_anthropic, assemble_openai
from hetagent.gateway.calls import Served
from hetagent.gateway.headers import header
from hetagent.learn.loose import count, mapping
from hetagent.learn.provenance import Provenance
from hetagent.learn.record import CallError, CallRecord, Form, Usage

if TYPE_CHECKING:
    from hetagent.gateway.tap import Recording

__all__ = ["make_record", "usage_of"]

Json = dict[str, Any]
Pieces = Sequence[tuple[float, bytes]]

_ASSEMBLE: dict[Form, Callable[[Iterable[tuple[float, bytes]]], Assembled]] = {
    "openai.chat": assemble_openai,
    "anthropic.messages": assemble_anthropic,
}
_PROVENANCE = Provenance()
_SHOWN = 500  # characters of an error that is no JSON
_SHORTEST_SECRET = 6
_MOST_DECODED = 256 * 1024 * 1024


def make_record(recording: Recording) -> CallRecord:
    """Make it; keys that came with the call, or belong to the upstream, are taken out."""
    call, upstream = recording.call, recording.upstream
    assert call.form is not None
    pieces = _decoded(recording.pieces, header(recording.headers, b"content-encoding"))
    said = _read(recording, call.form, pieces)
    secrets = [one for one in (*call.secrets, *upstream.secrets) if len(one) >= _SHORTEST_SECRET]
    response = None if said.response is None else _clean(said.response, secrets)
    error = recording.error or _error_of(recording.status, said.error, secrets)
    if error is None and response is None:
        error = CallError("InvalidResponse", recording.status, "The answer is no JSON object.")
    usage = usage_of(call.form, response or {})
    if usage == Usage():
        usage = recording.usage()
    model = (response or {}).get("model")
    served = model if isinstance(model, str) else None
    record = CallRecord(
        id=call.id,
        time=call.time,
        form=call.form,
        source="gateway",
        model=call.model,
        request=_clean(dict(call.data), secrets),
        response=response,
        error=error,
        served_model=served,
        usage=usage,
        cost_usd=upstream.cost(usage) if response is not None else None,
        seconds=recording.seconds,
        first_token_seconds=said.first,
        streamed=_is_stream(recording),
        complete=recording.complete and said.complete,
        trace_id=call.marks.trace,
        conversation_id=call.marks.conversation,
        client_id=call.marks.client,
        workload=call.marks.workload,
        trainable=upstream.trainable or _PROVENANCE.of(served, call.model),
        interactive=bool(call.marks.interactive),
        tags={**call.marks.tags, "upstream": upstream.name},
    )
    return record if recording.served is None else _told(record, recording.served)


def usage_of(form: Form, response: Mapping[str, Any]) -> Usage:
    """The tokens that a response names."""
    usage = mapping(response.get("usage"))
    if form == "anthropic.messages":
        cached = count(usage.get("cache_read_input_tokens"))
        parts = (count(usage.get("input_tokens")), count(usage.get("cache_creation_input_tokens")))
        known = [one for one in (*parts, cached) if one is not None]
        prompt = sum(known) if parts[0] is not None else None
        return Usage(prompt, count(usage.get("output_tokens")), cached)
    return Usage(
        count(usage.get("prompt_tokens")),
        count(usage.get("completion_tokens")),
        count(mapping(usage.get("prompt_tokens_details")).get("cached_tokens")),
        count(mapping(usage.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def _told(record: CallRecord, served: Served) -> CallRecord:
    """The record of a call of a workload that was converted."""
    tags = dict(record.tags)
    if served.by == "slm":
        del tags["upstream"]  # which was not asked
    if served.binding is not None:
        tags["binding"] = served.binding
    told = record.with_(
        served_by=served.by, reason=served.reason, workload=served.workload, tags=tags
    )
    if served.by == "llm":
        return told
    # No model is to be taught by what a small one said.
    return told.with_(served_model=served.model, cost_usd=0.0, trainable="no-train")


def _read(recording: Recording, form: Form, pieces: Pieces) -> Assembled:
    if _is_stream(recording) and form in _ASSEMBLE:
        return _ASSEMBLE[form](pieces)
    text = b"".join(piece for _, piece in pieces)
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):
        found = None
    if recording.status is not None and recording.status >= 400:
        shown = found if isinstance(found, dict) else {}
        error = dict(mapping(shown.get("error"))) or {"message": _shown(shown.get("error") or text)}
        return Assembled(None, error, complete=True, first=None)
    response = found if isinstance(found, dict) else None
    return Assembled(response, None, complete=response is not None, first=None)


def _is_stream(recording: Recording) -> bool:
    kind = header(recording.headers, b"content-type") or ""
    return kind.lower().startswith("text/event-stream")


def _error_of(status: int | None, error: Json | None, secrets: Sequence[str]) -> CallError | None:
    if error is None:
        return None
    error = _clean(error, secrets)
    kind = error.get("type") or error.get("code") or "HTTPError"
    message = error.get("message")
    failed = status if status is not None and status >= 400 else None
    return CallError(str(kind), failed, message if isinstance(message, str) else "")


def _clean(value: Json, secrets: Sequence[str]) -> Json:
    """The same without keys, and without halves of surrogate pairs, which no file can hold."""
    text = json.dumps(value, ensure_ascii=False)
    clean = text
    for secret in secrets:
        clean = clean.replace(json.dumps(secret, ensure_ascii=False)[1:-1], "[key]")
    try:
        clean.encode()
    except UnicodeEncodeError:
        clean = clean.encode("utf-8", errors="replace").decode()
    return value if clean == text else dict(json.loads(clean))


def _decoded(pieces: Pieces, encoding: str | None) -> Pieces:
    """The pieces without their content encoding, as far as they can be read."""
    if encoding is None or encoding.lower() == "identity":
        return pieces
    import httpx

    now = 0.0

    def replayed() -> Iterator[bytes]:
        nonlocal now
        for time, piece in pieces:
            now = time
            yield piece

    response = httpx.Response(200, headers={"content-encoding": encoding}, content=replayed())
    found: list[tuple[float, bytes]] = []
    size = 0
    try:
        for piece in response.iter_bytes():
            size += len(piece)
            if size > _MOST_DECODED:
                break
            found.append((now, piece))
    except httpx.DecodingError:
        pass  # it broke off
    return found


def _shown(value: Any) -> str:
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
    return text[:_SHOWN]
