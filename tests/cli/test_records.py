"""``hetagent records``, on a store of its own."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from typer.testing import CliRunner

from hetagent.cli.app import app
from hetagent.errors import StoreError
from hetagent.learn.keys import Key
from hetagent.learn.record import CallError, CallRecord, Usage, new_id
from hetagent.learn.redact import redactor
from hetagent.learn.store import Store


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in ("HETAGENT_RECORDS_KEY", "HETAGENT_ORIGINS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HETAGENT_RECORDS", str(tmp_path / "records.db"))
    monkeypatch.setenv("HETAGENT_KEYS", str(tmp_path / "keys"))
    return tmp_path / "records.db"


@pytest.fixture
def made(place):
    now = datetime.now(UTC)
    records = [
        CallRecord(
            id=new_id(), time=now - timedelta(days=n), form="openai.chat", source="gateway",
            model="gpt-4o" if n % 2 else "gpt-4o-mini", request={"said": f"said {n}"},
            workload="w" if n < 3 else None, usage=Usage(10, n), cost_usd=0.5, seconds=1.0,
            client_id=f"client-{n % 2}", error=CallError("Timeout") if n == 5 else None,
        )
        for n in range(6)
    ]  # fmt: skip
    with Store() as store:
        store.append(records)
    return records


def run(*words):
    result = CliRunner().invoke(app, ["records", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def run_json(*words):
    return json.loads(run(*words, "--json"))


def test_init_says_where_the_store_and_its_keys_are(place):
    found = run_json("init")
    assert found["store"] == str(place)
    assert set(found["keys"]) == {"records", "origins"}
    assert "keep a copy" in run("init")
    assert run_json("count") == {"records": 0}
    assert "no such records" in run("list")
    assert "no such records" in run("summary")


def test_list_shows_the_latest_first_and_no_text(made):
    lines = [json.loads(line) for line in run("list", "--json").splitlines()]
    assert [one["id"] for one in lines] == [one.id for one in made]
    assert "said" not in run("list", "--json")
    table = run("list", "--limit", "2")
    assert made[1].id in table
    assert made[2].id not in table
    assert "Timeout" in run("list", "--failed")


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ((), 6),
        (("--workload", "w"), 3),
        (("--model", "gpt-4o"), 3),
        (("--failed",), 1),
        (("--succeeded", "--model", "gpt-4o"), 2),
        (("--since", "2020-01-01"), 6),
        (("--until", "2020-01-01T00:00:00"), 0),
    ],
)
def test_count_counts_what_is_asked_for(made, options, count):
    assert run_json("count", *options) == {"records": count}


def test_show_shows_what_was_said(made):
    assert run_json("show", made[2].id)["request"] == {"said": "said 2"}
    assert '"said 2"' in run("show", made[2].id)
    with pytest.raises(StoreError, match="no record"):
        run("show", "nothing")


def test_summary_and_export(made, tmp_path):
    summary = run_json("summary")
    assert {one["name"]: one["calls"] for one in summary} == {None: 3, "w": 3}
    assert "50.0%" in run("summary")
    folder = str(tmp_path / "out")
    assert run_json("export", folder) == {"records": 6, "days": 6, "path": folder}
    assert "6 records" in run("export", folder, "--text")
    from_files = run_json("summary", "--exported", folder, "--by", "model")
    assert {one["name"]: one["calls"] for one in from_files} == {"gpt-4o": 3, "gpt-4o-mini": 3}
    assert len(run_json("summary", "--exported", folder, "--by", "day")) == 6
    for words in (("--by", "day"), ("--exported", folder, "--model", "x")):
        result = CliRunner().invoke(app, ["records", "summary", *words])
        assert result.exit_code == 2


def test_forget_erases_a_client_from_the_store_and_exports(made, tmp_path):
    folder = str(tmp_path / "out")
    run("export", folder)
    name = run("pseudonym", "client-1").strip()
    assert run_json("count", "--client", name) == {"records": 3}
    found = run_json("forget", "client-1", "--exported", folder)
    assert found == {"records": 3, "exported": {folder: 3}}
    assert run_json("count", "--client", name) == {"records": 0}
    assert run_json("count") == {"records": 3}
    assert "0 records" in run("forget", "client-1", "--yes", "--rewrite")


def test_retain_erases_what_is_old(made):
    assert run_json("retain", "--days", "2.5") == {"records": 3}
    assert "0 records" in run("retain", "--days", "2.5", "--yes")


def test_keys_are_listed_and_replaced(made):
    before = run_json("keys")["keys"]
    assert [(one["purpose"], one["here"]) for one in before].count(("records", True)) == 1
    done = run_json("rotate-key")
    assert done["records"] == 6
    assert done["key_id"] in run("keys")
    assert done["retired"][0] not in run("keys")
    assert "6 records" in run("rotate-key", "--keep-old")
    assert run_json("show", made[0].id)["request"] == {"said": "said 0"}


def test_new_keys_are_keys(place):
    assert Key.from_text(run("new-key").strip()) != Key.from_text(run("new-key").strip())


def test_roles_are_printed_as_sql():
    printed = run("roles", "--prefix", "shop")
    for role in ("shop_writer", "shop_reader", "shop_custodian"):
        assert f"CREATE ROLE {role}" in printed


def test_errors_are_two_lines_and_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hetagent", "records", "list", "--store", str(tmp_path / "no.db")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: There are no call records")
    assert len(done.stderr.splitlines()) == 2


def test_calls_of_another_tool_come_in_redacted_and_go_out(place, tmp_path, monkeypatch):
    # spaCy's model takes seconds to load, and has no part in this.
    plain = partial(redactor.Redactor, presidio=False, names=False)
    monkeypatch.setattr(redactor, "Redactor", plain)
    log = tmp_path / "log.jsonl"
    message = {"role": "user", "content": "Write to ann.lee@mail.example.org about order 7"}
    answer = {
        "choices": [{"message": {"role": "assistant", "content": "ann.lee@mail.example.org"}}]
    }
    call = {"timestamp": 1_760_000_000, "workload_id": "mail", "client_id": "acme",
            "request": {"model": "m", "messages": [message]}, "response": answer}  # fmt: skip
    log.write_text(json.dumps(call) + "\n")
    assert "1 records of flywheel" in run("import", str(log))
    assert run_json("import", str(log))["files"][0]["records"] == 1
    assert run_json("count") == {"records": 1}
    assert "NVIDIA" in run("import", "--help")
    for path in tmp_path.glob("records.db*"):
        assert b"ann.lee" not in path.read_bytes()
    for form in ("openai", "flywheel"):
        out = tmp_path / f"{form}.jsonl"
        assert run_json("export", str(out), "--format", form) == {
            "records": 1, "left_out": {}, "path": str(out),
        }  # fmt: skip
        (line,) = map(json.loads, out.read_text().splitlines())
        text = json.dumps(line)
        assert "ann.lee" not in text
        said = line.get("request", line)["messages"][0]["content"].split()[2]
        assert text.count(said) == 2  # the answer still copies it
