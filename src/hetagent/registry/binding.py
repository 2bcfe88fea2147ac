"""Bindings: a skill's model, adapter and certificate, as data that names files by their hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, Self

from hetagent.errors import RegistryError
from hetagent.fingerprint import digest
from hetagent.registry.artifacts import is_hash

__all__ = ["ArtifactKind", "Binding", "ModelKind", "ModelRef"]

FORMAT = 1

ModelKind = Literal["llamacpp", "classifier"]
ArtifactKind = Literal["adapter", "weights", "classifier"]

_ID_DIGITS = 16
_ARTIFACTS: Mapping[str, tuple[str | None, ...]] = {
    "llamacpp": (None, "adapter", "weights"),
    "classifier": ("classifier",),
}


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model a binding runs, and what it was made of.

    Attributes:
        kind: ``"llamacpp"`` for GGUF weights, ``"classifier"`` for a trained classifier.
        base: The weights, as the user named them: a catalogue name or a path. A classifier names
            what its texts are embedded with.
        base_hash: SHA-256 of the base's file; empty where the binding's own artifact is all that
            is run.
        artifact: Hash of what was trained; ``None`` for the base as it is.
        artifact_kind: What that is: an ``"adapter"`` over the base, merged ``"weights"`` in its
            place, or a ``"classifier"``.
        options: Other arguments of the model, such as ``context``; JSON data.

    Raises:
        RegistryError: These do not go together, or a hash is none.
    """

    kind: ModelKind
    base: str
    base_hash: str
    artifact: str | None = None
    artifact_kind: ArtifactKind | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in _ARTIFACTS:
            raise _unfit(f"kind is {self.kind!r}", f"It is one of {', '.join(_ARTIFACTS)}.")
        allowed = _ARTIFACTS[self.kind]
        if self.artifact_kind not in allowed:
            kinds = " or ".join(str(one) for one in allowed)
            raise _unfit(f"artifact_kind is {self.artifact_kind!r}", f"Here it is {kinds}.")
        if (self.artifact is None) != (self.artifact_kind is None):
            raise _unfit("artifact and artifact_kind do not agree", "Give both or none.")
        _text(self.base, "base")
        alone = self.artifact_kind in ("weights", "classifier")
        if not (alone and self.base_hash == ""):
            _hash(self.base_hash, "base_hash")
        if self.artifact is not None:
            _hash(self.artifact, "artifact")
        object.__setattr__(self, "options", _json_object(self.options, "options"))

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "kind": self.kind,
            "base": self.base,
            "base_hash": self.base_hash,
            "artifact": self.artifact,
            "artifact_kind": self.artifact_kind,
            "options": dict(self.options),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """From JSON data.

        Raises:
            RegistryError: It is no model.
        """
        return cls(**_exactly(data, {one.name for one in fields(cls)}, "A binding's model"))


@dataclass(frozen=True)
class Binding:
    """A skill's model, adapter and certificate.

    Attributes:
        skill: Name of the skill.
        model: What runs.
        certificate: Hash of its certificate; ``None`` where nothing is promised.
        task: Hash of what maps recorded calls to the skill's rows; ``None`` for a skill that is
            declared in code.
        lineage: Where it came from: hashes of artifacts, or digests of what is kept elsewhere, by
            names such as ``"records"``, ``"dataset"`` and ``"evaluation"``, in that order.
        facts: Figures for people, such as its coverage; JSON data.
        made: When, in UTC, ISO 8601.

    Raises:
        RegistryError: A part is not what it must be.
    """

    skill: str
    model: ModelRef
    certificate: str | None = None
    task: str | None = None
    lineage: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        _text(self.skill, "skill")
        for name in ("certificate", "task"):
            if (value := getattr(self, name)) is not None:
                _hash(value, name)
        for part in ("lineage", "facts"):
            object.__setattr__(self, part, _json_object(getattr(self, part), part))
        for name, value in self.lineage.items():
            _text(value, f"lineage[{name!r}]")
        _time(self.made)

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits that name it; when it was made has no part in them."""
        known = self.to_dict()
        del known["made"]
        return digest(known)[:_ID_DIGITS]

    @property
    def artifacts(self) -> dict[str, str]:
        """Hashes of the artifacts it cannot do without, by what each is."""
        found = {"certificate": self.certificate, "task": self.task}
        if self.model.artifact_kind is not None:
            found[self.model.artifact_kind] = self.model.artifact
        return {name: sha256 for name, sha256 in found.items() if sha256 is not None}

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "format": FORMAT,
            "skill": self.skill,
            "model": self.model.to_dict(),
            "certificate": self.certificate,
            "task": self.task,
            "lineage": dict(self.lineage),
            "facts": dict(self.facts),
            "made": self.made,
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """From JSON data.

        Raises:
            RegistryError: It is no binding, or one of another format.
        """
        known = _exactly(data, {"format", *(one.name for one in fields(cls))}, "A binding")
        known["model"] = ModelRef.from_dict(known["model"])
        del known["format"]
        return cls(**known)


def _exactly(data: Any, names: set[str], what: str) -> dict[str, Any]:
    """A dict of just these names."""
    if isinstance(data, Mapping) and "format" in names and data.get("format") != FORMAT:
        raise RegistryError(
            f"{what} is of format {data.get('format')!r}, and this version reads {FORMAT}.",
            hint="Update hetagent, or make the binding again with this version.",
        )
    if not isinstance(data, Mapping) or set(data) != names:
        raise RegistryError(
            f"{what} has the parts {', '.join(sorted(names))}, and these are others.",
            hint="Make the binding again with this version.",
        )
    return dict(data)


def _text(value: Any, name: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise _unfit(f"{name} is {value!r}", "Give a text that is not empty.")


def _hash(value: Any, name: str) -> None:
    if not isinstance(value, str) or not is_hash(value):
        raise _unfit(f"{name} is {value!r}", "Give a SHA-256 in 64 lower-case hexadecimal digits.")


def _time(value: Any) -> None:
    try:
        if datetime.fromisoformat(value).utcoffset() is not None:
            return
    except (TypeError, ValueError):
        pass
    raise _unfit(f"made is {value!r}", "Give a time in ISO 8601 with its zone.")


def _json_object(value: Any, name: str) -> dict[str, Any]:
    """A copy of JSON data, as it comes back from a file."""
    try:
        copy = json.loads(
            json.dumps(value if not isinstance(value, Mapping) else dict(value), allow_nan=False)
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise _unfit(f"{name} is not JSON data ({error})", "Give numbers, texts, lists.") from error
    if not isinstance(copy, dict):
        raise _unfit(f"{name} is {value!r}", "Give a mapping of names to values.")
    return copy


def _unfit(what: str, hint: str) -> RegistryError:
    return RegistryError(f"In a binding, {what}.", hint=hint)
