"""The KV cache: sequences that are forked, extended together, kept, dropped, saved and restored."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hetagent.engine.context import SEQUENCES, Batch, ContextOptions, LlamaContext
from hetagent.engine.library import llama_cpp
from hetagent.engine.llama import LlamaWeights
from hetagent.errors import ModelError
from tests.support.lora import write_adapter

TEXT = list(range(1000, 1060))
OPTIONS = ContextOptions(cells=512, batch=256, threads=2, flash_attention="off", kv_type="f32")


@pytest.fixture(scope="module")
def weights(f32_path: Path) -> Iterator[LlamaWeights]:
    loaded = LlamaWeights(f32_path, gpu_layers=0, extra_buffers=True)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def made(weights: LlamaWeights) -> Iterator[LlamaContext]:
    context = LlamaContext(weights, OPTIONS)
    yield context
    context.close()


@pytest.fixture
def context(made: LlamaContext) -> LlamaContext:
    made.use_adapters(())
    clear(made)
    return made


def clear(context: LlamaContext) -> None:
    context.drop(-1)  # any sequence


def extend(
    context: LlamaContext, tokens: Sequence[int], at: int, sequences: Sequence[int] = (0,)
) -> Any:
    """Logits after the last of some tokens."""
    batch = Batch(256)
    batch.add_run(tokens, at, sequences)
    batch.want_last()
    context.submit(batch)
    return context.logits(batch)[0].copy()


def test_a_fork_goes_on_alone(context: LlamaContext):
    extend(context, TEXT, 0)
    context.fork(0, 1)
    one = extend(context, [7, 8], 60)
    other = extend(context, [9, 8], 60, (1,))
    clear(context)
    assert np.abs(extend(context, [*TEXT, 7, 8], 0) - one).max() < 1e-3
    clear(context)
    assert np.abs(extend(context, [*TEXT, 9, 8], 0) - other).max() < 1e-3
    assert np.abs(one - other).max() > 1e-2


def test_a_branch_that_is_kept_is_the_text_that_follows(context: LlamaContext):
    """Two branches in one batch, the tokens before them in both; the first becomes the text."""
    extend(context, TEXT[:50], 0)
    for branch in (1, 2):
        context.fork(0, branch)
    batch = Batch(64)
    batch.add_run(TEXT[50:], 50, [0, 1, 2])
    batch.add(7, 60, [1, 2], wanted=True)
    batch.add(8, 61, [1], wanted=True)
    batch.add(9, 61, [2], wanted=True)
    context.submit(batch)
    both, first, second = context.logits(batch).copy()
    context.fork(1, 0, start=60, end=62)
    for branch in (1, 2):
        context.drop(branch)
    kept = extend(context, [5], 62)
    for tokens, logits in (([7], both), ([7, 8], first), ([7, 9], second), ([7, 8, 5], kept)):
        clear(context)
        assert np.abs(extend(context, [*TEXT, *tokens], 0) - logits).max() < 1e-3


def test_dropping_frees_what_no_other_sequence_has(context: LlamaContext):
    """512 cells: two texts of 256 fill them."""
    long = [1000 + n for n in range(256)]
    extend(context, long, 0)
    extend(context, long, 0, (1,))
    context.fork(1, 2)
    context.drop(1)
    with pytest.raises(ModelError, match="could not evaluate 1 tokens") as caught:
        extend(context, [5], 256)
    assert "kv_tokens" in caught.value.hint
    context.drop(2)
    extend(context, [5], 256)


def test_all_sequences_at_once(context: LlamaContext):
    extend(context, TEXT, 0)
    batch = Batch(256)
    for sequence in range(1, SEQUENCES):
        context.fork(0, sequence)
        batch.add(2000 + sequence, 60, [sequence], wanted=sequence in (1, 255))
    context.submit(batch)
    first, last = context.logits(batch).copy()
    assert batch.outputs == 2
    assert np.abs(extend(context, [2001], 60) - first).max() < 1e-3
    assert np.abs(first - last).max() > 1e-2


def test_what_was_saved_can_be_restored_in_another_context(
    context: LlamaContext, weights: LlamaWeights
):
    extend(context, TEXT, 0, (3,))
    saved = context.save(3)
    expected = extend(context, [5], 60, (3,))
    other = LlamaContext(weights, OPTIONS)
    assert other.restore(9, saved)
    assert np.array_equal(extend(other, [5], 60, (9,)), expected)
    # Nothing is left of what is refused.
    for broken in (saved[:100], saved[: len(saved) // 2], b"", b"nonsense" * 50):
        assert not other.restore(4, broken)
        extend(other, [5], 0, (4,))
        other.drop(4)
    other.close()


def test_adapters_act_from_when_they_are_set(
    context: LlamaContext, weights: LlamaWeights, tmp_path: Path
):
    adapter = weights.load_adapter(write_adapter(weights.path, tmp_path / "lora.gguf"))
    plain = extend(context, TEXT, 0)
    for scale, same in ((1.0, False), (0.0, True)):
        clear(context)
        context.use_adapters([(adapter, scale)])
        assert bool(np.abs(extend(context, TEXT, 0) - plain).max() < 1e-3) is same
    clear(context)
    context.use_adapters(())
    assert np.array_equal(extend(context, TEXT, 0), plain)


def test_a_batch_without_outputs(context: LlamaContext):
    batch = Batch(8)
    batch.add_run(TEXT[:5], 0, [0])
    assert (batch.count, batch.room, batch.outputs) == (5, 3, 0)
    context.submit(batch)
    assert context.logits(batch).shape == (0, 49152)
    batch.clear()
    assert (batch.count, batch.room, batch.outputs) == (0, 8, 0)


def test_closing_twice(weights: LlamaWeights):
    context = LlamaContext(weights, OPTIONS)
    for _ in range(2):
        context.close()


def test_adapters_that_are_refused(
    context: LlamaContext, weights: LlamaWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    adapter = weights.load_adapter(write_adapter(weights.path, tmp_path / "lora.gguf", rank=2))
    monkeypatch.setattr(llama_cpp(), "llama_set_adapters_lora", lambda *_: 1)
    with pytest.raises(ModelError, match="cannot apply the adapters") as caught:
        context.use_adapters([(adapter, 1.0)])
    assert "LoRA" in caught.value.hint
