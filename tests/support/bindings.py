"""Bindings of made-up files, for tests of the registry and of what reads it."""

from __future__ import annotations

import hashlib
from typing import Any

from hetagent.registry import Binding, ModelRef, Registry

__all__ = ["BASE_HASH", "added", "binding"]

BASE_HASH = hashlib.sha256(b"weights").hexdigest()


def binding(registry: Registry, skill: str = "intent", *, name: str = "a", **parts: Any) -> Binding:
    """One with an adapter, which the registry has then; with a certificate unless told."""
    adapter = registry.put(f"adapter {name}".encode())
    model = ModelRef("llamacpp", "smollm2-135m-instruct", BASE_HASH, adapter, "adapter")
    given = {"certificate": registry.put(b"certificate"), "made": "2026-01-01T00:00:00+00:00"}
    return Binding(skill, **{"model": model, **given, **parts})


def added(registry: Registry, skill: str = "intent", *, name: str = "a", **parts: Any) -> str:
    """The id of one that was added."""
    return registry.add(binding(registry, skill, name=name, **parts))
