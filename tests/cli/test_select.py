"""`hetagent select`, and `hetagent run` with what it chose."""

import json

import pytest

from hetagent.cli import main

MODULE = '''
from typing import Literal
from hetagent import skill

@skill
def kind(words: str) -> Literal["fruit", "tool"]:
    """Name what the words are of."""
'''
WORDS = {
    "fruit": ["apple", "pear", "plum", "fig", "cherry", "grape", "melon", "peach"],
    "tool": ["saw", "drill", "hammer", "file", "pliers", "wrench", "chisel", "axe"],
}


@pytest.fixture
def hetagent(tmp_path, monkeypatch, capsys):
    """Runs a command in a folder that has the module and labelled lines."""
    lines = [
        json.dumps({"input": f"{first} and {second}", "label": label})
        for label, words in WORDS.items()
        for first in words
        for second in words[:2]
        if first != second
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "select_skills.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["hetagent", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        found = capsys.readouterr()
        return ended.value.code, found.out, found.err

    return run


@pytest.mark.e2e
def test_a_model_is_selected_and_run(hetagent, tiny_path, tmp_path):
    ask = ("select", "select_skills:kind", "rows.jsonl", "--model", tiny_path, "--examples", 0)
    code, out, err = hetagent(*ask, "--tune", 0, "--out", "chosen", "--usd-per-hour", 1)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["entrant", "right", "95%"]
    assert "$/1,000" in lines[0]
    assert any(line.startswith("* classifier") for line in lines)
    assert any("llama" in line and "baseline" in line for line in lines)
    assert "Written to chosen." in lines
    model = next(line for line in lines if line.startswith("Run it:")).split()[-1]
    code, out, err = hetagent(
        "run", "select_skills:kind", "--slm", model, "--input", "cherry", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["value"] == "fruit"
    data = json.loads((tmp_path / "chosen" / "race.json").read_text())
    assert {one["kind"] for one in data["standings"]} == {"classifier", "untuned"}


def test_what_is_left_out_is_said(hetagent, scratch_cache):
    ask = ("select", "select_skills:kind", "rows.jsonl", "--tune", 0)
    code, out, err = hetagent(*ask, "--json")
    assert code == 0, err
    data = json.loads(out)
    assert data["choice"] == "classifier"
    assert len(data["refused"]) > 20
    code, out, err = hetagent(*ask)
    assert code == 0, err
    assert "Left out, not fetched: smollm2-135m-instruct, " in out
    assert "--fetch" in out
    assert "Nothing was written" in out


def test_what_cannot_be_selected_says_why(hetagent, tmp_path):
    ask = ("select", "select_skills:kind", "rows.jsonl")
    code, _, err = hetagent(*ask, "--margin", 2)
    assert code == 2
    assert "margin=2" in err
    code, _, err = hetagent(*ask, "--model", "nonesuch")
    assert code == 2
    assert "nonesuch" in err
    (tmp_path / "rows.jsonl").write_text('["saw", "tool"]\n')
    code, _, err = hetagent(*ask)
    assert code == 2
    assert "too few" in err
