r"""What is replaced, as a file says it: the options of a `Redactor`, in TOML.

    keep = ["Brightharbor Ltd"]
    [patterns]
    staff_number = '\bE-\d{6}\b'

What a file leaves out is as `Redactor` has it by default. None can switch redaction off.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hetagent.errors import InputError
from hetagent.learn.redact.found import DEFAULT_KINDS, KINDS

if TYPE_CHECKING:
    from hetagent.learn.redact.redactor import Redactor

__all__ = ["Redaction"]

_TYPES: Mapping[str, tuple[type, str]] = {
    "kinds": (list, "a list of kinds"),
    "names": (bool, "true or false"),
    "presidio": (bool, "true or false"),
    "patterns": (dict, "a table of regular expressions"),
    "keep": (list, "a list of texts"),
    "model": (str, "the name of a local model"),
}


@dataclass(frozen=True, slots=True)
class Redaction:
    """Options of a `hetagent.learn.redact.redactor.Redactor`, which has them at length.

    Attributes:
        kinds: What is replaced.
        names: Whether spaCy's model looks for names; ``None``: where it is installed.
        presidio: Whether Presidio's recognisers are asked.
        patterns: Regular expressions of the user's, by the name of their kind.
        keep: Texts that are never replaced.
        model: A local model that looks for what patterns miss, by its name.
    """

    kinds: frozenset[str] = DEFAULT_KINDS
    names: bool | None = None
    presidio: bool = True
    patterns: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    model: str | None = None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a file.

        Raises:
            InputError: It cannot be read, has what is not known, or leaves nothing to replace.
        """
        try:
            said = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(
                f"The redaction file {path} cannot be read: {error}.",
                hint="Give a file in TOML, such as: keep = ['Brightharbor Ltd']",
            ) from error
        given = {name: _checked(path, name, value) for name, value in said.items()}
        if "kinds" in given:
            given["kinds"] = frozenset(given["kinds"])
        return cls(**given | {"keep": tuple(given.get("keep", ()))})

    @property
    def left(self) -> tuple[str, ...]:
        """Kinds that are replaced by default, and are not by this."""
        return tuple(kind for kind in KINDS if kind in DEFAULT_KINDS - self.kinds)

    def with_(self, *, keep: Iterable[str] = (), patterns: Mapping[str, str] | None = None) -> Self:
        """The same with more texts to keep and more patterns."""
        return replace(
            self, keep=(*self.keep, *keep), patterns={**self.patterns, **(patterns or {})}
        )

    @contextmanager
    def redactor(self, key: bytes | None = None) -> Iterator[Redactor]:
        """What replaces; its model, if there is one, is let go of at the end.

        Args:
            key: What surrogates are drawn with; see `hetagent.learn.store.Store.surrogate_key`.

        Raises:
            InputError: A kind is not known, or a pattern is not one.
            MissingExtraError: What was asked for is not installed.
            ModelError: There is no such model.
        """
        from hetagent.learn.redact.redactor import Redactor

        options: dict[str, Any] = {
            "key": key, "kinds": self.kinds, "names": self.names, "presidio": self.presidio,
            "patterns": self.patterns, "keep": self.keep,
        }  # fmt: skip
        if self.model is None:
            yield Redactor(**options)
            return
        from hetagent.models.llamacpp import LlamaCpp

        with LlamaCpp(self.model).load() as model:
            yield Redactor(**options, model=model)


def _checked(path: str | Path, name: str, value: Any) -> Any:
    if name not in _TYPES:
        raise InputError(
            f"The redaction file {path} has {name!r}, which is not known.",
            hint=f"It may have {', '.join(_TYPES)}.",
        )
    wanted, words = _TYPES[name]
    texts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not isinstance(value, wanted) or not all(isinstance(one, str) for one in texts):
        raise InputError(f"In the redaction file {path}, {name} is not {words}.")
    if name == "kinds" and not value:
        raise InputError(
            f"The redaction file {path} has no kinds: everything would be kept as it is.",
            hint="Leave `kinds` out to have all of them replaced.",
        )
    return value
