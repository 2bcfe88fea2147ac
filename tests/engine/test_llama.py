"""llama.cpp's low-level API: weights, vocabulary and adapters."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.engine.library import forget_words, last_words, llama_cpp, version
from hetagent.engine.llama import LlamaVocabulary, LlamaWeights
from hetagent.errors import ModelError, ModelFileError
from tests.support.lora import write_adapter


@pytest.fixture(scope="module")
def weights(f32_path: Path) -> Iterator[LlamaWeights]:
    loaded = LlamaWeights(f32_path, gpu_layers=0, extra_buffers=True)
    yield loaded
    loaded.close()


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


def test_text_that_cannot_be_tokenised(weights: LlamaWeights, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(llama_cpp(), "llama_tokenize", lambda *_: -1)
    with pytest.raises(ModelError, match="cannot tokenise a text of 5 bytes") as caught:
        LlamaVocabulary(weights).encode("hello")
    assert "Shorten" in caught.value.hint


def test_a_file_llama_cpp_refuses(tmp_path: Path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelFileError, match=r"cannot load broken\.gguf: .+"):
        LlamaWeights(broken, gpu_layers=0, extra_buffers=True)
    assert last_words()
    with ThreadPoolExecutor() as other:
        assert other.submit(last_words).result() == "", "who calls at the same time hears nothing"
        other.submit(forget_words).result()
    assert last_words()


def test_closing_twice(f32_path: Path):
    weights = LlamaWeights(f32_path, gpu_layers=0, extra_buffers=True)
    for _ in range(2):
        weights.close()


def test_an_adapter_that_is_replaced_on_disk_is_loaded_anew(weights: LlamaWeights, tmp_path: Path):
    file = write_adapter(weights.path, tmp_path / "lora.gguf", rank=2)
    first = weights.load_adapter(file)
    assert weights.load_adapter(file) is first
    write_adapter(weights.path, file, rank=3)
    second = weights.load_adapter(file)
    assert second != first
    assert second.identity != first.identity
    file.unlink()
    with pytest.raises(ModelFileError, match=r"lora\.gguf cannot be read"):
        weights.load_adapter(file)


def test_the_library_is_loaded_once_and_silent(capfd: pytest.CaptureFixture[str], f32_path: Path):
    assert llama_cpp() is llama_cpp()
    assert version()
    LlamaWeights(f32_path, gpu_layers=0, extra_buffers=True).close()
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
