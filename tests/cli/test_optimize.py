"""``hetagent models optimize`` and what then lists, runs and removes its result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hetagent.cli.app import app
from hetagent.cli.options import model_named
from hetagent.engine import speed
from hetagent.errors import InputError, SkillError, UnknownModelError
from hetagent.models import optimize_trial
from hetagent.models.catalog import select
from hetagent.models.fetch_paths import model_path
from hetagent.models.fetch_store import record_path

SMOL = "smollm2-135m-instruct"
MODULE = '''
from typing import Literal
from hetagent import skill

@skill
def pick(text: str) -> Literal["a", "b"]:
    """Pick one."""
'''


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(optimize_trial, "_ROUNDS", 1)
    monkeypatch.setattr(optimize_trial, "_ROUND_SECONDS", 0.1)
    monkeypatch.setattr(optimize_trial, "_SUGGEST_ROUNDS", 1)
    monkeypatch.setattr(speed, "_SAMPLE_SECONDS", 0.05)
    monkeypatch.setattr(speed, "BATCH_SIZES", (32, 256))
    yield
    sys.modules.pop("labelled_skill", None)


@pytest.fixture
def pulled(smol_path: Path, scratch_cache: Path) -> Path:
    """The catalogue's model as if pulled into an empty cache."""
    path = model_path(*select(SMOL))
    path.parent.mkdir(parents=True)
    path.symlink_to(smol_path)
    record_path(path).write_bytes(record_path(smol_path).read_bytes())
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def optimize(*arguments: object) -> Result:
    return run("models", "optimize", *arguments)


def test_a_variant_is_made_listed_run_and_removed(pulled: Path):
    made = optimize(SMOL, "--type", "q8_0", "--unchecked", "--min-speedup", "0", "--json")
    assert made.exit_code == 0, made.stderr
    facts = json.loads(made.stdout)
    assert made.stderr == ""
    assert facts["kept"] == f"{SMOL}@q8_0"
    assert facts["original"]["type"] == "q4_1"
    assert facts["suggestion"]["threads"] >= 1
    variant = Path(facts["path"])
    assert variant.name == "SmolLM2-135M-Instruct.Q4_1@q8_0.gguf"

    (listed,) = (m for m in json.loads(run("models", "list", "--json").stdout) if m["name"] == SMOL)
    (known,) = listed["quantisations"][0]["variants"]
    assert known["name"] == f"{SMOL}@q8_0"
    assert known["facts"] == facts
    assert "Q4_1 @q8_0" in run("models", "list").stdout
    assert f"{SMOL}@q8_0  145 MB" in run("models", "show", SMOL).stdout
    assert run("models", "path", f"{SMOL}@q8_0", "--no-pull").stdout.strip() == str(variant)
    with model_named(f"{SMOL}@q8_0") as model:
        assert model.name == f"{SMOL}@q8_0"
        assert model.load().path == variant

    assert run("models", "remove", f"{SMOL}@q8_0").stdout == f"Removed {variant}\n"
    assert not variant.exists()
    again = run("models", "path", f"{SMOL}@q8_0")
    assert isinstance(again.exception, UnknownModelError)
    assert run("models", "remove", SMOL, "--json").exit_code == 0
    assert not pulled.is_symlink()
    assert sorted(path.name for path in pulled.parent.glob("[!.]*")) == []


def test_the_table_says_what_was_measured_and_why_nothing_is_kept(
    tiny_q4_path: Path, scratch_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("tiny.gguf").symlink_to(tiny_q4_path)
    Path("labelled_skill.py").write_text(MODULE)
    # Only one of the two answers can be right, whichever it is that the models give.
    rows = [{"input": "x", "output": "a"}, {"input": "x", "output": "b"}]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = optimize(
        *("tiny.gguf", "--type", "q8_0", "--skill", "labelled_skill:pick"),
        *("--file", "rows.jsonl"),
        *("--max-loss", "0.01"),
    )
    assert result.exit_code == 1
    header, original, candidate = result.stdout.splitlines()[:3]
    assert header.split()[:5] == ["weights", "size", "prefill", "decode", "calls/s"]
    assert original.split()[0] == "q4_1"
    assert original.split()[-1] == "original"
    assert candidate.split()[:3] == ["q8_0", "5", "MB"]
    assert candidate.split()[7:9] == ["0.500", "+0.000"]
    assert candidate.endswith("too few rows to tell")
    assert "2 rows are too few to show so small a loss; about 299 would" in result.stdout
    assert "Suggested: LlamaCpp('tiny.gguf', threads=" in result.stdout
    assert result.stderr.splitlines()[:3] == [
        "reading the original",
        "writing q8_0",
        "speed of q8_0",
    ]


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["--file", "rows.jsonl"], InputError, "both a skill and a file"),
        (["--max-loss", "0.01"], InputError, "no labelled rows"),
        (["--type", "q9"], UnknownModelError, "'q9' is not a type"),
        (["--type", "q4_1"], InputError, "is q4_1 already"),
        (["--skill", "nowhere:x", "--file", "y"], SkillError, "no module"),
        (["--prompt-tokens", "0", "--answer-steps", "0"], InputError, "no tokens"),
        (["--confidence", "95"], InputError, "confidence is 95"),
    ],
)
def test_mistakes(pulled: Path, arguments: list[str], kind: type[Exception], words: str):
    result = optimize(SMOL, *arguments)
    assert isinstance(result.exception, kind)
    assert words in str(result.exception)


def test_control_c_leaves_nothing(smol_path: Path, tmp_path: Path):
    source = tmp_path / "mine.gguf"
    source.symlink_to(smol_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "hetagent", "models", "optimize", str(source), "--type", "f32"],
        env={**os.environ, "HETAGENT_CACHE": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    stages = iter(process.stderr.readline, "")
    assert next(line for line in stages if line.startswith("writing")) == "writing f32\n"
    assert list(tmp_path.glob(".mine.optimize"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.glob("*") if "lock" not in path.name] == ["mine.gguf"]


def test_references_to_variants_of_files_are_local(smol_path: Path, tmp_path: Path):
    # LiteLLM's own names may hold an @ too.
    assert type(model_named("vertex_ai/claude-sonnet-4@20250514")).__name__ == "LiteLLM"
    with pytest.raises(UnknownModelError, match="has not been made"):
        model_named(f"{tmp_path}/none.gguf@q8_0")
