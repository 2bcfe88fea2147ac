"""What `hetagent demo --certify` prints."""

from __future__ import annotations

import json
import sys

import pytest

from hetagent.calibrate.certificate import Certificate
from hetagent.cli import main
from hetagent.demo.certify import MAX_ERROR
from tests.support.tone import tone_model


@pytest.fixture
def models(monkeypatch):
    """Names of the models that the command asked for; each is the scripted one."""
    named: list[str] = []

    def model_named(reference):
        named.append(reference)
        return tone_model()

    monkeypatch.setattr("hetagent.cli.certify.model_named", model_named)
    monkeypatch.setenv("COLUMNS", "100")
    return named


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["hetagent", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0


def test_it_tells_the_promise_the_check_and_the_refusal_on_one_screen(models, monkeypatch, capsys):
    assert run(monkeypatch, "demo", "--certify") == 0
    facts_printed = capsys.readouterr().out
    assert run(monkeypatch, "demo", "--certify", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert models == ["smollm2-135m-instruct"] * 2
    text = " ".join(facts_printed.split())
    apart, shifted = facts["apart"], facts["shifted"]
    assert "at most 10% of the answers that are accepted without the LLM are wrong" in text
    assert f"accepted for {apart['accepted']} of them" in text
    assert f"Wrong among the accepted: {apart['errors']}, which" in text
    assert f"between {apart['interval'][0]:.1%} and {apart['interval'][1]:.1%}" in text
    assert f"Drift is raised after {shifted['drift_at']} audits" in text
    assert f"of the {shifted['fallen_back']} messages that were left none is accepted" in text
    assert len(facts_printed.splitlines()) <= 40
    assert max(map(len, facts_printed.splitlines())) <= 100


def test_the_json_holds_the_certificate_and_no_other_line(models, monkeypatch, capsys):
    assert run(monkeypatch, "demo", "--certify", "--slm", "other", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert models == ["other"]
    certificate = Certificate.from_dict(facts["certificate"])
    assert certificate.id == facts["certificate"]["id"]
    assert certificate.max_error == MAX_ERROR
    assert facts["apart"]["coverage"] == facts["apart"]["accepted"] / facts["apart"]["messages"]
    assert facts["shifted"]["accepted_after"] == 0
    assert facts["seconds"] > 0


@pytest.mark.parametrize(
    "other", [["--no-llm"], ["--llm", "x"], ["--limit", "3"], ["--threshold", "0"]]
)
def test_options_of_the_plain_demonstration_do_not_go_with_it(models, monkeypatch, capsys, other):
    assert run(monkeypatch, "demo", "--certify", *other) == 2
    assert f"{other[0]} cannot be given together with --certify" in capsys.readouterr().err
    assert models == []


def test_without_scikit_learn_no_model_is_loaded(models, monkeypatch, capsys):
    monkeypatch.setattr("hetagent.calibrate.fitting.find_spec", lambda name: None)
    assert run(monkeypatch, "demo", "--certify") == 2
    assert "pip install 'hetagent[calibrate]'" in capsys.readouterr().err
    assert models == []
