"""An escalation for real: SmolLM2 here, Qwen 1.5B behind llama-cpp-python's own server.

Run by `nox -s e2e`. The server answers 500 to OpenAI's ``json_schema`` form; `LiteLLM` must find
out by itself which form it takes.
"""

from typing import Literal

import pytest
from pydantic import BaseModel, Field

from hetagent import LiteLLM, LlamaCpp, Orchestrator, Threshold, skill
from hetagent.models.fetch import resolve
from tests.support.model_server import llama_cpp_python

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MESSAGES = [
    "Table for four on Friday at 7pm, the name is Simmons.",
    "Do you have any vegan main courses?",
    "Please cancel my table for tonight.",
]


class Booking(BaseModel):
    date: str | None = Field(description="the day, in the guest's words; null if not said")
    people: int | None = Field(ge=1, le=40, description="how many guests; null if not said")
    name: str | None = Field(description="the name given; null if none")


@skill
def intent(message: str) -> Literal["book", "cancel", "question"]:
    """Decide what the guest wants."""


@skill(
    examples=[
        (
            "Lunch for nine on Monday, for Ines Roy",
            Booking(date="Monday", people=9, name="Ines Roy"),
        )
    ]
)
def booking(message: str) -> Booking:
    """Copy out the booking details that the message states."""


@pytest.fixture(scope="module")
def server():
    """Qwen 1.5B on loopback, as an OpenAI-compatible endpoint."""
    with llama_cpp_python(resolve("qwen2.5-coder-1.5b-instruct")) as url:
        yield url


@pytest.fixture(scope="module")
def agent(server):
    llm = LiteLLM("openai/qwen2.5-coder-1.5b", api_base=server, timeout=240, price=(0.1, 0.3))
    with LlamaCpp("smollm2-135m-instruct") as slm:
        yield Orchestrator(slm, llm=llm, policy=Threshold(0.9999), concurrency=1)


def test_choices_escalate_and_come_back_valid(agent):
    outcomes = agent.map(intent, MESSAGES)
    assert {outcome.served_by for outcome in outcomes} == {"llm"}
    assert {outcome.reason for outcome in outcomes} == {"low_confidence"}
    assert all(outcome.value in intent.output.labels for outcome in outcomes)
    assert all(outcome.draft is not None and outcome.draft.confidence < 1 for outcome in outcomes)
    assert all(0 < outcome.cost_usd < 0.01 for outcome in outcomes)
    assert outcomes[0].value == "book"
    assert outcomes[2].value == "cancel"


def test_record_escalates_whole(agent):
    outcome = agent.run(booking, MESSAGES[0])
    assert outcome.served_by == "llm"
    assert isinstance(outcome.value, Booking)
    assert outcome.value.people == 4
    assert [call.role for call in outcome.calls] == ["slm", "llm"]


def test_weak_fields_alone_are_asked_for(agent):
    thresholds = {"booking": {"date": 1.1, "people": 0.0, "name": 0.0}}
    fields = agent.with_options(policy=Threshold(0.0, skills=thresholds), escalate="fields")
    outcome = fields.run(booking, MESSAGES[0])
    assert outcome.served_by == "both"
    assert outcome.fields["date"].served_by == "llm"
    assert outcome.fields["people"].served_by == outcome.fields["name"].served_by == "slm"
    assert "Friday" in outcome.value.date


def test_the_server_gone_is_an_outcome_and_not_a_crash(agent):
    llm = LiteLLM("openai/nobody", api_base="http://127.0.0.1:9/v1", timeout=5, max_retries=0)
    outcome = Orchestrator(agent.slm, llm=llm, policy=2.0).run(intent, MESSAGES[0])
    assert outcome.served_by == "none"
    assert type(outcome.error).__name__ == "ConnectError"
