"""The commands as a user types them, in a process of their own."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hetagent.demo import report
from hetagent.demo.skills import booking, intent, unhappy
from tests.support.stand_in import crashing_library

MODULE = '''
from typing import Literal
from hetagent import Answer, Scripted, skill

model = Scripted(lambda request: Answer("b", confidence=0.97, delay=DELAY))

@skill(model=model)
def pick(text: str) -> Literal["a", "b"]:
    """Pick one."""

@skill(model=model)
def pair(left: str, right: int) -> Literal["a", "b"]:
    """Pick one."""
'''


def hetagent(*arguments, cwd=None, env=None, stdin=None):
    return subprocess.run(
        [sys.executable, "-m", "hetagent", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "160", **(env or {})},
        input=stdin,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE.replace("DELAY", "0"))
    return tmp_path


def test_run_on_one_input(folder):
    result = hetagent("run", "mine:pick", "--input", "which?", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "0.97" in result.stdout
    assert "slm" in result.stdout


def test_run_on_a_file_as_json(folder):
    (folder / "rows.jsonl").write_text('"one"\n"two"\n\n""\n')
    result = hetagent("run", "mine:pick", "--file", "rows.jsonl", "--json", cwd=folder)
    outcomes = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["value"] for one in outcomes] == ["b", "b", None]
    assert outcomes[2]["reason"] == "invalid_input"
    assert result.returncode == 1  # one input got no value


def test_run_takes_rows_of_several_inputs_from_standard_input(folder):
    result = hetagent(
        "run", "mine:pair", "--file", "-", "--json", cwd=folder, stdin='{"left": "x", "right": 3}\n'
    )
    assert json.loads(result.stdout)["value"] == "b"


def test_threshold_decides_in_a_run(folder):
    result = hetagent(
        "run", "mine:pick", "--input", "x", "--threshold", "0.99", "--json", cwd=folder
    )
    outcome = json.loads(result.stdout)
    assert (outcome["served_by"], outcome["reason"]) == ("none", "low_confidence")
    assert outcome["draft"]["value"] == "b"
    assert result.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "mine"], "MODULE:NAME"),
        (["run", "nowhere:x", "--input", "y"], "no module 'nowhere'"),
        (["run", "mine:other", "--input", "y"], "It has pair, pick."),
        (["run", "mine:pick"], "Nothing to run on"),
        (["run", "mine:pick", "--input", "x", "--file", "y"], "Both --input and --file"),
        (["run", "mine:pick", "--file", "missing.jsonl"], "cannot be read"),
        (["run", "mine:pair", "--input", "not json"], "--input is not JSON"),
        (["run", "mine:pick", "--input", "x", "--threshold", "-1"], "Give a number from 0"),
        (["demo", "--slm", "smolm2"], "smollm2"),
        (["demo", "--no-llm", "--input", "missing.txt"], "cannot be read"),
        (["doctor", "--model", "missing.gguf"], "missing.gguf"),
    ],
)
def test_mistakes_are_two_lines_and_exit_code_2(folder, arguments, words):
    result = hetagent(*arguments, cwd=folder)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert words in result.stderr


def test_control_c_in_a_run_prints_what_is_finished(tmp_path):
    (tmp_path / "mine.py").write_text(
        MODULE.replace("DELAY", "float(request.messages[-1].content)")
    )
    (tmp_path / "rows.jsonl").write_text('"0.01"\n"0.02"\n"60"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "hetagent", "run", "mine:pick", "--file", "rows.jsonl", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert [json.loads(line)["reason"] for line in out.splitlines()] == [None, None, "cancelled"]
    assert "Traceback" not in err


def test_doctor_decodes_here():
    result = hetagent("doctor", "--json")
    assert result.returncode == 0, result.stdout
    facts = json.loads(result.stdout)
    assert facts["llama_cpp"]["status"] in ("ok", "fallback")
    assert facts["llama_cpp"]["decoded_with"].endswith(".gguf")
    assert "llama.cpp" in hetagent("doctor").stdout


@pytest.mark.parametrize("killer", ["SIGSEGV", "SIGILL"])
def test_doctor_on_a_build_that_crashes_says_so_and_lives(tmp_path, killer):
    library = crashing_library(tmp_path / "lib", killer)
    environment = {"LLAMA_CPP_LIB_PATH": str(library), "HETAGENT_CACHE": str(tmp_path / "cache")}
    result = hetagent("doctor", env=environment)
    assert result.returncode == 1  # a signal would be negative
    assert "crashes" in result.stdout
    assert killer in result.stdout
    assert "-mno-amx-tile" in result.stdout
    facts = json.loads(hetagent("doctor", "--json", env=environment).stdout)
    assert facts["llama_cpp"]["status"] == "crashed"
    assert any("--force-reinstall" in advice for advice in facts["advice"])


def test_a_run_on_a_build_that_crashes_is_an_error_and_no_signal(tmp_path):
    library = crashing_library(tmp_path / "lib", "SIGSEGV")
    (tmp_path / "mine.py").write_text(MODULE.replace("DELAY", "0").replace("(model=model)", ""))
    environment = {"LLAMA_CPP_LIB_PATH": str(library)}
    result = hetagent("run", "mine:pick", "--input", "x", "--json", cwd=tmp_path, env=environment)
    assert result.returncode == 1
    outcome = json.loads(result.stdout)
    assert outcome["error"]["type"] == "BackendError"
    assert "SIGSEGV" in outcome["error"]["message"]


def test_version():
    assert hetagent("--version").stdout.strip() == "0.1.0"


def test_a_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m hetagent models list --json | head -n 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in result.stderr


def test_demo_on_own_messages_with_the_small_model_alone(tmp_path):
    (tmp_path / "own.txt").write_text("A table for two please\nWhere are you?\n")
    result = hetagent("demo", "--no-llm", "--input", str(tmp_path / "own.txt"), "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert [row["message"] for row in facts["rows"]] == ["A table for two please", "Where are you?"]
    assert facts["tallies"]["all"]["slm"]["answered"] == 6
    assert facts["tallies"]["all"]["slm"]["agreement"] is None
    assert "llm" not in facts["tallies"]["all"]


def test_demo_prints_a_table_and_a_summary():
    result = hetagent("demo", "--no-llm", "--limit", "2")
    assert result.returncode == 0, result.stderr
    assert "Laura Simmons" in result.stdout
    assert "Agreement with the labels" in result.stdout
    assert "of the answers were served by the SLM" in result.stdout


def test_demo_sums_up_what_scripted_models_say():
    from hetagent import Answer, Scripted

    messages = report.bundled()[:4]
    by_text = {message.text: message.labels for message in messages}

    def answer(request, *, good, confidence):
        labels = by_text[request.messages[-1].content]
        for skill in (intent, booking, unhappy):
            if skill.output is request.output:
                value = labels[skill.name] if good else {"intent": "other"}.get(skill.name)
                value = labels[skill.name] if value is None else value
                return Answer(value, confidence=confidence)
        raise AssertionError(request)

    slm = Scripted(lambda request: answer(request, good=False, confidence=0.55), name="s")
    llm = Scripted(lambda request: answer(request, good=True, confidence=1.0), name="l")
    found = report.run(messages, slm=slm, llm=llm)
    assert found.tallies["intent"]["slm"].agreement == 0.0
    assert found.tallies["intent"]["llm"].agreement == 1.0
    assert found.tallies["intent"]["both"].agreement == 1.0  # 0.55 is below its threshold
    assert found.served_by_slm == pytest.approx(1 / 3)  # booking alone is above its own
    assert found.reasons == {"low_confidence": 8}
    assert found.tallies["all"]["both"].llm_calls == 8
    assert found.tallies["all"]["llm"].llm_calls == 12


def test_bundled_messages_are_enough_and_valid():
    messages = report.bundled()
    assert len(messages) >= 30
    assert len({message.text for message in messages}) == len(messages)
    for message in messages:
        for skill in (intent, booking, unhappy):
            skill.output.parse_json(message.labels[skill.name])


def test_input_that_looks_like_markup_is_shown_as_it_is(folder):
    result = hetagent("run", "mine:pick", "--input", "see [/foo] and [bold]x", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "see [/foo] and [bold]x" in result.stdout


def test_a_skill_may_be_named_by_its_file(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    result = hetagent("run", f"{folder}/mine.py:pick", "--input", "x", "--json", cwd=elsewhere)
    assert json.loads(result.stdout)["value"] == "b"


def test_unsure_answers_are_shown_as_drafts(folder):
    result = hetagent("run", "mine:pick", "--input", "x", "--threshold", "0.99", cwd=folder)
    assert "(b?)" in result.stdout


def test_an_interrupted_demo_sums_nothing_up(monkeypatch):
    from hetagent import Answer, Orchestrator, Scripted

    def interrupted(self, skill, rows):
        done = original(self, skill, rows)
        return [*done[:-1], dataclasses.replace(done[-1], reason="cancelled", served_by="none")]

    original = Orchestrator.map
    monkeypatch.setattr(Orchestrator, "map", interrupted)
    slm = Scripted(lambda request: Answer(next(iter(request.output.labels), None)))
    with pytest.raises(KeyboardInterrupt):
        report.run(report.bundled()[:3], slm=slm, llm=None)


def test_messages_without_labels_do_not_count_as_wrong():
    from hetagent import Answer, Scripted

    rows = [report.Message("a", {"intent": "book"}), report.Message("b", {})]
    slm = Scripted(lambda request: Answer("book") if request.output is intent.output else Answer())
    found = report.run(rows, slm=slm, llm=None)
    assert found.tallies["intent"]["slm"].agreement == 1.0
