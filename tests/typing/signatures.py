"""What a type checker sees of skills; checked by mypy, and run as it stands."""

import asyncio
from typing import Any, Literal, assert_type

from pydantic import BaseModel

from hetagent import (
    Answer,
    Breaker,
    Budget,
    FieldOutcome,
    Model,
    Orchestrator,
    Outcome,
    Scope,
    Scripted,
    Skill,
    Spent,
    ToolCall,
    Window,
    skill,
    tools,
)


class Booking(BaseModel):
    people: int


@skill
def intent(message: str, language: str = "en") -> Literal["book", "cancel"]:
    """Decide what the guest wants."""


@skill(max_tokens=9, examples=[("for two", {"people": 2})])
def booking(message: str) -> Booking:
    """Read the booking."""


@skill(output=Booking, instructions="Read the booking.")
def later(message: str) -> object: ...


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@skill(output=tools(add), instructions="Choose.")
def act(message: str) -> object: ...


def declarations() -> None:
    assert_type(intent.name, str)
    typed: Skill[[str], Booking] = booking
    assert_type(typed, Skill[[str], Booking])
    assert_type(intent.using(Scripted(Answer("book"))).name, str)


def plain_calls() -> None:
    with Orchestrator(slm=Scripted(Answer("book"))):
        assert_type(intent("x"), Literal["book", "cancel"])
        assert_type(intent("x", language="de"), Literal["book", "cancel"])
    with Orchestrator(slm=Scripted(Answer({"people": 2}))):
        assert_type(booking("x"), Booking)
        assert_type(later("x"), Booking)
    with Orchestrator(slm=Scripted(Answer({"tool": "none"}))):
        assert_type(act("x"), ToolCall[int] | None)


def runs() -> None:
    agent = Orchestrator(slm=Scripted(Answer("book")))
    outcome = agent.run(intent, "x", language="de")
    assert_type(outcome, Outcome[Literal["book", "cancel"]])
    assert_type(outcome.value, Literal["book", "cancel"] | None)
    assert_type(agent.map(intent, [("x", "en")]), list[Outcome[Literal["book", "cancel"]]])
    with agent.stream(intent, "x") as stream:
        for path, field in stream:
            assert_type(path, str)
            assert_type(field, FieldOutcome)
    assert_type(stream.outcome, Outcome[Literal["book", "cancel"]])
    easy = agent.with_options(policy=0.1)
    assert_type(easy, Orchestrator)
    with agent as entered:
        assert_type(entered, Orchestrator)
    large = Scripted(Answer("cancel"))
    ladder = Orchestrator(llm=[large, large], budget=Budget(windows=(Window(seconds=1, usd=1.0),)))
    assert_type(ladder.llms, tuple[Model, ...])
    assert_type(ladder.llm, Model | None)
    assert_type(ladder.spent, Spent)
    assert_type(ladder.run(intent, "x").rung, int | None)
    with ladder.spending(usd=1.0, seconds=5, at_cap="degrade") as scope:
        assert_type(scope, Scope)
        assert_type(scope.usd, float)
    ladder.with_options(budget=None, breaker=Breaker(failures=3))


async def runs_async() -> None:
    agent = Orchestrator(slm=Scripted(Answer({"people": 2})))
    assert_type(await agent.arun(booking, "x"), Outcome[Booking])
    assert_type(await agent.amap(booking, ["x"]), list[Outcome[Booking]])
    async with agent.astream(booking, "x") as stream:
        assert_type([path async for path, _ in stream], list[str])
    assert_type(stream.outcome, Outcome[Booking])


def workflows() -> None:
    agent = Orchestrator(llm=Scripted(Answer("book")))

    @agent.workflow(max_error=0.1)
    def letters(message: str) -> int:
        return len(intent(message))

    assert_type(letters("x"), int)
    assert_type(letters.run("x").outcomes, tuple[Outcome[Any], ...])


def mistakes() -> None:
    """Each ignore below is an error that mypy must find: it warns of those that are not."""
    agent = Orchestrator(slm=Scripted(Answer("book")))
    agent.run(intent)  # type: ignore[call-arg]
    agent.run(intent, 5)  # type: ignore[arg-type]
    agent.stream(intent)  # type: ignore[call-arg]
    agent.astream(intent, 5)  # type: ignore[arg-type]
    agent.run(intent, "x", temperature=1)  # type: ignore[call-arg]
    intent("x", "en", "more")  # type: ignore[call-arg]
    booking.using("a name")  # type: ignore[arg-type]
    Orchestrator(llm=["a name"])  # type: ignore[list-item]
    Budget(at_cap="stop")  # type: ignore[arg-type]


if __name__ == "__main__":
    declarations()
    plain_calls()
    runs()
    workflows()
    asyncio.run(runs_async())
