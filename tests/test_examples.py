"""Every example runs as it is, on the real models, and shows what it is there to show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name: str) -> str:
    """Standard output of an example, which must end well and warn of nothing."""
    result = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        # Threads that spin would starve the test process's own model.
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


@pytest.mark.usefixtures("smol_path")
def test_declare_a_skill():
    printed = run("01_declare_a_skill.py")
    assert len(re.findall(r"(?m)^  (?:happy|unhappy), confidence [01]\.\d\d$", printed)) == 2
    orders = re.findall(r"Order\(item='(.+)', quantity=(\d+), table=(\d+|None)\)", printed)
    assert orders[0] == ("tea", "4", "9")
    assert len(orders) == 2
    assert len(re.findall(r"(?m)^  (?:item|quantity|table) .* [01]\.\d\d$", printed)) == 6


@pytest.mark.e2e
def test_escalate_to_an_llm():
    printed = run("02_escalate_to_an_llm.py")
    assert "by slm, accepted" in printed
    assert "by both, low_confidence" in printed
    assert "by llm, low_confidence" in printed
    assert printed.count("cost $0.0000, seconds {'slm': ") == 3


@pytest.mark.usefixtures("smol_path")
def test_swap_models():
    header, *rows = run("03_swap_models.py").splitlines()
    assert header.split() == ["smollm2-135m-instruct", "word-list", "always-happy"]
    assert len(rows) == 3
    for row in rows:
        assert re.search(r"(un)?happy, [01]\.\d\d +(un)?happy, no confidence +happy, 0\.90 *$", row)
    assert "unhappy, no confidence" in rows[0]


@pytest.mark.e2e
def test_stream_fields():
    printed = run("04_stream_fields.py")
    fields = re.findall(r"(?m)^ +\d+\.\d\d s  (item|quantity|table) .* by (slm|llm)$", printed)
    assert {path for path, _ in fields} == {"item", "quantity", "table"}
    assert {by for _, by in fields} == {"slm", "llm"}
    assert len(re.findall(r"(?m)^  Order\(.*\) by (?:slm|both|llm)$", printed)) == 2


@pytest.mark.e2e
@pytest.mark.usefixtures("smol_path")
def test_calibrate_and_certify():
    printed = run("05_calibrate_and_certify.py")
    promise = re.search(r"(?m)^Whole value: accepted .* (\d+) of (\d+) were wrong", printed)
    assert promise, printed
    errors, accepted = map(int, promise.groups())
    assert errors / accepted < 0.15
    needed = re.findall(r"(?m)^(?:positive|negative): (\S+) sure, (\S+) needed: ", printed)
    assert all(float(sure) >= float(least) for sure, least in needed)
    counts = re.search(r"(?m)^(\d+) of 40 new messages accepted, (\d+) of them wrong$", printed)
    assert counts, printed
    accepted, wrong = map(int, counts.groups())
    assert 10 <= accepted < 40
    assert wrong < accepted / 2
    assert "refused: The certificate" in printed
    assert "was made for other prompt" in printed


def test_each_example_is_short_and_tested():
    source = Path(__file__).read_text(encoding="utf-8")
    assert len(EXAMPLES) == 5
    for path in EXAMPLES:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60, path.name
        assert f'run("{path.name}")' in source
