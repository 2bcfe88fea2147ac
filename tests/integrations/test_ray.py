"""A skill over a Ray Data dataset, on a real local Ray."""

import importlib.util
import json
import subprocess
import sys
import threading
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
    assert "valid string" in found[4]["error"]


@needs_ray
def test_two_actors_run_the_real_model_each_on_its_own(data: Any) -> None:
    def agent() -> Orchestrator:
        return Orchestrator(
            LlamaCpp("smollm2-135m-instruct", threads=1, context=1024), policy=0.0, concurrency=4
        )

    messages = [f"A table for {number}, please." for number in range(8)]
    dataset = data.from_items([{"message": m} for m in messages], override_num_blocks=4)
    done = map_dataset(intent, dataset, agent=agent, actors=2, num_cpus=0.5, prefix="intent_")
    found = {row["message"]: row for row in done.take_all()}
    with LlamaCpp("smollm2-135m-instruct", threads=1, context=1024) as model:
        here = Orchestrator(model, policy=0.0).map(intent, messages)
    assert set(found) == set(messages)
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
        answer = Answer({"dish": "soup", "count": None}, fields={"count": 0.5})
        return Orchestrator(Scripted(answer), policy=0.0)

    rows = [{"note": "soup", "lang": "de"}]
    done = map_dataset(
        order,
        data.from_items(rows),
        agent=agent,
        columns={"message": "note"},
        num_cpus=0.5,
    ).take_all()
    assert done[0]["value"] == {"dish": "soup", "count": None}
    count = json.loads(done[0]["fields"])["count"]
    assert (count["value"], count["confidence"], count["served_by"]) == (None, 0.5, "slm")


@needs_ray
def test_a_mistake_in_the_call_ends_the_job_with_its_reason(data: Any) -> None:
    rows = data.from_items([{"note": "soup", "value": 1}])
    with pytest.raises(Exception, match="has no column 'message'"):
        map_dataset(intent, rows, agent=scripted, prefix="x_", num_cpus=0.5).take_all()
    with pytest.raises(Exception, match="columns named value already"):
        map_dataset(intent, rows, agent=scripted, columns="note", num_cpus=0.5).take_all()


@needs_ray
def test_what_cannot_be_sent_is_refused_before_anything_runs(data: Any) -> None:
    rows = data.from_items([{"message": "soup"}])
    with pytest.raises(SkillError, match="models cannot be sent") as caught:
        map_dataset(intent, rows, agent=scripted())  # type: ignore[arg-type]
    assert "lambda" in caught.value.hint
    lock = threading.Lock()
    with pytest.raises(SkillError, match="agent cannot be sent"):
        map_dataset(intent, rows, agent=lambda: Orchestrator(Scripted(Answer(lock))))
    with (
        LlamaCpp("smollm2-135m-instruct") as model,
        pytest.raises(SkillError, match="skill intent"),
    ):
        map_dataset(intent.using(model), rows, agent=scripted)


@needs_ray
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": "text", "skill": order}, "columns is one name"),
        ({"columns": {"text": "message"}}, "no parameter 'text'"),
        ({"columns": {}}, "names no input"),
        ({"actors": 0}, "out of range"),
        ({"actors": (2, 1)}, "out of range"),
        ({"batch_size": 0}, "out of range"),
        ({"dataset": [1]}, "not a Ray Data dataset"),
        ({"skill": len}, "not a skill"),
        ({"agent": 7}, "not a function"),
    ],
)
def test_wrong_arguments_are_named(data: Any, options: dict[str, Any], message: str) -> None:
    rows = data.from_items([{"message": "soup"}])
    given = {"skill": intent, "dataset": rows, "agent": scripted, **options}
    with pytest.raises(SkillError, match=message):
        map_dataset(given.pop("skill"), given.pop("dataset"), **given)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hetagent\[ray\]'"):
        map_dataset(intent, object(), agent=scripted)


def test_importing_the_module_does_not_import_ray() -> None:
    code = "import sys, hetagent.integrations.ray; print({'ray', 'pyarrow'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
