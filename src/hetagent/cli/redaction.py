"""What commands that make records say of redaction, and ``hetagent redact``, which tries it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hetagent.cli.options import JsonOption
from hetagent.errors import InputError

if TYPE_CHECKING:
    from hetagent.learn.redact.config import Redaction
    from hetagent.learn.redact.targets import Edit

__all__ = ["KeepTextOption", "PatternOption", "RedactionOption", "described", "redact", "told"]

RedactionOption = Annotated[
    Path | None,
    typer.Option("--redaction", help="What is replaced, as a TOML file; see docs/redaction.md."),
]
KeepTextOption = Annotated[
    list[str] | None,
    typer.Option("--keep-text", help="A text that is never replaced; may be repeated."),
]
PatternOption = Annotated[
    list[str] | None,
    typer.Option("--pattern", help="NAME=REGEX: what it matches is replaced too; may be repeated."),
]

FOUND = 1
"""Exit code of ``hetagent redact --check`` where there is something to replace."""


def told(
    file: Path | None, *, keep: Sequence[str] | None, patterns: Sequence[str] | None
) -> Redaction:
    """What the options ask for.

    Raises:
        InputError: The file cannot be used, or a pattern has no name.
    """
    from hetagent.learn.redact.config import Redaction

    named = {}
    for one in patterns or ():
        name, equals, pattern = one.partition("=")
        if not (name and equals and pattern):
            raise InputError(
                f"{one!r} is no pattern with a name.",
                hint=r"Write NAME=REGEX, such as 'staff_number=\bE-\d{6}\b'.",
            )
        named[name] = pattern
    redaction = Redaction() if file is None else Redaction.read(file)
    return redaction.with_(keep=keep or (), patterns=named)


def described(redaction: Redaction) -> str:
    """What is replaced and what is not, in a line."""
    from hetagent.learn.redact.presidio import spacy_model

    parts = [f"all kinds but {', '.join(redaction.left)}" if redaction.left else "all kinds"]
    if redaction.patterns:
        parts.append(f"your {', '.join(redaction.patterns)}")
    if redaction.keep:
        parts.append(f"{len(redaction.keep)} texts kept")
    if redaction.names is False or (redaction.names is None and spacy_model() is None):
        parts.append("names by patterns alone")
    return "; ".join(parts)


def redact(
    file: Annotated[Path | None, typer.Argument(help="A text; - for stdin.")] = None,
    *,
    text: Annotated[str | None, typer.Option("--text", help="A text, here.")] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only say where; exit with 1 if there is anything to replace."
        ),
    ] = False,
    redaction: RedactionOption = None,
    keep_text: KeepTextOption = None,
    pattern: PatternOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what of a text would be replaced, and by what; nothing is kept.

    What stands in is drawn anew each time. In a store's records it follows from the store's key.
    """
    chosen = told(redaction, keep=keep_text, patterns=pattern)
    whole = _text(file, text)
    with chosen.redactor() as redactor:
        edits = redactor.find(whole)
    if as_json:
        typer.echo(json.dumps(_facts(whole, edits, shown=not check), ensure_ascii=False))
    else:
        for line in _lines(whole, edits, shown=not check):
            typer.echo(line)
        counts = Counter(edit.kind for edit in edits)
        summed = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        typer.echo(summed or "Nothing would be replaced.", err=True)
    raise typer.Exit(FOUND if check and edits else 0)


def _text(file: Path | None, text: str | None) -> str:
    if (file is None) == (text is None):
        raise InputError("There is no text, or two of them.", hint="Give FILE, or --text TEXT.")
    if file is None:
        return text or ""
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"{file} cannot be read: {error}.", hint="Give a text in UTF-8."
        ) from error


def _lines(text: str, edits: Sequence[Edit], *, shown: bool) -> list[str]:
    lines = []
    for edit in edits:
        line = text.count("\n", 0, edit.start) + 1
        column = edit.start - text.rfind("\n", 0, edit.start)
        change = f"  {text[edit.start : edit.end]!r} -> {edit.text!r}" if shown else ""
        lines.append(f"{line}:{column}  {edit.kind}{change}")
    return lines


def _facts(text: str, edits: Sequence[Edit], *, shown: bool) -> dict[str, object]:
    found: list[dict[str, object]] = []
    for edit in edits:
        one: dict[str, object] = {"kind": edit.kind, "start": edit.start, "end": edit.end}
        if shown:
            one |= {"text": text[edit.start : edit.end], "instead": edit.text}
        found.append(one)
    return {"found": found, "counts": dict(Counter(edit.kind for edit in edits))}
