"""Which way to attend is measured, and taken where nothing else was asked for."""

from pathlib import Path
from typing import Any

import pytest

from hetagent import LlamaCpp
from hetagent.engine import attention, engine
from hetagent.engine.llama import LlamaWeights
from hetagent.engine.probe import Verdict


@pytest.fixture(scope="module")
def weights(smol_path: Path) -> LlamaWeights:
    return LlamaWeights(smol_path, gpu_layers=0, extra_buffers=True)


def test_it_is_measured(weights: LlamaWeights):
    assert attention.faster_attention(weights, threads=2) in ("on", "off", None)


@pytest.mark.parametrize(
    ("times", "faster"),
    [((2.0, 1.0), "off"), ((1.0, 2.0), "on"), ((1.0, 1.05), None), ((1.05, 1.0), None)],
)
def test_the_faster_by_a_margin(
    weights: LlamaWeights, monkeypatch: pytest.MonkeyPatch, times: Any, faster: str | None
):
    seen: list[Any] = []

    def evaluate(context: Any, *_: Any, **__: Any) -> float:
        if context not in seen:
            seen.append(context)
        return float(times[seen.index(context)])

    monkeypatch.setattr(attention, "_evaluate", evaluate)
    assert attention.faster_attention(weights, threads=2) == faster


def test_nobody_waits_long_for_it(weights: LlamaWeights, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attention, "_PATIENCE_S", 0.0)
    assert attention.faster_attention(weights, threads=2) is None


@pytest.mark.parametrize(
    ("asked", "found", "taken"),
    [("auto", "on", "on"), ("auto", "off", "off"), ("auto", None, "auto"), ("off", "on", "off")],
)
def test_what_was_measured_is_taken(
    smol_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Any, found: Any, taken: str
):
    made = []

    class Context(engine.LlamaContext):
        def __init__(self, weights: LlamaWeights, options: Any) -> None:
            made.append(options.flash_attention)
            super().__init__(weights, options)

    monkeypatch.setattr(engine, "LlamaContext", Context)
    monkeypatch.setattr(engine, "require", lambda *_, **__: Verdict("ok", flash_attention=found))
    with LlamaCpp(smol_path, flash_attention=asked, context=300, kv_tokens=300).load():
        pass
    assert made == [taken]
