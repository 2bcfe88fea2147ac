"""Several LLMs: who is asked after whom, who judges, and what the outcome says of it."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from pydantic import BaseModel, model_validator

from hetagent import (
    Answer,
    Decision,
    Orchestrator,
    RungPolicy,
    Scored,
    Scripted,
    Threshold,
    Usage,
    skill,
)
from hetagent.errors import (
    ConnectError,
    InputTooLongError,
    ModelError,
    ModelTimeoutError,
    OutputError,
    RateLimitError,
    SkillError,
)
from hetagent.models.base import Request


@skill
def intent(message: str) -> Literal["book", "cancel", "other"]:
    """Decide what the guest wants."""


class Table(BaseModel):
    date: str
    time: str
    people: int

    @model_validator(mode="after")
    def not_seven_on_monday(self) -> "Table":
        if (self.date, self.time) == ("Monday", "seven"):
            raise ValueError("closed")
        return self


@skill
def table(message: str) -> Table:
    """Find out which table is wanted."""


DRAFT = {"date": "Monday", "time": "nine", "people": 4}
TRUTH = {"date": "Monday", "time": "eight", "people": 5}
WEAK = {"date": 0.99, "time": 0.3, "people": 0.99}
UNSURE = Scripted(Answer("book", confidence=0.5), name="small")


def rung(value: Any = "cancel", name: str = "rung", **more: Any) -> Scripted:
    return Scripted(Answer(value, confidence=0.9, **more), name=name)


def failing(error: Any, name: str = "failing") -> Scripted:
    return Scripted(Answer(error=error), name=name)


def asked(request: Request) -> Answer:
    """The true answer to whatever is asked for."""
    wanted = request.output.schema["properties"]
    return Answer({key: TRUTH[key] for key in wanted}, fields=dict.fromkeys(wanted, 0.95))


@dataclass(frozen=True)
class Judge(Threshold):
    """Accepts a rung's answer as listed; keeps what it was given."""

    verdicts: tuple[Decision, ...] = ()
    first: Decision | None = None
    seen: list[tuple[int, Scored]] = field(default_factory=list)

    def decide(self, scored: Scored) -> Decision:
        return self.first or super().decide(scored)

    def decide_rung(self, scored: Scored, *, rung: int) -> Decision:
        self.seen.append((rung, scored))
        return self.verdicts[len(self.seen) - 1]


ACCEPT = Decision("accept")
ON = Decision("escalate", "low_confidence")


def test_one_model_is_a_ladder_of_one():
    model = rung()
    agent = Orchestrator(slm=UNSURE, llm=model)
    assert (agent.llms, agent.llm) == ((model,), model)
    outcome = agent.run(intent, "x")
    assert (outcome.served_by, outcome.rung, outcome.reason) == ("llm", 0, "low_confidence")
    assert [(call.role, call.rung) for call in outcome.calls] == [("slm", None), ("llm", 0)]
    assert outcome.to_dict()["rung"] == 0


def test_without_an_llm_there_is_no_ladder():
    for llm in (None, [], ()):
        agent = Orchestrator(slm=UNSURE, llm=llm)
        assert (agent.llms, agent.llm) == ((), None)
        outcome = agent.run(intent, "x")
        assert (outcome.served_by, outcome.rung) == ("none", None)


def test_an_accepted_answer_has_no_rung():
    outcome = Orchestrator(slm=UNSURE, llm=[rung(), rung()], policy=0.4).run(intent, "x")
    assert (outcome.served_by, outcome.rung, outcome.calls[0].rung) == ("slm", None, None)


def test_the_first_rung_that_answers_serves():
    first, second = rung("cancel", "first"), rung("other", "second")
    outcome = Orchestrator(slm=UNSURE, llm=[first, second]).run(intent, "x")
    assert (outcome.value, outcome.rung) == ("cancel", 0)
    assert second.requests == []


@pytest.mark.parametrize(
    "broken",
    [
        Answer(error=ModelError("broken")),
        Answer(error=ConnectError("down")),
        Answer(error=RateLimitError("slow down", status=429)),
        Answer(error=ModelTimeoutError("late")),
        Answer(error=InputTooLongError("long")),
        Answer(error=OutputError("bad")),
        Answer(raw="fly"),
        Answer(raw="boo", truncated=True),
    ],
)
def test_a_rung_that_fails_falls_through_to_the_next(broken: Answer):
    ladder = [Scripted(broken, name="first"), rung("other", "second")]
    outcome = Orchestrator(slm=UNSURE, llm=ladder).run(intent, "x")
    assert (outcome.value, outcome.served_by, outcome.rung) == ("other", "llm", 1)
    assert outcome.reason == "low_confidence"
    assert outcome.error is not None, "the failure on the way is told"
    assert [(call.model, call.rung) for call in outcome.calls] == [
        ("small", None),
        ("first", 0),
        ("second", 1),
    ]
    assert outcome.calls[2].error is None


def test_a_rung_that_is_too_slow_falls_through():
    ladder = [rung(delay=30), rung("other")]
    outcome = Orchestrator(slm=UNSURE, llm=ladder, timeout=0.05).run(intent, "x")
    assert (outcome.value, outcome.rung) == ("other", 1)
    assert isinstance(outcome.error, ModelTimeoutError)


def test_where_every_rung_fails_the_last_failure_is_told():
    errors = [ConnectError("first is down"), ConnectError("second is down")]
    outcome = Orchestrator(slm=UNSURE, llm=[failing(e) for e in errors]).run(intent, "x")
    assert (outcome.served_by, outcome.rung, outcome.value) == ("none", None, None)
    assert outcome.reason == "low_confidence"
    assert outcome.error is errors[1]
    assert outcome.draft is not None
    assert outcome.draft.value == "book"


def test_a_policy_may_skip_rungs():
    ladder = [rung(name="first"), rung("other", "second")]
    policy = Judge(first=Decision("escalate", "low_confidence", rung=1), verdicts=(ACCEPT,))
    outcome = Orchestrator(slm=UNSURE, llm=ladder, policy=policy).run(intent, "x")
    assert (outcome.value, outcome.rung) == ("other", 1)
    assert ladder[0].requests == []


def test_beyond_the_last_rung_there_is_nobody():
    llm = rung()
    policy = Judge(first=Decision("escalate", "low_confidence", rung=1))
    outcome = Orchestrator(slm=UNSURE, llm=llm, policy=policy).run(intent, "x")
    assert (outcome.served_by, outcome.reason) == ("none", "low_confidence")
    assert llm.requests == []


def test_a_rung_policy_decides_about_each_answer():
    policy = Judge(verdicts=(ON, ACCEPT))
    assert isinstance(policy, RungPolicy)
    assert not isinstance(Threshold(), RungPolicy)
    ladder = [rung("book", "first"), rung("other", "second"), rung(name="third")]
    outcome = Orchestrator(slm=UNSURE, llm=ladder, policy=policy).run(intent, "x")
    assert (outcome.value, outcome.rung) == ("other", 1)
    assert ladder[2].requests == []
    assert [(index, scored.agrees) for index, scored in policy.seen] == [(0, True), (1, False)]
    assert policy.seen[0][1].confidence == pytest.approx(0.9)
    assert policy.seen[0][1].skill == "intent"


def test_a_rung_policy_may_skip_rungs_too():
    policy = Judge(verdicts=(Decision("escalate", "low_confidence", rung=2), ACCEPT))
    ladder = [rung(), rung(), rung("other")]
    outcome = Orchestrator(slm=UNSURE, llm=ladder, policy=policy).run(intent, "x")
    assert (outcome.value, outcome.rung) == ("other", 2)
    assert ladder[1].requests == []


@pytest.mark.parametrize("last", [ON, Decision("abstain", "policy"), Decision("escalate", rung=9)])
def test_a_last_rung_that_is_not_accepted_does_not_serve(last: Decision):
    policy = Judge(verdicts=(ON, last))
    outcome = Orchestrator(slm=UNSURE, llm=[rung(), rung()], policy=policy).run(intent, "x")
    assert (outcome.served_by, outcome.value, outcome.reason) == ("none", None, "low_confidence")
    assert len(outcome.calls) == 3


def test_a_rung_policy_may_abstain_before_the_last():
    ladder = [rung(), rung()]
    policy = Judge(verdicts=(Decision("abstain", "policy"),))
    outcome = Orchestrator(slm=UNSURE, llm=ladder, policy=policy).run(intent, "x")
    assert outcome.served_by == "none"
    assert ladder[1].requests == []


def test_where_there_is_no_valid_draft_nothing_can_agree():
    for slm, policy in (
        (Scripted(Answer(raw="fly")), Judge(verdicts=(ACCEPT,))),
        (UNSURE, Judge(default=2.0, verdicts=(ACCEPT,))),
        (None, Judge(verdicts=(ACCEPT,))),
    ):
        Orchestrator(slm=slm, llm=rung("book"), policy=policy).run(intent, "x")
        assert [scored.agrees for _, scored in policy.seen] == [None]


def test_records_agree_as_data_whatever_their_spelling():
    policy = Judge(verdicts=(ACCEPT,))
    slm = Scripted(Answer(DRAFT, fields=WEAK))
    spelled = '{"people":4, "time":"nine","date":"Monday"}'
    outcome = Orchestrator(slm, llm=Scripted(Answer(raw=spelled)), policy=policy).run(table, "x")
    assert outcome.value == Table(**DRAFT)
    assert policy.seen[0][1].agrees is True
    assert set(policy.seen[0][1].fields) == {"people", "time", "date"}


def test_true_is_no_one():
    class Count(BaseModel):
        left: bool | int

    @skill
    def count(message: str) -> Count:
        """Count what is left."""

    policy = Judge(verdicts=(ACCEPT, ACCEPT))
    slm = Scripted(Answer(raw='{"left": 1}', confidence=0.1))
    ladder = Scripted([Answer(raw='{"left": true}'), Answer(raw='{"left": 1}')])
    agent = Orchestrator(slm, llm=ladder, policy=policy)
    for _ in range(2):
        agent.run(count, "x")
    assert [scored.agrees for _, scored in policy.seen] == [False, True]


# --- fields


def ask_fields(*ladder: Any, policy: Any = 0.8, weak: Any = WEAK) -> Any:
    slm = Scripted(Answer(DRAFT, fields=weak))
    agent = Orchestrator(slm, llm=list(ladder), policy=policy, escalate="fields")
    return agent.run(table, "Monday at eight")


def wanted(model: Scripted) -> list[list[str]]:
    return [list(request.output.schema["properties"]) for request in model.requests]


def test_weak_fields_are_asked_for_on_the_next_rung_where_one_is_down():
    first, second = failing(ConnectError("down")), Scripted(asked, name="second")
    outcome = ask_fields(first, second)
    assert (wanted(first), wanted(second)) == ([["time"]], [["time"]])
    assert (outcome.served_by, outcome.rung) == ("both", 1)
    assert outcome.value == Table(**{**DRAFT, "time": "eight"})
    assert isinstance(outcome.error, ConnectError)


def test_a_rung_that_erred_about_fields_is_asked_for_all_before_the_next():
    first = Scripted([Answer(raw='{"time": 7}'), Answer(raw="{}")], name="first")
    second = Scripted(asked, name="second")
    outcome = ask_fields(first, second)
    whole = ["date", "time", "people"]
    assert (wanted(first), wanted(second)) == ([["time"], whole], [["time"]])
    assert (outcome.served_by, outcome.rung) == ("both", 1)


def test_fields_that_do_not_fit_the_draft_are_asked_for_whole():
    first = Scripted([Answer({"time": "seven"}), Answer(error=ModelError("down"))])
    second = Scripted(asked)
    outcome = ask_fields(first, second)
    assert wanted(first) == [["time"], ["date", "time", "people"]]
    assert outcome.value == Table(**{**DRAFT, "time": "eight"})


def test_a_rung_policy_sees_the_merged_answer():
    policy = Judge(default=0.8, verdicts=(Decision("escalate", None, ("people",)), ACCEPT))
    first, second = Scripted(asked, name="first"), Scripted(asked, name="second")
    outcome = ask_fields(first, second, policy=policy)
    assert [scored.agrees for _, scored in policy.seen] == [False, False]
    merged = policy.seen[0][1]
    assert set(merged.fields) == {"date", "time", "people"}
    assert merged.confidence == pytest.approx(0.99 * 0.95 * 0.99)
    assert (wanted(first), wanted(second)) == ([["time"]], [["people"]])
    known = second.requests[0].messages[-1].content
    assert '"time": "eight"' in known, "what the first rung gave is known to the second"
    assert outcome.value == Table(**TRUTH)
    assert (outcome.served_by, outcome.rung) == ("both", 1)
    by = {path: one.served_by for path, one in outcome.fields.items()}
    assert by == {"date": "slm", "time": "llm", "people": "llm"}


def test_a_rung_policy_that_names_no_fields_has_the_next_answer_whole():
    policy = Judge(default=0.8, verdicts=(ON, ACCEPT))
    second = Scripted(asked)
    outcome = ask_fields(Scripted(asked), second, policy=policy)
    assert wanted(second) == [["date", "time", "people"]]
    assert (outcome.served_by, outcome.rung) == ("llm", 1)


# --- streams


def test_a_stream_climbs_the_ladder_too():
    slm = Scripted(Answer(DRAFT, fields=WEAK))
    for escalate in ("whole", "fields"):
        ladder = [failing(ConnectError("down")), Scripted(asked)]
        agent = Orchestrator(slm, llm=ladder, policy=0.8, escalate=escalate)
        with agent.stream(table, "x") as answer:
            last = dict(answer)
        assert last == answer.outcome.fields
        assert (last["time"].value, answer.outcome.rung) == ("eight", 1)


def test_fields_of_a_rung_are_told_only_once_they_are_accepted():
    slm = Scripted(Answer(DRAFT, fields=WEAK))
    wrong = Scripted(Answer({"time": "ten"}))
    policy = Judge(default=0.8, verdicts=(Decision("escalate", None, ("time",)), ACCEPT))
    agent = Orchestrator(slm, llm=[wrong, Scripted(asked)], policy=policy, escalate="fields")
    with agent.stream(table, "x") as answer:
        told = [(path, one.value) for path, one in answer]
    assert ("time", "ten") not in told
    assert told[-1] == ("time", "eight")


def test_an_early_decision_that_changes_its_rung_is_asked_anew():
    class Changing(Threshold):
        def decide(self, scored: Scored) -> Decision:
            return Decision("escalate", "low_confidence", ("time",), rung=1)

        def decide_early(self, scored: Scored) -> Decision | None:
            early = Threshold.decide(self, scored)
            return None if early.action == "accept" else early

    second = Scripted(asked, name="second")
    first = Scripted(lambda request: Answer({"time": "ten"}, delay=5), name="first")
    slm = Scripted(Answer(DRAFT, fields=WEAK, delay=0.05))
    agent = Orchestrator(slm, llm=[first, second], policy=Changing(0.8), escalate="fields")
    with agent.stream(table, "x") as answer:
        list(answer)
    assert (answer.outcome.rung, answer.outcome.fields["time"].value) == (1, "eight")
    given_up = [call for call in answer.outcome.calls if call.rung == 0]
    assert len(given_up) == 1
    assert given_up[0].error is not None


# --- arguments and options


def test_options_keep_the_ladder():
    agent = Orchestrator(slm=UNSURE, llm=[rung(), rung()])
    assert agent.with_options(policy=0.1).llms == agent.llms


@pytest.mark.parametrize(
    ("llm", "words"),
    [([rung(), "gpt"], "llm[1] is 'gpt'"), ([None], "llm[0] is None"), ("gpt", "llm is 'gpt'")],
)
def test_a_ladder_is_of_models(llm: Any, words: str):
    with pytest.raises(SkillError, match=re.escape(words)):
        Orchestrator(slm=UNSURE, llm=llm)


def test_costs_of_all_rungs_are_counted():
    error = ModelError("broken")
    error.usage = Usage(cost_usd=0.5)
    ladder = [failing(error), rung(usage=Usage(cost_usd=0.25))]
    agent = Orchestrator(slm=UNSURE, llm=ladder)
    outcomes = asyncio.run(agent.amap(intent, ["x", "y"]))
    assert [outcome.cost_usd for outcome in outcomes] == [0.75, 0.75]
    assert agent.spent.usd == 1.5


def test_every_whole_answer_of_an_llm_is_kept():
    policy = Judge(verdicts=(ON, ACCEPT))
    ladder = [rung("book", "first"), rung("other", "second")]
    outcome = Orchestrator(slm=UNSURE, llm=ladder, policy=policy).run(intent, "x")
    assert [(one.rung, one.value, one.agrees) for one in outcome.answers] == [
        (0, "book", True),
        (1, "other", False),
    ]
    assert outcome.answers[1].evidence[""].raw == pytest.approx(0.9)
    assert outcome.to_dict()["answers"][0]["evidence"][""]["answer"] == "book"
    accepted = Orchestrator(slm=UNSURE, llm=ladder, policy=0.4).run(intent, "x")
    assert accepted.answers == ()


def test_fields_alone_are_no_whole_answer():
    slm = Scripted(Answer(DRAFT, fields=WEAK))
    agent = Orchestrator(slm=slm, llm=Scripted(asked), escalate="fields", policy=0.9)
    outcome = agent.run(table, "x")
    assert (outcome.served_by, outcome.answers) == ("both", ())


def test_an_llm_that_is_passed_over_is_not_asked_where_another_fails():
    ladder = [failing(ConnectError("down")), rung("cancel", "second"), rung("other", "third")]
    policy = Judge(first=Decision("escalate", "low_confidence", skip=(1,)), verdicts=(ACCEPT,))
    outcome = Orchestrator(slm=UNSURE, llm=ladder, policy=policy).run(intent, "x")
    assert (outcome.value, outcome.rung) == ("other", 2)
    assert ladder[1].requests == []


@dataclass(frozen=True)
class Starting(Threshold):
    """Says whom to ask where there is no draft."""

    start: Decision = field(default_factory=lambda: Decision("abstain"))

    def without_draft(self, skill: str) -> Decision:
        return self.start


@pytest.mark.parametrize("slm", [None, Scripted(Answer(raw="fly"))])
def test_a_policy_may_say_whom_to_ask_without_a_draft(slm: Any):
    ladder = [rung("cancel", "first"), rung("other", "second")]
    second = Starting(start=Decision("escalate", rung=1))
    outcome = Orchestrator(slm=slm, llm=ladder, policy=second).run(intent, "x")
    assert (outcome.value, outcome.rung) == ("other", 1)
    assert outcome.reason == ("policy" if slm is None else "invalid_output")
    nobody = Orchestrator(slm=slm, llm=ladder, policy=Starting()).run(intent, "x")
    assert (nobody.served_by, nobody.reason) == ("none", outcome.reason)
    assert ladder[0].requests == []
