"""Calibrating a skill end to end, and running it by its certificate."""

import json
import math
import random
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from hetagent import (
    Answer,
    Certificate,
    Certified,
    Orchestrator,
    Request,
    Scripted,
    Threshold,
    skill,
)
from hetagent.calibrate import calibration
from hetagent.calibrate.certifying import share_to_fit
from hetagent.errors import (
    CertificateError,
    InputError,
    MissingExtraError,
    ModelError,
    SkillError,
    StaleCertificate,
)


@skill
def sign(text: str) -> Literal["plus", "minus"]:
    """Say which sign the number has."""


class Pair(BaseModel):
    left: int
    right: int


@skill
def pair(text: str) -> Pair:
    """Copy the pair."""


def noisy_sign(request: Request) -> Answer:
    """Sure near the ends, and then right; at random in the middle."""
    number = float(request.messages[-1].content.split()[-1])
    sure = 0.5 + abs(number) / 2
    flipped = random.Random(repr(number)).random() > sure
    right = "plus" if number > 0 else "minus"
    wrong = "minus" if number > 0 else "plus"
    # Raw confidence says more than is true.
    return Answer(wrong if flipped else right, confidence=sure**0.3)


def numbers(count: int, seed: int = 0) -> list[float]:
    drawn = random.Random(seed)
    return [drawn.uniform(-1, 1) for _ in range(count)]


def examples(count: int, seed: int = 0) -> list[tuple[str, str]]:
    return [(f"number {x!r}", "plus" if x > 0 else "minus") for x in numbers(count, seed)]


@pytest.fixture(scope="module")
def agent() -> Orchestrator:
    return Orchestrator(slm=Scripted(noisy_sign, name="noisy"), progress=False)


@pytest.fixture(scope="module")
def certificate(agent: Orchestrator) -> Certificate:
    return agent.calibrate(sign, examples(1200), max_error=0.1, confidence=0.9)


def test_the_promise_holds_on_new_inputs(agent: Orchestrator, certificate: Certificate):
    by_llm = Scripted(Answer("plus"), name="oracle")
    certified = Orchestrator(agent.slm, llm=by_llm, policy=Certified(certificate), progress=False)
    fresh = examples(3000, seed=1)
    outcomes = certified.map(sign, [text for text, _ in fresh])
    accepted = [
        (one, label) for one, (_, label) in zip(outcomes, fresh, strict=True)
        if one.served_by == "slm"
    ]  # fmt: skip
    errors = sum(one.value != label for one, label in accepted)
    assert 0.2 < len(accepted) / len(fresh) < 0.5
    assert errors / len(accepted) <= 0.1
    assert len(accepted) / len(fresh) == pytest.approx(certificate.coverage, abs=0.08)


def test_confidence_is_calibrated_and_the_raw_one_is_kept(
    agent: Orchestrator, certificate: Certificate
):
    certified = agent.with_options(policy=Certified(certificate))
    outcome = certified.run(sign, "number 0.99")
    assert outcome.basis is not None
    assert outcome.confidence == outcome.basis.confidence[""]
    assert outcome.evidence[""].raw == pytest.approx((0.5 + 0.99 / 2) ** 0.3)
    part = certificate.parts[""]
    assert part.calibrated.calibration_error < part.raw.calibration_error / 2
    assert part.calibrated.log_loss < part.raw.log_loss
    unsure = certified.run(sign, "number 0.01")
    assert (unsure.served_by, unsure.reason) == ("none", "low_confidence")
    assert unsure.basis is not None
    least = unsure.basis.least[""]
    assert least is not None
    assert unsure.basis.confidence[""] < least <= outcome.confidence


def test_a_certificate_survives_its_file(certificate: Certificate, tmp_path):
    path = certificate.save(tmp_path / "sign.json")
    loaded = Certificate.load(path)
    assert loaded == certificate
    assert loaded.id == certificate.id
    text = json.loads(path.read_text())
    assert text["guarantee"] == certificate.guarantee
    assert set(text["depends_on"]) == {
        "model", "prompt", "schema", "library", "data", "calibrator",
    }  # fmt: skip
    assert Certified(tmp_path).certificates["sign"] == certificate
    assert Certified(str(path)).asks_slm("sign")


def test_an_edited_certificate_is_refused(certificate: Certificate, tmp_path):
    data = certificate.to_dict()
    data["parts"][""]["threshold"] = -5.0
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(data))
    with pytest.raises(CertificateError, match="not those it was made with"):
        Certificate.load(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "skill": "s"}'])
def test_what_is_no_certificate(text: str, tmp_path):
    path = tmp_path / "none.json"
    path.write_text(text)
    with pytest.raises(CertificateError):
        Certificate.load(path)
    with pytest.raises(CertificateError):
        Certificate.load(tmp_path / "missing.json")


def test_a_changed_model_prompt_or_type_is_refused(agent: Orchestrator, certificate: Certificate):
    policy = Certified(certificate)
    other_model = Orchestrator(Scripted(noisy_sign, name="other"), policy=policy)
    with pytest.raises(StaleCertificate) as refused:
        other_model.run(sign, "number 0.9")
    assert refused.value.changed == ("model",)
    assert "agent.calibrate" in str(refused.value)

    @skill(instructions="Another instruction.")
    def sign_again(text: str) -> Literal["plus", "minus", "none"]: ...

    sign_again.name = "sign"
    with pytest.raises(StaleCertificate) as refused:
        agent.with_options(policy=policy).run(sign_again, "number 0.9")
    assert set(refused.value.changed) == {"prompt", "schema"}


def test_a_certificate_of_another_version_is_refused(
    agent: Orchestrator, certificate: Certificate, monkeypatch
):
    monkeypatch.setattr("hetagent.__version__", "99.0")
    with pytest.raises(StaleCertificate, match="library"):
        agent.with_options(policy=Certified(certificate)).run(sign, "number 0.9")


def test_nothing_is_promised_where_nothing_can_be():
    guess = Orchestrator(Scripted(lambda _: Answer("plus", confidence=0.9)), progress=False)
    found = guess.calibrate(sign, examples(300), max_error=0.05)
    part = found.parts[""]
    assert (part.threshold, part.labels_needed, part.must_escalate) == (None, None, 1.0)
    assert "no number of labels" in found.explain()
    assert not Certified(found).asks_slm("sign")


def test_too_few_labels_say_how_many_would_do(agent: Orchestrator):
    found = agent.calibrate(sign, examples(60), max_error=0.05, confidence=0.99)
    part = found.parts[""]
    assert part.threshold is None
    assert part.labels_needed is not None
    assert part.labels_needed > 60
    assert str(part.labels_needed) in found.explain()


def noisy_pair(request: Request) -> Answer:
    left, right = map(int, request.messages[-1].content.split()[-2:])
    drawn = random.Random(left * 1000 + right)
    wrong = drawn.random() < 0.3
    # The left field is always right; the right one is wrong where it is unsure, mostly.
    sure = drawn.uniform(0.4, 0.7) if wrong else drawn.uniform(0.6, 1)
    return Answer({"left": left, "right": right + wrong}, fields={"right": sure})


def pairs(count: int) -> list[tuple[str, Any]]:
    drawn = random.Random(5)
    rows = [(drawn.randrange(1000), drawn.randrange(1000)) for _ in range(count)]
    return [(f"pair {a} {b}", Pair(left=a, right=b)) for a, b in rows]


def test_a_record_is_certified_by_field_and_as_a_whole():
    llm = Scripted(lambda request: Answer({"right": 7}), name="llm")
    agent = Orchestrator(Scripted(noisy_pair), llm=llm, escalate="fields", progress=False)
    found = agent.calibrate(pair, pairs(800), max_error=0.05)
    assert set(found.parts) == {"", "left", "right"}
    assert found.parts["left"].threshold == -math.inf, "all of them are right"
    assert found.parts["left"].coverage == 1
    assert 0.3 < found.parts["right"].coverage < 0.8
    agent = agent.with_options(policy=Certified(found, accept="fields"))
    outcomes = agent.map(pair, [text for text, _ in pairs(60)])
    served = {one.served_by for one in outcomes}
    assert served == {"slm", "both"}
    for one in outcomes:
        if one.served_by == "both":
            assert one.fields["left"].served_by == "slm"
            assert one.fields["right"].served_by == "llm"
            assert one.value.right == 7


def test_labels_may_leave_fields_out():
    agent = Orchestrator(Scripted(noisy_pair), progress=False)
    labelled = [(text, {"right": value.right}) for text, value in pairs(200)]
    assert set(agent.calibrate(pair, labelled).parts) == {"right"}


def test_the_users_own_rule_decides_what_is_right():
    agent = Orchestrator(Scripted(noisy_pair), progress=False)
    close = agent.calibrate(
        pair, pairs(200), correct=lambda value, label: abs(value["right"] - label["right"]) <= 1
    )
    assert set(close.parts) == {""}
    assert close.parts[""].coverage == 1
    by_field = agent.calibrate(
        pair, pairs(200), correct=lambda value, label: {"left": value["left"] == label["left"]}
    )
    assert set(by_field.parts) == {"", "left"}
    with pytest.raises(InputError, match="correctness function"):
        agent.calibrate(pair, pairs(50), correct=lambda value, label: 1)  # type: ignore[arg-type,return-value]


def test_answers_that_are_not_valid_escalate_and_are_counted():
    def sometimes(request: Request) -> Answer:
        number = float(request.messages[-1].content.split()[-1])
        if number > 0.5:
            return Answer(raw="neither", confidence=0.9)
        return noisy_sign(request)

    agent = Orchestrator(Scripted(sometimes), progress=False)
    found = agent.calibrate(sign, examples(600), max_error=0.2)
    assert found.unusable == sum(x > 0.5 for x in numbers(600))
    assert found.coverage < found.parts[""].coverage


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["one"] * 30, "no pair"),
        ([("number 1", "perhaps")] * 30, "no value of the output type"),
        ([("number 1", "plus")] * 5, "usable labelled examples"),
        ([], "usable labelled examples"),
    ],
)
def test_examples_that_cannot_be_used(agent: Orchestrator, given, words):
    with pytest.raises(InputError, match=words):
        agent.calibrate(sign, given)


def test_without_scikit_learn_the_model_is_not_even_asked(monkeypatch):
    monkeypatch.setattr("hetagent.calibrate.fitting.find_spec", lambda name: None)
    model = Scripted(noisy_sign)
    with pytest.raises(MissingExtraError, match=r"hetagent\[calibrate\]"):
        Orchestrator(model, progress=False).calibrate(sign, examples(30))
    assert model.requests == []


def test_a_model_that_fails_at_every_example_is_not_one_without_probabilities():
    down = Scripted(Answer(error=ModelError("It is down.")))
    with pytest.raises(ModelError, match="It is down"):
        Orchestrator(down, progress=False).calibrate(sign, examples(30))


@pytest.mark.parametrize(
    "option", [{"max_error": 0.0}, {"max_error": 1}, {"confidence": 1.5}, {"fit_share": 1}]
)
def test_levels_are_checked(agent: Orchestrator, option):
    with pytest.raises(InputError, match="between 0 and 1"):
        agent.calibrate(sign, examples(30), **option)


def test_a_model_without_probabilities_cannot_be_calibrated():
    class Silent:
        name = "silent"

        async def complete(self, request):
            from hetagent import Completion

            return Completion("plus", "silent")

    with pytest.raises(CertificateError, match="reports no probabilities"):
        Orchestrator(Silent(), progress=False).calibrate(sign, examples(30))
    with pytest.raises(SkillError, match="no small model"):
        Orchestrator(llm=Scripted(Answer("plus"))).calibrate(sign, examples(30))


def test_skills_without_a_certificate_escalate_or_follow_another_policy(
    agent: Orchestrator, certificate: Certificate
):
    strict = Certified(certificate)
    assert not strict.asks_slm("pair")
    easy = Certified(certificate, otherwise=Threshold(0.5))
    assert easy.asks_slm("pair")
    with pytest.raises(CertificateError, match="two certificates"):
        Certified([certificate, certificate])
    with pytest.raises(CertificateError, match="no certificates"):
        Certified([])


def test_a_field_without_a_threshold_is_never_sure_enough():
    agent = Orchestrator(Scripted(noisy_pair), progress=False)
    labelled = [(text, {"left": value.left}) for text, value in pairs(200)]
    found = agent.calibrate(pair, labelled)
    assert found.parts["left"].threshold == -math.inf
    outcome = agent.with_options(policy=Certified(found, accept="fields")).run(pair, "pair 1 2")
    assert (outcome.served_by, outcome.reason) == ("none", "low_confidence")
    assert outcome.basis is not None
    assert outcome.basis.promised == ("left",)


def test_whole_values_are_calibrated_as_they_are_judged_where_labels_leave_fields_out():
    agent = Orchestrator(Scripted(noisy_pair), progress=False)

    def rule(value: Any, label: Any) -> dict[str, bool]:
        found = {name: value[name] == label[name] for name in label}
        return {"": value["left"] > -1, **found}

    labelled = [
        (text, {"left": value.left, "right": value.right} if number % 2 else {"left": value.left})
        for number, (text, value) in enumerate(pairs(300))
    ]
    seen: list[Any] = []
    original = calibration.jointly

    def spy(whole: Any, confidence: Any) -> Any:
        seen.append(list(confidence))
        return original(whole, seen[-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "jointly", spy)
        agent.calibrate(pair, labelled, correct=rule)
    assert {len(one) for one in seen} == {2}


@pytest.mark.parametrize(
    ("place", "value"), [(("max_error",), 0.01), (("parts", "", "errors"), 0), (("id",), None)]
)
def test_no_number_of_a_certificate_can_be_edited(certificate: Certificate, place, value):
    data = json.loads(json.dumps(certificate.to_dict()))
    inner = data
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    with pytest.raises(CertificateError, match="numbers in the certificate"):
        Certificate.from_dict(data)


@pytest.mark.parametrize(
    ("n", "max_error", "share"),
    [(100, 0.05, 0.25), (1100, 0.05, 250 / 1100), (1200, 0.05, 0.25), (4000, 0.01, 0.15)],
)
def test_fewer_labels_fit_where_labels_are_short(n: int, max_error: float, share: float):
    assert share_to_fit(n, max_error=max_error, confidence=0.95) == pytest.approx(share)
