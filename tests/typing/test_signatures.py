"""The typed surface, pinned: mypy accepts every `assert_type` and finds every planted mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.type_check import type_check

pytest.importorskip("mypy")

PINS = Path(__file__).parent / "signatures.py"


def test_mypy_accepts_the_pins(mypy_cache: Path):
    result = type_check(PINS, cache=mypy_cache)
    assert result.returncode == 0, result.stdout


def test_mypy_would_find_a_wrong_pin(mypy_cache: Path, tmp_path: Path):
    text = PINS.read_text()
    wrong = text.replace('assert_type(booking("x"), Booking)', 'assert_type(booking("x"), str)')
    wrong = wrong.replace("agent.run(intent)  # type: ignore[call-arg]", "agent.run(intent)")
    assert wrong != text
    file = tmp_path / "wrong.py"
    file.write_text(wrong)
    result = type_check(file, cache=mypy_cache)
    assert result.stdout.count("error:") == 2, result.stdout


def test_the_pins_hold_at_run_time():
    result = subprocess.run(
        [sys.executable, str(PINS)], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
