"""Random output types, and random JSON, for property tests."""

from __future__ import annotations

from datetime import date
from enum import Enum, EnumType
from typing import Annotated, Any, Literal, get_args

from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, create_model

_NAMES = st.sampled_from(
    ["name", "total_cost", "größe", "a", "is_open", "x1", "date", "items", "note", "kind_of"]
)
_ALIASES = st.sampled_from(["a.b", "with space", 'quo"te', "br[0]", "日本", "back\\slash"])
_LABELS = st.lists(
    st.one_of(
        st.sampled_from(
            ["", "a", "ab", "abc", "a b", " a", "é", "日本語", '"', "\\", "\n", "null"]
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    ),
    min_size=1,
    max_size=6,
    unique=True,
)


def labels() -> st.SearchStrategy[list[str]]:
    """Label sets: labels that begin others, unicode, spaces, the empty label."""
    return _LABELS


@st.composite
def _integers(draw: st.DrawFn) -> Any:
    low = draw(st.one_of(st.none(), st.integers(-1000, 1000)))
    high = draw(st.one_of(st.none(), st.integers(low if low is not None else -1000, 2000)))
    return Annotated[int, Field(ge=low, le=high)]


@st.composite
def _floats(draw: st.DrawFn) -> Any:
    low = draw(st.integers(-50, 50))
    return Annotated[float, Field(ge=low / 4, le=low / 4 + draw(st.integers(0, 40)))]


@st.composite
def _strings(draw: st.DrawFn) -> Any:
    pattern = draw(
        st.sampled_from([None, None, "^[a-z]{2,6}$", "^\\d{2}-\\d{2}$", "[A-Z]", "^(a|b/)+$"])
    )
    if pattern is not None:
        return Annotated[str, Field(pattern=pattern, max_length=8)]
    low = draw(st.integers(0, 3))
    return Annotated[str, Field(min_length=low, max_length=low + draw(st.integers(0, 12)))]


@st.composite
def _choices(draw: st.DrawFn) -> Any:
    values = tuple(draw(_LABELS))
    if draw(st.booleans()):
        return Literal[values]
    return Enum("Chosen", {f"m{i}": value for i, value in enumerate(values)})


def _scalars() -> st.SearchStrategy[Any]:
    return st.one_of(_integers(), _floats(), _strings(), _choices(), st.just(bool), st.just(date))


@st.composite
def _models(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    names = draw(st.lists(_NAMES, min_size=1, max_size=4, unique=True))
    fields: dict[str, Any] = {}
    aliases: set[str] = set()
    for name in names:
        note = draw(st.sampled_from([None, "what it is"]))
        alias = draw(st.one_of(st.none(), st.none(), _ALIASES))
        alias = None if alias in aliases else alias
        aliases |= {alias} if alias else set()
        fields[name] = (draw(inner), Field(description=note, alias=alias))
    return create_model("Record", __config__=ConfigDict(extra="forbid"), **fields)


@st.composite
def _lists(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    low = draw(st.integers(0, 2))
    high = low + draw(st.integers(0, 2))
    return Annotated[list[draw(inner)], Field(min_length=low, max_length=high)]


@st.composite
def _tuples(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    return tuple[tuple(draw(st.lists(inner, min_size=1, max_size=3)))]  # type: ignore[misc]


@st.composite
def _unions(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    options = [
        create_model(
            f"Option{index}",
            __base__=BaseModel,
            kind=(Literal[f"kind{index}"], ...),  # type: ignore[valid-type]
            value=(draw(inner), ...),
        )
        for index in range(draw(st.integers(2, 3)))
    ]
    union = options[0]
    for option in options[1:]:
        union = union | option  # type: ignore[assignment]
    return Annotated[union, Field(discriminator="kind")]


def _may_be_optional(kind: Any) -> bool:
    """A label "null" and None are written alike, which hetagent refuses."""
    labels = [one.value for one in kind] if isinstance(kind, EnumType) else get_args(kind)
    return kind is not None and "null" not in labels


def output_types() -> st.SearchStrategy[Any]:
    """Any type hetagent can constrain, not very deep."""
    return st.recursive(
        _scalars(),
        lambda inner: st.one_of(
            _models(inner),
            _lists(inner),
            _tuples(inner),
            _unions(inner),
            inner.filter(_may_be_optional).map(lambda kind: kind | None),
        ),
        max_leaves=5,
    )


def json_values() -> st.SearchStrategy[Any]:
    """JSON with unicode, escapes, empty containers, and keys that hold dots, brackets, quotes."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    keys = st.one_of(text, st.sampled_from(["a.b", "a[0]", 'a"b', "", "é", "\n"]))
    numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
    return st.recursive(
        st.one_of(st.none(), st.booleans(), numbers, text),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)
        ),
        max_leaves=12,
    )
