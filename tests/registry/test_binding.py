"""Bindings: what they are named by, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.errors import RegistryError
from hetagent.registry import Binding, ModelRef

HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.text(min_size=1).filter(str.strip)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(), JSON, max_size=3)
MODELS = st.one_of(
    st.builds(ModelRef, st.just("llamacpp"), NAMES, HASHES, options=OBJECTS),
    st.builds(
        ModelRef,
        st.just("llamacpp"),
        NAMES,
        HASHES,
        HASHES,
        st.sampled_from(["adapter", "weights"]),
    ),
    st.builds(
        ModelRef, st.just("classifier"), NAMES, st.just("") | HASHES, HASHES, st.just("classifier")
    ),
)
BINDINGS = st.builds(
    Binding,
    NAMES,
    MODELS,
    certificate=st.none() | HASHES,
    task=st.none() | HASHES,
    lineage=st.dictionaries(st.text(), NAMES, max_size=4),
    facts=OBJECTS,
    made=st.datetimes(timezones=st.timezones()).map(lambda time: time.isoformat()),
)
ONE = Binding("intent", ModelRef("llamacpp", "smol", "a" * 64), made="2026-01-01T00:00:00+00:00")


@settings(max_examples=40)
@given(BINDINGS)
def test_a_binding_comes_back_from_its_file(binding):
    back = Binding.from_dict(json.loads(json.dumps(binding.to_dict())))
    assert back == binding
    assert back.id == binding.id
    assert list(back.lineage) == list(binding.lineage)


def test_all_but_when_it_was_made_is_in_its_id():
    assert len(ONE.id) == 16
    assert replace(ONE, made="2027-01-01T00:00:00+00:00").id == ONE.id
    others = [
        replace(ONE, skill="other"),
        replace(ONE, model=replace(ONE.model, base="other")),
        replace(ONE, model=replace(ONE.model, options={"context": 2048})),
        replace(ONE, certificate="b" * 64),
        replace(ONE, task="b" * 64),
        replace(ONE, lineage={"records": "x"}),
        replace(ONE, facts={"coverage": 0.5}),
    ]
    assert len({ONE.id, *(one.id for one in others)}) == 1 + len(others)


def test_what_it_needs_is_named():
    model = ModelRef("llamacpp", "smol", "a" * 64, "b" * 64, "adapter")
    binding = Binding("intent", model, certificate="c" * 64, task="d" * 64)
    assert binding.artifacts == {
        "certificate": "c" * 64, "task": "d" * 64, "adapter": "b" * 64,
    }  # fmt: skip
    assert ONE.artifacts == {}


def test_its_data_is_its_own():
    options = {"context": 2048}
    model = ModelRef("llamacpp", "smol", "a" * 64, options=options)
    options["context"] = 1
    assert model.options == {"context": 2048}


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("skill", " "),
        ("skill", 3),
        ("certificate", "abc"),
        ("task", "A" * 64),
        ("lineage", {"records": ""}),
        ("lineage", {"records": 7}),
        ("lineage", ["records"]),
        ("facts", {"loss": float("nan")}),
        ("facts", {"model": object()}),
        ("made", "yesterday"),
        ("made", "2026-01-01T00:00:00"),
    ],
)
def test_other_parts_are_refused(part, value):
    with pytest.raises(RegistryError, match=part) as caught:
        replace(ONE, **{part: value})
    assert caught.value.hint


@pytest.mark.parametrize(
    "parts",
    [
        {"kind": "onnx"},
        {"base": ""},
        {"base_hash": ""},
        {"artifact": "b" * 64},
        {"artifact_kind": "adapter"},
        {"artifact": "b" * 64, "artifact_kind": "classifier"},
        {"artifact": "short", "artifact_kind": "adapter"},
        {"kind": "classifier"},
        {"options": [1]},
    ],
)
def test_models_that_do_not_go_together_are_refused(parts):
    with pytest.raises(RegistryError, match="In a binding"):
        replace(ONE.model, **parts)


def test_merged_weights_need_no_base():
    alone = ModelRef("llamacpp", "merged", "", "b" * 64, "weights")
    assert ModelRef.from_dict(alone.to_dict()) == alone


def test_other_data_is_refused():
    data = ONE.to_dict()
    with pytest.raises(RegistryError, match="format 2, and this version reads 1") as caught:
        Binding.from_dict({**data, "format": 2, "new": 1})
    assert "Update" in caught.value.hint
    missing = {name: part for name, part in data.items() if name != "task"}
    for other in ({**data, "new": 1}, missing, [], None, {**data, "model": None}):
        with pytest.raises(RegistryError):
            Binding.from_dict(other)
