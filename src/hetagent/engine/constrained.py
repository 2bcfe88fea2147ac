"""Decoding under a constraint: free tokens one by one, forced ones at once, choices by their trie.

- A **free** token is the most probable one under the mask. The next ones may be guessed and
  evaluated with it (`hetagent.engine.drafts`).
- **Forced** tokens, those that every valid answer has next, are appended to the token before them
  and evaluated with it. Their last ones are held back where what follows may merge with them, so
  that the text is tokenised as the model would have written it.
- A **field with a fixed set of values** (an enum, a boolean) is scored as a choice is, over the
  trie of its values' canonical tokens; the path of the best stays in the cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from hetagent.constraint import Constraint, Matcher
from hetagent.engine.chat import common_length
from hetagent.engine.drafts import Draft, Lookup
from hetagent.engine.fields import FieldChoice, FieldChoices
from hetagent.engine.sampling import Pick, is_only
from hetagent.engine.steps import END, Answer, Step
from hetagent.engine.tries import Tree, TrieScores
from hetagent.engine.vocabulary import Vocabulary
from hetagent.models.base import Token
from hetagent.scanner import Scanner
from hetagent.schema import OutputType

__all__ = ["ConstrainedDecoder"]

Watch = Callable[[Token], None]

# Of a draft: free tokens that are guessed, and tokens in all (benchmarks/drafts.py tries others).
_GUESSES = 3
_AHEAD = 12


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
        prompt: Sequence[int],
        fixed: int,
        limit: int,
        room: int,
        watch: Watch | None,
    ) -> Answer:
        """Decode one answer.

        Args:
            constraint: Its type, compiled.
            output: Its type.
            prompt: The tokens before it.
            fixed: How many of them, from the start, are in the cache.
            limit: Tokens the answer may have.
            room: Tokens that fit behind the prompt.
            watch: Called with every token as it is decided.
        """
        fields = self._fields(constraint) if output.form == "json" else None
        made = _Made(constraint.start(), prompt=prompt, limit=limit, watch=watch)
        if fields is not None:
            made.scanner = Scanner()
        pending: list[int] = list(prompt[fixed:])
        kept = END
        picks: deque[Pick] = deque()
        while True:
            choice = self._append_forced(made, pending, fields)
            if made.is_full():
                return made.answer("length")
            if choice is not None:
                if len(made.tokens) + choice.trie.depth > room:
                    return made.answer("length")  # its values could not all be looked at
                scores = TrieScores(choice.trie)
                yield Step(append=pending, read=scores.read, trie=choice.trie, kept=kept)
                pending, kept = self._take_value(made, choice, scores)
            else:
                if not picks:
                    draft = Draft(made.matcher)
                    if made.matcher.complete and draft.may_be_only(self._end):
                        made.add(Token(self._end, b"", 0.0, 0.0, 0))
                        return made.answer("stop")
                    yield Step(
                        append=pending,
                        read=draft.read,
                        meanwhile=draft.prepare,
                        kept=kept,
                        guess=partial(self._guess, draft, made, fields),
                    )
                    pending, kept = [], draft.kept
                    picks.extend(draft.picks)
                picked = picks.popleft()
                pending.append(picked.token)
                if self._take(made, picked):
                    return made.answer("stop")
            if made.is_full():
                return made.answer("length")

    def _guess(self, draft: Draft, made: _Made, fields: FieldChoices | None) -> Tree | None:
        """Guess the free tokens after the next one, as far as the constraint allows them."""
        if draft.tree is not None:
            return draft.tree
        matcher = made.matcher.copy()
        scanner = made.scanner.copy() if made.scanner is not None else None
        lookup = made.lookup()
        begin = len(lookup)
        guesses: list[int] = []
        path: list[int] = []
        places = []
        while len(guesses) < _GUESSES:
            guess = lookup.next()
            if guess is None or guess == self._end or not matcher.consume([guess]):
                break
            forced = matcher.forced_tokens()
            ahead = [guess, *forced]
            if len(path) + len(ahead) > _AHEAD:
                break
            guesses.append(guess)
            path += ahead
            lookup.extend(ahead)
            if scanner is not None and fields is not None:
                scanner.feed(self._vocabulary.piece(guess))
                if fields.next(matcher, scanner, forced) is not None:
                    break
                for token in forced:
                    scanner.feed(self._vocabulary.piece(token))
            if forced and not matcher.consume(forced):
                break
            if matcher.complete and is_only(matcher.mask(), self._end):
                break
            places.append((len(path), matcher.copy()))
        lookup.cut(begin)
        draft.propose(guesses, path, places)
        return draft.tree

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

    def _fields_of(self, constraint: Constraint) -> FieldChoices | None:
        return FieldChoices.of(constraint.schema, self._vocabulary)


class _Made:
    """The tokens of an answer so far."""

    __slots__ = ("_limit", "_lookup", "_prompt", "_watch", "matcher", "scanner", "tokens")

    def __init__(
        self, matcher: Matcher, *, prompt: Sequence[int], limit: int, watch: Watch | None
    ) -> None:
        self.matcher = matcher
        self.scanner: Scanner | None = None
        self.tokens: list[Token] = []
        self._prompt = prompt
        self._lookup: Lookup | None = None
        self._limit = limit
        self._watch = watch

    def lookup(self) -> Lookup:
        """The whole text, to look up how it may go on."""
        if self._lookup is None:
            self._lookup = Lookup(self._prompt)
        known = len(self._lookup) - len(self._prompt)
        self._lookup.extend([token.id for token in self.tokens[known:]])
        return self._lookup

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
