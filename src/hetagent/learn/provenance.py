"""May what a model answered train another one? By the user's word, else by its licence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal, get_args

from hetagent.errors import InputError
from hetagent.learn.record import Trainable
from hetagent.models.catalog import load_catalog

__all__ = ["Provenance", "strictest"]

_BY_LICENCE: Mapping[Literal["yes", "no", "unknown"], Trainable] = {
    "yes": "trainable",
    "no": "no-train",
    "unknown": "unknown",
}
_STRICTNESS: tuple[Trainable, ...] = ("no-train", "unknown", "trainable")


class Provenance:
    """Knows whether answers of a model may train another one.

    A model that neither the rules nor the catalogue of models know is ``"unknown"``: terms of
    hosted models change, and differ between customers, so that none are assumed here.

    Args:
        rules: What the user says, by pattern of model names, such as
            ``{"openai/*": "no-train", "*llama-3*": "trainable"}``; the first that fits holds.
            ``*`` and ``?`` stand for what they do in file names; case does not matter.

    Raises:
        InputError: A rule says something else than these words.
    """

    def __init__(self, rules: Mapping[str, Trainable] | None = None) -> None:
        self._rules = {pattern.lower(): said for pattern, said in (rules or {}).items()}
        for pattern, said in self._rules.items():
            if said not in get_args(Trainable):
                raise InputError(
                    f"trainable[{pattern!r}] is {said!r}.",
                    hint="Say 'trainable', 'no-train' or 'unknown'.",
                )

    def of(self, *names: str | None) -> Trainable:
        """What holds for a model.

        Args:
            names: What it is called: by the caller, by the server.
        """
        known = [name.lower() for name in names if name]
        for pattern, said in self._rules.items():
            if any(fnmatchcase(name, pattern) for name in known):
                return said
        licences = _licences()
        for name in known:
            for alias in _aliases(name):
                if alias in licences:
                    return licences[alias]
        return "unknown"


def strictest(*said: Trainable) -> Trainable:
    """What holds for an answer that several models had a part in."""
    return next((one for one in _STRICTNESS if one in said), "unknown")


@cache
def _licences() -> Mapping[str, Trainable]:
    """By every name that a model of the catalogue goes by."""
    found: dict[str, Trainable] = {}
    for model in load_catalog().values():
        names = [model.name, model.original, model.original.rpartition("/")[2]]
        names += [one.file for one in model.quantisations]
        names += [one.hub.repo for one in model.quantisations if one.hub]
        found |= {name.lower(): _BY_LICENCE[model.outputs_train] for name in names}
    return found


def _aliases(name: str) -> Iterator[str]:
    """A name without its provider, path, quantisation or ending, the whole name first."""
    while True:
        yield name
        yield name.partition("@")[0].partition(":")[0]
        _, slash, rest = name.partition("/")
        if not slash:
            return
        name = rest
