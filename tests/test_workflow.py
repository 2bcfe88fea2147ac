"""Workflows: calibrated on final values, run by their certificate, refused where it is stale."""

import asyncio
import json
import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from hetagent import (
    Answer,
    NoAnswerError,
    Orchestrator,
    Request,
    Scripted,
    Usage,
    WorkflowCertificate,
    skill,
)
from hetagent.calibrate.replays import Forest
from hetagent.errors import (
    CertificateError,
    InputError,
    SkillError,
    StaleCertificate,
)
from hetagent.fingerprint import function_digest
from hetagent.workflow import Workflow
from hetagent.workflow_calibration import replays_of


@skill
def sign(text: str) -> Literal["plus", "minus"]:
    """Say which sign the number has."""


@skill
def big(text: str) -> bool:
    """Say whether the number is far from zero."""


@skill
def mood(text: str) -> Literal["merry", "sad"]:
    """Say how the number feels."""


def number(request: Request) -> float:
    return float(request.messages[-1].content.split()[-1])


def right_answer(request: Request) -> Any:
    x = number(request)
    if "plus" in request.output.labels:
        return "plus" if x > 0 else "minus"
    return "merry" if "merry" in request.output.labels else abs(x) > 0.5


def other(value: Any) -> Any:
    pairs = {"plus": "minus", "minus": "plus", "merry": "sad", True: False, False: True}
    return pairs[value]


def by_chance(request: Request) -> Answer:
    """Sure near the ends, and then right; at random in the middle."""
    x = number(request)
    sure = 0.5 + abs(x) / 2
    kind = request.messages[0].content
    flipped = random.Random(repr(x) + kind).random() > sure
    right = right_answer(request)
    return Answer(other(right) if flipped else right, confidence=sure**0.3)


def large(request: Request) -> Answer:
    return Answer(right_answer(request), usage=Usage(cost_usd=0.01))


def label(text: str) -> str:
    x = float(text.rsplit(maxsplit=1)[-1])
    return f"{'big' if abs(x) > 0.5 else 'small'} {'plus' if x > 0 else 'minus'}"


def examples(count: int, seed: int = 0) -> list[tuple[str, str]]:
    drawn = random.Random(seed)
    texts = [f"number {drawn.uniform(-1, 1)!r}" for _ in range(count)]
    return [(text, label(text)) for text in texts]


def team(**options: Any) -> Orchestrator:
    return Orchestrator(
        slm=Scripted(by_chance, name="small"),
        llm=Scripted(large, name="large"),
        progress=False,
        **options,
    )


def describe(text: str) -> str:
    """Say size and sign."""
    mood(text)  # nothing comes of it
    return f"{'big' if big(text) else 'small'} {sign(text)}"


@pytest.fixture(scope="module")
def agent() -> Orchestrator:
    return team()


@pytest.fixture(scope="module")
def calibrated(agent: Orchestrator) -> Workflow[[str], str]:
    flow = agent.workflow(max_error=0.15, confidence=0.9)(describe)
    flow.calibrate(examples(600))
    return flow


def certificate_of(flow: Workflow[..., Any]) -> WorkflowCertificate:
    assert flow.certificate is not None
    return flow.certificate


def test_the_promise_holds_on_new_inputs_and_fewer_steps_escalate(
    calibrated: Workflow[[str], str],
):
    fresh = examples(500, seed=1)
    outcomes = [calibrated.run(text) for text, _ in fresh]
    relying = [
        one.value != right
        for one, (_, right) in zip(outcomes, fresh, strict=True)
        if one.served_by != "llm"
    ]
    assert len(relying) > 100
    assert np.mean(relying) <= 0.15
    certificate = certificate_of(calibrated)
    assert certificate.joint.escalations < certificate.even_split.escalations
    seen = np.mean([one.escalations for one in outcomes])
    assert seen == pytest.approx(certificate.joint.escalations, abs=0.2)


def test_a_step_that_changes_nothing_is_not_worth_an_escalation(calibrated):
    parts = certificate_of(calibrated).skills
    assert parts["mood"].threshold is not None
    # It is wrong as often as the others, but the final value is right with it.
    assert parts["mood"].calibrator.probabilities[0] > 0.9
    fresh = [calibrated.run(text) for text, _ in examples(100, seed=2)]
    moods = [next(o for o in one.outcomes if o.skill == "mood") for one in fresh]
    assert all(one.served_by == "slm" for one in moods)


def test_an_outcome_tells_of_every_step(calibrated):
    outcome = calibrated.run("number 0.99")
    assert outcome.value == "big plus"
    assert [one.skill for one in outcome.outcomes] == ["mood", "big", "sign"]
    assert outcome.certificate == certificate_of(calibrated).id
    # The steps share one where the application traces, and have their own otherwise.
    assert outcome.trace_ids == tuple(one.trace_id for one in outcome.outcomes)
    assert [len(one) for one in outcome.trace_ids] == [32, 32, 32]
    assert outcome.usage.prompt_tokens == sum(o.usage.prompt_tokens for o in outcome.outcomes)
    assert outcome.cost_usd == pytest.approx(0.01 * outcome.escalations)
    assert json.loads(json.dumps(outcome.to_dict()))["value"] == "big plus"
    assert calibrated("number 0.99") == "big plus"


def test_each_request_is_asked_once_of_each_model():
    agent = team()
    flow = agent.workflow()(describe)
    flow.calibrate(examples(40) * 2)
    for model in (agent.slm, agent.llm):
        assert isinstance(model, Scripted)
        asked = [(r.messages[0].content, r.messages[-1].content) for r in model.requests]
        assert len(asked) == len(set(asked)) == 3 * 40


def sort_out(text: str) -> str:
    """Loops, branches, a map, a step that is asked twice, and an error on the way."""
    parts = text.split(",")
    found = []
    for part in parts:
        if big(part):
            found.append(sign(part))
        elif len(parts) > 2 and big(parts[0]):
            raise ValueError("too small")
    if not found:
        found = [one.value or "" for one in AGENT.map(mood, parts)]
    return " ".join(found)


AGENT = team()


def several(count: int) -> list[tuple[str, str]]:
    drawn = random.Random(5)
    rows = []
    for _ in range(count):
        xs = [drawn.uniform(-1, 1) for _ in range(drawn.randint(1, 3))]
        signs = ["plus" if x > 0 else "minus" for x in xs if abs(x) > 0.5]
        rows.append((",".join(f"n {x!r}" for x in xs), " ".join(signs or ["merry"] * len(xs))))
    return rows


def test_what_is_replayed_is_what_happens_under_any_thresholds():
    flow = AGENT.workflow(max_error=0.2, confidence=0.8)(sort_out)
    rows = several(60)
    certificate = flow.calibrate(rows, fit_share=0.5)
    found = replays_of(AGENT, sort_out, rows, concurrency=3)
    assert found.raised > 0
    assert max(map(len, found.runs)) > 4
    forest = Forest.of(found.runs)
    scored = forest.scored({name: part.calibrator for name, part in certificate.skills.items()})
    drawn = np.random.default_rng(0)
    usable = [scored.scores[forest.of_skill(k)] for k in range(3)]
    for _ in range(5):
        vector = [float(drawn.choice([*scores[::5], np.inf])) - 1e-9 for scores in usable]
        parts = {
            name: replace(certificate.skills[name], threshold=None if t == np.inf else t)
            for name, t in zip(forest.skills, vector, strict=True)
        }
        flow.certificate = replace(certificate, skills=parts).sealed()
        results = scored.results([vector])
        for row, (text, right) in enumerate(rows):
            try:
                outcome = flow.run(text)
            except ValueError:
                assert results.wrong[0, row] == results.accepted[0, row]
                continue
            relying = any(one.served_by == "slm" for one in outcome.outcomes)
            assert results.accepted[0, row] == relying
            assert results.wrong[0, row] == (relying and outcome.value != right)
            assert results.escalated[0, row] == outcome.escalations


def test_choices_beyond_the_most_replays_count_as_wrong(caplog):
    rows = several(40)
    every = replays_of(AGENT, sort_out, rows)
    few = replays_of(AGENT, sort_out, rows, max_replays=2)
    assert few.unexplored > 0
    assert every.unexplored == 0
    assert "raise max_replays" in caplog.text
    whole, cut = (
        {frozenset(r.accepted): r.right for run in one.runs for r in run} for one in (every, few)
    )
    assert set(cut) <= set(whole)
    for run, full in zip(few.runs, every.runs, strict=True):
        replayed = {one.accepted: one.right for one in full}
        assert run[0] == full[0]
        assert all(not one.right or replayed[one.accepted] for one in run)
        assert sum(one.accepted not in replayed for one in run) == 0


def test_a_function_that_depends_on_chance_is_refused():
    agent = team()
    count = iter(range(10**6))

    def moody(text: str) -> str:
        return sign(f"{next(count)} {text}")

    with pytest.raises(InputError, match="something else of sign"):
        agent.workflow()(moody).calibrate(examples(60))


def test_an_error_in_the_function_reaches_the_caller(agent: Orchestrator):
    @agent.workflow()
    def fails(text: str) -> str:
        raise KeyError(sign(text))

    with pytest.raises(KeyError, match="plus"):
        fails("number 1.0")
    with pytest.raises(InputError, match="on every example, such as KeyError"):
        fails.calibrate(examples(30))


def test_an_input_that_a_wrong_answer_makes_impossible_counts_as_wrong():
    agent = team()

    def fragile(text: str) -> str:
        return sign(text if big(text) == (abs(float(text.split()[1])) > 0.5) else " ")

    rows = [(text, right.split()[1]) for text, right in examples(60)]
    found = replays_of(agent, fragile, rows)
    assert found.raised > 5
    assert all(run[0].steps for run in found.runs)
    wrong = [one for run in found.runs for one in run if len(one.steps) == 1]
    assert len(wrong) == found.raised
    assert not any(one.right for one in wrong)


def test_without_a_certificate_everything_escalates(agent: Orchestrator):
    flow = agent.workflow()(describe)
    assert flow.run("number 0.99").served_by == "llm"
    alone = Orchestrator(slm=Scripted(by_chance)).workflow()(describe)
    with pytest.raises(NoAnswerError):
        alone("number 0.99")
    with pytest.raises(SkillError, match="no LLM"):
        alone.calibrate(examples(30))


def test_what_runs_outside_of_the_workflow_keeps_its_own_policy(calibrated, agent: Orchestrator):
    assert agent.run(sign, "number 0.05").escalated
    assert agent.with_options(policy=0.0).run(sign, "number 0.05").served_by == "slm"


def test_a_scope_caps_the_steps_of_a_workflow(agent: Orchestrator):
    flow = agent.workflow()(describe)
    with (
        agent.spending(llm_calls=2, at_cap="abstain"),
        pytest.raises(NoAnswerError, match="budget"),
    ):
        flow("number 0.99")


def test_an_asynchronous_function_is_a_workflow_too():
    agent = team()

    @agent.workflow(max_error=0.2, confidence=0.8)
    async def flow(text: str) -> str:
        size, which = await asyncio.gather(agent.arun(big, text), agent.arun(sign, text))
        return f"{'big' if size.value else 'small'} {which.value}"

    certificate = flow.calibrate(examples(160))
    assert certificate.steps == 2
    assert certificate.raised == 0
    outcome = flow.run("number 0.99")
    assert len(outcome.outcomes) == 2
    plain = agent.workflow()(describe)

    async def main() -> set[str]:
        one, other = await asyncio.gather(flow.arun("number 0.99"), plain.arun("number 0.99"))
        assert len(one.outcomes) == 2
        assert len(other.outcomes) == 3
        return {outcome.value, one.value, other.value, await flow("number 0.99")}

    assert asyncio.run(main()) == {"big plus"}


def test_a_reference_may_stand_for_the_llm():
    agent = Orchestrator(slm=Scripted(by_chance, name="small"), progress=False)
    asked = []

    def reference(task: Any, text: str) -> Any:
        asked.append(task.name)
        x = float(text.rsplit(maxsplit=1)[-1])
        return ("plus" if x > 0 else "minus") if task.name == "sign" else abs(x) > 0.5

    @agent.workflow(max_error=0.2, confidence=0.8)
    def flow(text: str) -> str:
        return f"{'big' if big(text) else 'small'} {sign(text)}"

    certificate = flow.calibrate(examples(160), reference=reference)
    assert set(asked) == {"big", "sign"}
    assert certificate.by_reference
    assert "reference" in certificate.guarantee
    assert "llm" not in certificate.depends_on
    with pytest.raises(InputError, match="no value of the output type"):
        flow.calibrate(examples(30), reference=lambda *_: "neither")


def test_a_dear_skill_escalates_less_where_cost_is_minimised():
    def priced(request: Request) -> Answer:
        dear = "plus" in request.output.labels
        return Answer(right_answer(request), usage=Usage(cost_usd=0.1 if dear else 0.02))

    agent = Orchestrator(slm=Scripted(by_chance), llm=Scripted(priced), progress=False)

    @agent.workflow(max_error=0.2, confidence=0.8)
    def flow(text: str) -> str:
        return f"{'big' if big(text) else 'small'} {sign(text)}"

    cost = flow.calibrate(examples(600), minimise="cost")
    assert cost.joint.accepted > 0
    assert cost.joint.price < 0.12
    least = {name: part.least_confidence or 1.0 for name, part in cost.skills.items()}
    assert least["sign"] < least["big"]
    free = Orchestrator(slm=Scripted(by_chance), llm=Scripted(lambda r: Answer(right_answer(r))))
    with pytest.raises(InputError, match="not known, or nothing"):
        free.workflow()(describe).calibrate(examples(30), minimise="cost")


def test_a_certificate_comes_back_from_its_file(calibrated, agent: Orchestrator, tmp_path: Path):
    certificate = certificate_of(calibrated)
    file = certificate.save(tmp_path / "describe.json")
    again = agent.workflow(max_error=0.15, confidence=0.9, certificate=file)(describe)
    assert again.certificate == certificate
    assert again.run("number 0.99").certificate == certificate.id
    assert f"{certificate.even_split.escalations:.2f}." in certificate.explain()


def test_a_file_that_was_edited_or_is_none_is_refused(calibrated, tmp_path: Path):
    file = certificate_of(calibrated).save(tmp_path / "describe.json")
    facts = json.loads(file.read_text())
    facts["skills"]["sign"]["threshold"] = -100.0
    file.write_text(json.dumps(facts))
    with pytest.raises(CertificateError, match="not those it was made with"):
        WorkflowCertificate.load(file)
    for text in ("{", "[]", "{}", '{"format": "workflow 1"}', '{"format": 1}'):
        file.write_text(text)
        with pytest.raises(CertificateError):
            WorkflowCertificate.load(file)


def test_a_certificate_of_something_else_is_stale(calibrated, agent: Orchestrator):
    certificate = certificate_of(calibrated)

    def describe(text: str) -> str:
        return f"{'big' if big(text) else 'tiny'} {sign(text)}"

    declare = {"max_error": 0.15, "confidence": 0.9, "certificate": certificate}
    with pytest.raises(StaleCertificate, match="other function"):
        agent.workflow(**declare)(describe)
    others = Orchestrator(slm=agent.slm, llm=Scripted(large, name="another"))
    with pytest.raises(StaleCertificate, match="other llm"):
        others.workflow(**declare)(globals()["describe"])
    smaller = Orchestrator(slm=Scripted(by_chance, name="tiny"), llm=agent.llm)
    flow = smaller.workflow(**declare)(globals()["describe"])
    with pytest.raises(StaleCertificate, match=r"mood\.model"):
        flow("number 0.99")


def test_a_step_that_always_escalates_is_checked_too(calibrated, agent: Orchestrator):
    certificate = certificate_of(calibrated)
    parts = {**certificate.skills, "big": replace(certificate.skills["big"], threshold=None)}
    changed = replace(certificate, skills=parts).sealed()
    declare = {"max_error": 0.15, "confidence": 0.9, "certificate": changed}

    @skill
    def another(text: str) -> bool:
        """Say whether the number is small."""

    another.name = "big"
    flow = agent.workflow(**declare)(describe)
    assert flow.run("number 0.99").certificate == changed.id
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "big", another)
        with pytest.raises(StaleCertificate, match=r"big\.prompt"):
            flow("number 0.99")


def test_functions_that_differ_have_different_hashes():
    class Adder:
        def __call__(self, x: int) -> int:
            return x + 1

    class Taker:
        def __call__(self, x: int) -> int:
            return x - 1

    Taker.__qualname__ = Adder.__qualname__
    assert function_digest(Adder()) == function_digest(Adder())
    assert function_digest(Adder()) != function_digest(Taker())
    partials = [partial(describe, "a"), partial(describe, "b"), partial(label, "a")]
    assert len({function_digest(one) for one in partials}) == 3
    assert function_digest(partial(describe, object())) == function_digest(
        partial(describe, object())
    )


def test_a_certificate_that_promises_less_is_refused(calibrated, agent: Orchestrator):
    with pytest.raises(CertificateError, match=r"is to keep 0\.05"):
        agent.workflow(certificate=certificate_of(calibrated))(describe)


def test_comments_do_not_make_a_certificate_stale(agent: Orchestrator, calibrated, tmp_path: Path):
    written = tmp_path / "same.py"
    written.write_text(
        "def describe(text: str) -> str:\n"
        "    # another comment, and no docstring\n"
        "    mood(text)\n"
        "    return f\"{'big' if big(text) else 'small'} {sign(text)}\"\n"
    )
    space = {"mood": mood, "big": big, "sign": sign}
    exec(compile(written.read_text(), str(written), "exec"), space)
    again = agent.workflow(max_error=0.15, confidence=0.9, certificate=certificate_of(calibrated))(
        space["describe"]
    )
    assert again("number 0.99") == "big plus"


def test_where_nothing_can_be_promised_it_says_how_many_labels_would_do():
    agent = team()
    flow = agent.workflow(max_error=0.02, confidence=0.99)(describe)
    certificate = flow.calibrate(examples(60))
    assert not certificate.accepts
    assert certificate.joint.escalations == certificate.steps == 3
    assert flow.run("number 0.99").served_by == "llm"
    assert "labelled runs" in certificate.explain()


def test_examples_and_options_that_cannot_be_used_are_refused(agent: Orchestrator):
    flow = agent.workflow()(describe)
    with pytest.raises(InputError, match="At least 20"):
        flow.calibrate(examples(3))
    with pytest.raises(InputError, match="no pair"):
        flow.calibrate(["number 1"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="does not fit"):
        agent.workflow()(lambda a, b: sign(a)).calibrate([(("x",), "plus")] * 30)
    with pytest.raises(SkillError, match="max_error"):
        agent.workflow(max_error=1.5)(describe)
    with pytest.raises(SkillError, match="no function"):
        agent.workflow()(sign)


def test_two_skills_of_one_name_are_refused(agent: Orchestrator):
    twin = sign.using(Scripted(by_chance, name="twin"))

    def both(text: str) -> str:
        return sign(text) + twin(text)

    with pytest.raises(InputError, match="two different skills named sign"):
        agent.workflow()(both).calibrate(examples(30))


def test_steps_are_logged_where_users_run_them_and_not_where_examples_do(tmp_path: Path):
    log = tmp_path / "calls.jsonl"
    agent = team(log=log)
    flow = agent.workflow()(describe)
    flow.calibrate(examples(30))
    assert not log.exists()
    flow("number 0.99")
    skills = [json.loads(line)["skill"] for line in log.read_text().splitlines()]
    assert skills == ["mood", "big", "sign"]
