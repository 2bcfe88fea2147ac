"""The agents' benchmark: recordings are read, compared with the prompts, and reported."""

import json
import runpy
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import agents
from benchmarks.report import CannotMeasureError, Report
from hetagent.gateway.local import LocalUpstream
from hetagent.models.scripted import Scripted
from tests.support.agent_answers import answers
from tests.support.gateways import served

pytest.importorskip("wordllama")
pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A recording of the web operator, with a scripted model."""
    found = tmp_path_factory.mktemp("recordings")
    with served(LocalUpstream(Scripted(answers(2)), models=["*"])) as gateway:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["web_operator", "--tasks", "16"])
            patch.setenv("OPENAI_BASE_URL", f"{gateway.url}/v1")
            patch.setenv("OPENAI_API_KEY", "none")
            runpy.run_path(str(agents.FOLDER / "web_operator.py"), run_name="__main__")
        lines = [f"{one.to_json()}\n" for one in gateway.records(gateway.status()["calls"])]
    (found / "web_operator.jsonl").write_text("".join(lines), encoding="utf-8")
    return found


def options(folder: Path, **more: object) -> Namespace:
    given = {"records": folder, "recorded": [], "agents": ["web_operator"], "tasks": None}
    return Namespace(**{**given, **more})


def test_a_recording_is_used_again_and_its_workloads_are_the_prompts(folder):
    report = Report()
    agents.measure(report, options(folder))
    (row,) = [one for one in report.rows if one["part"] == "agents"]
    calls = len((folder / "web_operator.jsonl").read_text(encoding="utf-8").splitlines())
    assert (row["agent"], row["calls"], row["paper"]) == ("web_operator", calls, 0.4)
    assert row["prompts"] == 7
    assert row["Rand index"] > 0.95
    some = [one for one in report.rows if one["part"] == "workloads"]
    narrow = sum(one["calls"] for one in some if one["verdict"] == "narrow and repetitive")
    assert row["convertible"] == pytest.approx(narrow / calls)
    assert sum(one["calls"] for one in some) + row["of none"] == calls
    assert any("STEP" in one["prompts"] for one in some)
    assert any(
        one["name"].endswith("adjusted Rand index against its prompts") for one in report.targets
    )


def test_a_recording_of_another_agent_has_no_prompts_to_compare_with(folder):
    report = Report()
    file = folder / "web_operator.jsonl"
    agents.measure(report, options(folder, agents=[], recorded=[f"metagpt={file}"]))
    (row,) = [one for one in report.rows if one["part"] == "agents"]
    assert (row["agent"], row["paper"], row["its agent"]) == ("metagpt", 0.6, "MetaGPT")
    assert "Rand index" not in row
    assert [one["name"] for one in report.targets] == ["metagpt: calls recorded"]


def test_a_recording_that_is_not_there_is_said(folder):
    with pytest.raises(CannotMeasureError, match="NAME=FILE"):
        agents.measure(Report(), options(folder, recorded=["metagpt=nowhere.jsonl"]))


def test_the_prompts_meant_to_be_open_ended_are_in_the_agents():
    for name, agent in agents.AGENTS.items():
        source = runpy.run_path(str(agents.FOLDER / f"{name}.py"))
        assert all(isinstance(source[one], str) for one in agent.open_ended)


@pytest.mark.e2e
def test_an_agent_is_recorded_end_to_end_with_the_real_model(tmp_path):
    report = Report()
    chosen = agents.parser().parse_args(
        ["--records", str(tmp_path), "--agents", "gui_control", "--tasks", "1", "--port", "18931"]
    )
    agents.measure(report, chosen)
    (row,) = [one for one in report.rows if one["part"] == "agents"]
    assert row["calls"] >= 4
    assert row["failed"] == 0
    lines = (tmp_path / "gui_control.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(one)["model"] for one in lines} == {"gui_control"}
    assert all(one["holds"] for one in report.targets if "=" in one["target"][:1])
