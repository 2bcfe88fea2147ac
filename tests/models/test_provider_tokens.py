"""From a server's logprobs to the probability of each field under the constraint."""

import json
import math
import random
from itertools import pairwise
from typing import Any, Literal

import llguidance
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from hetagent import LiteLLM, Orchestrator, skill
from hetagent.confidence import score
from hetagent.constraint import bounded
from hetagent.errors import ModelError, OutputError
from hetagent.models import structured
from hetagent.models.base import Completion, Token
from hetagent.models.provider_tokens import answer_tokens
from hetagent.schema import OutputType
from tests.support.openai_server import OpenAIServer, Reply
from tests.support.random_types import output_types

Alternatives = dict[str, float]


class Booking(BaseModel):
    date: str | None
    people: int


Label = Literal["book", "booking", "cancel"]


def entry(piece: str, p: float = 1.0, /, **options: Any) -> dict[str, Any]:
    """One token as OpenAI's API, vLLM and SGLang report it: text and bytes."""
    others: Alternatives = options.pop("others", {})
    return {
        **reported(piece, p),
        "top_logprobs": [reported(text, q) for text, q in {piece: p, **others}.items()],
    }


def reported(text: str, p: float) -> dict[str, Any]:
    logprob = math.log(p) if p else -9999.0
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def tokens(annotation: Any, *entries: dict[str, Any], content: str | None = None) -> Any:
    output: OutputType[Any] = OutputType.of(annotation)
    whole = "".join(one["token"] for one in entries) if content is None else content
    text = structured.read(output, whole)
    return text, answer_tokens({"content": list(entries)}, content=whole, output=output, text=text)


def scored(annotation: Any, *entries: dict[str, Any], content: str | None = None) -> Any:
    text, found = tokens(annotation, *entries, content=content)
    assert found is not None
    assert b"".join(token.text for token in found) == text.encode()
    return score(Completion(text, "m", tokens=found), OutputType.of(annotation))


def test_each_field_has_the_probability_of_its_own_tokens() -> None:
    found = scored(
        Booking,
        entry('{"', 0.4),  # forced, whatever its probability
        entry("date", 0.01),
        entry('":', 0.3),
        entry(' "', 0.75, others={" null": 0.25}),
        entry("Fri", 0.8, others={"Sat": 0.2}),
        entry('",', 0.5, others={"day": 0.5}),
        entry(' "people', 0.1),
        entry('":', 0.2),
        entry(" ", 0.9),
        entry("4", 0.6, others={"5": 0.4}),
        entry("}", 0.9, others={"0": 0.1}),
        entry("<|im_end|>", 0.2),
        content='{"date": "Fri", "people": 4}',
    )
    assert found.fields["date"].confidence == pytest.approx(0.75 * 0.8 * 0.5)
    assert found.fields["people"].confidence == pytest.approx(0.6 * 0.9)
    assert found.confidence == pytest.approx(0.75 * 0.8 * 0.5 * 0.6 * 0.9)
    assert found.outside == 0


def test_probabilities_from_before_the_mask_are_taken_among_what_it_allows() -> None:
    before = scored(
        Label,
        entry('{"answer": "'),
        entry("can", 0.2, others={"What": 0.4, "The": 0.2, "book": 0.1}),
        entry("cel", 0.9),
        entry('"}'),
    )
    # 0.1 that no listed alternative has counts as allowed.
    assert before.confidence == pytest.approx(0.2 / 0.4)
    assert before.outside == pytest.approx(0.6)
    after = scored(
        Label,
        entry('{"answer": "'),
        entry("can", 0.5, others={"book": 0.5, "What": 0.0, "The": 0.0}),
        entry("cel", 0.9),
        entry('"}'),
    )
    assert after.confidence == pytest.approx(0.5)
    assert after.outside == pytest.approx(0.0)


def test_forced_text_is_no_decision_and_the_end_of_a_label_is() -> None:
    found = scored(
        Label,
        entry('{"answer":"'),
        entry("bo", 0.5, others={"cancel": 0.3, "book": 0.2}),  # "book" spells it too
        entry("o", 0.001),
        entry("k", 0.001),
        entry('"', 0.7, others={"ing": 0.3}),
        entry("}", 0.001),
    )
    assert found.confidence == pytest.approx((0.5 + 0.2) * 0.7)
    shorter = scored(
        Label,
        entry('{"answer":"'),
        entry("cancel", 0.5, others={"c": 0.1, "ca": 0.1, "book": 0.3}),
        entry('"}', 0.001),
    )
    assert shorter.confidence == pytest.approx(0.7)


def test_an_end_in_the_same_token_as_forced_text_counts() -> None:
    found = scored(
        Label,
        entry('{"answer":"'),
        entry("boo", 0.8, others={"can": 0.2}),
        entry('k"}', 0.6, others={"king": 0.4}),
    )
    assert found.confidence == pytest.approx(0.8 * 0.6)


def test_white_space_decides_nothing_but_the_end_of_a_number() -> None:
    found = scored(
        Booking,
        entry("{\n  ", 0.1, others={'{"': 0.9}),
        entry('"date"'),
        entry(" :", 0.2),
        entry("\n", 0.3, others={"null": 0.5, ' "': 0.2}),
        entry("null", 0.5, others={'"': 0.25, "  ": 0.25}),
        entry(",\n"),
        entry('"people":'),
        entry("4", 1.0),
        entry("\n", 0.8, others={"}": 0.1, "2": 0.1}),
        entry("}"),
    )
    assert found.fields["date"].confidence == pytest.approx(0.5 / 0.75)
    assert found.fields["people"].confidence == pytest.approx(0.9)


def test_bare_values_and_lists_leave_their_envelope() -> None:
    text, found = tokens(
        str,
        entry('{"answer": "'),
        entry("a", 0.5),
        entry("\\n", 0.5),
        entry("\\u00e9"[:1] + '"', 0.5),
        entry("é", 0.5),
        entry('"}', 0.5),
    )
    assert text == 'a\n"é'
    assert [token.text for token in found] == [b"a", b"\n", b'"', "é".encode(), b""]
    assert score(Completion(text, "m", tokens=found), OutputType.of(str)).confidence == 0.5**5
    items = scored(
        list[int],
        entry('{"answer":['),
        entry("1", 0.5, others={"]": 0.25}),
        entry(",", 0.5),
        entry("2", 0.5),
        entry("]}", 0.5),
    )
    assert items.fields["[0]"].confidence == pytest.approx(0.25)
    number = scored(int, entry('{"answer":'), entry(" 4", 0.5), entry("2", 0.5), entry("}", 0.5))
    assert number.confidence == pytest.approx(0.125)
    yes = scored(bool, entry('{"answer": '), entry("true", 0.9, others={"false": 0.1}), entry("}"))
    assert yes.confidence == pytest.approx(0.9)


def test_thoughts_before_and_the_end_of_turn_behind_are_left_out() -> None:
    answer = [entry('{"answer": "'), entry("book", 0.6, others={"can": 0.4}), entry('"}')]
    thought = [entry("<think>", 0.1), entry('{"answer": "book"}', 0.1), entry("</think>\n", 0.1)]
    within = scored(Label, *thought, *answer, entry("<|im_end|>", 0.1))
    apart = scored(Label, *thought, *answer, entry("<|im_end|>", 0.1), content='{"answer": "book"}')
    assert within.confidence == apart.confidence == pytest.approx(0.6)


def test_special_and_unclear_alternatives() -> None:
    special = {"token": "", "bytes": [], "logprob": math.log(0.5)}
    unclear = {"token": "", "bytes": None, "logprob": math.log(0.5)}
    for alternative, expected in ((special, 1.0), (unclear, 0.5)):
        chosen = entry("cancel", 0.5)
        chosen["top_logprobs"].append(alternative)
        found = scored(Label, entry('{"answer":"'), chosen, entry('"}'))
        assert found.confidence == pytest.approx(expected)


def test_a_character_cut_into_tokens_counts_with_each_of_them() -> None:
    # As llama.cpp's server sends it: nothing for the first part, and all of it with the last.
    first = {**entry("", 0.5), "id": 1}
    last = {**entry("é", 0.25), "id": 2}
    last["top_logprobs"] = [{"token": "", "bytes": [0xA9], "logprob": math.log(0.25), "id": 2}]
    found = scored(str, entry('{"answer":"'), first, last, entry('"', 0.5), entry("}"))
    assert found.confidence == pytest.approx(0.5 * 0.25 * 0.5)


def test_keys_in_another_order_are_followed_too() -> None:
    class Turned(BaseModel):
        people: int
        date: str

    found = scored(
        Turned,
        entry('{"date": "'),
        entry("Fri", 0.5),
        entry('", "people": '),
        entry("4", 0.25),
        entry("}"),
    )
    assert found.fields["date"].confidence == pytest.approx(0.5)
    assert found.fields["people"].confidence == pytest.approx(0.25)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {"content": None},
        {"content": []},
        {"content": [{"token": None, "logprob": -1.0}]},
        {"content": [{"token": '{"answer":"book"}'}]},
        {"content": [{"token": '{"answer":"book"}', "logprob": 0.0, "bytes": [999]}]},
        {"content": [{"token": '{"answer":"book"}', "logprob": math.nan}]},
        {"content": [entry('{"answer":"bo')]},  # does not spell the answer
        {"content": [entry('{"answer":"bo'), entry("�"), entry('"}')]},
        {"tokens": ["{"], "token_logprobs": [-1.0]},  # the older API's form
    ],
)
def test_what_cannot_be_told_apart_gives_no_probabilities(logprobs: Any) -> None:
    output: OutputType[Any] = OutputType.of(Label)
    content = '{"answer":"book"}'
    assert answer_tokens(logprobs, content=content, output=output, text="book") is None


@pytest.mark.parametrize("content", ['{"answer": "\\u0062ook"}', '{"answer": "book", "why": 1}'])
def test_an_answer_written_in_a_way_the_constraint_lacks_has_none(content: str) -> None:
    assert tokens(Label, entry(content))[1] is None


VALUES = st.fixed_dictionaries(
    {"date": st.none() | st.text(max_size=12), "people": st.integers(-(10**6), 10**6)}
)


@given(value=VALUES, indent=st.sampled_from([None, 0, 2]), data=st.data())
def test_any_cut_of_any_answer_spells_it_and_counts_each_decision_once(
    value: Any, indent: int | None, data: st.DataObject
) -> None:
    content = json.dumps(value, indent=indent, ensure_ascii=False)
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=8).map(sorted))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    text, found = tokens(Booking, *(entry(piece, 0.5) for piece in pieces if piece))
    assert found is not None
    assert b"".join(token.text for token in found) == text.encode()
    free = [token for token in found if token.free < len(token.text) or not token.text]
    assert all(token.logprob == pytest.approx(math.log(0.5)) for token in free)
    assert 1 <= len(free) <= len(pieces)
    confidence = score(Completion(text, "m", tokens=found), OutputType.of(Booking)).confidence
    assert confidence == pytest.approx(0.5 ** len(free))


@settings(max_examples=60)
@given(kind=output_types(), seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 200)))
def test_answers_of_any_type_are_followed(kind: Any, seed: int, cuts: list[int]) -> None:
    output: OutputType[Any] = OutputType.of(kind)
    written = some_answer(output, random.Random(seed))
    content = written.decode()
    try:
        text = structured.read(output, content)
    except OutputError:  # a validator refuses what the grammar allows, such as 31 February
        reject()
    value = json.loads(content)
    assume(json.dumps(value, ensure_ascii=False, separators=(",", ":")) == content)
    places = sorted({0, len(written), *(cut for cut in cuts if cut < len(written))})
    entries = [
        {"token": "�", "bytes": list(written[a:b]), "logprob": math.log(0.5)}
        for a, b in pairwise(places)
    ]
    found = answer_tokens({"content": entries}, content=content, output=output, text=text)
    assert found is not None
    assert b"".join(token.text for token in found) == text.encode()
    assert score(Completion(text, "m", tokens=found), output).confidence is not None


def some_answer(output: OutputType[Any], choose: random.Random) -> bytes:
    """A random answer that the constraint allows, in the form in which it travels."""
    schema = bounded(structured.root_schema(output))
    compact = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
    grammar = llguidance.grammar_from("json_schema", json.dumps({**schema, "x-guidance": compact}))
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), grammar)
    written = bytearray()
    while not matcher.is_accepting():
        mask = matcher.compute_bitmask()
        allowed = [byte for byte in range(256) if mask[byte // 8] >> byte % 8 & 1]
        # Strings end soon, and are mostly of letters.
        likely = [byte for byte in allowed if byte in b'"]},' or chr(byte).isalnum()]
        byte = choose.choice(likely if likely and choose.random() < 0.9 else allowed)
        assert matcher.consume_token(byte)
        written.append(byte)
    return bytes(written)


def test_examples_are_shown_in_the_form_in_which_answers_travel() -> None:
    @skill(examples=[("a table", "book"), ("no table", None)])
    def intent(message: str) -> Literal["book", "cancel"] | None:
        """Decide."""

    request = intent.request("hello")
    turns = structured.chat(request.messages, request.output, "schema")
    shown = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    assert shown == ['{"answer": "book"}', '{"answer": null}']
    assert [structured.read(request.output, turn) for turn in shown] == ["book", "null"]


@skill
def booking(message: str) -> Booking:
    """Copy out the details."""


def answered() -> list[dict[str, Any]]:
    return [
        entry('{"date": '),
        entry("null", 0.9, others={'"': 0.1}),
        entry(', "people": '),
        entry("4", 0.4, others={"5": 0.3}),
        entry("}"),
        entry("<|im_end|>"),
    ]


def test_the_model_asks_for_probabilities_and_fields_get_their_confidence() -> None:
    content = '{"date": null, "people": 4}'
    with OpenAIServer() as server:
        server.answer(content, logprobs={"content": answered()})
        model = LiteLLM("openai/any", api_base=server.base_url, top_logprobs=5, price=(0, 0))
        outcome = Orchestrator(model, policy=0.9).run(booking, "four, please")
        plain = LiteLLM("openai/any", api_base=server.base_url, price=(0, 0))
        without = Orchestrator(plain, policy=0.9).run(booking, "four, please")
    body, other = (request.body for request in server.requests)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 5)
    assert body["response_format"]["type"] == "json_schema"
    assert not {"logprobs", "top_logprobs"} & set(other)
    assert outcome.reason == "low_confidence"
    assert outcome.draft is not None
    assert outcome.draft.fields == pytest.approx({"date": 0.9, "people": 0.4})
    assert without.reason == "no_confidence"


def test_a_server_that_sends_no_probabilities_answers_all_the_same() -> None:
    with OpenAIServer() as server:
        server.answer('{"date": null, "people": 4}')
        model = LiteLLM("openai/any", api_base=server.base_url, top_logprobs=5, price=(0, 0))
        outcome = Orchestrator(model, policy=0.0).run(booking, "four, please")
    assert outcome.value == Booking(date=None, people=4)
    assert outcome.confidence is None


def test_a_repaired_answer_has_its_own_probabilities() -> None:
    with OpenAIServer() as server:
        good = Reply('{"date": null, "people": 4}', logprobs={"content": answered()})
        server.script([Reply('{"date": 1}', logprobs={"content": [entry('{"date": 1}')]}), good])
        model = LiteLLM("openai/any", api_base=server.base_url, top_logprobs=5, price=(0, 0))
        outcome = Orchestrator(model, policy=0.0).run(booking, "four, please")
    assert outcome.confidence == pytest.approx(0.36)
    assert outcome.calls[0].attempts == 2


@pytest.mark.parametrize("number", [-1, 1.5, "20"])
def test_a_number_of_alternatives_out_of_range_is_refused(number: Any) -> None:
    with pytest.raises(ModelError, match="top_logprobs"):
        LiteLLM("openai/any", top_logprobs=number)


def test_tokens_name_their_number_where_the_server_tells_it() -> None:
    one = {**entry('{"answer":"cancel"}', 0.5), "id": 17}
    assert tokens(Label, one)[1] == (Token(17, b"cancel", math.log(0.5), 0.0, 0),)
    assert tokens(Label, entry('{"answer":"cancel"}'))[1][0].id == -1
