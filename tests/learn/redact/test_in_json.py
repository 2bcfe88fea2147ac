"""Texts within JSON are found where they stand, and only they change."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.learn.redact.in_json import looks_like_json, pieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
WRITTEN = st.builds(
    lambda value, escaped, indent: json.dumps(value, ensure_ascii=escaped, indent=indent),
    st.dictionaries(st.text(), VALUES, max_size=4),
    st.booleans(),
    st.sampled_from([None, 1]),
)


def texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        yield str(value)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from texts(one)
    else:
        for one in value:
            yield from texts(one)


@given(WRITTEN)
def test_every_string_and_number_is_found_as_it_is_meant(written):
    value = json.loads(written)
    if any(looks_like_json(one) for one in texts(value)):
        return
    assert [one.text for one in pieces(written)] == list(texts(value))


@given(WRITTEN, st.text(), st.data())
def test_a_changed_string_is_changed_alone(written, new, data):
    some = [one for one in pieces(written) if not one.is_key and not one.text.isdigit()]
    some = [one for one in some if not one.text.startswith("-")]
    if not some:
        return
    one = data.draw(st.sampled_from(some))
    start, end, text = one.back(0, len(one.text), new)
    changed = written[:start] + text + written[end:]
    assert written[start - 1] == '"'
    before, after = list(texts(json.loads(written))), list(texts(json.loads(changed)))
    assert len(before) == len(after)
    assert sum(old != now for old, now in zip(before, after, strict=True)) <= 1
    assert new in after


@given(st.text(), st.data())
def test_a_part_of_a_string_is_found_in_its_writing(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    written = json.dumps({"a": text})
    (key, one) = pieces(written) if not looks_like_json(text) else (None, None)
    if one is None:
        return
    assert key.is_key
    assert one.key == "a"
    first, last, new = one.back(start, end, "«»")
    changed = json.loads(written[:first] + new + written[last:])
    assert changed == {"a": text[:start] + "«»" + text[end:]}


def test_json_within_json_is_read_too():
    inner = json.dumps({"mail": 'a"b@c.de', "n": 5})
    written = json.dumps({"arguments": inner})
    found = {one.key: one for one in pieces(written) if not one.is_key}
    assert found["mail"].text == 'a"b@c.de'
    start, end, new = found["mail"].back(0, 8, 'x"y')
    changed = json.loads(json.loads(written[:start] + new + written[end:])["arguments"])
    assert changed == {"mail": 'x"y', "n": 5}


@pytest.mark.parametrize("text", ["", "[1", "{]", "3", '"a"', "hello {}", "[" * 5000])
def test_what_is_no_object_or_array_is_no_json(text):
    assert not looks_like_json(text)
