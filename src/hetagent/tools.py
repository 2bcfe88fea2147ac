"""Skills that choose a tool: a call to one of several typed functions, or to none."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Annotated, Any, Generic, Literal, TypeVar, cast, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    create_model,
)

from hetagent.errors import SkillError
from hetagent.schema import OutputType

__all__ = ["ToolCall", "arguments_of", "summary_of", "tools"]

R = TypeVar("R")

_NONE = "none"


@dataclass(frozen=True, slots=True)
class ToolCall(Generic[R]):
    """A tool that was chosen, with its arguments.

    Attributes:
        name: The tool's name, which is the function's where there is one.
        arguments: Validated values by parameter name.
        function: The function itself; nothing is run until the call is called. ``None`` of a tool
            that is only described.
    """

    name: str
    arguments: Mapping[str, Any]
    function: Callable[..., R] | None = field(default=None, compare=False)

    def __call__(self) -> R:
        """Run the function with the arguments.

        Raises:
            SkillError: The tool is only described, and has no function.
        """
        if self.function is None:
            raise SkillError(
                f"The tool {self.name} was offered by its description, and has no function.",
                hint="Run it yourself with .arguments, or offer a Python function.",
            )
        return self.function(**self.arguments)


def tools(*functions: Callable[..., R]) -> OutputType[ToolCall[R] | None]:
    """The output type of a skill that chooses among functions, or chooses none.

    The model is told each function's docstring and parameters. In examples, a tool call is a
    `ToolCall` or ``{"tool": name, "arguments": {…}}``, and none is ``None``.

    Args:
        functions: Functions with annotated parameters.

    Raises:
        SkillError: A function cannot be offered: an unannotated parameter, a name twice.
        UnsupportedTypeError: A parameter's type cannot be constrained.
    """
    if not functions:
        raise SkillError("tools() was given no function.", hint="Give it at least one.")
    by_name: dict[str, Callable[..., R]] = {}
    for function in functions:
        if function.__name__ in by_name or function.__name__ == _NONE:
            raise SkillError(
                f"Two tools are named {function.__name__!r}.", hint="Rename one of them."
            )
        by_name[function.__name__] = function
    options: list[Any] = [_call_model(function) for function in functions]
    options.append(_no_call_model())

    def to_call(chosen: Any) -> ToolCall[R] | None:
        if chosen.tool == _NONE:
            return None
        arguments = {name: getattr(chosen.arguments, name) for name in chosen.names()}
        given = {chosen.names()[name]: value for name, value in arguments.items()}
        return ToolCall(chosen.tool, given, by_name[chosen.tool])

    annotation: Any = Annotated[
        reduce(or_, options),
        Field(discriminator="tool"),
        AfterValidator(to_call),
        BeforeValidator(lambda given: _to_json(given) if _is_call(given) else given),
        PlainSerializer(_to_json),
    ]
    return OutputType.of(annotation, where=f"the choice of {', '.join(by_name)} or none")


class _Chosen(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @classmethod
    def names(cls) -> dict[str, str]:
        """The function's parameter for each field of the arguments."""
        return {}


def arguments_of(
    function: Callable[..., Any], *, defaults: bool = False
) -> tuple[type[BaseModel], dict[str, str]]:
    """A model of a function's parameters, and the parameter for each of its fields.

    Args:
        function: It; parameters are annotated, and given by name.
        defaults: Whether parameters that have a default may be left out.

    Raises:
        SkillError: A parameter has no type, or cannot be given by name.
    """
    name = function.__name__
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise SkillError(
            f"An annotation of the tool {name} is not defined: {error}.",
            hint="Define the type at module level.",
        ) from error
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
            parameter.POSITIONAL_ONLY,
        ):
            raise SkillError(
                f"The tool {name} takes {parameter}.", hint="Give it named parameters only."
            )
        if parameter.name not in hints:
            raise SkillError(
                f"Parameter {parameter.name!r} of the tool {name} has no type.",
                hint="Annotate it.",
            )
        # Fields are numbered, since a parameter may have a name pydantic keeps for itself.
        key = f"p{len(fields)}"
        names[key] = parameter.name
        fields[key] = (hints[parameter.name], _field(parameter, defaults=defaults))
    model = create_model(
        f"{_title(name)}Arguments", __config__=ConfigDict(extra="forbid"), **fields
    )
    return model, names


def summary_of(function: Callable[..., Any]) -> str:
    """The first paragraph of a function's docstring."""
    return (inspect.getdoc(function) or "").split("\n\n")[0]


def _field(parameter: inspect.Parameter, *, defaults: bool) -> Any:
    given = parameter.default
    if not defaults or given is parameter.empty:
        return Field(alias=parameter.name)
    if isinstance(given, bool | int | float | str):
        return Field(alias=parameter.name, default=given)
    # What JSON has no word for cannot be told.
    return Field(alias=parameter.name, default_factory=lambda: given)


def _call_model(function: Callable[..., Any]) -> type[_Chosen]:
    name = function.__name__
    arguments, names = arguments_of(function)
    summary = summary_of(function)
    chosen = create_model(
        _title(name),
        __base__=_Chosen,
        __doc__=summary or None,
        tool=cast(Any, (Literal[name], Field(description=summary or None))),
        arguments=(arguments, ...),
    )
    chosen.names = classmethod(lambda _: names)  # type: ignore[method-assign, assignment]
    return chosen


def _no_call_model() -> type[_Chosen]:
    return create_model(
        "NoTool",
        __base__=_Chosen,
        tool=cast(Any, (Literal[_NONE], Field(description="where no tool fits"))),
    )


def _title(name: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"_+", name) if part)


def _is_call(given: Any) -> bool:
    return given is None or isinstance(given, ToolCall)


def _to_json(call: ToolCall[Any] | None) -> dict[str, Any]:
    if call is None:
        return {"tool": _NONE}
    return {"tool": call.name, "arguments": dict(call.arguments)}
