"""A skill over a Ray Data dataset, on a real local Ray."""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from hetagent import Answer, LlamaCpp, Orchestrator, Request, Scripted, Usage, skill
from hetagent.errors import MissingExtraError, ModelTimeoutError, SkillError
from hetagent.integrations.ray import map_dataset

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray[data]")


class Order(BaseModel):
    dish: str
    count: int | None


@skill
def intent(message: str) -> Literal["book", "cancel"]:
    """Decide what the guest wants."""


@skill
def order(message: str, language: str = "en") -> Order:
    """Extract the order."""


@skill
def total(message: str) -> int:
    """Add up."""


@skill
def either(message: str) -> list[int | str]:
    """List."""


@pytest.fixture(scope="module")
def data() -> Iterator[Any]:
    """Ray on two cores of this machine, and its data module."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # Else it writes a token into the user's folder.
        patch.setenv("RAY_AUTH_MODE", "disabled")
        # Ray's own code, when it is imported and when its processes start.
        warnings.simplefilter("ignore")
        import ray.data

        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100 * 2**20,
            _node_ip_address="127.0.0.1",
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray.data
        ray.shutdown()


def scripted() -> Orchestrator:
    def answer(request: Request) -> Answer:
        asked = request.messages[-1].content
        if "slow" in asked:
            return Answer(error=ModelTimeoutError("too slow"))
        if "half" in asked:
            return Answer("cancel", confidence=0.5)
        return Answer("book", confidence=0.95, usage=Usage(7, 3, 2, 0.25))

    return Orchestrator(Scripted(answer), policy=0.9)


@needs_ray
def test_each_row_gets_its_outcome(data: Any) -> None:
    messages = ["a table", "half sure", "slow one", "", None, "another table"]
    rows = [{"id": number, "text": text} for number, text in enumerate(messages)]
    done = map_dataset(
        intent, data.from_items(rows), agent=scripted, columns="text", batch_size=2, num_cpus=0.5
    )
    found = sorted(done.take_all(), key=lambda row: row["id"])
    assert [row["value"] for row in found] == ["book", None, None, None, None, "book"]
    assert [row["reason"] for row in found] == [
        None,
        "low_confidence",
        "timeout",
        "invalid_input",
        "invalid_input",
        None,
    ]
    assert [row["served_by"] for row in found] == ["slm", "none", "none", "none", "none", "slm"]
    first = found[0]
    assert first["text"] == "a table"
    assert first["confidence"] == pytest.approx(0.95)
    assert json.loads(first["choices"]) == pytest.approx({"book": 0.95, "cancel": 0.05})
    assert (first["prompt_tokens"], first["cached_tokens"]) == (7, 3)
    assert (first["completion_tokens"], first["cost_usd"]) == (2, 0.25)
    assert first["seconds"] >= 0
    assert len({row["trace_id"] for row in found}) == len(found)
    assert "too slow" in found[2]["error"]
    assert "None" in found[4]["error"] or "valid string" in found[4]["error"]


@needs_ray
def test_two_actors_run_the_real_model_each_on_its_own(data: Any) -> None:
    def agent() -> Orchestrator:
        return Orchestrator(
            LlamaCpp("smollm2-135m-instruct", threads=1, context=1024), policy=0.0, concurrency=4
        )

    messages = [f"A table for {number}, please." for number in range(8)]
    rows = [{"message": message, "worker": 0} for message in messages]
    dataset = data.from_items(rows, override_num_blocks=4)
    done = map_dataset(intent, dataset, agent=agent, actors=2, num_cpus=0.5, prefix="intent_")
    found = {row["message"]: row for row in done.take_all()}
    with LlamaCpp("smollm2-135m-instruct", threads=1, context=1024) as model:
        here = Orchestrator(model, policy=0.0).map(intent, messages)
    assert list(found) != [] and set(found) == set(messages)
    for message, outcome in zip(messages, here, strict=True):
        row = found[message]
        assert row["intent_value"] in ("book", "cancel")
        assert row["intent_served_by"] == "slm"
        # Batch shape moves probabilities on quantised weights.
        expected = outcome.choices[row["intent_value"]]
        assert row["intent_confidence"] == pytest.approx(expected, abs=0.1)


@needs_ray
def test_records_are_typed_and_fields_have_their_confidence(data: Any) -> None:
    def agent() -> Orchestrator:
        answers = {"soup": Answer({"dish": "soup", "count": None}, fields={"count": 0.5})}
        return Orchestrator(Scripted(answers), policy=0.0)

    rows = [{"note": "soup", "lang": "de"}]
    done = map_dataset(
        order,
        data.from_items(rows),
        agent=agent,
        columns={"message": "note"},
        num_cpus=0.5,
    ).take_all()
    assert done[0]["value"] == {"dish": "soup", "count": None}
    fields = json.loads(done[0]["fields"])
    assert fields["count"] == {
        "value": None,
        "confidence": 0.5,
        "served_by": "slm",
        "outside": fields["count"]["outside"],
    }


@needs_ray
def test_a_mistake_in_the_call_ends_the_job_with_its_reason(data: Any) -> None:
    rows = data.from_items([{"note": "soup", "value": 1}])
    with pytest.raises(Exception, match="has no column 'message'"):
        map_dataset(intent, rows, agent=scripted, num_cpus=0.5).take_all()
    with pytest.raises(Exception, match="columns named value already"):
        map_dataset(intent, rows, agent=scripted, columns="note", num_cpus=0.5).take_all()
