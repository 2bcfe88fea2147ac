"""The gateway's OpenAPI document: its paths and errors; bodies are the providers' own."""

from __future__ import annotations

from typing import Any

__all__ = ["document"]

Json = dict[str, Any]

_OPENAI_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": ["string", "null"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "integer", "null"]},
            },
        }
    },
}
_ANTHROPIC_ERROR: Json = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
    },
}
_MESSAGES: Json = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["role"],
        "properties": {"role": {"type": "string"}, "content": {}},
    },
}
_CHAT: Json = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": _MESSAGES,
        "stream": {"type": "boolean"},
        "stream_options": {"type": "object"},
        "tools": {"type": "array", "items": {"type": "object"}},
        "tool_choice": {},
        "response_format": {"type": "object"},
        "logprobs": {"type": "boolean"},
        "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
        "max_tokens": {"type": "integer", "minimum": 1},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "stop": {},
        "metadata": {"type": "object"},
        "user": {"type": "string"},
    },
}
_EMBEDDINGS: Json = {
    "type": "object",
    "required": ["input"],
    "properties": {"model": {"type": "string"}, "input": {}, "encoding_format": {}},
}
_ANTHROPIC: Json = {
    "type": "object",
    "required": ["model", "messages", "max_tokens"],
    "properties": {
        "model": {"type": "string"},
        "max_tokens": {"type": "integer", "minimum": 1},
        "messages": _MESSAGES,
        "system": {},
        "stream": {"type": "boolean"},
        "tools": {"type": "array", "items": {"type": "object"}},
        "metadata": {"type": "object"},
    },
}
_WORKLOAD: Json = {
    "name": "workload",
    "in": "path",
    "required": True,
    "description": "The workload that the call belongs to.",
    "schema": {"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9._-]+$"},
}
_DEPLOYMENT: Json = {**_WORKLOAD, "name": "deployment", "description": "The model."}
_VERSION: Json = {"name": "api-version", "in": "query", "schema": {"type": "string"}}
_LABELS: list[Json] = [
    {"name": f"x-hetagent-{name}", "in": "header", "description": what, "schema": _WORD}
    for name, what, _WORD in (
        ("workload", "The workload that the call belongs to.", {"type": "string"}),
        ("trace", "What the calls of one run share.", {"type": "string"}),
        ("conversation", "What the calls of one conversation share.", {"type": "string"}),
        ("client", "Whose call it is.", {"type": "string"}),
        ("interactive", "Whether a person talks in it: true or false.", {"type": "string"}),
        ("key", "The gateway's key, beside the provider's.", {"type": "string"}),
    )
]


def document() -> Json:
    """The document, as JSON data."""
    from hetagent import __version__

    paths: Json = {}
    for prefix, own in (("", []), ("/w/{workload}", [_WORKLOAD])):
        deployment = f"{prefix}/openai/deployments/{{deployment}}"
        azure = [*own, _DEPLOYMENT, _VERSION]
        for path, what, body, parameters in (
            (f"{prefix}/v1/chat/completions", "OpenAI's chat completions", _CHAT, own),
            (f"{prefix}/v1/embeddings", "OpenAI's embeddings", _EMBEDDINGS, own),
            (f"{prefix}/v1/messages", "Anthropic's messages", _ANTHROPIC, own),
            (f"{deployment}/chat/completions", "Azure's chat completions", _CHAT, azure),
            (f"{deployment}/embeddings", "Azure's embeddings", _EMBEDDINGS, azure),
        ):
            paths[path] = {"post": _operation(what, body, parameters)}
        paths[f"{prefix}/v1/models"] = {"get": _operation("The models", None, own)}
    for name, what in (
        ("health", "Whether the gateway runs"),
        ("status", "What it did so far, and what became of the records"),
        ("openapi.json", "This document"),
    ):
        paths[f"/gateway/{name}"] = {"get": _operation(what, None, [])}
    return {
        "openapi": "3.1.0",
        "info": {"title": "hetagent gateway", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "azure": {"type": "apiKey", "in": "header", "name": "api-key"},
                "anthropic": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            }
        },
        "security": [{}, {"bearer": []}, {"azure": []}, {"anthropic": []}],
    }


def _operation(what: str, body: Json | None, parameters: list[Json]) -> Json:
    error = _ANTHROPIC_ERROR if body is _ANTHROPIC else _OPENAI_ERROR
    answer: Json = {"description": "The answer.", "content": {"application/json": {}}}
    if body is not None:
        answer["content"]["text/event-stream"] = {}
    found: Json = {
        "summary": what,
        "parameters": [*parameters, *(_LABELS if body is not None else [])],
        "responses": {
            "200": answer,
            "default": {
                "description": "What went wrong, in the API's own form.",
                "content": {"application/json": {"schema": error}},
            },
        },
    }
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found
