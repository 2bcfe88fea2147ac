"""Where each value of a JSON text stands, in bytes."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.errors import OutputError
from hetagent.spans import Span, spans
from tests.support.random_types import json_values

LAYOUTS: list[dict[str, Any]] = [
    {},
    {"ensure_ascii": False},
    {"indent": 2},
    {"separators": (",", ":")},
]


@settings(max_examples=300)
@given(json_values(), st.sampled_from(LAYOUTS))
def test_spans_agree_with_the_text(value: Any, layout: dict[str, Any]):
    text = json.dumps(value, **layout)
    data = text.encode()
    tree = spans(text)
    assert tree[0] == Span("", 0, len(data), value, not isinstance(value, dict | list) or not value)
    expected = list(_walk(value, "", None))
    assert [(span.path, span.value) for span in tree] == [(p, v) for p, v, _ in expected]
    for span, (_, inner, key) in zip(tree, expected, strict=True):
        piece = data[span.start : span.end].decode()
        if key is None:
            assert json.loads(piece) == inner
        else:
            assert json.loads("{" + piece + "}") == {key: inner}


def test_offsets_are_bytes():
    tree = spans('{"é": "日本", "b": 1}')
    assert [(s.start, s.end) for s in tree] == [(0, 24), (1, 15), (17, 23)]


def test_empty_containers_are_leaves():
    tree = spans('{"a": {}, "b": []}')
    assert [(span.path, span.is_leaf) for span in tree] == [("", False), ("a", True), ("b", True)]


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nope", '{"a" 1}', "[" * 100_000])
def test_what_is_not_json_is_an_error(text: str):
    with pytest.raises(OutputError, match="not JSON"):
        spans(text)


def _walk(value: Any, path: str, key: str | None):
    yield path, value, key
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(inner, f"{path}.{name}" if path else name, name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{path}[{index}]", None)


def test_paths_are_as_documented():
    paths = [span.path for span in spans('{"guest": {"names": ["x"]}}')]
    assert paths == ["", "guest", "guest.names", "guest.names[0]"]
    assert re.fullmatch(r"guest\.names\[0\]", paths[-1])
