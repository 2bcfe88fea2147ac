"""From an agent's calls through the gateway to a dataset and a skill, each step from the store."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from typer.testing import CliRunner

from hetagent import Answer, Orchestrator, Scripted, Skill
from hetagent.cli.app import app
from hetagent.gateway import Gateway, HttpUpstream
from hetagent.gateway.server import serving
from hetagent.learn.cluster.kept import AssigningStore, found_before
from hetagent.learn.curate.dataset import Dataset
from hetagent.learn.pipeline import Pipeline
from hetagent.learn.redact import Redactor
from hetagent.learn.store import Reader, Store
from tests.support.stream_server import Got, Piecewise, StreamServer
from tests.support.type_check import type_check

pytest.importorskip("wordllama")
pytest.importorskip("sklearn")

SORT = (
    "You sort the mail of a shop that sells things for the house. The labels are refund, delivery, "
    "complaint and unknown. Answer with one of them and nothing else."
)
LOOK = (
    "You look things up for the people who work in a shop. Call the tool where it helps, and say "
    "in one word that it does not where it would not help at all."
)
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Search the shop.",
        "parameters": {
            "type": "object",
            "properties": {"words": {"type": "string"}},
            "required": ["words"],
        },
    },
}
THINGS = ("lamp", "tent", "rug", "sofa", "kettle", "drill", "mixer", "heater", "camera", "bicycle")
SAID = {
    "refund": "I want my money back for the {} number {}, write to ann{}@mail.example.org",
    "delivery": "where is the parcel with my {} of order {}? I am bea{}@mail.example.org",
    "complaint": "the {} number {} came broken and I am furious, cleo{}@mail.example.org",
    "unknown": "my neighbour's {} told {} jokes, or so says dan{}@mail.example.org",
}
LABELS = ("refund", "delivery", "refund", "complaint", "refund", "delivery", "refund", "unknown")


def mail(number: int) -> tuple[str, str]:
    label = LABELS[number % len(LABELS)]
    thing = THINGS[(number * 7 + number // 10) % len(THINGS)]
    return SAID[label].format(thing, 1000 + number * 37, number), label


def reply(got: Got) -> Piecewise:
    """The LLM, played by rule."""
    body = got.json
    said = body["messages"][-1]["content"]
    message = {"role": "assistant", "content": "nothing"}
    if "tools" in body:
        if "find" in said:
            arguments = json.dumps({"words": said.partition("find ")[2]})
            call = {"name": "search", "arguments": arguments}
            message = {
                "role": "assistant", "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": call}],
            }  # fmt: skip
    else:
        words = {"money": "refund", "parcel": "delivery", "broken": "complaint"}
        message["content"] = next((words[one] for one in words if one in said), "unknown")
    answer = {
        "model": "big-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 90, "completion_tokens": 4, "total_tokens": 94},
    }
    return Piecewise([json.dumps(answer).encode()])


def run(*words: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(one) for one in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def asked(base: str, count: int, *, start: int = 0, **marks: str) -> None:
    """What the agent asks: mail sorted, things looked up, two calls to a conversation."""
    with httpx.Client() as client:
        for number in range(start, start + count):
            text, _ = mail(number)
            headers = {"x-hetagent-conversation": f"c{number // 2}", "x-hetagent-client": "shop"}
            headers |= {f"x-hetagent-{name}": value for name, value in marks.items()}
            thing = THINGS[number % len(THINGS)]
            look = (
                f"find a {thing} of size {number}" if number % 3 else f"greet the {thing} {number}"
            )
            for body in (
                {"messages": said(SORT, f"Mail: {text}")},
                {"messages": said(LOOK, f"Asked: {look}"), "tools": [SEARCH]},
            ):
                got = client.post(
                    f"{base}/v1/chat/completions", json={"model": "big", **body}, headers=headers
                )
                assert got.status_code == 200


def said(system: str, user: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """The store of an agent that was recorded through the gateway, and what is found in it."""
    folder = tmp_path_factory.mktemp("flow")
    redact = partial(Redactor, presidio=False, names=False)  # spaCy would take seconds to load
    with pytest.MonkeyPatch.context() as patch, StreamServer() as upstream:
        patch.setenv("HETAGENT_RECORDS", str(folder / "records.db"))
        patch.setenv("HETAGENT_KEYS", str(folder / "keys"))
        patch.chdir(folder)
        upstream.reply = reply

        def record(store, count, **marks):
            pipeline = Pipeline(store, redact=redact())
            model = HttpUpstream(f"{upstream.url}/v1", trainable="trainable")
            with serving(Gateway(model, pipeline=pipeline)) as base:
                asked(base, count, **marks)
            assert pipeline.kept.lost == 0

        with Store() as store:
            record(store, 64)
            record(store, 6, start=100, interactive="true")
        found = json.loads(run("workloads", "--json"))
        with Store() as store:
            record(AssigningStore(store, found_before().workloads), 4, start=64)
        yield SimpleNamespace(folder=folder, found=found)


def named(flow: SimpleNamespace, kind: str) -> str:
    (name,) = [one["name"] for one in flow.found["workloads"] if one["output"]["kind"] == kind]
    return name


def test_what_is_kept_is_redacted_and_encrypted(flow):
    with Reader() as reader:
        whole = "".join(one.to_json() for one in reader.records())
    assert "mail.example.org" not in whole
    assert "for the house" in whole
    for path in flow.folder.rglob("*"):
        if path.is_file() and "set" not in path.parts:
            raw = path.read_bytes()
            assert b"mail.example.org" not in raw
            assert b"for the house" not in raw or path.suffix in (".py", ".jsonl", ".json")


def test_two_workloads_are_found_and_people_left_out(flow):
    assert [one["size"] for one in flow.found["workloads"]] == [64, 64]
    assert flow.found["left_out"] == {"interactive": 12}
    assert flow.found["trainable"] == {"trainable": 128}


def test_new_calls_were_assigned_as_they_were_recorded(flow):
    counts = {one["name"]: one["calls"] for one in json.loads(run("records", "summary", "--json"))}
    assert counts == {named(flow, "labels"): 68, named(flow, "tools"): 68, None: 12}


def test_a_dataset_is_made_of_a_workload_and_made_again_alike(flow):
    target = flow.folder / "set-mail"
    data = json.loads(
        run("curate", "--workload", named(flow, "labels"), "--out", target, "--cap", "12", "--json")
    )
    steps = {one["name"]: one for one in data["report"]["steps"]}
    assert steps["workload"]["removed"] == 68 + 12
    assert all(data["counts"].values())
    assert data["sources"][0]["store"] == str(flow.folder / "records.db")
    dataset = Dataset.load(target)
    dataset.verify()
    by_split = {name: list(dataset.examples(name)) for name in ("train", "validation", "test")}
    assert [one.class_ for one in by_split["train"]].count("label:refund") == 12  # the cap
    abstained = [one for some in by_split.values() for one in some if one.class_ == "abstain"]
    assert len(abstained) == sum(LABELS[n % 8] == "unknown" for n in range(68))
    units = [{one.unit for one in some} for some in by_split.values()]
    assert not units[0] & units[1] | units[0] & units[2] | units[1] & units[2]
    times = {one.id: one.time for one in Reader().records()}
    first = {name: min(times[one.record] for one in some) for name, some in by_split.items()}
    assert first["train"] < first["validation"] < first["test"]
    assert run("curate", "--replay", target).startswith("The same")
    card = (target / "card.md").read_text()
    for word in (dataset.hash, "abstain", "records.db", named(flow, "labels"), "over the cap"):
        assert word in card


def test_calls_of_no_tool_are_kept(flow):
    target = flow.folder / "set-look"
    run(
        "curate",
        "--workload",
        named(flow, "tools"),
        "--out",
        target,
        "--cap",
        "5",
        "--validation",
        "0",
    )
    classes = [one.class_ for one in Dataset.load(target).examples("train")]
    assert classes.count("tool:search") == 5
    assert classes.count("no_tool") > 10


def test_calls_with_people_in_them_are_counted_where_they_are_left_out(flow):
    target = flow.folder / "set-all"
    data = json.loads(run("curate", "--out", target, "--json"))
    steps = {one["name"]: one for one in data["report"]["steps"]}
    assert steps["provenance"]["reasons"]["interactive"]["count"] == 12


def test_the_skill_of_a_workload_imports_type_checks_and_runs(flow, mypy_cache):
    path = flow.folder / "flow_skill.py"
    run("workloads", "export", named(flow, "labels"), "--out", path)
    checked = type_check(path, cache=mypy_cache)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    spec = importlib.util.spec_from_file_location("flow_skill", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["flow_skill"] = module
    spec.loader.exec_module(module)
    (skill,) = [one for one in vars(module).values() if isinstance(one, Skill)]
    assert set(skill.output.labels) == {"refund", "delivery", "complaint", "unknown"}
    text, label = mail(500)
    agent = Orchestrator(Scripted(Answer(label)), progress=False)
    assert agent.run(skill, **{skill.parameters[0]: text}).value == label


def test_what_is_said_of_the_store_goes_into_a_report(flow):
    run("report", "--out", flow.folder / "page.html")
    page = (flow.folder / "page.html").read_text(encoding="utf-8")
    assert named(flow, "labels") in page
    assert "How calls divide" in page
