from __future__ import annotations

import copy
from typing import Any

import pytest

from hetagent.errors import UnknownModelError
from hetagent.models.catalog import (
    DEFAULT_LLM,
    DEFAULT_SLM,
    find,
    in_order,
    load_catalog,
    parse_catalog,
    select,
)

ENTRY: dict[str, Any] = {
    "name": "Tiny",
    "family": "T",
    "parameters": 1,
    "context_tokens": None,
    "licence": "MIT",
    "outputs_train": "yes",
    "outputs_note": "",
    "architecture": "llama",
    "chat_template": None,
    "original": "o/tiny",
    "quantisations": [{"name": "Q8_0", "hub": {"repo": "o/tiny-GGUF", "file": None}}],
}


def test_the_papers_families_are_listed():
    families = {model.family for model in load_catalog().values()}
    assert families >= {
        *("Phi", "Nemotron-H", "SmolLM2", "Hymba", "DeepSeek-R1-Distill", "xLAM-2"),
        *("Qwen2.5", "Qwen3", "Gemma 3"),
    }


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("phi-2", "phi2"),
        ("phi-3-mini-4k-instruct", "phi3"),
        ("phi-4-mini-instruct", "phi3"),
        ("nemotron-nano-9b-v2", "nemotron_h"),
        ("smollm2-360m-instruct", "llama"),
        ("smollm2-1.7b-instruct", "llama"),
        ("deepseek-r1-distill-qwen-1.5b", "qwen2"),
        ("deepseek-r1-distill-qwen-7b", "qwen2"),
        ("xlam-2-1b-fc-r", "qwen2"),
        ("xlam-2-3b-fc-r", "qwen2"),
        ("llama-xlam-2-8b-fc-r", "llama"),
    ],
)
def test_architecture(name: str, architecture: str):
    assert find(name).architecture == architecture


def test_defaults_come_first_and_are_pinned():
    first, second = list(load_catalog().values())[:2]
    assert (first.name, second.name) == (DEFAULT_SLM, DEFAULT_LLM)
    assert (first.role, second.role) == ("slm", "llm")
    assert first.quantisations[0].pinned
    assert second.quantisations[0].pinned


@pytest.mark.parametrize(
    ("name", "size_bytes", "sha256", "parts"),
    [
        (
            "smollm2-135m-instruct:Q4_1",
            98362432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            1,
        ),
        (
            "qwen2.5-coder-1.5b-instruct:Q4_K_M",
            1117320768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            22,
        ),
        (
            "gemma3-270m:Q4_K_M",
            253113024,
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            4,
        ),
    ],
)
def test_files_that_were_seen_are_pinned(name: str, size_bytes: int, sha256: str, parts: int):
    _, quantisation = select(name)
    assert (quantisation.size_bytes, quantisation.sha256) == (size_bytes, sha256)
    assert len(quantisation.pypi) == parts
    assert quantisation.hub is not None


def test_parts_are_joined_in_order():
    _, quantisation = select("qwen2.5-coder-1.5b-instruct")
    assert [part.member[-10:] for part in quantisation.pypi] == [
        f"part{number:02}.bin" for number in range(1, 23)
    ]


def test_no_size_or_hash_without_the_other():
    for model in load_catalog().values():
        for quantisation in model.quantisations:
            assert (quantisation.sha256 is None) == (quantisation.size_bytes is None), model.name


def test_every_entry_is_complete():
    for model in load_catalog().values():
        assert model.name == model.name.lower()
        assert model.parameters > 1e8
        assert model.context_tokens is None or model.context_tokens >= 2048
        assert model.outputs_train in {"yes", "no", "unknown"}
        assert model.outputs_note
        assert model.original.count("/") == 1
        files = [quantisation.file for quantisation in model.quantisations]
        assert len(set(files)) == len(files)
        assert all(file.endswith(".gguf") for file in files)


def test_find_takes_any_case():
    assert find("SmolLM2-135M-Instruct").name == "smollm2-135m-instruct"


def test_find_names_the_nearest():
    with pytest.raises(UnknownModelError, match="smollm2-135m-instruct") as caught:
        find("smolm2-135m-instrct")
    assert "hetagent models list" in caught.value.hint


def test_find_of_something_else_still_says_what_to_do():
    with pytest.raises(UnknownModelError) as caught:
        find("zzzzzz")
    assert "Did you mean" not in caught.value.hint
    assert "hetagent models list" in caught.value.hint


def test_select_takes_the_first_quantisation():
    assert select("smollm2-135m-instruct")[1].name == "Q4_1"
    assert select("smollm2-135m-instruct:q8_0")[1].name == "Q8_0"


def test_select_of_an_unknown_quantisation_lists_those_there_are():
    with pytest.raises(UnknownModelError, match="Q4_1, Q8_0"):
        select("smollm2-135m-instruct:Q2_K")


def test_hymba_is_listed_and_said_to_be_unsupported():
    assert "hymba-1.5b-instruct" in load_catalog()
    with pytest.raises(UnknownModelError, match="remote code"):
        select("hymba-1.5b-instruct")


def test_a_model_without_gguf_says_where_its_weights_are():
    with pytest.raises(UnknownModelError, match="nvidia/Nemotron-H-8B-Base-8K"):
        select("nemotron-h-8b-base")


def test_parse_names_the_file_where_the_data_does_not():
    (model,) = parse_catalog({"models": [ENTRY]})
    assert model.name == "tiny"
    assert model.quantisations[0].file == "tiny.Q8_0.gguf"
    assert not model.quantisations[0].pinned


def test_wheels_without_a_hash_are_refused():
    entry = copy.deepcopy(ENTRY)
    entry["quantisations"][0]["pypi"] = [["p", "1", "p/data"]]
    with pytest.raises(ValueError, match="no SHA-256"):
        parse_catalog({"models": [entry]})


def test_in_order_puts_defaults_before_families():
    small, large, default = (
        parse_catalog({"models": [ENTRY | change]})[0]
        for change in (
            {"name": "b", "parameters": 1},
            {"name": "a", "parameters": 2},
            {"name": "z", "parameters": 3, "role": "slm"},
        )
    )
    assert in_order([large, small, default]) == [default, small, large]
