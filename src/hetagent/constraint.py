"""Closed JSON Schemas to token masks, shared by all local models; knows no inference library.

An output type is compiled through Outlines, always with its llguidance backend named: with
Outlines' default backend a missing package leaves the text unconstrained without an error
(``benchmarks/constraints.py`` compares the backends). What Outlines compiles is then stepped
directly, because scoring needs what a logits processor hides: how much probability the mask
removed, and which bytes the grammar forces.

A constraint that cannot act is an error, never an unconstrained answer.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hetagent.errors import ConstraintError, UnsupportedTypeError
from hetagent.schema import OutputType

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "DEFAULT_KEPT",
    "DEFAULT_MAX_ITEMS",
    "DEFAULT_MAX_LENGTH",
    "Compiler",
    "Constraint",
    "Matcher",
    "check",
    "parts",
]

Schema = dict[str, Any]

DEFAULT_MAX_LENGTH = 256
"""Characters of a string that has no bound of its own."""
DEFAULT_MAX_ITEMS = 32
"""Items of a list that has no bound of its own."""
DEFAULT_KEPT = 256
"""Compiled types that are kept: programs declare a few, but a gateway is sent any number."""
# Integers without bounds stay within what JSON readers represent exactly (RFC 8259, section 6).
_SAFE_INTEGER = 2**53 - 1
_BOUNDS = (
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minItems",
    "maxItems",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
)
_WHITESPACE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def check(output: OutputType[Any], *, where: str = "the output type") -> None:
    """Raise at once where an output type cannot be compiled, before any model is loaded.

    Args:
        output: The type.
        where: Words that name the type's place in the error message.

    Raises:
        UnsupportedTypeError: With what the compiler says, e.g. look-around in a pattern.
    """
    if output.form == "choice":
        return
    import llguidance

    _refuse_impossible(bounded(output.schema), where)
    grammar = _direct_grammar(output)
    failed, messages = llguidance.LLMatcher.validate_grammar_with_warnings(grammar)
    if failed:
        raise UnsupportedTypeError(
            f"{where} cannot be constrained: {' '.join(messages[0].split())}",
            hint="Simplify the pattern or the bounds, and check the rest in a validator.",
        )
    if output.form == "bare":
        first = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), grammar)
        first.compute_bitmask()
        if first.is_error():
            raise UnsupportedTypeError(
                f"{where} has a pattern that nothing of its length satisfies.",
                hint=f"Correct it, or give max_length= (without one it is {DEFAULT_MAX_LENGTH}).",
            )


class Compiler:
    """Compiles output types for one vocabulary; those asked for last are kept.

    Args:
        tokenizer: An ``llguidance.LLTokenizer`` of the model's vocabulary.
        kept: How many compiled types are kept.
    """

    def __init__(self, tokenizer: Any, *, kept: int = DEFAULT_KEPT) -> None:
        self._tokenizer = tokenizer
        self._backend = _outlines_backend()(tokenizer)
        self._compiled: OrderedDict[str, Constraint] = OrderedDict()
        self._kept = kept
        self._lock = threading.Lock()

    def compile(self, output: OutputType[Any]) -> Constraint:
        """Compile an output type, or return what was compiled before.

        Raises:
            ConstraintError: The type cannot be compiled for this vocabulary.
        """
        key = output.fingerprint
        with self._lock:
            found = self._compiled.get(key)
            if found is None:
                found = Constraint(self._tokenizer, self._grammar(output), schema=output.schema)
                self._compiled[key] = found
            self._compiled.move_to_end(key)
            while len(self._compiled) > self._kept:
                self._compiled.popitem(last=False)
            return found

    def _grammar(self, output: OutputType[Any]) -> str:
        kind, text = _source(output)
        try:
            if kind == "json_schema":
                processor = self._backend.get_json_schema_logits_processor(text)
            else:
                processor = self._backend.get_cfg_logits_processor(text)
        except ValueError as error:
            raise ConstraintError(f"The output type cannot be compiled: {error}") from error
        return str(processor.grammar)


class Constraint:
    """A compiled output type, from which any number of answers can be matched.

    Attributes:
        schema: The type's closed JSON Schema.
    """

    def __init__(self, tokenizer: Any, grammar: str, *, schema: Schema) -> None:
        import llguidance

        self.schema = schema
        self._start = llguidance.LLMatcher(tokenizer, grammar)
        self._vocab_size = int(tokenizer.vocab_size)
        _raise_if_stuck(self._start, "The output type cannot be compiled")

    def start(self) -> Matcher:
        """A matcher at the start of an answer."""
        return Matcher(self._start.deep_copy(), self._vocab_size)


class Matcher:
    """One answer on its way through a constraint."""

    def __init__(self, matcher: Any, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    def copy(self) -> Matcher:
        """Another matcher at the same place."""
        return Matcher(self._matcher.deep_copy(), self._vocab_size)

    def mask(self) -> npt.NDArray[np.bool_]:
        """Which tokens may come next, shape ``[vocabulary]``.

        Raises:
            ConstraintError: The constraint cannot act, or allows nothing.
        """
        import numpy as np
        from llguidance.numpy import fill_next_token_bitmask

        bits = np.zeros((1, (self._vocab_size + 31) // 32), dtype=np.int32)
        fill_next_token_bitmask(self._matcher, bits)
        _raise_if_stuck(self._matcher, "The constraint stopped working")
        if not bits.any():
            raise ConstraintError(
                "The constraint allows no token at all.",
                hint="The model's vocabulary cannot spell this type; try another model.",
            )
        flags = np.unpackbits(bits.view(np.uint8).ravel(), bitorder="little")
        return flags[: self._vocab_size].view(np.bool_)

    def forced_tokens(self) -> list[int]:
        """The tokens that every valid answer has next, as they are canonically written.

        The last of the forced bytes are left out where what follows may merge with them. Empty
        where the vocabulary has no canonical way to write a text.
        """
        return list(self._matcher.compute_ff_tokens())

    def consume(self, tokens: Sequence[int]) -> bool:
        """Take several tokens; whether they are allowed. If not, this matcher is of no more use."""
        return int(self._matcher.try_consume_tokens(list(tokens))) == len(tokens)

    def forced(self) -> bytes:
        """The bytes that every valid answer has next."""
        return bytes(self._matcher.compute_ff_bytes())

    def advance(self, token: int) -> None:
        """Take one token.

        Raises:
            ConstraintError: The token is not allowed here.
        """
        if not self._matcher.consume_token(token):
            _raise_if_stuck(self._matcher, "The constraint refused a token")
            raise ConstraintError(f"The constraint refused token {token}.")

    @property
    def complete(self) -> bool:
        """Whether the answer so far is valid as it stands."""
        return bool(self._matcher.is_accepting())


def bounded(schema: Schema) -> Schema:
    """A copy in which everything that could go on for ever has a bound."""
    result = copy.deepcopy(schema)
    for part in parts(result):
        kind = part.get("type")
        if kind == "string" and "format" not in part:
            part.setdefault("maxLength", max(DEFAULT_MAX_LENGTH, part.get("minLength", 0)))
        elif kind == "array" and "prefixItems" not in part:
            part.setdefault("maxItems", max(DEFAULT_MAX_ITEMS, part.get("minItems", 0)))
        elif kind == "integer":
            _bound_integer(part)
    return result


def parts(schema: Schema) -> Iterator[Schema]:
    """A schema and every schema within it, references not followed."""
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [*schema.get("anyOf", ()), *schema.get("prefixItems", ()), schema.get("items")]
    for part in inner:
        if isinstance(part, dict):
            yield from parts(part)


def _refuse_impossible(schema: Schema, where: str) -> None:
    """Refuse bounds that nothing satisfies, also where an optional or a list could avoid them."""
    import llguidance

    for part in parts(schema):
        alone = {key: part[key] for key in _BOUNDS if key in part}
        if not alone or "type" not in part:
            continue
        empty = {"items": {"type": "null"}} if part["type"] == "array" else {}
        grammar = llguidance.grammar_from(
            "json_schema", json.dumps({"type": part["type"], **alone, **empty})
        )
        failed, messages = llguidance.LLMatcher.validate_grammar_with_warnings(grammar)
        if failed and "nsatisfiable" in messages[0]:
            raise UnsupportedTypeError(
                f"{where} has bounds that nothing satisfies: {' '.join(messages[0].split())}",
                hint="Correct its bounds or its pattern.",
            )


def _bound_integer(schema: Schema) -> None:
    if "minimum" not in schema and "exclusiveMinimum" not in schema:
        upper = schema.get("maximum", schema.get("exclusiveMaximum", 0))
        schema["minimum"] = min(-_SAFE_INTEGER, int(upper or 0) - _SAFE_INTEGER)
    if "maximum" not in schema and "exclusiveMaximum" not in schema:
        lower = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        schema["maximum"] = max(_SAFE_INTEGER, int(lower or 0) + _SAFE_INTEGER)


def _source(output: OutputType[Any]) -> tuple[str, str]:
    """What to compile: ``("json_schema", …)``, or ``("lark", …)`` for a bare string."""
    schema = bounded(output.schema)
    if output.form == "bare" and schema["type"] == "string":
        return "lark", _bare_string_grammar(schema)
    return "json_schema", json.dumps({**schema, "x-guidance": _WHITESPACE})


def _bare_string_grammar(schema: Schema) -> str:
    """A Lark grammar of the string itself; in JSON it would be quoted and escaped."""
    low, high = schema.get("minLength", 0), schema["maxLength"]
    terminal = f"/(?s:.){{{low},{high}}}/"
    if "pattern" in schema:
        body = schema["pattern"].removeprefix("^").removesuffix("$")
        # A slash would end the terminal; one that is escaped already stays as it is.
        body = re.sub(r"(\\.)|/", lambda m: m.group(1) or r"\/", body, flags=re.DOTALL)
        terminal += f" & /{body}/"
    return f"start: TEXT\nTEXT: {terminal}\n"


@lru_cache(maxsize=1)
def _outlines_backend() -> type[Any]:
    """Outlines' llguidance backend, for a vocabulary instead of one of Outlines' own models."""
    from outlines.backends.llguidance import LLGuidanceBackend

    class Backend(LLGuidanceBackend):  # type: ignore[misc,unused-ignore]
        def __init__(self, tokenizer: Any) -> None:
            import llguidance

            self.llg = llguidance
            self.tensor_library_name = "numpy"
            self.llg_tokenizer = tokenizer

    return Backend


def _direct_grammar(output: OutputType[Any]) -> str:
    """What Outlines would compile, without importing it: declarations stay fast."""
    import llguidance

    kind, text = _source(output)
    return str(llguidance.grammar_from(kind, text))


def _raise_if_stuck(matcher: Any, what: str) -> None:
    if not matcher.is_error():
        return
    # What follows is the compiler's state and the whole grammar.
    reason = " ".join(re.split("<state>|<backtrace>", matcher.get_error())[0].split())
    if "NoExtension" in reason:
        raise ConstraintError(
            f"{what}: it allows no token.",
            hint="Nothing satisfies this type in the model's vocabulary; try another model.",
        )
    hint = "Simplify the output type."
    if "forced bytes" in reason:
        hint = "The model's vocabulary may lack one of its characters: try another model."
    raise ConstraintError(f"{what}: {reason}", hint=hint)
