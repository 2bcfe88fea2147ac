"""Run logs: what is in a line and what never is, and that no call is lost with a line."""

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from hetagent import Answer, Budget, Orchestrator, Outcome, Scripted, Usage, Window, skill
from hetagent.errors import BudgetError, ModelError, SkillError
from hetagent.report.runs import read_runs
from hetagent.sink import JsonLines, OutcomeLog, Sink, entry


class Note(BaseModel):
    who: str
    urgent: bool


@skill
def note(message: str) -> Note:
    """Copy out the note."""


@skill
def mood(message: str) -> Literal["secret-label", "other"]:
    """Tell the mood."""


def outcome(trace_id: str = "0" * 32) -> Outcome[str]:
    return Outcome("s", "x", 0.5, "slm", trace_id, 0.1)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_line_for_each_outcome(tmp_path):
    path = tmp_path / "deep" / "runs.jsonl"
    agent = Orchestrator(
        Scripted(Answer(Note(who="Ann", urgent=True), fields={"who": 0.4}), name="tiny"),
        llm=Scripted(Answer({"who": "Bob"}, usage=Usage(9, 0, 2, 0.001)), name="big"),
        escalate="fields",
        progress=False,
        log=path,
    )
    single = agent.run(note, "hello")
    rows = agent.map(note, ["one", "", "two"])
    found = lines(path)
    assert len(found) == 4
    by_trace = {one["trace_id"]: one for one in found}
    assert set(by_trace) == {one.trace_id for one in [single, *rows]}
    first = by_trace[single.trace_id]
    assert (first["skill"], first["served_by"], first["rung"]) == ("note", "both", 0)
    assert (first["reason"], first["weak"]) == ("low_confidence", ["who"])
    assert first["least"] == {"": 0.9}
    assert first["changed"] == ["who"]
    assert first["cost_usd"] == 0.001
    assert [call["model"] for call in first["calls"]] == ["tiny", "big"]
    assert first["evidence"]["who"]["raw"] == pytest.approx(0.4)
    assert by_trace[rows[1].trace_id]["reason"] == "invalid_input"
    assert agent.unrecorded == 0


def test_neither_inputs_nor_answers_are_in_it(tmp_path):
    path = tmp_path / "runs.jsonl"
    slm = Scripted(
        {
            "secret-input": Answer("secret-label", confidence=0.95),
            "secret-weak": Answer("secret-label", confidence=0.2),
            "secret-broken": Answer(raw="secret-raw"),
            "secret-failed": Answer(error=ModelError("secret-error")),
        },
        name="tiny",
    )
    agent = Orchestrator(slm, llm=Scripted(Answer("other")), progress=False, log=path)
    agent.map(mood, ["secret-input", "secret-weak", "secret-broken", "secret-failed", "secret-no"])
    assert len(lines(path)) == 5
    assert "secret" not in path.read_text()
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0


def test_answers_are_in_it_where_they_are_wanted(tmp_path):
    path = tmp_path / "runs.jsonl"
    slm = Scripted(Answer("secret-label", confidence=0.2))
    agent = Orchestrator(slm, llm=Scripted(Answer("other")), log=JsonLines(path, values=True))
    agent.run(mood, "secret-input")
    (line,) = lines(path)
    assert line["value"] == "other"
    assert line["draft"]["value"] == "secret-label"
    assert line["evidence"][""]["answer"] == "secret-label"
    assert "secret-input" not in path.read_text()


def test_streams_and_budgets_are_recorded_once(tmp_path):
    path = tmp_path / "runs.jsonl"
    slm = Scripted(Answer("other", confidence=0.2))
    agent = Orchestrator(slm, llm=Scripted(Answer("other")), log=path)
    with agent.stream(mood, "x") as answer:
        list(answer)
    capped = agent.with_options(
        budget=Budget(windows=(Window(seconds=60, llm_calls=0),), at_cap="raise")
    )
    with pytest.raises(BudgetError):
        capped.run(mood, "x")
    assert [one["reason"] for one in lines(path)] == ["low_confidence", "budget"]


def test_calibrating_is_no_run(tmp_path):
    path = tmp_path / "runs.jsonl"
    agent = Orchestrator(Scripted(Answer("other", confidence=0.8)), progress=False, log=path)
    agent.calibrate(mood, [(f"m{number}", "other") for number in range(60)])
    assert not path.exists()


def test_a_full_disk_loses_no_call(caplog):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    agent = Orchestrator(Scripted(Answer("other")), progress=False, log="/dev/full")
    with caplog.at_level(logging.WARNING, logger="hetagent"):
        outcomes = agent.map(mood, ["a", "b", "c"])
    assert [one.value for one in outcomes] == ["other"] * 3
    assert agent.unrecorded == 3
    assert agent.with_options(timeout=5).unrecorded == 3
    assert len([one for one in caplog.records if "not recorded" in one.message]) == 1


def test_a_sink_of_ones_own_may_fail_in_any_way(caplog):
    class Broken:
        def record(self, outcome: Outcome[Any]) -> None:
            raise ZeroDivisionError

    agent = Orchestrator(Scripted(Answer("other")), log=Broken())
    assert agent.run(mood, "x").value == "other"
    assert agent.unrecorded == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_sink_of_ones_own_gets_outcomes():
    class Kept(list[Outcome[Any]]):
        def record(self, outcome: Outcome[Any]) -> None:
            self.append(outcome)

    kept = Kept()
    assert isinstance(kept, Sink)
    done = Orchestrator(Scripted(Answer("other")), log=kept).run(mood, "x")
    assert kept == [done]


def test_what_is_no_sink_is_refused():
    with pytest.raises(SkillError, match="log is 7"):
        Orchestrator(Scripted(Answer("other")), log=7)  # type: ignore[arg-type]


def test_a_folder_is_an_unwritable_file(tmp_path):
    log = OutcomeLog(tmp_path)
    log.record(outcome())
    assert log.lost == 1


def _append(path: Path, start: int) -> None:
    sink = JsonLines(path)
    threads = [
        threading.Thread(target=lambda n=n: [sink.record(outcome(f"{start}-{n}-{i}"))
                                             for i in range(50)])
        for n in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_and_processes_share_a_file(tmp_path):
    path = tmp_path / "runs.jsonl"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append, args=(path, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    _append(path, 9)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    expected = {f"{s}-{n}-{i}" for s in (0, 1, 9) for n in range(4) for i in range(50)}
    found = [one["trace_id"] for one in lines(path)]
    assert len(found) == len(expected)
    assert set(found) == expected


LIMITED = """
import resource, sys
from hetagent import Outcome
from hetagent.sink import JsonLines, OutcomeLog
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
log = OutcomeLog(JsonLines(sys.argv[1]))
for number in range(9):
    log.record(Outcome("s", "x", 0.5, "slm", str(number), 0.1))
print(log.lost)
"""


def test_what_a_full_disk_left_of_a_line_is_skipped_and_ended(tmp_path):
    path = tmp_path / "runs.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    lost = int(done.stdout)
    assert 0 < lost < 9
    assert path.stat().st_size == 1000
    assert not path.read_bytes().endswith(b"\n"), "there is half a line"
    JsonLines(path).record(outcome("after"))
    found = read_runs([path])
    assert (found.lines, found.unreadable) == (9 - lost + 1, 1)
    assert json.loads(path.read_bytes().splitlines()[-1])["trace_id"] == "after"


ENDLESS = """
import sys
from typing import Literal
from hetagent import Answer, Orchestrator, Scripted, skill

@skill
def mood(message: str) -> Literal["a", "b"]:
    "Tell the mood."

agent = Orchestrator(Scripted(Answer("a")), progress=False, log=sys.argv[1])
agent.run(mood, "x")
print("ready", flush=True)
while all(one.reason is None for one in agent.map(mood, ["x"] * 50)):
    pass
"""


@pytest.mark.parametrize("press", [signal.SIGINT, signal.SIGKILL])
def test_stopping_it_leaves_nothing_a_reader_cannot_skip(tmp_path, press):
    path = tmp_path / "runs.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(press)
        process.wait(timeout=60)
    JsonLines(path).record(outcome("after"))
    found = read_runs([path])
    assert found.lines >= 2
    assert found.unreadable <= 1
    assert found.skills["s"].calls == 1


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path):
    sink = JsonLines(tmp_path / "runs.jsonl")
    sink.record(outcome("1"))
    (tmp_path / "runs.jsonl").rename(tmp_path / "runs.1.jsonl")
    sink.record(outcome("2"))
    assert [one["trace_id"] for one in lines(tmp_path / "runs.jsonl")] == ["2"]


def test_a_line_is_one_write(tmp_path, monkeypatch):
    written = []
    real = os.write

    def write(file: int, data: bytes) -> int:
        written.append(data)
        return real(file, data)

    monkeypatch.setattr(os, "write", write)
    JsonLines(tmp_path / "runs.jsonl").record(outcome())
    assert len(written) == 1
    assert written[0].count(b"\n") == 1
    assert written[0].endswith(b"\n")


def test_an_entry_is_json_whatever_the_names():
    odd = Outcome("ski\nll\ud800", None, None, "none", "0", 0.0, reason="cancelled")
    text = json.dumps(entry(odd))
    assert "\n" not in text
    assert json.loads(text)["skill"] == "ski\nll\ud800"
