"""Servers of one's own as a skill's model: SmolLM2 behind both of llama.cpp's servers.

Both report probabilities from before the grammar, in different shapes, and write white space as
they like. Run by `nox -s e2e`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from hetagent import LiteLLM, Orchestrator, skill
from hetagent.errors import ProviderError
from tests.support.model_server import llama_cpp_python, llama_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ALTERNATIVES = 20
"""The most that llama-cpp-python's server gives."""
MESSAGES = ["I want to cancel my table.", "Table for two, please!", "When do you open on Sunday?"]


class Booking(BaseModel):
    date: str | None = Field(description="as the guest wrote it")
    people: int | None = Field(ge=1, le=40)


@skill(
    examples=[
        ("Lunch for four", "book"),
        ("We cannot make it, please cancel", "cancel"),
        ("Do you open at noon?", "hours"),
    ]
)
def intent(message: str) -> Literal["book", "cancel", "hours"]:
    """Decide what the guest wants."""


@skill(examples=[("Lunch for nine on Monday", Booking(date="Monday", people=9))])
def booking(message: str) -> Booking:
    """Extract the booking details the message states; null where it states none."""


@skill
def people(message: str) -> int:
    """Say for how many people the table is."""


@pytest.fixture(scope="module", params=["llama-server", "llama-cpp-python"])
def endpoint(request: pytest.FixtureRequest, smol_path: Path) -> Iterator[str]:
    if request.param == "llama-server":
        pytest.importorskip("xllamacpp", reason="it carries llama.cpp's own server")
        with llama_server(smol_path) as url:
            yield url
    else:
        with llama_cpp_python(smol_path, "--logits_all", "true") as url:
            yield url


def agent(endpoint: str, *, top_logprobs: int = ALTERNATIVES) -> Orchestrator:
    model = LiteLLM(
        "openai/smollm2",
        api_base=endpoint,
        top_logprobs=top_logprobs,
        price=(0, 0),
        timeout=120,
        backoff=0.01,
    )
    return Orchestrator(model, policy=0.0, concurrency=2)


def test_a_choice_is_served_with_its_confidence(endpoint: str) -> None:
    outcomes = agent(endpoint).map(intent, MESSAGES)
    assert [outcome.error for outcome in outcomes] == [None] * len(MESSAGES)
    assert all(outcome.served_by == "slm" for outcome in outcomes)
    assert all(outcome.value in intent.output.labels for outcome in outcomes)
    assert all(0 < outcome.confidence < 1 for outcome in outcomes)
    # Before the grammar, some of the probability is on what it does not allow.
    assert all(0 < outcome.outside < 1 for outcome in outcomes)


def test_each_field_of_a_record_has_a_confidence(endpoint: str) -> None:
    outcome = agent(endpoint).run(booking, "Table for four on Friday.")
    assert isinstance(outcome.value, Booking)
    assert set(outcome.fields) == {"date", "people"}
    confidences = [field.confidence for field in outcome.fields.values()]
    assert all(0 < confidence < 1 for confidence in confidences)
    assert outcome.confidence <= min(confidences) + 1e-9
    assert outcome.cost_usd == 0


def test_more_alternatives_never_lower_the_confidence(endpoint: str) -> None:
    few, many = (agent(endpoint, top_logprobs=number) for number in (2, ALTERNATIVES))
    for task in (intent, booking, people):
        less, more = (one.run(task, "Table for four on Friday.") for one in (few, many))
        assert less.value == more.value
        assert 0 < less.confidence <= more.confidence + 1e-6


def test_characters_of_several_tokens_lose_no_probability(smol_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="it carries llama.cpp's own server")

    @skill(max_tokens=40, examples=[("🍜 ラーメン", "🍜 ラーメン"), ("🥟 餃子", "🥟 餃子")])
    def copied(dish: str) -> str:
        """Copy the dish's name."""

    with llama_server(smol_path) as url:
        outcome = agent(url).run(copied, "🍕 ピザ")
    assert outcome.error is None
    assert not outcome.value.isascii()
    assert 0 < outcome.confidence < 1


def test_all_alternatives_give_the_exact_probability(smol_path: Path) -> None:
    """Every token of the vocabulary listed: nothing is left that counts as allowed unseen."""
    pytest.importorskip("xllamacpp", reason="it carries llama.cpp's own server")

    @skill(examples=[("It is fine.", True), ("It is bad.", False)])
    def good(message: str) -> bool:
        """Say whether the guest is happy."""

    with llama_server(smol_path) as url:
        exact, rough = (
            agent(url, top_logprobs=number).run(good, "It was lovely.") for number in (49152, 20)
        )
    assert exact.value == rough.value
    assert 0.5 <= exact.confidence <= 1
    assert rough.confidence <= exact.confidence
    assert 1 - exact.outside > 0


def test_a_server_started_without_probabilities_says_so(smol_path: Path) -> None:
    with llama_cpp_python(smol_path, "--logits_all", "false") as url:
        outcome = agent(url).run(intent, MESSAGES[0])
    assert outcome.served_by == "none"
    assert isinstance(outcome.error, ProviderError)
    assert "logits_all" in str(outcome.error)
