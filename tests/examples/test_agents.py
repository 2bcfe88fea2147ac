"""The agents run as they are against a gateway, whatever the model behind it answers."""

import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest

from hetagent.gateway.local import LocalUpstream
from hetagent.models.scripted import Answer, Scripted
from tests.support.agent_answers import answers
from tests.support.gateways import served

FOLDER = Path(__file__).parents[2] / "examples" / "agents"
AGENTS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs an agent against an address, and returns what it prints."""

    def start(name: str, url: str, *words: str) -> str:
        path = str(FOLDER / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *words])
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out

    return start


def test_there_are_three_agents_and_none_knows_of_hetagent():
    assert AGENTS == ["gui_control", "software_company", "web_operator"]
    for name in AGENTS:
        assert "hetagent" not in (FOLDER / f"{name}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_runs_through_the_gateway_and_each_call_is_recorded(name, run):
    with served(LocalUpstream(Scripted(answers(1)), models=["*"])) as gateway:
        printed = run(name, gateway.url, "--tasks", "2")
        calls = int(printed.split()[-5])
        assert printed.endswith(f"{calls} calls of the LLM\n")
        records = gateway.records(calls)
        assert len(records) == gateway.status()["calls"] == calls
    prompts = Counter(one.request["messages"][0]["content"] for one in records)
    assert len(prompts) >= 5
    assert max(prompts.values()) >= 4
    assert {one.request.get("stream", False) for one in records} == {name == "software_company"}
    assert all(one.error is None for one in records)


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("said", ["", "{", "yes and [no], merge /nowhere click(", "x" * 300])
def test_an_agent_ends_even_where_every_answer_is_nonsense(name, said, run):
    def script(request):
        return Answer("read_fact") if request.output.labels else Answer(raw=said)

    with served(LocalUpstream(Scripted(script), models=["*"])) as gateway:
        assert run(name, gateway.url, "--tasks", "1").endswith("calls of the LLM\n")
