"""Types to token masks: what is allowed, what is forced, and that nothing fails silently."""

import json
from typing import Annotated, Any, Literal

import jsonschema
import llguidance
import numpy as np
import pytest
from hypothesis import given, settings
from pydantic import BaseModel, Field

from hetagent import LlamaCpp, constraint
from hetagent.constraint import DEFAULT_MAX_ITEMS, DEFAULT_MAX_LENGTH, Compiler, bounded
from hetagent.errors import ConstraintError, UnsupportedTypeError
from hetagent.schema import OutputType
from tests.support.random_types import output_types

BYTES = llguidance.LLTokenizer("byte")
END = BYTES.eos_token


class Item(BaseModel):
    name: str
    price: float = Field(ge=0, le=100)
    tags: list[str]


class Vocabulary:
    """A tokeniser whose model cannot write anything but these pieces."""

    bos_token_id = None

    def __init__(self, *pieces: bytes) -> None:
        self.tokens = [*pieces, b"<end>"]
        self.eos_token_id = len(pieces)
        self.special_token_ids = [self.eos_token_id]

    def __call__(self, text: Any) -> list[int]:
        data = text if isinstance(text, bytes) else text.encode()
        return [self.tokens.index(bytes([b])) for b in data if bytes([b]) in self.tokens]


def compiler(*pieces: bytes) -> Compiler:
    if not pieces:
        return Compiler(BYTES)
    return Compiler(llguidance.LLTokenizer(llguidance.TokenizerWrapper(Vocabulary(*pieces))))


def is_answer(built: constraint.Constraint, tokens: list[int]) -> bool:
    """Whether a token sequence is a complete valid answer."""
    matcher = built.start()
    try:
        for token in tokens:
            matcher.advance(token)
    except ConstraintError:
        return False
    return matcher.complete


def accepts(kind: Any, text: str) -> bool:
    built = compiler().compile(OutputType.of(kind))
    return is_answer(built, list(text.encode()))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, ["0", "-7", "9007199254740991"], ["1.5", "01", "", " 1", "9007199254740992", "x"]),
        (Annotated[int, Field(ge=1, le=40)], ["1", "40"], ["0", "41", "-1"]),
        (Annotated[int, Field(gt=1)], ["2", "900"], ["1"]),
        (Annotated[int, Field(lt=-5)], ["-6"], ["-5", "0"]),
        (Annotated[int, Field(multiple_of=5, ge=0, le=20)], ["0", "15"], ["3", "25"]),
        (Annotated[float, Field(gt=0, lt=1)], ["0.5", "0.001"], ["0", "1", "1.5", "-0.5"]),
        (str, ["", "any\ntext", 'with "quotes"', "é" * 256], ["a" * 257]),
        (Annotated[str, Field(max_length=3)], ["", "abc", "日本語"], ["abcd"]),
        (Annotated[str, Field(min_length=2, max_length=3)], ["ab"], ["a", "abcd"]),
        (Annotated[str, Field(pattern="^[a-c]+/x$")], ["ab/x"], ["ab", "ab/xx", "Xab/x"]),
        (Annotated[str, Field(pattern=r"^\d{2}\/\d$", max_length=4)], ["12/3"], ["12/34"]),
        (Annotated[str, Field(pattern="b")], ['"abc"', '"b"'], ['"ac"', "b"]),
        (
            Annotated[list[int], Field(max_length=2)],
            ["[]", "[1, 2]"],
            ["[1,2]", "[1, 2, 3]", "[ ]"],
        ),
        (Annotated[list[int], Field(min_length=1)], ["[1]"], ["[]"]),
        (tuple[int, bool], ["[1, true]"], ["[1]", "[1, true, 2]"]),
        (int | None, ["null", "3"], ["", "None"]),
        (Item, ['{"name": "a", "price": 1.5, "tags": []}'], ["{}", '{"name": "a"}']),
    ],
)
def test_what_a_constraint_accepts(kind: Any, good: list[str], bad: list[str]):
    for text in good:
        assert accepts(kind, text), text
    for text in bad:
        assert not accepts(kind, text), text


def test_objects_take_no_other_keys_order_or_whitespace():
    valid = {"name": "a", "price": 1.5, "tags": ["x"]}
    assert accepts(Item, json.dumps(valid))
    assert not accepts(Item, json.dumps(valid, indent=1))
    assert not accepts(Item, json.dumps(valid, separators=(",", ":")))
    assert not accepts(Item, json.dumps({**valid, "more": 1}))
    assert not accepts(Item, json.dumps(dict(reversed(valid.items()))))


def test_strings_and_lists_without_bounds_are_bounded():
    assert accepts(list[int], json.dumps([1] * DEFAULT_MAX_ITEMS))
    assert not accepts(list[int], json.dumps([1] * (DEFAULT_MAX_ITEMS + 1)))
    long = "x" * DEFAULT_MAX_LENGTH
    assert accepts(list[str], json.dumps([long]))
    assert not accepts(list[str], json.dumps([long + "x"]))


def test_bounding_leaves_given_bounds_and_the_schema_itself():
    schema = OutputType.of(Item).schema
    before = json.dumps(schema)
    closed = bounded(schema)
    assert json.dumps(schema) == before
    assert closed["properties"]["name"]["maxLength"] == DEFAULT_MAX_LENGTH
    assert closed["properties"]["tags"]["maxItems"] == DEFAULT_MAX_ITEMS
    assert bounded({"type": "string", "maxLength": 7}) == {"type": "string", "maxLength": 7}
    assert bounded({"type": "string", "minLength": 900})["maxLength"] == 900
    assert bounded({"type": "integer", "minimum": 10**20})["maximum"] > 10**20


@pytest.mark.parametrize(
    "kind",
    [
        Annotated[int, Field(ge=5, le=3)],
        Annotated[int, Field(gt=5, lt=6)],
        Annotated[int, Field(multiple_of=7, ge=1, le=6)],
        Annotated[float, Field(ge=5, le=3)],
        Annotated[str, Field(min_length=5, max_length=3)],
        Annotated[str, Field(pattern="^[a-z]{5}$", max_length=3)],
        Annotated[str, Field(pattern="^[a-z]{300}$")],
        Annotated[list[int], Field(min_length=3, max_length=2)],
        list[Annotated[str, Field(min_length=5, max_length=3)]],
        Annotated[int, Field(ge=5, le=3)] | None,
        list[Annotated[list[int], Field(min_length=3, max_length=2)]],
    ],
)
def test_bounds_that_nothing_satisfies_are_refused_at_once(kind: Any):
    with pytest.raises(UnsupportedTypeError, match="nothing") as caught:
        constraint.check(OutputType.of(kind), where="the output of f")
    assert "the output of f" in str(caught.value)
    assert caught.value.hint


def test_such_bounds_are_found_within_records():
    class Impossible(BaseModel):
        fine: str
        inner: list[Annotated[int, Field(ge=5, le=3)]]

    with pytest.raises(UnsupportedTypeError, match="nothing"):
        constraint.check(OutputType.of(Impossible))


def test_a_pattern_of_exactly_the_default_length_is_possible():
    constraint.check(OutputType.of(Annotated[str, Field(pattern="^[a-z]{256}$")]))


@settings(max_examples=60)
@given(output_types())
def test_every_type_that_can_be_declared_compiles(kind: Any):
    output: OutputType[Any] = OutputType.of(kind)
    if output.form == "choice":
        return
    try:
        constraint.check(output)
    except UnsupportedTypeError:
        return
    matcher = compiler().compile(output).start()
    assert matcher.mask().any()


@settings(max_examples=60)
@given(output_types())
def test_any_walk_through_a_constraint_ends_in_a_valid_answer(kind: Any):
    """Each thing is ended as soon as it may be: what was written is a value of the schema."""
    output: OutputType[Any] = OutputType.of(kind)
    if output.form == "choice":
        return
    matcher = compiler().compile(output).start()
    data = b""
    for _ in range(3000):
        allowed = np.flatnonzero(matcher.mask())
        if END in allowed:
            break
        closing = [byte for byte in b'"]},' if byte in allowed]
        byte = closing[0] if closing else int(allowed[-1])
        data += bytes([byte])
        matcher.advance(byte)
    assert matcher.complete
    text = data.decode()
    jsonschema.Draft202012Validator(output.schema).validate(output.json_of_text(text))


def test_forced_bytes():
    matcher = compiler().compile(OutputType.of(Item)).start()
    assert matcher.forced() == b'{"name": "'
    for byte in b'{"name": "':
        matcher.advance(byte)
    assert matcher.forced() == b""
    assert not matcher.complete


def test_forced_tokens_are_canonical_and_the_last_ones_are_held_back(smol: LlamaCpp):
    decoder = smol._decoder
    assert decoder is not None
    assert smol._engine is not None
    vocabulary = smol._engine.vocabulary
    matcher = decoder._compiler.compile(OutputType.of(Item)).start()
    forced = matcher.forced_tokens()
    text = b"".join(map(vocabulary.piece, forced))
    # The quote that opens the string may merge with what the string begins with.
    assert matcher.forced() == b'{"name": "'
    assert text == b'{"name":'
    assert forced == vocabulary.encode(text.decode())
    assert matcher.forced_tokens() == forced, "asking takes nothing"
    assert matcher.copy().consume(forced)
    assert not matcher.copy().consume([*forced, *forced])


def test_a_copy_goes_its_own_way():
    matcher = compiler().compile(OutputType.of(int)).start()
    matcher.advance(ord("1"))
    copied = matcher.copy()
    assert copied.consume(list(b"23"))
    assert not copied.copy().consume(list(b"x"))
    assert (matcher.mask() == compiler_mask(b"1")).all()
    assert copied.complete
    assert matcher.complete


def compiler_mask(text: bytes) -> Any:
    matcher = compiler().compile(OutputType.of(int)).start()
    assert matcher.consume(list(text))
    return matcher.mask()


def test_the_schema_of_a_constraint_is_the_types():
    assert compiler().compile(OutputType.of(Item)).schema == OutputType.of(Item).schema
    kinds = [part.get("type") for part in constraint.parts(OutputType.of(Item).schema)]
    assert sorted(map(str, kinds)) == ["array", "number", "object", "string", "string"]


def test_matchers_of_one_constraint_are_independent():
    built = compiler().compile(OutputType.of(int))
    one, other = built.start(), built.start()
    one.advance(ord("1"))
    assert one.complete
    assert not other.complete


def test_compiled_once_for_each_schema():
    shared = compiler()
    output = OutputType.of(Item)
    assert shared.compile(output) is shared.compile(OutputType.of(Item))
    assert shared.compile(output) is not shared.compile(OutputType.of(int))


def test_a_token_that_is_refused_is_an_error():
    matcher = compiler().compile(OutputType.of(int)).start()
    with pytest.raises(ConstraintError, match="refused a token"):
        matcher.advance(ord("x"))
    with pytest.raises(ConstraintError, match="stopped working"):
        matcher.mask()


def test_a_grammar_that_is_broken_is_an_error():
    class Broken(OutputType[Any]):
        pass

    output = Broken(None, {"type": "string", "pattern": "(", "maxLength": 3}, "json", {}, None)
    with pytest.raises(ConstraintError, match="cannot be compiled"):
        compiler().compile(output)
    with pytest.raises(UnsupportedTypeError, match="cannot be constrained"):
        constraint.check(output)


def test_a_vocabulary_that_cannot_spell_the_type_is_an_error():
    matcher = compiler(b"a", b"b").compile(OutputType.of(int)).start()
    with pytest.raises(ConstraintError, match="allows no token") as caught:
        matcher.mask()
    assert "vocabulary" in caught.value.hint


def test_messages_do_not_hold_the_grammar():
    matcher = compiler().compile(OutputType.of(Item)).start()
    with pytest.raises(ConstraintError) as caught:
        matcher.advance(ord("x"))
    assert len(str(caught.value)) < 300
    assert "json_schema" not in str(caught.value)


def test_the_real_vocabulary_spells_a_record(smol: LlamaCpp):
    decoder = smol._decoder
    assert decoder is not None
    assert smol._engine is not None
    vocabulary = smol._engine.vocabulary
    built = decoder._compiler.compile(OutputType.of(Item))
    text = '{"name": "tea", "price": 2.5, "tags": ["hot", "green"]}'
    assert is_answer(built, vocabulary.encode(text))
    assert not is_answer(built, vocabulary.encode(text + " "))
    end = decoder._chat.end_of_turn
    matcher = built.start()
    assert not matcher.mask()[end]
    for token in vocabulary.encode(text):
        matcher.advance(token)
    assert np.flatnonzero(matcher.mask()).tolist() == [end]


def test_choices_are_not_compiled():
    constraint.check(OutputType.of(Literal["a", "b"]))


def test_only_so_many_compiled_types_are_kept_and_those_used_last():
    made = Compiler(BYTES, kept=2)
    types = [OutputType.of(list[Literal[name]]) for name in ("a", "b", "c")]
    first, second = made.compile(types[0]), made.compile(types[1])
    assert made.compile(types[0]) is first
    made.compile(types[2])
    assert made.compile(types[0]) is first
    assert made.compile(types[1]) is not second
    assert len(made._compiled) == 2
