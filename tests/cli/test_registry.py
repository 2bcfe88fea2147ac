"""`hetagent registry` and `hetagent rollback`: what serves is seen, switched and taken back."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hetagent import Answer, Scripted
from hetagent.cli.app import app
from hetagent.demo.skills import intent
from hetagent.errors import RegistryError
from hetagent.registry import Registry
from tests.support.bindings import added
from tests.support.certificates import certificate


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("HETAGENT_REGISTRY", str(tmp_path / "registry"))
    return Registry()


@pytest.fixture
def names(registry: Registry) -> list[str]:
    """Two certified bindings of a skill, the older first."""
    promise = certificate(intent, Scripted(Answer("book")), max_error=0.05).to_dict()
    kept = registry.put(json.dumps(promise).encode())
    facts, lineage = {"accuracy": 0.95}, {"records": "elsewhere", "dataset": registry.put(b"rows")}
    return [
        added(
            registry, name=name, certificate=kept, facts=facts, lineage=lineage,
            made=f"2026-01-0{day}T00:00:00+00:00",
        )
        for day, name in enumerate("ab", 1)
    ]  # fmt: skip


def run(*words: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def test_an_empty_registry_says_so(registry):
    assert "Nothing was switched yet" in run("registry")
    assert json.loads(run("registry", "--json")) == {
        "registry": str(registry.folder), "skills": [],
    }  # fmt: skip
    assert "All is well" in run("registry", "verify")
    assert not registry.folder.exists()


def test_a_binding_that_waits_is_named(names):
    assert "it has bindings of intent" in run("registry")
    shown = run("registry", "show", "intent")
    assert "never switched" in shown
    assert names[1] in shown


def test_the_list_says_what_serves_and_what_is_promised(registry, names):
    registry.switch("intent", binding=names[0])
    registry.switch("intent", binding=names[1], mode="canary", share=0.1)
    registry.switch("tone", mode="off")
    rows = run("registry").splitlines()[2:]
    assert [row.split()[:3] for row in rows] == [
        ["intent", "live", names[0]],
        ["intent", "canary", "10%"],
        ["tone", "off", "-"],
    ]
    assert "smollm2-135m-instruct + adapter" in rows[0]
    assert rows[0].split()[-2:] == ["0.05", "90%"]
    data = json.loads(run("registry", "--json"))["skills"]
    assert [one["skill"] for one in data] == ["intent", "tone"]
    assert (data[0]["live"]["id"], data[0]["trial"]["id"]) == tuple(names)
    assert (data[0]["mode"], data[0]["share"]) == ("canary", 0.1)


def test_switching_takes_how_an_id_begins_and_says_what_is_so(registry, names):
    said = run("registry", "switch", "intent", "--binding", names[0][:6], "--why", "certified")
    assert said == f"intent: {names[0]} serves all calls.\n"
    trial = ("registry", "switch", "intent", "--binding", names[1], "--share", 0.25)
    assert run(*trial, "--mode", "canary") == (
        f"intent: {names[1]} serves 25% of the calls, {names[0]} serves the others.\n"
    )
    assert run(*trial, "--mode", "shadow") == (
        f"intent: {names[0]} serves all calls; {names[1]} answers 25% of them unheard.\n"
    )
    event = json.loads(run("registry", "switch", "intent", "--mode", "off", "--json"))
    assert (event["mode"], event["binding"]) == ("off", None)
    assert registry.state("intent").mode == "off"


def test_rolling_back(registry, names):
    for name in names:
        registry.switch("intent", binding=name)
    said = run("rollback", "intent", "--why", "worse on Mondays")
    assert said == f"intent: {names[0]} serves all calls.\n"
    assert json.loads(run("rollback", "intent", "--json"))["undo"]
    assert registry.state("intent").mode == "off"
    shown = run("registry", "history", "intent")
    assert "worse on Mondays" in shown
    assert shown.count("(rollback)") == 2
    assert len(json.loads(run("registry", "history", "intent", "--json"))) == 4
    with pytest.raises(RegistryError, match="nothing to roll back"):
        run("rollback", "intent")


def test_one_is_shown_with_where_it_came_from(registry, names):
    registry.switch("intent", binding=names[0], why="better by 3 points")
    shown = run("registry", "show", "intent")
    for words in (
        f"binding {names[0]}  live",
        "at most 0.05 of what is accepted is wrong, with probability 0.95; 90% is accepted",
        "accuracy",
        "better by 3 points",
        f"Other bindings\n  {names[1]}  made 2026-01-02 00:00 UTC",
    ):
        assert words in shown
    lines = {line.split()[0]: line for line in shown.splitlines() if line.startswith("  ")}
    assert "elsewhere  kept elsewhere" in lines["records"]
    assert lines["dataset"].endswith("4 B")
    data = json.loads(run("registry", "show", "intent", "--json"))
    assert [one["binding"]["id"] for one in data["bindings"]] == names
    assert data["state"]["live"]["id"] == names[0]


def test_what_is_damaged_is_said_and_ends_with_1(registry, names):
    certificate = registry.binding(names[0]).certificate
    registry.path(certificate).write_text("{}")
    assert "changed or damaged" in run("registry", "verify", code=1)
    assert len(json.loads(run("registry", "verify", "--json", code=1))["problems"]) == 1
    registry.switch("intent", binding=names[0])
    assert run("registry").splitlines()[2].split()[-5:-3] == ["-", "-"]


def test_what_is_unknown_is_refused(registry, names, tmp_path):
    for words in (
        ("registry", "show", "nothing"),
        ("registry", "history", "nothing"),
        ("registry", "show", "intent", "--registry", tmp_path / "other"),
        ("registry", "switch", "intent", "--binding", "zz"),
    ):
        with pytest.raises(RegistryError, match=r"There is no|Nothing was ever"):
            run(*words)
    with pytest.raises(RegistryError, match="2 bindings of intent begin with ''"):
        run("registry", "switch", "intent", "--binding", "")
