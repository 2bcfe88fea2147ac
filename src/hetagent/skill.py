"""Skills: typed functions whose body is a model.

    @skill
    def intent(message: str) -> Literal["book", "cancel", "hours", "other"]:
        \"\"\"Decide what the guest wants.\"\"\"

The docstring is the instruction, the parameters are the inputs, the return type is the constraint
of the answer. The function's own body does nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from hetagent import constraint
from hetagent.declaration import hints_of, inputs_of, refuse_body
from hetagent.errors import InputError, NoAnswerError, OutputError, SkillError
from hetagent.models.base import Message, Model, Request, as_model
from hetagent.offered import any_call, call_of, describe_calls, offered_input, told
from hetagent.prompt import check_text, describe_output, render_inputs
from hetagent.schema import OutputType, describe_validation

if TYPE_CHECKING:
    from hetagent.outcome import Outcome

__all__ = ["DEFAULT_MAX_TOKENS", "Skill", "skill"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

DEFAULT_MAX_TOKENS = 512


class Runner(Protocol):
    """What runs a skill that is called plainly: the orchestrator of the enclosing ``with``."""

    def run(self, skill: Skill[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        """Run a skill once."""


current_runner: ContextVar[Runner | None] = ContextVar("hetagent_runner", default=None)


class Skill(Generic[P, R]):
    """A typed function run by a model; made by the `skill` decorator.

    Attributes:
        name: The function's name.
        instructions: What the model is told to do.
        output: The type of its answers.
        model: The model bound to it, or ``None`` for the orchestrator's SLM.
        max_tokens: Upper bound of an answer's length, in tokens.
        messages: The fixed part of its prompt: system message and examples.
        describes_output: Whether the prompt says what answers look like.
    """

    def __init__(
        self,
        function: Callable[P, Any],
        *,
        output: OutputType[R],
        instructions: str,
        examples: Iterable[tuple[Any, Any]] = (),
        model: Model | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        describes_output: bool = True,
    ) -> None:
        if max_tokens < 1:
            raise SkillError(f"max_tokens is {max_tokens}.", hint="Give at least 1.")
        functools.update_wrapper(self, function)
        self.name: str = function.__name__
        self.instructions = instructions
        self.output = output
        self.model: Model | None = as_model(model, "model")
        self.max_tokens = max_tokens
        self._function = function
        self._signature, self._inputs = inputs_of(function)
        self._offered = offered_input(hints_of(function), where=self.name)
        self._examples = tuple(examples)
        self.describes_output = describes_output
        describe = describe_output if self._offered is None else describe_calls
        system = f"{instructions}\n\n{describe(output)}" if describes_output else instructions
        try:
            check_text(system)
        except InputError as error:
            raise SkillError(
                f"The instructions or output type of {self.name} hold what no model can be given: "
                f"{error.message}",
                hint="Remove it.",
            ) from error
        self.messages = (Message("system", system), *self._example_turns())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the skill with the orchestrator of the enclosing ``with`` and return its value.

        Raises:
            SkillError: There is no enclosing ``with agent:`` in this thread or task.
            NoAnswerError: No model gave an acceptable answer.
        """
        runner = current_runner.get()
        if runner is None:
            raise SkillError(
                f"{self.name}(…) was called outside of an orchestrator.",
                hint="Write `with agent:` around the call, or agent.run(...) for the outcome; "
                "a new thread needs its own `with`.",
            )
        return plain_value(runner.run(self, *args, **kwargs))

    def __repr__(self) -> str:
        return f"<Skill {self.name}{self._signature}>"

    @property
    def schema(self) -> dict[str, Any]:
        """Closed JSON Schema 2020-12 of the output."""
        return self.output.schema

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(self._inputs)

    @property
    def takes_text(self) -> bool:
        """Whether its only input is a text."""
        (first, *others) = self._inputs.values()
        return not others and first.core_schema["type"] == "str"

    def using(self, model: Model) -> Skill[P, R]:
        """The same skill on another model.

        Raises:
            SkillError: It is not a model.
        """
        return Skill(
            self._function,
            output=self.output,
            instructions=self.instructions,
            examples=self._examples,
            model=model,
            max_tokens=self.max_tokens,
            describes_output=self.describes_output,
        )

    def request(self, *args: P.args, **kwargs: P.kwargs) -> Request:
        """The request a model is given for these inputs.

        Raises:
            SkillError: The arguments do not fit the signature.
            InputError: An input is not of its declared type, is empty, or holds characters that no
                model can be given.
        """
        user = Message("user", self.request_text(*args, **kwargs))
        return Request((*self.messages, user), self.output_for(*args, **kwargs), self.max_tokens)

    def output_for(self, *args: P.args, **kwargs: P.kwargs) -> OutputType[R]:
        """The type of the answer to these inputs.

        It is `output`, but for a skill whose tools come with the call: then it is the choice among
        these tools.

        Raises:
            InputError: A tool cannot be offered.
        """
        if self._offered is None:
            return self.output
        return call_of(self.output, self._bound(args, kwargs)[self._offered])

    def bind_row(self, row: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Spread one row of a batch over the parameters.

        Args:
            row: The value itself for a skill of one parameter; otherwise a mapping by name or a
                tuple in order.

        Raises:
            InputError: The row has another shape.
        """
        if len(self._inputs) == 1:
            (name, adapter), *_ = self._inputs.items()
            named = isinstance(row, Mapping) and set(row) == {name}
            # A dict may also be the input itself.
            return ((row[name],), {}) if named and not _fits(adapter, row) else ((row,), {})
        if isinstance(row, Mapping) and all(isinstance(name, str) for name in row):
            return (), dict(row)
        if isinstance(row, tuple | list):
            return tuple(row), {}
        raise InputError(
            f"{self.name} takes {len(self._inputs)} inputs ({', '.join(self._inputs)}), "
            f"but a row is one {type(row).__name__}.",
            hint="Give each row as a dict by name, or as a tuple in order.",
        )

    def input_json(self, name: str, value: Any) -> Any:
        """An input as JSON data.

        Raises:
            InputError: It is not of its declared type, or cannot be written as JSON.
        """
        adapter = self._inputs[name]
        try:
            return adapter.dump_python(adapter.validate_python(value), mode="json")
        except ValidationError as error:
            raise InputError(
                f"Input {name!r} of {self.name} is not valid: {describe_validation(error)}.",
                hint=f"It is declared as {self._signature.parameters[name]}.",
            ) from None
        except UnicodeError:
            raise InputError(
                f"Input {name!r} of {self.name} holds an invalid surrogate.",
                hint="Repair it: text.encode('utf-16', 'surrogatepass').decode('utf-16', "
                "'replace').",
            ) from None
        except PydanticSerializationError as error:
            raise InputError(
                f"Input {name!r} of {self.name} cannot be written as JSON: {error}.",
                hint="Use str, numbers, bool, enums, dates, models, dataclasses, lists or dicts.",
            ) from error

    def _example_turns(self) -> Iterable[Message]:
        for number, example in enumerate(self._examples, 1):
            try:
                row, answer = example
                args, kwargs = self.bind_row(row)
                question = self.request_text(*args, **kwargs)
                # A round trip, so that an example is exactly what the constraint would allow.
                output = self.output_for(*args, **kwargs)
                text = output.encode(output.adapter.validate_python(answer))
                output.parse(text)
            except (TypeError, ValueError, OutputError, InputError, SkillError) as error:
                raise SkillError(
                    f"Example {number} of {self.name} is not valid: {error}",
                    hint="Each example is a pair of inputs and output, e.g. ('two at eight', …); "
                    "several inputs are a dict or a tuple.",
                ) from error
            yield Message("user", question)
            yield Message("assistant", text)

    def request_text(self, *args: Any, **kwargs: Any) -> str:
        """The user's turn for these inputs."""
        bound = self._bound(args, kwargs)
        values = {name: self.input_json(name, value) for name, value in bound.items()}
        if self._offered is None:
            return render_inputs(values)
        tools = values.pop(self._offered)
        return f"{told(tools)}\n\n{render_inputs(values)}"

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The inputs by name.

        Raises:
            SkillError: They do not fit the signature.
        """
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise SkillError(
                f"{self.name}{self._signature}: {error}.",
                hint="Pass the declared inputs; options of a run go to agent.with_options(...).",
            ) from None
        bound.apply_defaults()
        return bound.arguments


def plain_value(outcome: Outcome[R]) -> R:
    """The value of an outcome.

    Raises:
        NoAnswerError: There is none.
    """
    if outcome.served_by == "none":
        because = f": {outcome.error}" if outcome.error else ""
        raise NoAnswerError(
            f"No model gave an acceptable answer ({outcome.reason}){because or '.'}",
            outcome=outcome,
            hint="See .outcome.draft for the SLM's answer; lower the threshold or configure an "
            "LLM with Orchestrator(llm=...).",
        )
    return outcome.value  # type: ignore[return-value]


@overload
def skill(function: Callable[P, R], /) -> Skill[P, R]: ...
@overload
def skill(
    *,
    output: type[T] | OutputType[T],
    instructions: str | None = None,
    examples: Iterable[tuple[Any, Any]] = (),
    model: Model | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    describes_output: bool = True,
) -> Callable[[Callable[P, Any]], Skill[P, T]]: ...
@overload
def skill(
    *,
    instructions: str | None = None,
    examples: Iterable[tuple[Any, Any]] = (),
    model: Model | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    describes_output: bool = True,
) -> Callable[[Callable[P, R]], Skill[P, R]]: ...
def skill(
    function: Callable[..., Any] | None = None,
    /,
    *,
    output: Any = None,
    instructions: str | None = None,
    examples: Iterable[tuple[Any, Any]] = (),
    model: Model | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    describes_output: bool = True,
) -> Any:
    """Declare a skill.

    Args:
        function: A function whose body is only a docstring or ``...``.
        output: The output type, where it is known only at run time; otherwise the annotation.
        instructions: What the model is told; otherwise the docstring.
        examples: Pairs of inputs and output that are shown to the model.
        model: A model for this skill alone; otherwise the orchestrator's SLM.
        max_tokens: Upper bound of an answer's length, in tokens.
        describes_output: Whether the prompt says what answers look like: labels, or fields and
            their types. A model that was tuned for the skill knows, and reads a shorter prompt;
            what it may answer is constrained either way.

    Returns:
        The skill, or a decorator that makes it.

    Raises:
        SkillError: The function has a body, lacks annotations or instructions, or an example is
            not valid.
        UnsupportedTypeError: The output type cannot be constrained.
    """

    def declare(target: Callable[..., Any]) -> Skill[Any, Any]:
        refuse_body(target)
        text = instructions if instructions is not None else inspect.getdoc(target)
        if not text or not text.strip():
            raise SkillError(
                f"{target.__name__} has no instructions.",
                hint="Write a docstring that tells the model what to do.",
            )
        annotation = hints_of(target).get("return", inspect.Parameter.empty)
        if output is None and annotation is inspect.Parameter.empty:
            raise SkillError(
                f"{target.__name__} has no return type.",
                hint="Annotate it, or pass @skill(output=...).",
            )
        kind = _output_of(target, annotation if output is None else output)
        return Skill(
            target,
            output=kind,
            instructions=inspect.cleandoc(text),
            examples=examples,
            model=model,
            max_tokens=max_tokens,
            describes_output=describes_output,
        )

    return declare if function is None else declare(function)


def _output_of(target: Callable[..., Any], annotation: Any) -> OutputType[Any]:
    if offered_input(hints_of(target), where=target.__name__) is not None:
        return any_call(annotation, where=target.__name__)
    where = f"the output type of {target.__name__}"
    kind: OutputType[Any] = OutputType.of(annotation, where=where)
    constraint.check(kind, where=where)
    return kind


def _fits(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True
