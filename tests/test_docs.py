"""The documentation holds: its code runs, its commands exist, its lists are complete.

Python blocks of one page run in order and share a namespace, on the real SmolLM2. A block with a
title is also written to a file of that name, so that later blocks and commands can use it. Hosted
models are played by a server on loopback, which answers with some valid value.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

import hetagent
from hetagent import errors
from hetagent.cli.app import app
from tests.support.openai_server import OpenAIServer, Reply

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md")) + [page for page in [ROOT / "README.md"] if page.is_file()]
FENCE = re.compile(
    r"(?P<skipped><!-- not executed: (?P<reason>[^>]+) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block, with the line its first line of code is on."""

    language: str
    code: str
    line: int
    title: str | None
    skipped: bool


def blocks(page: Path, language: str) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        code = "".join(line[indent:] or "\n" for line in match["code"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("code")) + 1
        found.append(Block(match["language"], code, line, match["title"], bool(match["skipped"])))
    return [block for block in found if block.language == language]


def commands(page: Path) -> list[list[str]]:
    lines = [line for block in blocks(page, "console") for line in block.code.splitlines()]
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    # Through a virtual environment's own folder it is the same command.
    return [[Path(w[0]).name, *w[1:]] for w in words if w and Path(w[0]).name == "hetagent"]


def some_value(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """A valid value of a schema such as the documentation's skills have."""
    if "$ref" in schema:
        return some_value(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "anyOf" in schema:
        return some_value(schema["anyOf"][-1], root)
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: some_value(part, root) for name, part in schema["properties"].items()}
    simple = {"string": "tea", "integer": 1, "number": 1.0, "boolean": True, "null": None}
    return simple[schema["type"]]


def some_answer(request: dict[str, Any]) -> Reply:
    schema = request["response_format"]["json_schema"]["schema"]
    return Reply(json.dumps(some_value(schema, schema)))


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """Stands in for OpenAI's own server."""
    with OpenAIServer() as server:
        server.handler = some_answer
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback")
        yield server


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.usefixtures("smol_path")
def test_the_code_of_a_page_runs(
    page: Path, provider: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"docs_{page.stem}"
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    titled = []
    for block in blocks(page, "python"):
        if block.title:
            (tmp_path / block.title).write_text(block.code, encoding="utf-8")
            titled.append(Path(block.title).stem)
        if not block.skipped:
            # Lines in a traceback are then those of the page.
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            exec(code, module.__dict__)
    for stem in titled:
        monkeypatch.delitem(sys.modules, stem, raising=False)
    for command in commands(page):
        if command[1] == "run":
            run_command(command[1:], tmp_path)
    if page.name == "index.md":
        assert {request.body["model"] for request in provider.requests} == {"gpt-5-mini"}


def run_command(arguments: list[str], folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "hetagent", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_few_blocks_are_not_executed() -> None:
    every = [block for page in PAGES for block in blocks(page, "python")]
    assert len(every) > 25
    assert sum(block.skipped for block in every) <= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_of_a_page_is_understood(page: Path) -> None:
    for _, *words in commands(page):
        command: Any = typer.main.get_command(app)
        while words and not words[0].startswith("-") and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        if words != ["--help"]:
            command.make_context("hetagent", words)


def test_commands_are_found() -> None:
    found = [" ".join(words) for page in PAGES for words in commands(page)]
    assert "hetagent doctor" in found
    assert any(command.startswith("hetagent run ") for command in found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_documentation_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in headings(file), f"{page.name}: {target}"


def headings(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_each_error_is_explained_and_in_the_tree_of_the_page() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    tree = next(block.code for block in blocks(DOCS / "errors.md", "text"))
    assert re.findall(r"\w+Error\b", tree) == re.findall(
        r"(?m)^[│├└─ ]*(\w+Error)\b", errors.__doc__ or ""
    )
    explained = re.findall(r"(?m)^\| `(\w+)` \|", text)
    assert sorted([*explained, "HetagentError"]) == errors.__all__


def test_each_public_name_is_in_the_reference() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    documented = {path.rpartition(".")[2] for path in re.findall(r"(?m)^::: (\S+)$", text)}
    if "errors" in documented:
        documented |= set(errors.__all__)
    assert set(hetagent.__all__) <= documented


def test_each_name_in_the_reference_exists() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    for path in re.findall(r"(?m)^::: (\S+)$", text):
        module, _, name = path.rpartition(".")
        __import__(path if path == "hetagent.errors" else module)
        assert hasattr(sys.modules[module], name), path
