"""What a function must be to become a skill: typed inputs, and a body that does nothing."""

from __future__ import annotations

import dis
import inspect
import types
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from hetagent.errors import SkillError

__all__ = ["hints_of", "inputs_of", "refuse_body"]


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function, resolved.

    Raises:
        SkillError: One of them is not defined.
    """
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise SkillError(
            f"An annotation of {function.__name__} is not defined: {error}.",
            hint="Define the type at module level, before the skill.",
        ) from error


def inputs_of(
    function: Callable[..., Any],
) -> tuple[inspect.Signature, dict[str, TypeAdapter[Any]]]:
    """The signature of a function, and what validates each of its inputs.

    Raises:
        SkillError: There are none, or one has no type or an unusable one.
    """
    signature = inspect.signature(function)
    hints = hints_of(function)
    inputs: dict[str, TypeAdapter[Any]] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise SkillError(
                f"{function.__name__} takes {parameter}.", hint="Name each input instead."
            )
        if name not in hints:
            raise SkillError(
                f"Input {name!r} of {function.__name__} has no type.",
                hint="Annotate it; a method cannot be a skill.",
            )
        try:
            inputs[name] = TypeAdapter(hints[name])
        except PydanticUserError as error:
            raise SkillError(
                f"Input {name!r} of {function.__name__} has a type that cannot be rendered: "
                f"{str(error).splitlines()[0]}",
                hint="Use str, numbers, bool, enums, dates, models, dataclasses, lists or dicts.",
            ) from error
    if not inputs:
        raise SkillError(
            f"{function.__name__} has no inputs.", hint="Give it at least one parameter."
        )
    return signature, inputs


_IDLE = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "POP_TOP", "CACHE"}


def refuse_body(function: Callable[..., Any]) -> None:
    """Make sure that a function does nothing.

    Raises:
        SkillError: It has a body, is async, or is no function.
    """
    if not isinstance(function, types.FunctionType):
        raise SkillError(
            f"@skill was put on {function!r}, which is not a function.",
            hint="Decorate a function defined with `def`.",
        )
    code = function.__code__
    flags = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
    idle = all(step.opname in _IDLE for step in dis.get_instructions(code))
    constants = ("LOAD_CONST", "RETURN_CONST")
    returned = [s.argval for s in dis.get_instructions(code) if s.opname in constants]
    if code.co_flags & flags or not idle or any(value is not None for value in returned):
        raise SkillError(
            f"{function.__name__} has a body that does something, or is async.",
            hint="A skill's body is only a docstring or `...`: the model is the body. Declare it "
            "with a plain `def`, and call it with agent.arun(...) from async code.",
        )
