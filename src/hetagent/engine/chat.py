"""Messages to tokens, by the model's own chat template, so that inputs cannot forge control tokens.

The template is rendered with placeholders for the contents. Only text of the template itself may
become a control token; contents are tokenised as plain text, together with the plain text around
them, so that the tokens are those of an honest rendering.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from hetagent.engine.vocabulary import Vocabulary
from hetagent.errors import ModelError
from hetagent.models.base import Message

__all__ = ["PLAIN_TEMPLATE", "ChatPrompt", "ChatTokenizer", "common_length"]

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ message.content }}\n\n"
    "{% elif message.role == 'user' %}Input: {{ message.content }}\n"
    "{% else %}Output: {{ message.content }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Output: {% endif %}"
)
"""For models without a template of their own: base models, which only continue a text."""

# Private-use characters, which no template writes.
_OPEN, _CLOSE = "\ue0f0", "\ue0f1"
_HOLE = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
# Stands for the content of the last message while the rest is prepared.
_MARK = "\ue0f2"


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A tokenised prompt.

    Attributes:
        tokens: Its tokens.
        fixed: How many of them, from the start, are the same for every input of the skill.
        tail: The plain text before the answer; an answer's tokens depend on it.
    """

    tokens: tuple[int, ...]
    fixed: int
    tail: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """A conversation but for the content of its last message.

    Attributes:
        head: Tokens up to the last control token before that content.
        before: Plain text between that token and the content.
        after: Plain text between the content and the next control token.
        foot: Tokens from that control token on.
        opening: The tokens of ``before``, as far as no content can change them.
        tail: The plain text before the answer, empty after a control token; ``None`` where the
            content itself is what the answer follows.
    """

    head: tuple[int, ...]
    before: str
    after: str
    foot: tuple[int, ...]
    opening: tuple[int, ...]
    tail: str | None


class ChatTokenizer:
    """Tokenises conversations for one model.

    Args:
        vocabulary: The model's tokens.
        template: Its Jinja chat template; `PLAIN_TEMPLATE` where it has none.
        name: The model's name, for messages.
    """

    def __init__(self, vocabulary: Vocabulary, *, template: str | None, name: str) -> None:
        self._vocabulary = vocabulary
        self._template = _compile(template or PLAIN_TEMPLATE)
        self._name = name
        self._special = _alternatives(vocabulary.specials)
        self._dated = "strftime_now" in (template or "")
        # The fixed parts of a few hundred skills; each is a few kilobytes.
        self._frame = lru_cache(maxsize=512)(self._compute_frame)
        self.end_of_turn = self._find_end_of_turn()

    def encode(self, messages: Sequence[Message], *, fixed: int | None = None) -> ChatPrompt:
        """Tokenise a conversation up to where the answer begins.

        Args:
            messages: Its turns.
            fixed: How many of them are the same for every input; ``None`` for all but the last.
        """
        last = messages[-1]
        today = date.today() if self._dated else None
        varies = fixed is not None and fixed < len(messages) - 1
        # What varies with every input is not worth keeping.
        framed = self._compute_frame if varies else self._frame
        frame = framed(tuple(messages[:-1]), last.role, today)
        rest = self._plain(frame.before + last.content + frame.after)
        tokens = (*frame.head, *rest, *frame.foot)
        same = len(frame.head) + common_length(frame.opening, rest)
        if varies:
            shorter = self._frame(tuple(messages[:fixed]), messages[fixed or 0].role, today)
            same = common_length(shorter.head, tokens)
        tail = last.content if frame.tail is None else frame.tail
        return ChatPrompt(tokens, same, tail)

    def encode_answer(self, text: str, *, prompt: ChatPrompt) -> tuple[int, ...]:
        """The tokens of an answer as they follow a prompt, without the end of turn."""
        tail = self._plain(prompt.tail)
        joined = self._plain(prompt.tail + text)
        # Where the boundary merges, the answer cannot follow the prompt in those tokens.
        if joined[: len(tail)] == tail:
            return tuple(joined[len(tail) :])
        return tuple(self._plain(text))

    def _compute_frame(
        self, messages: tuple[Message, ...], role: Any, today: date | None
    ) -> _Frame:
        """What surrounds the last message's content, which may be merged with it at its ends."""
        del today  # part of the key alone: some templates tell the date
        parts = list(self._parts([*messages, Message(role, _MARK)]))
        place = max(i for i, part in enumerate(parts) if part == _MARK)
        first = max((i + 1 for i in range(place) if isinstance(parts[i], int)), default=0)
        behind = (i for i in range(place, len(parts)) if isinstance(parts[i], int))
        end = next(behind, len(parts))
        head = self._run(parts[:first])
        bos = self._vocabulary.bos
        if bos is not None and head[:1] != [bos]:
            head.insert(0, bos)
        before = "".join(map(str, parts[first:place]))
        after = "".join(map(str, parts[place + 1 : end]))
        last = max((i + 1 for i in range(end, len(parts)) if isinstance(parts[i], int)), default=0)
        tail = "".join(map(str, parts[last:])) if last else after or None
        probes = [self._plain(before + text + after) for text in ("a", "7", "(")]
        shared = min(common_length(probes[0], other) for other in probes[1:])
        foot = self._run(parts[end:])
        return _Frame(tuple(head), before, after, tuple(foot), tuple(probes[0][:shared]), tail)

    def _run(self, parts: Sequence[int | str]) -> list[int]:
        """Tokenise control tokens and the plain text between them."""
        tokens: list[int] = []
        run = ""
        for part in parts:
            if isinstance(part, int):
                tokens += self._plain(run)
                tokens.append(part)
                run = ""
            else:
                run += part
        return tokens + self._plain(run)

    def _parts(self, messages: Sequence[Message]) -> Iterator[int | str]:
        """Control tokens of the template, and plain text of template and contents."""
        rendered, contents = self._render(messages)
        pieces = _HOLE.split(rendered)
        for index, piece in enumerate(pieces):
            if index % 2:
                yield contents[int(piece)]
                continue
            for text in self._special.split(piece):
                if text in self._vocabulary.specials:
                    yield self._vocabulary.specials[text]
                elif text:
                    yield text

    def _plain(self, text: str) -> list[int]:
        """Tokenise text in which anything that looks like a control token is cut in two."""
        if not text:
            return []
        if not self._special.search(text):
            return self._vocabulary.encode(text)
        tokens: list[int] = []
        start = 0
        for match in self._special.finditer(text):
            tokens += self._vocabulary.encode(text[start : match.start() + 1])
            start = match.start() + 1
        return tokens + self._vocabulary.encode(text[start:])

    def _render(self, messages: Sequence[Message], *, prompt: bool = True) -> tuple[str, list[str]]:
        from jinja2 import TemplateError

        try:
            rendered, contents = self._fill(messages, prompt=prompt)
        except TemplateError:
            # Some templates refuse a system message; it then opens the first user's turn.
            try:
                rendered, contents = self._fill(messages, prompt=prompt, merged=True)
            except TemplateError as error:
                raise ModelError(
                    f"The chat template of {self._name} failed: {error}",
                    hint="Pass another one: LlamaCpp(..., chat_template=...).",
                ) from error
        # Reasoning models open a thought; a constrained answer begins after it.
        if prompt and rendered.endswith("<think>\n"):
            rendered += "</think>\n\n"
        if len(_HOLE.findall(rendered)) < len(contents):
            raise ModelError(
                f"The chat template of {self._name} drops or rewrites messages.",
                hint="Pass another one: LlamaCpp(..., chat_template=...).",
            )
        return rendered, contents

    def _fill(
        self, messages: Sequence[Message], *, prompt: bool, merged: bool = False
    ) -> tuple[str, list[str]]:
        contents = [message.content for message in messages]
        holes = [
            {"role": message.role, "content": f"{_OPEN}{index}{_CLOSE}"}
            for index, message in enumerate(messages)
        ]
        if merged and len(holes) > 1 and holes[0]["role"] == "system":
            system, first, *others = holes
            first["content"] = f"{system['content']}\n\n{first['content']}"
            holes = [first, *others]
        from jinja2 import TemplateError

        try:
            rendered = self._template.render(
                messages=holes,
                add_generation_prompt=prompt,
                enable_thinking=False,
                bos_token=self._text_of(self._vocabulary.bos),
                eos_token=self._text_of(self._vocabulary.end),
            )
        except TemplateError:
            raise
        except Exception as error:  # a template is a program, and may fail in any way
            raise TemplateError(f"{type(error).__name__}: {error}") from error
        return rendered, contents

    def _text_of(self, token: int | None) -> str:
        return next((text for text, id_ in self._vocabulary.specials.items() if id_ == token), "")

    def _find_end_of_turn(self) -> int:
        """The control token that the template writes after an answer."""
        turns = [Message("user", "a"), Message("assistant", "b")]
        rendered, _ = self._render(turns, prompt=False)
        after = _HOLE.split(rendered)[-1]
        found = self._special.search(after)
        return self._vocabulary.specials[found.group()] if found else self._vocabulary.end


def _alternatives(specials: Any) -> re.Pattern[str]:
    words = sorted((re.escape(text) for text in specials if text), key=len, reverse=True)
    # The group keeps what separates; a pattern that never matches where there are none.
    return re.compile(f"({'|'.join(words)})" if words else r"(?!)()")


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many items two sequences (of tokens, or bytes) share from their start."""
    length = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        length += 1
    return length


def _compile(source: str) -> Any:
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise ModelError(
            f"The chat template is not valid Jinja: {error}",
            hint="Pass another one: LlamaCpp(..., chat_template=...).",
        ) from error
