"""Decoding under a constraint: free tokens one by one, forced ones at once, choices by their trie.

- A **free** token is the most probable one under the mask.
- **Forced** tokens, those that every valid answer has next, are appended to the token before them
  and evaluated with it. Their last ones are held back where what follows may merge with them, so
  that the text is tokenised as the model would have written it.
- A **field with a fixed set of values** (an enum, a boolean) is scored as a choice is, over the
  trie of its values' canonical tokens; the path of the best stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from hetagent.constraint import Constraint, Matcher
from hetagent.engine.chat import common_length
from hetagent.engine.fields import FieldChoice, FieldChoices
from hetagent.engine.sampling import Pick, pick
from hetagent.engine.steps import END, Answer, Logits, Step
from hetagent.engine.tries import TrieScores
from hetagent.engine.vocabulary import Vocabulary
from hetagent.models.base import Token
from hetagent.scanner import Scanner
from hetagent.schema import OutputType

__all__ = ["ConstrainedDecoder"]

Watch = Callable[[Token], None]


class ConstrainedDecoder:
    """Decodes answers for one vocabulary.

    Args:
        vocabulary: The model's tokens.
        end_of_turn: The token that ends an answer.
    """

    def __init__(self, vocabulary: Vocabulary, *, end_of_turn: int) -> None:
        self._vocabulary = vocabulary
        self._end = end_of_turn
        self._fields = lru_cache(maxsize=512)(self._fields_of)

    def decode(
        self,
        constraint: Constraint,
        *,
        output: OutputType[Any],
        rest: Sequence[int],
        limit: int,
        room: int,
        watch: Watch | None,
    ) -> Answer:
        """Decode one answer.

        Args:
            constraint: Its type, compiled.
            output: Its type.
            rest: The tokens of the prompt that are not in the cache.
            limit: Tokens the answer may have.
            room: Tokens that fit behind the prompt.
            watch: Called with every token as it is decided.
        """
        fields = self._fields(constraint) if output.form == "json" else None
        made = _Made(constraint.start(), limit=limit, watch=watch)
        if fields is not None:
            made.scanner = Scanner()
        pending: list[int] = list(rest)
        kept = END
        while True:
            choice = self._append_forced(made, pending, fields)
            if made.is_full():
                return made.answer("length")
            if choice is not None and len(made.tokens) + choice.trie.depth > room:
                return made.answer("length")  # its values could not all be looked at
            if choice is None:
                found = _Pick()
                if made.matcher.complete:
                    found.mask = made.matcher.mask()
                    if self._only_end(found.mask):
                        made.add(Token(self._end, b"", 0.0, 0.0, 0))
                        return made.answer("stop")
                yield Step(
                    append=pending,
                    read=found.read,
                    meanwhile=lambda found=found: found.prepare(made.matcher),  # type: ignore[misc]
                    kept=kept,
                )
                pending, kept = [found.pick.token], END
                if self._take(made, found.pick):
                    return made.answer("stop")
            else:
                scores = TrieScores(choice.trie)
                yield Step(append=pending, read=scores.read, trie=choice.trie, kept=kept)
                pending, kept = self._take_value(made, choice, scores)
            if made.is_full():
                return made.answer("length")

    def _append_forced(
        self, made: _Made, pending: list[int], fields: FieldChoices | None
    ) -> FieldChoice | None:
        """Take the forced tokens, up to a value that is to be scored; that value."""
        matcher = made.matcher
        choice = None
        forced = matcher.forced_tokens()
        if fields is not None and made.scanner is not None:
            choice = fields.next(matcher, made.scanner, forced)
        for token in forced if choice is None else forced[: choice.after]:
            if made.is_full():
                break
            piece = self._vocabulary.piece(token)
            matcher.advance(token)
            pending.append(token)
            made.add(Token(token, piece, 0.0, 0.0, len(piece)))
        return choice

    def _take(self, made: _Made, picked: Pick) -> bool:
        """Take a free token; whether it ends the answer."""
        if picked.token == self._end:
            made.add(Token(self._end, b"", picked.logprob, picked.outside, 0))
            return True
        piece = self._vocabulary.piece(picked.token)
        free = common_length(made.matcher.forced(), piece)
        made.matcher.advance(picked.token)
        made.add(Token(picked.token, piece, picked.logprob, picked.outside, free))
        return False

    def _take_value(
        self, made: _Made, choice: FieldChoice, scores: TrieScores
    ) -> tuple[list[int], int]:
        """Take the best value of a scored field: its tokens, and where they are evaluated."""
        best = scores.best
        path = choice.trie.paths[best]
        decided = dict(choice.trie.branching_steps(best))
        taken: list[int] = []
        for depth, token in enumerate(path):
            if made.is_full():
                break
            piece = self._vocabulary.piece(token)
            logprob, outside = 0.0, 0.0
            if depth in decided:
                logprob = float(scores.logprobs[decided[depth]])
                outside = scores.mass_outside(decided[depth])
            made.matcher.advance(token)
            made.add(Token(token, piece, min(0.0, logprob), outside, choice.free[best][depth]))
            taken.append(token)
        return taken, choice.trie.deepest_on(path)

    def _only_end(self, mask: Any) -> bool:
        return bool(mask[self._end]) and int(mask.sum()) == 1

    def _fields_of(self, constraint: Constraint) -> FieldChoices | None:
        return FieldChoices.of(constraint.schema, self._vocabulary)


class _Pick:
    """A free token in the making."""

    __slots__ = ("mask", "pick")

    def __init__(self) -> None:
        self.mask: Any = None
        self.pick: Pick = Pick(END, 0.0, 0.0)

    def prepare(self, matcher: Matcher) -> None:
        if self.mask is None:
            self.mask = matcher.mask()

    def read(self, nodes: Sequence[int], logits: Logits) -> None:
        del nodes  # the end of the text alone
        self.pick = pick(logits[0], self.mask)


class _Made:
    """The tokens of an answer so far."""

    __slots__ = ("_limit", "_watch", "matcher", "scanner", "tokens")

    def __init__(self, matcher: Matcher, *, limit: int, watch: Watch | None) -> None:
        self.matcher = matcher
        self.scanner: Scanner | None = None
        self.tokens: list[Token] = []
        self._limit = limit
        self._watch = watch

    def is_full(self) -> bool:
        return len(self.tokens) >= self._limit

    def add(self, token: Token) -> None:
        self.tokens.append(token)
        if self.scanner is not None:
            self.scanner.feed(token.text)
        if self._watch is not None:
            self._watch(token)

    def answer(self, finish: str) -> dict[str, Any]:
        text = b"".join(token.text for token in self.tokens).decode("utf-8", errors="replace")
        return {"text": text, "tokens": tuple(self.tokens), "finish": finish}
