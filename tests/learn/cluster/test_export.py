"""A workload's exported file imports, type-checks, and runs as a skill."""

import importlib.util
import json
import sys
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hetagent import Answer, Orchestrator, Scripted, Skill, ToolCall
from hetagent.learn.cluster import Workloads
from hetagent.learn.cluster.actions import Output, schema_of
from hetagent.learn.cluster.export import export
from hetagent.learn.cluster.slots import Slot, slug
from hetagent.learn.cluster.workload import Verdict, Workload
from tests.support import workload_calls as calls
from tests.support.type_check import type_check

pytest.importorskip("wordllama")
pytest.importorskip("sklearn")

PARTS = {
    "labels": calls.shop(60),
    "json": calls.orders(60),
    "tools": calls.tooled(60),
    "any_tool": calls.strange_tools(40),
    "text": [
        calls.record(
            calls.said(
                "Write one warm sentence of thanks to the guest whose review you are given.",
                f"Review: {one.request['messages'][-1]['content']}",
            ),
            f"Thank you number {number}, we hope to see you again {number * 7}.",
        )
        for number, one in enumerate(calls.talk(60))
    ],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A file for each kind of workload."""
    folder = tmp_path_factory.mktemp("exported")
    found = Workloads.fit(list(chain(*PARTS.values())))
    paths = {}
    for kind, part in PARTS.items():
        (name,) = {found.assign(one) for one in part}
        assert name is not None, kind
        paths[kind] = folder / f"exported_{kind}.py"
        paths[kind].write_text(export(found[name]), encoding="utf-8")
    return paths


def module_of(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def skill_of(path: Path) -> Skill[..., Any]:
    (found,) = [one for one in vars(module_of(path)).values() if isinstance(one, Skill)]
    return found


def run(skill: Skill[..., Any], value: Any, **inputs: Any) -> Any:
    agent = Orchestrator(Scripted(Answer(value)), progress=False)
    return agent.run(skill, **inputs).value


def test_labels_are_a_literal(files):
    skill = skill_of(files["labels"])
    assert set(skill.output.labels) == {"refund", "delivery", "complaint"}
    assert skill.parameters == ("mail",)
    assert "household goods" in skill.instructions
    assert run(skill, "refund", mail="money back") == "refund"


def test_a_schema_is_a_model(files):
    skill = skill_of(files["json"])
    value = {"item": "lamp", "count": 2, "urgent": True, "note": None}
    found = run(skill, value, message="two lamps")
    assert found.model_dump() == value
    assert skill.schema["properties"]["item"]["description"] == "what is ordered"


def test_tools_are_functions(files):
    skill = skill_of(files["tools"])
    value = {"tool": "get_weather", "arguments": {"city": "Riga", "days": None, "unit": "c"}}
    found = run(skill, value, message="rain?")
    assert isinstance(found, ToolCall)
    assert found.arguments == {"city": "Riga", "days": None, "unit": "c"}
    with pytest.raises(NotImplementedError, match="get_weather"):
        found()


def test_tools_that_vary_are_an_input(files):
    skill = skill_of(files["any_tool"])
    assert skill.parameters == ("message", "tools")
    offered = [{"name": "x", "parameters": {"properties": {"day": {"type": "string"}}}}]
    call = {"tool": "x", "arguments": {"day": "Monday"}}
    found = run(skill, call, message="do x", tools=offered)
    assert found == ToolCall("x", {"day": "Monday"})


def test_free_text_is_a_string(files):
    skill = skill_of(files["text"])
    assert run(skill, "Thank you!", review="lovely") == "Thank you!"


def test_all_of_them_type_check_strictly(files, mypy_cache):
    pytest.importorskip("mypy")
    result = type_check(*files.values(), cache=mypy_cache)
    assert result.returncode == 0, result.stdout + result.stderr


def workload(**changes: Any) -> Workload:
    known: dict[str, Any] = {
        "name": "a task", "size": 9, "share": 0.5, "tokens": 1, "token_share": 0.1,
        "cost_usd": 0.0, "cost_share": 0.0, "instructions": "Do it.", "wordings": 1,
        "inputs": (Slot("text", "str"),), "output": Output("text"), "tools": (),
        "example": None, "drift": (), "verdict": Verdict(True, ()),
    }  # fmt: skip
    return Workload(**{**known, **changes})


@given(st.text(), st.lists(st.text(min_size=1), min_size=2, max_size=5, unique=True))
def test_any_words_make_a_file_that_compiles(words, labels):
    output = Output("labels", dict.fromkeys(labels, 5))
    slots = (Slot(slug(words), "choice", (), tuple(labels)),)
    source = export(workload(name=words, instructions=words, output=output, inputs=slots))
    compile(source, "exported.py", "exec")


@settings(max_examples=40)
@given(st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=5, unique=True))
def test_labels_are_the_same_when_they_are_imported(labels):
    labels = [one for one in labels if one.isprintable()] or ["😀", "naïve"]
    source = export(workload(output=Output("labels", dict.fromkeys([*labels, "🏖️"], 5))))
    assert set(imported(source).a_task.output.labels) == {*labels, "🏖️"}


NAMES = st.sampled_from(["class", "match", "tools", "skill", "Literal", "BaseModel", "a_task", "x",
                         "get-it", "get_it", "None", "none", "object", "X", "9"])  # fmt: skip


@settings(max_examples=60)
@given(
    st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=3, unique=True)), min_size=1, max_size=4,
             unique_by=lambda one: one[0])
)  # fmt: skip
def test_tools_of_any_name_import(given_tools):
    offered = tuple(
        {
            "name": name,
            "description": "",
            "parameters": {
                "type": "object",
                "properties": {
                    key: {"type": "object", "properties": {"a": {"enum": ["b"]}}}
                    for key in parameters
                },
                "required": parameters[:1],
            },
        }
        for name, parameters in given_tools
    )
    output = Output("tools", tools=tuple(one["name"] for one in offered))
    module = imported(export(workload(output=output, tools=offered)))
    (skill,) = [one for one in vars(module).values() if isinstance(one, Skill)]
    assert len(skill.output.schema["anyOf"]) == len(offered) + 1  # and none


def imported(source: str) -> ModuleType:
    module = ModuleType("exported_any")
    sys.modules["exported_any"] = module
    exec(compile(source, "exported.py", "exec"), module.__dict__)
    return module


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(st.lists(JSON, min_size=1, max_size=6))
def test_a_schema_of_values_allows_each_of_them(values):
    schema = schema_of(json.loads(json.dumps(values)))
    validator = Draft202012Validator(schema)
    assert all(validator.is_valid(value) for value in json.loads(json.dumps(values)))


@settings(max_examples=30)
@example([{"BOOL": None, "": {"1": 0}}, {"Int": True, "bool": False}])
@given(st.lists(st.dictionaries(st.text(max_size=6), JSON, min_size=1), min_size=1, max_size=4))
def test_any_answers_make_a_model_that_imports(values):
    output = Output("json", schema=schema_of(values))
    source = export(workload(output=output, instructions="Copy."))
    assert isinstance(imported(source).a_task, Skill)


def test_references_and_unions_of_an_asked_schema_become_types():
    schema = {
        "type": "object",
        "properties": {
            "status": {"enum": ["open", "shut"]},
            "tree": {"$ref": "#/$defs/Node"},
            "model_kind": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "class": {"type": "array", "items": {"type": "number"}},
        },
        "required": ["status", "tree", "model_kind", "class"],
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
                "required": ["children"],
            }
        },
    }
    source = export(workload(output=Output("json", schema=schema)))
    module = imported(source)
    value = {"status": "open", "tree": {"children": [{"children": []}]}, "model_kind": None,
             "class": [1.5]}  # fmt: skip
    assert module.a_task.output.to_json(run(module.a_task, value, text="x")) == value
