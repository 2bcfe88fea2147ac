from __future__ import annotations

from pathlib import Path

import pytest

from hetagent.engine import speed
from hetagent.engine.speed import (
    Meter,
    Rates,
    TypicalCall,
    compare,
    fewest_threads,
    median_rates,
    smallest_batch,
    suggest,
)
from hetagent.errors import ModelFileError


def test_rates_of_the_real_model_and_what_they_suggest(
    smol_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(speed, "_SAMPLE_SECONDS", 0.1)
    monkeypatch.setattr(speed, "BATCH_SIZES", (32, 64, 128))
    # Each of them is tried, however slow the machine is just now.
    monkeypatch.setattr(speed, "_LONGEST_BATCH_SECONDS", 1000.0)
    with Meter(smol_path, extra_buffers=True, threads=2) as meter:
        (rounds,) = compare([meter], rounds=2)
        assert len(rounds) == 2
        rates = median_rates(rounds)
        # A batch shares each weight it reads among its tokens; a single token does not.
        assert rates.prefill > rates.decode > 1
        found = suggest(meter, cpus=2, call=TypicalCall(), rounds=1)
    assert set(found.by_threads) == {1, 2}
    assert found.threads in found.by_threads
    assert set(found.by_batch) == {32, 64, 128}
    assert found.batch in found.by_batch


def test_a_file_that_llama_cpp_refuses(tmp_path: Path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and so on")
    with pytest.raises(ModelFileError, match=r"cannot load broken\.gguf"):
        Meter(broken, extra_buffers=True, threads=1)


def test_the_time_of_a_call():
    assert Rates(100, 10).seconds(TypicalCall(50, 5)) == pytest.approx(1.0)


def test_the_fewest_threads_that_are_about_the_best():
    call = TypicalCall(10, 0)
    rates = {n: Rates(speed, 1) for n, speed in {1: 50, 2: 98, 4: 100, 8: 60}.items()}
    assert fewest_threads(rates, call=call) == 2
    assert fewest_threads(rates, call=call, tolerance=0) == 4


def test_the_smallest_batch_that_is_about_the_best():
    rates = {16: 40.0, 32: 80.0, 64: 98.0, 128: 100.0}
    assert smallest_batch(rates) == 64
    assert smallest_batch(rates, tolerance=0.25) == 32
