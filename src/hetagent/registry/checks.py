"""Whether all that a registry holds is what it was, and where a binding came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hetagent.errors import RegistryError
from hetagent.registry.artifacts import Artifacts
from hetagent.registry.binding import Binding
from hetagent.registry.bindings import BindingFiles
from hetagent.registry.log import Event, Log

__all__ = ["LOG", "lineage", "problems"]

LOG = "log.jsonl"
"""Name of the log in a registry's folder."""

_LARGEST_CONTENT = 2**20


def problems(folder: Path) -> list[str]:
    """Read everything in a registry's folder anew, and hash it.

    Returns:
        What is wrong, in words, each once; nothing where all is well.
    """
    artifacts = Artifacts(folder)
    found = [*_damaged(artifacts), *_unusable(folder, artifacts)]
    return list(dict.fromkeys(found))


def lineage(binding: Binding, artifacts: Artifacts, events: tuple[Event, ...]) -> dict[str, Any]:
    """All that is known of where a binding came from and what became of it, as JSON data."""
    return {
        "binding": {"id": binding.id, **binding.to_dict()},
        "artifacts": {name: _fact(artifacts, one) for name, one in binding.artifacts.items()},
        "lineage": {name: _fact(artifacts, one) for name, one in binding.lineage.items()},
        "events": [event.to_dict() for event in events if event.binding == binding.id],
    }


def _damaged(artifacts: Artifacts) -> Iterator[str]:
    for sha256 in artifacts:
        try:
            artifacts.verify(sha256)
        except RegistryError as error:
            yield error.message


def _unusable(folder: Path, artifacts: Artifacts) -> Iterator[str]:
    """What bindings and the log name, and is not there."""
    files = BindingFiles(folder, artifacts)
    named: list[tuple[str, str]] = []
    for id_ in files:
        try:
            named.append((files.file_of(id_), id_))
        except RegistryError as error:
            yield error.message
    try:
        events = Log(folder / LOG).read().events
    except RegistryError as error:
        yield error.message
        events = ()
    named += [(event.artifact or "", event.binding) for event in events if event.binding]
    for file, id_ in named:
        try:
            files.check_artifacts(files.load(file, id=id_))
        except RegistryError as error:
            yield error.message


def _fact(artifacts: Artifacts, value: str) -> dict[str, Any]:
    """Of what a binding names: its hash, whether it is kept, and its content where that is JSON."""
    if not artifacts.has(value):
        return {"hash": value, "kept": False}
    size = artifacts.path(value).stat().st_size
    known = {"hash": value, "kept": True, "size_bytes": size}
    if size <= _LARGEST_CONTENT:
        try:
            content = json.loads(artifacts.read(value))
        except (ValueError, RecursionError):
            return known
        if isinstance(content, dict):
            return known | {"content": content}
    return known
