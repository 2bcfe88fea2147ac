"""Variants: requantised copies of a model's weights, kept beside the file they were made from.

``NAME@TYPE`` names the variant of the file that ``NAME`` names. Beside its weights is a JSON file
of what is known of it. A variant whose source has changed since is refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hetagent.engine.quantize import TYPES, check_type
from hetagent.errors import ModelFileError, UnknownModelError
from hetagent.models.fetch_store import check_gguf, read_record, record_path, sha256_of, sync

__all__ = [
    "Variant",
    "commit_variant",
    "find_variant",
    "read_variant",
    "remove_variant",
    "source_hash",
    "split_reference",
    "variant_path",
    "variants_of",
]

_REFERENCE = re.compile(r"(?P<name>.+)@(?P<kind>[A-Za-z0-9_]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Variant:
    """What is known of a variant.

    Attributes:
        kind: The type of its weights, such as ``"q8_0"``.
        sha256: Hash of its content.
        size_bytes: Its size.
        source: Name of the file it was made from.
        source_sha256: Hash of that file's content then.
        source_size_bytes: Its size then.
        source_mtime_ns: When it was last written to, so that it need not be hashed each time.
        made_at: When, in UTC, ISO 8601.
        facts: What was measured, and on what.
    """

    kind: str
    sha256: str
    size_bytes: int
    source: str
    source_sha256: str
    source_size_bytes: int
    source_mtime_ns: int
    made_at: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def split_reference(text: str) -> tuple[str, str] | None:
    """Read ``NAME@TYPE``; ``None`` where a reference names no variant.

    Raises:
        UnknownModelError: There is no such type.
    """
    match = _REFERENCE.fullmatch(text.strip())
    if match is None or Path(text).is_file():
        return None
    try:
        return match["name"], check_type(match["kind"])
    except UnknownModelError:
        raise UnknownModelError(
            f"{text!r} names no variant: there is no type {match['kind']!r}.",
            hint=f"Types are {', '.join(TYPES)}.",
        ) from None


def variant_path(source: Path, kind: str) -> Path:
    """Where the variant of a file is kept."""
    return source.with_name(f"{source.stem}@{kind}.gguf")


def source_hash(source: Path) -> str:
    """The SHA-256 of a weights file, from its record where it was pulled."""
    record = read_record(source)
    if record is not None and record.size_bytes == source.stat().st_size:
        return record.sha256
    return sha256_of(source)


def read_variant(path: Path) -> Variant | None:
    """What is known of a variant; ``None`` where it is not there whole."""
    try:
        known = Variant(**json.loads(record_path(path).read_text(encoding="utf-8")))
        return known if path.stat().st_size == known.size_bytes else None
    except (OSError, ValueError, TypeError):
        return None


def find_variant(name: str, kind: str, *, source: Path | None, pinned: str | None = None) -> Path:
    """The weights of ``NAME@TYPE``.

    Args:
        name: What the source is called, for messages.
        kind: The type.
        source: The source's path, whether or not it is still there; ``None`` where it was never
            pulled.
        pinned: The source's SHA-256, where the catalogue has it.

    Raises:
        UnknownModelError: It has not been made.
        ModelFileError: It is stale: the source is another file now.
    """
    command = f"hetagent models optimize {name} --type {kind}"
    path = None if source is None else variant_path(source, kind)
    known = None if path is None else read_variant(path)
    if source is None or path is None or known is None:
        there = sorted(variants_of(source)) if source is not None else []
        have = f" It has {', '.join(f'{name}@{each}' for each in there)}." if there else ""
        raise UnknownModelError(
            f"{name}@{kind} has not been made on this machine.{have}",
            hint=f"Make it: `{command}` measures it, and keeps it if it is faster and accurate "
            "enough.",
        )
    if not _is_fresh(known, source, pinned):
        raise ModelFileError(
            f"{name}@{kind} is stale: {source.name} is another file than the one it was made from.",
            hint=f"Make it again: `{command}`; or remove it: "
            f"`hetagent models remove {name}@{kind}`.",
        )
    return check_gguf(path)


def commit_variant(partial: Path, path: Path, *, variant: Variant) -> Variant:
    """Move a finished variant into place, and note what is known of it.

    Args:
        partial: The weights, on the same disk as ``path``.
        path: Where they go; a variant that is there is replaced.
        variant: What to note; the date is added.

    Returns:
        What was noted.
    """
    stamped = replace(variant, made_at=datetime.now(UTC).isoformat(timespec="seconds"))
    notes = record_path(path)
    written = notes.with_name(f".{notes.name}.partial")
    sync(partial)
    written.write_text(json.dumps(asdict(stamped), indent=2) + "\n", encoding="utf-8")
    sync(written)
    # In this order a kill in between leaves weights that nothing vouches for.
    notes.unlink(missing_ok=True)
    os.replace(partial, path)
    os.replace(written, notes)
    sync(path.parent)
    return stamped


def variants_of(source: Path) -> dict[str, Path]:
    """The variants there are of a file, by type, in the order of the types."""
    paths = {kind: variant_path(source, kind) for kind in TYPES}
    return {kind: path for kind, path in paths.items() if read_variant(path) is not None}


def remove_variant(name: str, kind: str, *, source: Path | None) -> Path:
    """Remove a variant, stale or not.

    Returns:
        The path its weights had.

    Raises:
        UnknownModelError: There is none.
    """
    path = None if source is None else variant_path(source, kind)
    if path is None or not (path.exists() or record_path(path).exists()):
        raise UnknownModelError(
            f"There is no {name}@{kind} to remove.", hint="`hetagent models list` shows what is."
        )
    record_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    return path


def _is_fresh(known: Variant, source: Path, pinned: str | None) -> bool:
    if pinned is not None:
        return known.source_sha256 == pinned
    try:
        stat = source.stat()
    except FileNotFoundError:
        return True  # there is nothing that it could differ from
    unchanged = (known.source_size_bytes, known.source_mtime_ns)
    if (stat.st_size, stat.st_mtime_ns) == unchanged:
        return True
    return source_hash(source) == known.source_sha256
