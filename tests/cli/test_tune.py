"""`hetagent tune`, and `hetagent run` with what it wrote."""

import json
import random

import pytest
import torch

from hetagent.cli import main

MODULE = '''
from typing import Literal
from hetagent import Answer, Scripted, skill

@skill
def kind(words: str) -> Literal["fruit", "tool"]:
    """Name what the words are of."""

@skill(model=Scripted(Answer("tool")))
def bound(words: str) -> Literal["fruit", "tool"]:
    """Name what the words are of."""
'''
WORDS = {"fruit": ["apple", "pear", "plum", "fig"], "tool": ["saw", "drill", "plane", "file"]}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def hetagent(tmp_path, monkeypatch, capsys):
    """Runs a command in a folder that has the module and labelled lines."""
    draw = random.Random(2)
    lines = []
    for _ in range(80):
        label = draw.choice(["fruit", "tool"])
        words = " ".join(draw.choices(WORDS[label], k=3))
        lines.append(json.dumps({"input": words, "label": label}))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "tuned_skills.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["hetagent", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        found = capsys.readouterr()
        return ended.value.code, found.out, found.err

    return run


def test_a_skill_is_tuned_and_run(hetagent, tiny_path, tmp_path):
    options = ("--slm", tiny_path, "--epochs", 8, "--rate", 0.02, "--rank", 4)
    code, out, err = hetagent("tune", "tuned_skills:kind", "rows.jsonl", "--out", "tuned", *options)
    assert code == 0, err
    assert "Learned" in out
    assert "exact" in out
    assert "Written to tuned/adapter.gguf." in out
    code, out, err = hetagent(
        "tune", "tuned_skills:kind", "rows.jsonl", "--out", "tuned", *options, "--json"
    )
    facts = json.loads(out)
    assert code == 0
    assert facts["agreement"]["holds"]
    assert facts["settings"]["rank"] == 4
    adapter = tmp_path / "tuned" / "adapter.gguf"
    ran = ("run", "tuned_skills:kind", "--input", "apple fig plum", "--json", "--threshold", "0")
    code, out, err = hetagent(*ran, "--slm", tiny_path, "--adapter", adapter)
    assert code == 0, err
    assert json.loads(out)["value"] == "fruit"
    merged = tmp_path / "merged.gguf"
    code, out, err = hetagent("models", "merge", tiny_path, adapter, "--out", merged)
    assert code == 0, err
    assert f"Written to {merged}" in out
    code, out, err = hetagent(*ran, "--slm", merged)
    assert code == 0, err
    assert json.loads(out)["value"] == "fruit"


def test_what_cannot_be_tuned_says_why(hetagent, tiny_path, tmp_path):
    ask = ("tune", "tuned_skills:kind", "rows.jsonl", "--out", "tuned", "--slm", tiny_path)
    code, _, err = hetagent(*ask, "--rank", 0)
    assert code == 2
    assert "rank=0" in err
    code, _, err = hetagent("tune", "tuned_skills:bound", "rows.jsonl", "--out", "tuned")
    assert code == 2
    assert "whose weights are not at hand" in err
    (tmp_path / "rows.jsonl").write_text('{"input": "saw", "label": "vegetable"}\n')
    code, _, err = hetagent(*ask)
    assert code == 2
    assert "rows.jsonl" in err
    code, _, err = hetagent(
        "run",
        "tuned_skills:kind",
        "--input",
        "x",
        "--slm",
        "openai/gpt-5-mini",
        "--adapter",
        "a.gguf",
    )
    assert code == 2
    assert "takes no adapter" in err
