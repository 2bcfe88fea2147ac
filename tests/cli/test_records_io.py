"""What `hetagent records import` reads and says; nothing is kept in these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hetagent.cli import records_io
from hetagent.errors import InputError

CALL = {
    "timestamp": 1_760_000_000,
    "workload_id": "weather",
    "client_id": "acme",
    "request": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "response": {"choices": [{"message": {"role": "assistant", "content": "yes"}}]},
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(CALL) + "\n" + json.dumps({**CALL, "response": None}) + "\n")
    return path


def run(*words: Any) -> Any:
    app = typer.Typer()
    app.command("import")(records_io.import_records)
    app.command("export")(records_io.export_records)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_log_is_read_and_told_of(log):
    result = run("import", log, "--dry-run")
    assert result.exit_code == 0, result.output
    words = f"{log}: 2 records of flywheel, 1 of them failed calls (read only, nothing is kept)."
    assert result.stdout.strip() == words


def test_json_for_scripts(log):
    log.write_text(log.read_text() + "{broken\n")
    result = run("import", log, log, "--dry-run", "--json", "--skip-faults")
    found = json.loads(result.stdout)
    assert [one["records"] for one in found["files"]] == [2, 2]
    assert [one["faults"] for one in found["files"]] == [1, 1]
    assert "Line 3" in found["faults"][0]
    assert found["kept"] is False


def test_a_broken_line_ends_it_unless_it_is_skipped(log):
    log.write_text("{broken\n" * 7 + log.read_text())
    result = run("import", log, "--dry-run", "--format", "flywheel")
    assert isinstance(result.exception, InputError)
    assert "Line 1" in str(result.exception)
    result = run("import", log, "--dry-run", "--format", "flywheel", "--skip-faults")
    assert result.exit_code == 0
    assert "and 2 more." in result.stderr


def test_a_rule_that_is_none_is_refused(log):
    result = run("import", log, "--dry-run", "--trainable", "openai")
    assert isinstance(result.exception, InputError)
    assert "PATTERN=no-train" in str(result.exception)


def test_the_formats_are_named():
    assert "flywheel (NVIDIA's data flywheel)" in records_io.formats_epilog()
