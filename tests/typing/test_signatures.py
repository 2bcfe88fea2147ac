"""The typed surface, pinned: mypy accepts every `assert_type` and finds every planted mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

PINS = Path(__file__).parent / "signatures.py"


def mypy(file: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}"]
    # A skill's body is only a docstring: the model is the body.
    command += ["--disable-error-code=empty-body"]
    command += ["--follow-imports=silent", "--ignore-missing-imports", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def test_mypy_accepts_the_pins(cache: Path):
    result = mypy(PINS, cache)
    assert result.returncode == 0, result.stdout


def test_mypy_would_find_a_wrong_pin(cache: Path, tmp_path: Path):
    text = PINS.read_text()
    wrong = text.replace('assert_type(booking("x"), Booking)', 'assert_type(booking("x"), str)')
    wrong = wrong.replace("agent.run(intent)  # type: ignore[call-arg]", "agent.run(intent)")
    assert wrong != text
    file = tmp_path / "wrong.py"
    file.write_text(wrong)
    result = mypy(file, cache)
    assert result.stdout.count("error:") == 2, result.stdout


def test_the_pins_hold_at_run_time():
    result = subprocess.run(
        [sys.executable, str(PINS)], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
