"""`hetagent workloads rows`: lines that the exported skill's tuning and calibrating take."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hetagent import Skill
from hetagent.cli.app import app
from hetagent.cli.calibrate import labelled
from hetagent.cli.run import find_skill
from hetagent.errors import InputError
from tests.support import workload_calls as calls

pytest.importorskip("wordllama")
pytest.importorskip("sklearn")

PARTS = {
    "labels": calls.shop(30),
    "json": calls.orders(30),
    "tools": calls.tooled(30),
    "quoted": calls.quoted(40, answers=("open", "read", "leave")),
    "strange": calls.strange_tools(30),
}


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(app, ["workloads", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> tuple[Path, Path, dict[str, str]]:
    """Records, their workloads, and the name of each part's."""
    folder = tmp_path_factory.mktemp("rows")
    path = folder / "calls.jsonl"
    some = [one for part in PARTS.values() for one in reversed(part)]
    path.write_text("\n".join(one.to_json() for one in some) + "\n", encoding="utf-8")
    run("--records", path, "--save", folder / "kept")
    from hetagent.learn.cluster import Workloads

    found = Workloads.load(folder / "kept")
    return path, folder / "kept", {kind: str(found.assign(one[0])) for kind, one in PARTS.items()}


@pytest.mark.parametrize("kind", ["labels", "json", "tools", "quoted", "strange"])
def test_the_lines_fit_the_exported_skill(kept, kind, tmp_path, monkeypatch):
    records, saved, names = kept
    module, file = tmp_path / f"exported_rows_{kind}.py", tmp_path / "rows.jsonl"
    run("export", names[kind], "--saved", saved, "--out", module)
    text = run("rows", names[kind], "--records", records, "--saved", saved, "--out", file)
    assert f"Wrote {len(PARTS[kind])} rows" in text
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = __import__(module.stem)
    (name,) = [name for name, one in vars(loaded).items() if isinstance(one, Skill)]
    skill = find_skill(f"{module.stem}:{name}")
    pairs = labelled(skill, file)
    assert len(pairs) == len(PARTS[kind])
    for row, label in pairs:
        args, kwargs = skill.bind_row(row)
        assert skill.request(*args, **kwargs).messages
        # The label is a whole answer that the exported type has, and no part of one.
        assert skill.output.to_json(skill.output.parse(skill.output.text_of_json(label))) == label
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {one["record"] for one in lines} == {one.id for one in PARTS[kind]}
    assert [one["time"] for one in lines] == sorted(one["time"] for one in lines)
    sys.modules.pop(module.stem)


def test_what_is_left_out_is_told(kept, tmp_path):
    records, _, names = kept
    told = json.loads(
        run("rows", names["labels"], "--records", records, "--out", tmp_path / "x", "--json")
    )
    assert told == {"rows": 30, "left_out": {"another workload": 130}}
    text = run("rows", names["labels"], "--records", records, "--out", "-")
    assert len(text.splitlines()) == 30


def test_what_is_no_task_has_no_rows(kept, tmp_path):
    records, saved, names = kept
    with pytest.raises(InputError, match="no workload"):
        run("rows", "nothing", "--records", records, "--saved", saved, "--out", tmp_path / "x")
    with pytest.raises(InputError, match="cannot be written"):
        run("rows", names["labels"], "--records", records, "--saved", saved,
            "--out", tmp_path / "no" / "x")  # fmt: skip
