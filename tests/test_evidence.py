"""What is read from a score for calibration."""

import math
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from hetagent import Answer, Orchestrator, Scripted, Threshold, skill
from hetagent.confidence import score
from hetagent.evidence import Evidence, evidence
from hetagent.models.base import Completion, Token
from hetagent.schema import OutputType


def token(text: str, probability: float, *, free: int = 0, outside: float = 0.0) -> Token:
    return Token(1, text.encode(), math.log(probability), outside, free)


def test_of_a_choice():
    answer = Completion("b", "m", choices={"a": 0.25, "b": 0.7, "c": 0.05}, outside=0.1)
    (path, found), *others = evidence(score(answer, OutputType.of(Literal["a", "b", "c"]))).items()
    assert (path, others) == ("", [])
    assert (found.raw, found.outside, found.answer, found.tokens) == (0.7, 0.1, "b", 0)
    assert found.margin == pytest.approx(0.45)
    assert found.entropy == pytest.approx(-sum(p * math.log(p) for p in (0.25, 0.7, 0.05)))
    assert found.least is None


def test_a_probability_that_is_no_number_is_no_evidence():
    answer = Completion("b", "m", choices={"a": math.nan, "b": math.nan})
    assert evidence(score(answer, OutputType.of(Literal["a", "b"]))) == {}


def test_of_a_choice_between_true_and_false():
    answer = Completion("true", "m", choices={"true": 0.75, "false": 0.25})
    assert evidence(score(answer, OutputType.of(bool)))[""].answer == "true"


def test_of_a_record_and_its_fields():
    class Pair(BaseModel):
        a: str
        b: int | None

    tokens = [
        token('{"a": "', 0.3, free=7),
        token("x", 0.9, outside=0.2),
        token('y"', 0.8),
        token(', "b": ', 0.2, free=7),
        token("null", 0.6),
        token("}", 0.5, free=1),
        token("", 0.9),
    ]
    answer = Completion('{"a": "xy", "b": null}', "m", tokens=tuple(tokens))
    found = evidence(score(answer, OutputType.of(Pair)))
    assert list(found) == ["", "a", "b"]
    assert (found["a"].answer, found["b"].answer, found[""].answer) == ("text", "null", "record")
    assert found["a"].raw == pytest.approx(0.72)
    assert found["a"].least == pytest.approx(0.8)
    assert found["a"].outside == pytest.approx(0.2)
    assert (found["a"].tokens, found["b"].tokens, found[""].tokens) == (2, 1, 4)
    assert found[""].least == pytest.approx(0.6)
    assert found[""].margin is None


def test_there_is_none_without_probabilities():
    answer = Completion('{"a": 1}', "m")
    anything: OutputType[Any] = OutputType(None, {}, "json", {}, None)  # type: ignore[arg-type]
    assert evidence(score(answer, anything)) == {}


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=20))
def test_margin_and_entropy_stay_within_their_bounds(weights: list[float]):
    total = sum(weights)
    labels = {str(index): weight / total for index, weight in enumerate(weights)}
    best = max(labels, key=lambda label: labels[label])
    found = evidence(score(Completion(best, "m", choices=labels), OutputType.of(_literal(labels))))
    one = found[""]
    assert isinstance(one, Evidence)
    assert one.margin is not None
    assert one.entropy is not None
    assert 0 <= one.margin <= one.raw
    assert -1e-12 <= one.entropy <= math.log(len(labels)) + 1e-9


def _literal(labels: dict[str, float]) -> Any:
    return Literal[tuple(labels)]


def test_evidence_tells_how_much_of_the_input_is_digits():
    answer = Completion("yes", "m", choices={"yes": 0.9, "no": 0.1})
    kind = OutputType.of(Literal["yes", "no"])
    asked = evidence(score(answer, kind), asked="table 12?")[""]
    assert asked.digits == pytest.approx(2 / 9, abs=1e-4)
    assert evidence(score(answer, kind))[""].digits == 0.0


@skill
def has_time(message: str) -> Literal["yes", "no"]:
    """Say whether the message names a time."""


def test_digits_reach_policies_and_outcomes():
    seen = []

    class Watching(Threshold):
        def decide(self, scored):
            seen.append(scored.evidence[""].digits)
            return super().decide(scored)

    model = Scripted(lambda request: Answer("yes", choices={"yes": 0.9, "no": 0.1}))
    outcome = Orchestrator(model, policy=Watching(0.5)).run(has_time, "at 12")
    assert seen == [outcome.evidence[""].digits]
    assert seen[0] > 0.1
