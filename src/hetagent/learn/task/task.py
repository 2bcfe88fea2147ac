"""A workload as a skill that runs, and what its calls are as the skill's rows, labels and answers.

task = Task.of(workloads, "sort-mail", records=records)
row = task.row(record)          # {"mail": "..."}; None where the LLM should have the call
agent.run(task.skill, **row)
task.answer(outcome.value)      # the message that the LLM would have written
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from hetagent.errors import HetagentError, InputError, OutputError
from hetagent.learn.chat import Said, chat
from hetagent.learn.cluster.read import as_record
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.curate.checks import answered
from hetagent.learn.curate.recipe import Recipe
from hetagent.learn.record import CallRecord, Form
from hetagent.learn.task.answers import Answers
from hetagent.learn.task.declared import DeclaredAnswers, DeclaredPrompts
from hetagent.learn.task.found import found_in
from hetagent.learn.task.prompts import Prompts, definitions
from hetagent.offered import Offered
from hetagent.schema import OutputType
from hetagent.skill import Skill

__all__ = ["NO_VALUE", "Task"]

FORMAT = 1
NO_VALUE = "no value of the type"
"""Why an answer is no label, though it is whole and of the LLM."""

_RECIPE = Recipe()


@dataclass(frozen=True)
class Task:
    """A workload that a skill can do.

    Make one with `Task.of`, or with `Task.declared` for a skill that is declared in code.

    Attributes:
        prompts: How its calls are read.
        answers: What it answers.
        name: The skill's.
        instructions: What the skill is told to do.
        max_tokens: Upper bound of the skill's answers, in tokens.
        describes_output: Whether the skill's prompt says what answers look like; a model that is
            tuned for it knows.
        own: The declared skill, where there is one.
    """

    prompts: Prompts | DeclaredPrompts
    answers: Answers | DeclaredAnswers
    name: str
    instructions: str
    max_tokens: int
    describes_output: bool = False
    own: Skill[..., Any] | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls,
        workloads: Workloads,
        name: str,
        *,
        records: Iterable[CallRecord] = (),
        whole: bool | None = None,
        describes_output: bool = False,
    ) -> Self:
        """A workload as a task.

        Inputs are the slots of its main template, as texts. Where there is no template with slots
        it is one input, ``request``, that holds the whole prompt; so it is, too, where most of the
        records have more in their prompts than the template shows, such as a conversation.

        Args:
            workloads: What was found.
            name: Which of them.
            records: Calls, of which those of the workload tell how long answers are and how they
                are written; read once.
            whole: Whether the input is the whole prompt; by default as the records have it.
            describes_output: Whether the skill's prompt says what answers look like.

        Raises:
            InputError: There is no such workload, or it cannot be a task without a person's
                help: the message says why.
            UnsupportedTypeError: What it answers cannot be constrained.
        """
        found = found_in(workloads, name, records=records, whole=whole)
        return cls(
            found.prompts,
            found.answers,
            found.name,
            found.instructions,
            found.max_tokens,
            describes_output,
        )

    @classmethod
    def declared(cls, skill: Skill[..., Any], *, workload: str | None = None) -> Self:
        """The calls of a skill that is declared in code.

        Args:
            skill: It.
            workload: The workload that its calls are recorded as; by default the skill's name.
        """
        return cls(
            DeclaredPrompts(skill, workload or skill.name),
            DeclaredAnswers(skill.output),
            skill.name,
            skill.instructions,
            skill.max_tokens,
            skill.describes_output,
            skill,
        )

    @property
    def workload(self) -> str:
        """Name of the workload."""
        return self.prompts.workload

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the skill's inputs."""
        return (*self.prompts.inputs, *([self._offered] if self._offered else []))

    @cached_property
    def skill(self) -> Skill[..., Any]:
        """The skill: its inputs are texts, and its values are JSON data.

        Where tools come with the call they are its last input, and its values are `ToolCall`.
        """
        if self.own is not None:
            return self.own
        return Skill(
            _function(self.name, self.prompts.inputs, self.instructions, offered=self._offered),
            output=self.output,
            instructions=self.instructions,
            max_tokens=self.max_tokens,
            describes_output=self.describes_output,
        )

    @property
    def output(self) -> OutputType[Any]:
        """The type of its answers."""
        return self.answers.output

    def row(
        self,
        call: CallRecord | Mapping[str, Any],
        *,
        form: Form = "openai.chat",
        workload: str | None = None,
    ) -> dict[str, Any] | None:
        """The skill's inputs in a call; ``None`` where the call is not the skill's.

        A call is the skill's only where the inputs tell all that its prompt says, and where it asks
        for nothing that the skill's answer has not, such as probabilities.

        Args:
            call: A record, or the body of a request.
            form: Of a request's body: the API it is for.
            workload: The call's, as `Workloads.assign` says; by default as the record says.
                Where neither does it is by its template alone, unless other workloads' prompts
                could fit that too.
        """
        found = self._read(call, form, workload)
        return None if isinstance(found, str) else found

    def row_fault(
        self,
        call: CallRecord | Mapping[str, Any],
        *,
        form: Form = "openai.chat",
        workload: str | None = None,
    ) -> str | None:
        """Why a call has no `row`, in a word or two; ``None`` where it has one."""
        found = self._read(call, form, workload)
        return found if isinstance(found, str) else None

    def label(self, record: CallRecord) -> Any:
        """What the LLM answered, as JSON data of the output type; ``None`` where it is no label.

        A label is a whole answer of an LLM that may train another model.
        """
        try:
            return None if self._answer_fault(record) else self._labelled(record)
        except OutputError:
            return None

    def label_fault(self, record: CallRecord) -> str | None:
        """Why a record has no `label`, in a word or two; ``None`` where it has one."""
        fault = self._answer_fault(record)
        if fault is not None:
            return fault
        try:
            self._labelled(record)
        except OutputError:
            return NO_VALUE
        return None

    def answer(self, value: Any) -> Said | None:
        """A value as the LLM would have said it.

        Labels and JSON have what stands around them in most records; tools are called, their
        arguments being a string of JSON.

        Args:
            value: Of the skill, as JSON data, or a tool's call.

        Returns:
            The message; ``None`` where only the LLM can say it: no tool fits.

        Raises:
            OutputError: It is no value of the output type.
        """
        return self.answers.write(value)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data; `from_dict` reads it. Of a declared skill it is the names alone."""
        if self.own is not None:
            return {"format": FORMAT, "declared": self.name, "workload": self.workload}
        assert isinstance(self.prompts, Prompts)
        assert isinstance(self.answers, Answers)
        return {
            "format": FORMAT,
            "name": self.name,
            "instructions": self.instructions,
            "max_tokens": self.max_tokens,
            "describes_output": self.describes_output,
            "prompts": self.prompts.to_dict(),
            "answers": self.answers.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, skill: Skill[..., Any] | None = None) -> Self:
        """What `to_dict` wrote.

        Args:
            data: It.
            skill: The declared skill, where it is the task of one.

        Raises:
            InputError: It is none, or the skill is missing or another one.
        """
        if data.get("format") != FORMAT:
            raise InputError(
                f"This is no task of format {FORMAT}: its format is {data.get('format')!r}.",
                hint="A newer task needs a newer hetagent.",
            )
        try:
            if "declared" in data:
                return cls._declared_again(str(data["declared"]), data["workload"], skill)
            return cls(
                Prompts.from_dict(data["prompts"]),
                Answers.from_dict(data["answers"]),
                data["name"],
                data["instructions"],
                data["max_tokens"],
                data["describes_output"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"This task is broken: {error!r}.", hint="Make it again.") from error

    @classmethod
    def _declared_again(cls, name: str, workload: str, skill: Skill[..., Any] | None) -> Self:
        if skill is None or skill.name != name:
            given = "none was given" if skill is None else f"{skill.name} was given"
            raise InputError(
                f"This is the task of the skill {name}, which is declared in code, and {given}.",
                hint="Import that skill, and pass it.",
            )
        return cls.declared(skill, workload=workload)

    def _read(
        self, call: CallRecord | Mapping[str, Any], form: Form, workload: str | None
    ) -> dict[str, Any] | str:
        record = call if isinstance(call, CallRecord) else as_record(call, form=form)
        found = self.prompts.read(record, workload or record.workload)
        if isinstance(found, str):
            return found
        try:
            self.skill.request(**found)
        except HetagentError:
            return "no input that a model can be given"
        return found

    def _answer_fault(self, record: CallRecord) -> str | None:
        if record.served_by != "llm":
            return "served by an SLM" if record.served_by in ("slm", "both") else "served by no LLM"
        if record.trainable == "no-train":
            return "trainable: no-train"
        return answered(record, chat(record), _RECIPE)

    def _labelled(self, record: CallRecord) -> Any:
        found = chat(record)
        assert found.answer is not None  # `answered` saw to it
        if isinstance(self.answers, DeclaredAnswers):
            return self.answers.read(found.answer)
        return self.answers.read(found.answer, definitions(found))

    @property
    def _offered(self) -> str | None:
        return self.prompts.offered if isinstance(self.prompts, Prompts) else None


def _function(name: str, inputs: tuple[str, ...], about: str, *, offered: str | None) -> Any:
    """A function of texts, and of tools where they are offered, that does nothing."""

    def declared(*args: Any, **kwargs: Any) -> None: ...

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    hints: dict[str, Any] = dict.fromkeys(inputs, str) | ({offered: Offered} if offered else {})
    parameters = [inspect.Parameter(one, kind, annotation=hint) for one, hint in hints.items()]
    declared.__name__ = declared.__qualname__ = name
    declared.__doc__ = about
    declared.__annotations__ = hints
    declared.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return declared
