"""What a skill's answers depend on, as hashes: two equal fingerprints, the same answers."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from hetagent.models.base import IdentifiedModel, Model
from hetagent.skill import Skill

__all__ = [
    "digest",
    "fingerprint",
    "function_digest",
    "is_of_ladder",
    "ladder_fingerprint",
    "models_digest",
]

_LLM = "llm "


def fingerprint(skill: Skill[Any, Any], model: Model) -> dict[str, str]:
    """Everything that a skill's confidences on a model depend on, by part.

    Returns:
        Of the model what `IdentifiedModel.identity` tells, or else its name; and hashes of the
        ``prompt``, the output's ``schema``; and hetagent's own version as ``library``.
    """
    from hetagent import __version__

    turns = [(message.role, message.content) for message in skill.messages]
    prompt = {"messages": turns, "inputs": skill.parameters, "max_tokens": skill.max_tokens}
    return {
        **_of_model(model),
        "prompt": digest(prompt),
        "schema": digest(skill.output.fingerprint),
        "library": f"hetagent {__version__}",
    }


def ladder_fingerprint(llms: Sequence[Model]) -> dict[str, str]:
    """What each LLM is, as ``"llm 0"`` and so on: its identity's hash where it tells one."""
    return {
        f"{_LLM}{rung}": digest(dict(model.identity()))
        if isinstance(model, IdentifiedModel)
        else model.name
        for rung, model in enumerate(llms)
    }


def is_of_ladder(part: str) -> bool:
    """Whether a part of a fingerprint is of an LLM."""
    return part.startswith(_LLM)


def digest(data: Any) -> str:
    """SHA-256 of JSON data, in hexadecimal."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def models_digest(models: Sequence[Model]) -> str:
    """Hash of what each of some models is.

    Raises:
        ModelError: A model cannot be read.
    """
    return digest([_of_model(model) for model in models])


def function_digest(function: Callable[..., Any]) -> str:
    """Hash of what a function does: of its source without comments, docstring and decorators.

    Where there is no source, of its compiled code; of an object that can be called, of that method,
    and of a `functools.partial`, of the function and its arguments. What it calls is not looked
    into.
    """
    if isinstance(function, functools.partial):
        given = repr((function.args, sorted(function.keywords.items())))
        # Where an object lies in memory is another thing in every process.
        return digest([function_digest(function.func), re.sub(r" at 0x[0-9a-fA-F]+", "", given)])
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        (top,) = tree.body
        if not isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef):
            raise TypeError(function)
        top.decorator_list = []
        if ast.get_docstring(top) is not None:
            top.body = top.body[1:] or [ast.Pass()]
        return digest(ast.unparse(top))
    except (OSError, SyntaxError, TypeError, ValueError):
        code = getattr(function, "__code__", None)
        if code is None:
            kind = type(function)
            call = inspect.getattr_static(kind, "__call__", None)
            if inspect.isfunction(call):
                return function_digest(call)
            return digest(f"{kind.__module__}.{kind.__qualname__}")
        return digest([code.co_code.hex(), repr(code.co_names), _constants(code)])


def _of_model(model: Model) -> dict[str, str]:
    if isinstance(model, IdentifiedModel):
        return dict(model.identity())
    return {"model": model.name}


def _constants(code: Any) -> list[Any]:
    """What a compiled function holds, functions within it included."""
    return [
        [one.co_code.hex(), _constants(one)] if inspect.iscode(one) else repr(one)
        for one in code.co_consts
    ]
