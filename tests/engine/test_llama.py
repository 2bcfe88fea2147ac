"""llama.cpp's low-level API: weights, vocabulary, cache and adapters."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.engine.decode import Cancelled
from hetagent.engine.library import last_words, llama_cpp, version
from hetagent.engine.llama import LlamaContext, LlamaVocabulary, LlamaWeights
from hetagent.errors import ModelError, ModelFileError

TEXT = list(range(1000, 1060))


def proceed() -> None:
    return None


@pytest.fixture(scope="module")
def weights(f32_path: Path) -> Iterator[LlamaWeights]:
    loaded = LlamaWeights(f32_path, gpu_layers=0, extra_buffers=True)
    yield loaded
    loaded.close()


@pytest.fixture
def context(weights: LlamaWeights) -> Iterator[LlamaContext]:
    made = new_context(weights)
    yield made
    made.close()


def new_context(weights: LlamaWeights, **options: Any) -> LlamaContext:
    facts = {"context": 256, "threads": 2, "flash_attention": "off", "kv_type": "f32", **options}
    return LlamaContext(weights, **facts)


def test_facts_of_the_file(weights: LlamaWeights):
    assert weights.context_length == 8192
    assert weights.metadata("general.architecture") == "llama"
    assert weights.metadata("nothing.like.that") is None
    assert weights.template is not None
    assert "<|im_start|>" in weights.template
    assert not weights.recurrent


def test_the_vocabulary(weights: LlamaWeights):
    vocabulary = LlamaVocabulary(weights)
    assert vocabulary.size == 49152
    assert vocabulary.specials["<|im_end|>"] == vocabulary.end == 2
    assert vocabulary.bos is None
    assert vocabulary.piece(vocabulary.end) == b""


@settings(max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=30))
def test_plain_text_survives_tokenisation(weights: LlamaWeights, text: str):
    vocabulary = LlamaVocabulary(weights)
    tokens = vocabulary.encode(text)
    assert b"".join(map(vocabulary.piece, tokens)) == text.encode()
    assert not set(tokens) & set(vocabulary.specials.values())


def test_branches_are_what_would_follow(weights: LlamaWeights, context: LlamaContext):
    paths = [(5000,), (5000, 6000), (7000, 6000), (5000, 6000, 42)]
    context.start(TEXT, fixed=10, check=proceed)
    branches = context.branch(paths)
    for path, logits in zip(paths, branches, strict=True):
        fresh = new_context(weights)
        whole, _ = fresh.start([*TEXT, *path], fixed=0, check=proceed)
        fresh.close()
        assert np.abs(whole - logits).max() < 1e-3
    follow, _ = context.start(TEXT, fixed=10, check=proceed)
    assert np.argmax(context.extend(5000)) == np.argmax(branches[0])
    assert follow.shape == (49152,)


def test_more_branches_than_sequences(context: LlamaContext):
    context.start(TEXT, fixed=0, check=proceed)
    paths = [(token, 9) for token in range(2000, 2150)]
    branches = context.branch(paths)
    assert len(branches) == 150
    assert np.abs(branches[149] - context.branch([paths[149]])[0]).max() < 1e-3
    assert np.abs(branches[0] - branches[149]).max() > 1e-3


def test_branches_leave_the_text_as_it_is(context: LlamaContext):
    context.start(TEXT, fixed=0, check=proceed)
    before = context.branch([(5000,)])[0]
    context.branch([(6000,), (6000, 7000), (7000,)])
    assert np.array_equal(context.branch([(5000,)])[0], before)
    assert np.abs(context.extend(5000) - before).max() < 1e-3


def test_a_kept_prefix_is_not_evaluated_again(context: LlamaContext):
    first, cached = context.start(TEXT, fixed=40, check=proceed)
    assert cached == 0
    again, cached = context.start(TEXT, fixed=40, check=proceed)
    assert cached == 40
    assert np.array_equal(first, again)
    _, cached = context.start([*TEXT[:40], 7], fixed=40, check=proceed)
    assert cached == 40
    _, cached = context.start([7, *TEXT], fixed=40, check=proceed)
    assert cached == 0


def test_a_prompt_that_is_all_fixed(context: LlamaContext):
    first, _ = context.start(TEXT, fixed=len(TEXT), check=proceed)
    again, cached = context.start(TEXT, fixed=len(TEXT), check=proceed)
    assert cached == len(TEXT) - 1
    assert np.array_equal(first, again)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_cancelled_start_leaves_nothing_half_done(weights: LlamaWeights, step: int):
    long = [1000 + n % 500 for n in range(620)]
    count = 0

    def check() -> None:
        nonlocal count
        count += 1
        if count == step:
            raise Cancelled

    context = new_context(weights, context=768)
    expected, _ = context.start(long, fixed=560, check=proceed)
    context.start(TEXT, fixed=20, check=proceed)
    with pytest.raises(Cancelled):
        context.start(long, fixed=560, check=check)
    logits, cached = context.start(long, fixed=560, check=proceed)
    assert cached in (0, 560)
    assert np.array_equal(logits, expected)
    context.close()


def test_a_text_beyond_the_context_is_an_error(weights: LlamaWeights):
    context = new_context(weights)
    with pytest.raises(ModelError, match="could not evaluate") as caught:
        context.start([1000] * 600, fixed=0, check=proceed)
    assert caught.value.hint
    logits, _ = context.start(TEXT, fixed=0, check=proceed)
    assert np.isfinite(logits).all()
    context.close()


def test_a_file_llama_cpp_refuses(tmp_path: Path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelFileError, match=r"cannot load broken\.gguf: .+"):
        LlamaWeights(broken, gpu_layers=0, extra_buffers=True)
    assert last_words()


def test_closing_twice(f32_path: Path):
    weights = LlamaWeights(f32_path, gpu_layers=0, extra_buffers=True)
    context = new_context(weights)
    for _ in range(2):
        context.close()
    for _ in range(2):
        weights.close()


def test_the_library_is_loaded_once_and_silent(capfd: pytest.CaptureFixture[str], f32_path: Path):
    assert llama_cpp() is llama_cpp()
    assert version()
    LlamaWeights(f32_path, gpu_layers=0, extra_buffers=True).close()
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
