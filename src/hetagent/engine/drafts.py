"""Guesses of how an answer goes on, evaluated together with the token they follow.

A few rows more in a small batch cost less than a batch of their own. So a step may carry a
**draft**: guesses of the next free tokens, with the tokens that are forced between them. The model
is asked at each of these places at once; a guess counts only where it is what the model chooses
under the mask, so that the answer is the one without drafts, in fewer evaluations (Leviathan et al.
2023, "Fast Inference from Transformers via Speculative Decoding", arXiv 2211.17192, for greedy
decoding).

Guesses are looked up in the text itself: what followed where it last ended alike, as in prompt
lookup decoding (Saxena 2023). Records repeat their prompt, both what they copy out of the input and
how the answers of the examples go on. A draft depends on the text alone, so that the same call
is evaluated in the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence

from hetagent.constraint import Matcher
from hetagent.engine.sampling import Mask, Pick, is_only, pick
from hetagent.engine.steps import END, Logits
from hetagent.engine.tries import Tree

__all__ = ["Draft", "Lookup"]

# Tokens in which two places of a text are compared.
_LONGEST = 16


class Lookup:
    """A text, and what followed where it ended alike.

    Args:
        tokens: The text so far.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._text: list[int] = []
        self._places: dict[int, list[int]] = {}
        self.extend(tokens)

    def __len__(self) -> int:
        return len(self._text)

    def extend(self, tokens: Sequence[int]) -> None:
        """Append to the text."""
        for token in tokens:
            self._places.setdefault(token, []).append(len(self._text))
            self._text.append(token)

    def cut(self, length: int) -> None:
        """Take back what was appended beyond a length."""
        while len(self._text) > length:
            self._places[self._text.pop()].pop()

    def next(self) -> int | None:
        """The token after the longest match of the text's end, the last of several."""
        text = self._text
        if not text:
            return None
        end = len(text) - 1
        best, found = 0, None
        for place in reversed(self._places[text[end]][:-1]):
            length = 1
            while length < min(_LONGEST, place + 1) and text[place - length] == text[end - length]:
                length += 1
            if length > best:
                best, found = length, text[place + 1]
            if best == _LONGEST:
                break
        return found


class Draft:
    """The next free token of an answer, and guesses of those that come after it.

    Args:
        matcher: At the end of the text; must stay there until the draft was read.

    Attributes:
        tree: What is evaluated for the guesses, a single path; ``None`` where there are none.
        picks: What the logits said: the next free token and, behind every guess that it confirms,
            the one after that.
    """

    def __init__(self, matcher: Matcher) -> None:
        self.tree: Tree | None = None
        self.picks: list[Pick] = []
        self._guesses: list[int] = []
        self._ends: list[int] = []
        self._matchers = [matcher]
        self._masks: list[Mask] = []

    def propose(
        self, guesses: Sequence[int], path: Sequence[int], places: Sequence[tuple[int, Matcher]]
    ) -> None:
        """Look further than the next token.

        Args:
            guesses: The free tokens, in order.
            path: They and the forced tokens between them.
            places: After how many tokens of the path the next free one comes, with the constraint
                there: behind the first guess, the second, and so on.
        """
        if places:
            self._guesses = list(guesses)
            self._ends = [end for end, _ in places]
            self._matchers += [matcher for _, matcher in places]
            self.tree = Tree([tuple(path[:end]) for end in self._ends])

    @property
    def kept(self) -> int:
        """The node of the tree up to which the guesses were right; `END` for none."""
        right = len(self.picks) - 1
        return self._ends[right - 1] - 1 if right > 0 else END

    def may_be_only(self, token: int) -> bool:
        """Whether nothing but this may come next."""
        return is_only(self._mask(0), token)

    def prepare(self) -> None:
        """Compute the first mask; the others are needed only where guesses were right."""
        self._mask(0)

    def read(self, nodes: Sequence[int], logits: Logits) -> None:
        """Choose tokens, shape of the logits ``[nodes, vocabulary]``: the end, then the path."""
        self.picks = []
        for place in range(len(nodes)):
            found = pick(logits[place], self._mask(place))
            self.picks.append(found)
            if place == len(self._guesses) or found.token != self._guesses[place]:
                break

    def _mask(self, place: int) -> Mask:
        while len(self._masks) <= place:
            self._masks.append(self._matchers[len(self._masks)].mask())
        return self._masks[place]
