"""MetaGPT's run, but for MetaGPT: what stands in for packages, the settings, what records lack."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import UTC, datetime

import pytest
import yaml
from pydantic import BaseModel

from benchmarks.metagpt import found, settings
from benchmarks.metagpt.__main__ import interpreter
from benchmarks.metagpt.stand_ins import PACKAGES, StandIns, StandInUsedError, missing
from benchmarks.report import CannotMeasureError, Report
from hetagent.learn.record import CallError, CallRecord, Usage, new_id


@pytest.fixture
def stand_ins():
    made = StandIns(["not_there", "json"])
    made.install()
    yield made
    made.remove()


def test_a_package_that_is_not_installed_can_be_imported_named_and_subclassed(stand_ins):
    module = importlib.import_module("not_there.deep.inside")
    assert issubclass(type("Own", (module.Client,), {}), module.Client)
    assert isinstance(module.Client.Kind.of, type)
    assert stand_ins.imported == ["not_there", "not_there.deep", "not_there.deep.inside"]


def test_others_are_not_found_and_those_that_are_installed_are_themselves(stand_ins):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("not_there_either")
    assert importlib.import_module("json").loads("[1]") == [1]
    assert "json" not in stand_ins.imported


def test_what_it_decorates_is_left_as_it_is(stand_ins):
    module = importlib.import_module("not_there")

    @module.register
    def own() -> int:
        return 3

    assert own() == 3


def test_a_field_of_pydantic_may_be_of_it(stand_ins):
    module = importlib.import_module("not_there")

    class Holder(BaseModel):
        held: module.Client = None

    assert Holder(held=4).held == 4


def test_once_it_is_sealed_a_call_is_refused_and_noted(stand_ins):
    module = importlib.import_module("not_there")
    module.configure(level=1)
    stand_ins.seal()
    with pytest.raises(StandInUsedError, match=r"not_there\.Client was called"):
        module.Client("key")
    assert stand_ins.used == ["not_there.Client"]


def test_when_it_is_removed_its_modules_are_gone():
    made = StandIns(["gone_again"])
    made.install()
    importlib.import_module("gone_again.part")
    made.remove()
    assert not any(name.startswith("gone_again") for name in sys.modules)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gone_again")


def test_only_packages_that_are_missing_are_stood_in_for():
    assert missing(["json", "not_there", "also_not"]) == ["also_not", "not_there"]
    assert "openai" not in PACKAGES


def test_the_configuration_names_the_gateway_as_base_url(tmp_path):
    text = settings.config_text("http://127.0.0.1:8765/v1", model="gpt-4-turbo", max_token=700)
    settings.prepare(tmp_path, text)
    read = yaml.safe_load((tmp_path / ".metagpt" / "config2.yaml").read_text())
    assert read["llm"]["base_url"] == "http://127.0.0.1:8765/v1"
    assert (read["llm"]["model"], read["llm"]["max_token"]) == ("gpt-4-turbo", 700)
    assert read["repair_llm_output"] is True


def test_its_process_has_a_home_of_its_own_and_not_this_environments_packages(tmp_path):
    made = settings.environment(tmp_path, base={"PYTHONPATH": "src", "PATH": "/bin"})
    assert made["HOME"] == made["METAGPT_PROJECT_ROOT"] == str(tmp_path)
    assert made["PATH"] == "/bin"
    assert "PYTHONPATH" not in made


def test_ideas_are_projects_of_different_names():
    names = [json.loads(one.to_json())["name"] for one in settings.IDEAS]
    assert len(set(names)) == len(names) == len(settings.IDEAS)
    assert all(name.isidentifier() for name in names)


def test_its_environment_is_found_or_it_is_said_how_to_make_it(tmp_path):
    with pytest.raises(CannotMeasureError, match="nox -s metagpt"):
        interpreter(tmp_path)
    python = tmp_path / "metagpt-3-11" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert interpreter(tmp_path) == str(python)


def record(prompt: str, **changes) -> CallRecord:
    choice = {"message": {"role": "assistant", "content": "YES"}, "finish_reason": "stop"}
    whole = CallRecord(
        id=new_id(),
        time=datetime.now(UTC),
        form="openai.chat",
        source="gateway",
        model="gpt-4-turbo",
        request={"messages": [{"role": "user", "content": prompt}]},
        response={"choices": [choice]},
        served_model="gpt-4-turbo",
        usage=Usage(9, 1),
        seconds=1.0,
        first_token_seconds=0.5,
        streamed=True,
        redacted={},
    )
    return whole.with_(**changes)


def test_a_whole_record_lacks_nothing_and_each_gap_is_named():
    assert found.lacks(record("x")) == []
    assert found.lacks(record("x", usage=Usage(), first_token_seconds=None)) == [
        "tokens",
        "first token's seconds",
    ]
    assert found.lacks(record("x", response={"choices": []})) == ["answer", "finish_reason"]


def test_an_action_is_told_by_its_own_prompt():
    rewrite = "# Instruction: …\n## Rewrite Code: CodeBlock. If it still has some bugs"
    assert found.action(rewrite) == "WriteCodeReview: rewrite"
    assert found.action("- is_relative: <class 'str'>  # …") == "WritePRD: related?"
    assert found.action("What is the capital of France?") == "other"


def test_records_are_reported_with_their_workloads_and_the_share_that_is_convertible(tmp_path):
    pytest.importorskip("sklearn")
    asked = "Does the above log indicate anything that needs to be done? If so, please answer NO."
    kept = tmp_path / "kept.jsonl"
    some = [record(f"log of number {number}\n\n-----\n{asked}") for number in range(6)]
    failed = record("hello", response=None, error=CallError("Disconnected"), complete=False)
    kept.write_text("".join(f"{one.to_json()}\n" for one in [*some, failed]))
    report = Report()
    found.report_on(report, kept)
    rows = {row["part"]: row for row in reversed(report.rows)}
    assert (rows["calls"]["calls"], rows["calls"]["streamed"], rows["calls"]["failed"]) == (7, 7, 1)
    assert rows["actions"]["action"] == "Engineer: done?"
    assert rows["workloads"]["actions"] == "Engineer: done? 6"
    assert rows["convertible"]["share"] == pytest.approx(6 / 7)
    (target,) = report.targets
    assert target["holds"]
