"""`hetagent calibrate`, and `hetagent run` by what it wrote."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hetagent.calibrate.certificate import Certificate
from hetagent.cli import main
from hetagent.demo.certify import bundled_parts
from tests.support.openai_server import OpenAIServer, Reply

MODULE = '''
import random
from typing import Literal
from pydantic import BaseModel
from hetagent import Answer, Scripted, skill

def noisy(request):
    text = request.messages[-1].content
    drawn = random.Random(text)
    sure = 1 - 0.4 * drawn.random() ** 2
    right = text.split()[0]
    wrong = {"plus": "minus", "minus": "plus"}[right]
    return Answer(right if drawn.random() < sure else wrong, confidence=sure**0.3)

def guessed(request):
    drawn = random.Random(request.messages[-1].content)
    return Answer(drawn.choice(["plus", "minus"]), confidence=drawn.uniform(0.5, 1))

def pairs(request):
    left, right = map(int, request.messages[-1].content.split())
    drawn = random.Random(left * 1000 + right)
    wrong = drawn.random() < 0.5
    return Answer({"left": left, "right": right + wrong}, fields={"right": drawn.uniform(0.5, 1)})

class Pair(BaseModel):
    left: int
    right: int

@skill(model=Scripted(noisy, name="noisy"))
def sign(text: str) -> Literal["plus", "minus"]:
    """Say which sign it has."""

@skill(model=Scripted(guessed, name="guessed"))
def guess(text: str) -> Literal["plus", "minus"]:
    """Say which sign it has."""

@skill(model=Scripted(pairs, name="pairs"))
def pair(text: str) -> Pair:
    """Copy the pair."""

def close(value, label):
    return abs(value["right"] - label["right"]) <= 1

word = "no function"
'''


def signs(count: int) -> list[tuple[str, str]]:
    words = ["plus", "minus"] * (count // 2)
    return [(f"{word} {number}", word) for number, word in enumerate(words)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "judged.py").write_text(MODULE)
    lines = [json.dumps({"input": text, "label": label}) for text, label in signs(400)]
    (tmp_path / "signs.jsonl").write_text("\n".join(lines))
    drawn = random.Random(3)
    rows = [(drawn.randrange(1000), drawn.randrange(1000)) for _ in range(120)]
    (tmp_path / "pairs.jsonl").write_text(
        "\n".join(json.dumps([f"{a} {b}", {"left": a, "right": b}]) for a, b in rows)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "120")
    yield tmp_path
    sys.modules.pop("judged", None)


@pytest.fixture
def hetagent(folder, monkeypatch, capsys):
    """Runs a command in this process: exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        sys.modules.pop("judged", None)
        monkeypatch.setattr(sys, "argv", ["hetagent", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


def test_a_certificate_is_printed_in_words_and_written(hetagent, folder):
    code, out, _ = hetagent(
        "calibrate", "judged:sign", "signs.jsonl", "--max-error", "0.1", "--out", "sign.json"
    )
    found = Certificate.load(folder / "sign.json")
    part = found.parts[""]
    assert code == 0
    assert "400 labelled examples, 100 to fit confidences with and 300 to certify with." in out
    assert f"{part.errors} of {part.accepted}" in out
    assert f"{part.least_confidence:.3f}" in out
    assert f"{part.coverage:.0%}" in out
    assert f"{part.raw.log_loss:.3f}→{part.calibrated.log_loss:.3f}" in out
    assert found.guarantee in " ".join(out.split())
    assert f"Written to sign.json as {found.id}." in out


def test_a_run_goes_by_the_certificate(hetagent):
    hetagent("calibrate", "judged:sign", "signs.jsonl", "--max-error", "0.1", "--out", "s.json")
    found = Certificate.load("s.json")
    Path("new.jsonl").write_text("\n".join(json.dumps(f"plus {n}") for n in range(1000, 1200)))
    _, out, _ = hetagent(
        "run", "judged:sign", "--file", "new.jsonl", "--certificate", "s.json", "--json"
    )
    outcomes = [json.loads(line) for line in out.splitlines()]
    accepted = [one for one in outcomes if one["served_by"] == "slm"]
    least = found.parts[""].least_confidence
    assert 0 < len(accepted) < 200
    assert {one["basis"]["certificate"] for one in outcomes} == {found.id}
    assert all(one["confidence"] >= least for one in accepted)
    assert len(accepted) / 200 == pytest.approx(found.coverage, abs=0.15)


def test_a_run_by_a_certificate_of_another_prompt_is_refused(hetagent, folder):
    hetagent("calibrate", "judged:sign", "signs.jsonl", "--max-error", "0.1", "--out", "s.json")
    (folder / "judged.py").write_text(MODULE.replace("which sign it has", "what sign it bears"))
    code, _, err = hetagent("run", "judged:sign", "--input", "plus 1", "--certificate", "s.json")
    assert code == 2
    assert err.startswith("error: The certificate")
    assert "was made for other prompt" in err


def test_a_run_refuses_a_certificate_of_another_skill_or_beside_a_threshold(hetagent):
    hetagent("calibrate", "judged:sign", "signs.jsonl", "--max-error", "0.1", "--out", "s.json")
    code, _, err = hetagent("run", "judged:guess", "--input", "plus 1", "--certificate", "s.json")
    assert code == 2
    assert "s.json certifies sign, not guess." in err
    code, _, err = hetagent(
        "run", "judged:sign", "--input", "x", "--certificate", "s.json", "--threshold", "0.5"
    )
    assert code == 2
    assert "Both --threshold and --certificate" in err


def test_where_nothing_can_be_promised_it_says_why_and_the_exit_code_is_1(hetagent, folder):
    code, out, _ = hetagent("calibrate", "judged:guess", "signs.jsonl", "--out", "none.json")
    assert code == 1
    assert "nothing" in out
    assert "no number of labels would show 5.0% or less" in " ".join(out.split())
    assert "With a probability of at least" not in out
    assert Certificate.load(folder / "none.json").coverage == 0


def test_too_few_labels_say_how_many_would_do(hetagent, folder):
    lines = (folder / "signs.jsonl").read_text().splitlines()
    (folder / "few.jsonl").write_text("\n".join(lines[:60]))
    code, out, _ = hetagent("calibrate", "judged:sign", "few.jsonl", "--confidence", "0.99")
    assert code == 1
    assert "labels in all would be enough" in " ".join(out.split())
    assert "Nothing was written" in out


def test_a_record_is_certified_by_field_and_one_field_is_enough(hetagent):
    code, out, _ = hetagent("calibrate", "judged:pair", "pairs.jsonl", "--json")
    parts = json.loads(out)["parts"]
    assert set(parts) == {"", "left", "right"}
    assert parts["left"]["threshold"] == "all"
    assert parts[""]["threshold"] is None
    assert code == 0


def test_the_users_own_rule_judges(hetagent, folder):
    code, out, _ = hetagent(
        "calibrate", "judged:pair", "pairs.jsonl", "--correct", "judged:close", "--json"
    )
    assert code == 0
    (folder / "kept.json").write_text(out)
    found = Certificate.load(folder / "kept.json")
    assert set(found.parts) == {""}
    assert found.coverage == 1


def test_share_and_seed_part_the_examples(hetagent):
    _, out, _ = hetagent("calibrate", "judged:sign", "signs.jsonl", "--fit-share", "0.5", "--json")
    assert json.loads(out)["fitted"] == 200
    _, other, _ = hetagent(
        "calibrate", "judged:sign", "signs.jsonl", "--fit-share", "0.5", "--seed", "1", "--json"
    )
    assert json.loads(out)["parts"] != json.loads(other)["parts"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 3 of bad.jsonl is not JSON"),
        ('"plus 3"', "line 3 of bad.jsonl has no input and label"),
        ('{"input": "plus 3"}', "line 3 of bad.jsonl has no input and label"),
        ('["plus 3"]', "line 3 of bad.jsonl has no input and label"),
        ('["plus 3", "perhaps"]', "line 3 of bad.jsonl does not fit sign: The label 'perhaps'"),
        ('["", "plus"]', "line 3 of bad.jsonl does not fit sign"),
        ('[3, "plus"]', "line 3 of bad.jsonl does not fit sign"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(hetagent, folder, line, words):
    (folder / "bad.jsonl").write_text(f'["plus 1", "plus"]\n\n{line}\n')
    code, _, err = hetagent("calibrate", "judged:sign", "bad.jsonl")
    assert code == 2
    assert err.startswith("error: ")
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jsonl"], "missing.jsonl cannot be read"),
        (["empty.jsonl"], "empty.jsonl has no examples"),
        (["signs.jsonl", "--max-error", "0"], "max_error is 0"),
        (["signs.jsonl", "--confidence", "1"], "confidence is 1"),
        (["signs.jsonl", "--fit-share", "1.5"], "fit_share is 1.5"),
        (["signs.jsonl", "--out", "nowhere/c.json"], "There is no folder"),
        (["signs.jsonl", "--correct", "judged:word"], "has no function 'word'"),
        (["signs.jsonl", "--correct", "close"], "names no function"),
    ],
)
def test_mistakes_are_two_lines_and_exit_code_2(hetagent, folder, arguments, words):
    (folder / "empty.jsonl").write_text("\n")
    code, _, err = hetagent("calibrate", "judged:sign", *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert words in err


def test_without_scikit_learn_no_model_runs(hetagent, monkeypatch):
    monkeypatch.setattr("hetagent.calibrate.fitting.find_spec", lambda name: None)
    code, _, err = hetagent("calibrate", "judged:sign", "signs.jsonl")
    assert code == 2
    assert "pip install 'hetagent[calibrate]'" in err
    assert "judged" not in sys.modules, "not even the skill is looked for"


def test_a_model_that_cannot_run_says_why(hetagent, folder):
    broken = MODULE.replace("def noisy(request):", "def noisy(request):\n    return DOWN\n")
    (folder / "judged.py").write_text(
        "from hetagent.errors import ModelError\n"
        f"{broken}\nDOWN = Answer(error=ModelError('It is down.', hint='Start it.'))\n"
    )
    code, _, err = hetagent("calibrate", "judged:sign", "signs.jsonl")
    assert code == 2
    assert err == "error: It is down.\n  Start it.\n"


@pytest.mark.usefixtures("smol_path")
def test_the_real_small_model_is_calibrated_and_then_runs_by_its_certificate(tmp_path):
    messages = bundled_parts()["calibrate"][:80]
    (tmp_path / "tone.jsonl").write_text(
        "\n".join(json.dumps([one.text, one.labels["tone"]]) for one in messages)
    )

    def hetagent(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hetagent", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            check=False,
        )

    tone = "hetagent.demo.skills:tone"
    made = hetagent(
        "calibrate", tone, "tone.jsonl", "--max-error", "0.35", "--out", "tone.json", "--json"
    )
    assert made.returncode == 0, made.stderr
    facts = json.loads(made.stdout)
    assert facts["depends_on"].keys() >= {"model", "prompt", "schema", "data", "calibrator"}
    assert facts["coverage"] > 0.3
    surest = max(messages, key=lambda one: "wonderful" in one.text.casefold())
    ran = hetagent("run", tone, "--input", surest.text, "--certificate", "tone.json", "--json")
    outcome = json.loads(ran.stdout)
    assert outcome["basis"]["certificate"] == facts["id"], ran.stderr
    sure = outcome["basis"]["confidence"][""] >= outcome["basis"]["least"][""]
    assert outcome["served_by"] == ("slm" if sure else "none")


def asked(*more: str) -> list[str]:
    return ["calibrate", "judged:sign", "signs.jsonl", "--max-error", "0.1", *more]


def test_an_llm_is_asked_every_example_and_weighed(hetagent, monkeypatch):
    """Over real HTTP on loopback, at LiteLLM's bundled price of the model."""

    def reply(request: dict[str, Any]) -> Reply:
        sign = request["messages"][-1]["content"].split()[0]
        return Reply(json.dumps({"answer": sign}), prompt_tokens=50, completion_tokens=5)

    value = ["--value-of-correct-usd", "0.000015"]
    with OpenAIServer() as server:
        server.handler = reply
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
        llm = ["--llm", "openai/gpt-4o-mini"]
        code, out, err = hetagent(*asked(*llm, "--ask-llm", *value, "--out", "sign.json"))
        assert code == 0, err
        assert len(server.requests) == 400
        run = ["run", "judged:sign", "--certificate", "sign.json", "--file", "new.jsonl", "--json"]
        Path("new.jsonl").write_text("\n".join(json.dumps(f"plus {n}") for n in range(900, 940)))
        _, weighed, err = hetagent(*run, *llm, *value)
        assert len(server.requests) == 400, "no right answer is worth the price of another"
    (rung,) = Certificate.load("sign.json").rungs
    assert (rung.model, rung.accuracy, rung.n) == ("openai/gpt-4o-mini", 1.0, 400)
    assert rung.cost_usd == pytest.approx(50 * 0.15e-6 + 5 * 0.6e-6)
    words = " ".join(out.split())
    assert "openai/gpt-4o-mini: right on 100% of 400 examples" in words
    assert "With a right answer worth 1.5e-05 USD" in words
    outcomes = [json.loads(line) for line in weighed.splitlines()]
    assert len(outcomes) == 40, err
    assert all(one["basis"]["gains"] for one in outcomes)
    assert {one["served_by"] for one in outcomes} == {"slm", "none"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (asked("--ask-llm"), "--ask-llm has no LLM to ask."),
        (asked("--llm", "openai/gpt-4o-mini"), "--llm was given, but no LLM is asked."),
        (asked("--value-of-correct-usd", "1"), "--value-of-correct-usd was given, but no LLM"),
        (
            ["run", "judged:sign", "--input", "plus 1", "--value-of-correct-usd", "1"],
            "--value-of-correct-usd was given without a certificate.",
        ),
    ],
)
def test_options_that_need_others_say_which(hetagent, arguments, said):
    code, _, err = hetagent(*arguments)
    assert code == 2
    assert err.startswith(f"error: {said}")
    assert "--ask-llm" in err or "--llm" in err
