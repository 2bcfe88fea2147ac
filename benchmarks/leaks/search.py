"""Finds values in bytes, whatever they are encoded in: text, UTF-16, JSON, URLs, base64, hex.

All forms of all values are looked for at once: the six bytes at each place are looked up among the
beginnings of the forms, and what fits is compared whole. Letters of ASCII match in either case, but
for base64.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import numpy as np

__all__ = ["SHORTEST", "Hit", "Search", "cells", "forms"]

SHORTEST = 6
"""Bytes of the shortest form that is looked for in files; shorter ones occur by chance."""

_CHUNK = 1 << 21
_LINE = 20
_DIGITS = 9


@dataclass(frozen=True)
class Hit:
    """A value that was found.

    Attributes:
        value: It.
        form: What it was encoded in.
        where: The file or part.
        around: The bytes around it.
    """

    value: str
    form: str
    where: str
    around: bytes


def forms(value: str) -> Iterator[tuple[str, bytes]]:
    """A value as files may have it: the form's name, and the bytes."""
    for text in {value, value.strip()}:
        yield "text", text.encode()
        yield "utf-16", text.encode("utf-16-le")
        for ascii_only in (True, False):
            once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            yield "json", once.encode()
            yield "json in json", json.dumps(once, ensure_ascii=ascii_only)[1:-1].encode()
        yield "url", quote(text, safe="").encode()
        yield "url", quote_plus(text).encode()
        yield "html", html.escape(text).encode()
        yield "repr", repr(text)[1:-1].encode()
        yield "repr", repr(text.encode())[2:-1].encode()
        yield "hex", text.encode().hex().encode()
        yield from (("base64", one) for one in _base64(text.encode()))
    for line in value.split("\n"):
        if "\n" in value and len(line) >= _LINE and not line.startswith("-----"):
            yield "line", line.encode()
    digits = re.sub(r"[ .()/+-]", "", value)
    if digits != value and sum(map(str.isdigit, digits)) >= _DIGITS:
        yield "without separators", digits.encode()


def _base64(data: bytes) -> Iterator[bytes]:
    """What is the same in base64 whatever stands around it, for each of three alignments."""
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + data)
        whole = coded[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6]
        yield whole
        yield whole.replace(b"+", b"-").replace(b"/", b"_")


class Search:
    """Looks for values in bytes.

    Args:
        values: What is looked for; those without a form of six bytes are passed over.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._folded: dict[int, list[tuple[bytes, str, str]]] = defaultdict(list)
        self._exact: dict[int, list[tuple[bytes, str, str]]] = defaultdict(list)
        self.values = frozenset(value for value in values if len(value.encode()) >= SHORTEST)
        for value in sorted(self.values):
            for form, data in dict.fromkeys(forms(value)):
                exact = form == "base64"
                data = data if exact else data.lower()  # noqa: PLW2901
                if len(data) >= SHORTEST:
                    where = self._exact if exact else self._folded
                    where[_number(data)].append((data, value, form))
        longest = [len(one[0]) for table in (self._folded, self._exact) for _, one in _all(table)]
        self._overlap = max(longest, default=SHORTEST)

    def bytes(self, data: bytes, *, where: str) -> list[Hit]:
        """The values in some bytes."""
        hits: dict[tuple[str, str], Hit] = {}
        for folded, table in ((True, self._folded), (False, self._exact)):
            read = data.lower() if folded else data
            beginnings = np.array(sorted(table), dtype=np.uint64)
            for start in range(0, max(len(read), 1), _CHUNK):
                part = read[start : start + _CHUNK + SHORTEST - 1]
                for at in _places(part, beginnings):
                    for wanted, value, form in table[_number(part[at : at + SHORTEST])]:
                        if read.startswith(wanted, start + at):
                            begin = max(0, start + at - 40)
                            around = data[begin : start + at + len(wanted) + 40]
                            hits.setdefault((value, form), Hit(value, form, where, around))
        return list(hits.values())

    def file(self, path: Path) -> list[Hit]:
        """The values in a file: in its bytes, and in what they hold where they are packed."""
        hits = self.bytes(path.read_bytes(), where=str(path))
        for text in cells(path):
            hits += self.bytes(text.encode(errors="surrogatepass"), where=f"{path}, unpacked")
        return hits


def _all(table: dict[int, list[tuple[bytes, str, str]]]) -> Iterator[tuple[int, tuple]]:
    for number, some in table.items():
        for one in some:
            yield number, one


def _number(data: bytes) -> int:
    return int.from_bytes(data[:SHORTEST], "little")


def _places(data: bytes, beginnings: np.ndarray) -> Sequence[int]:
    """Where one of some beginnings is."""
    count = len(data) - SHORTEST + 1
    if count < 1 or not len(beginnings):
        return ()
    octets = np.frombuffer(data, dtype=np.uint8).astype(np.uint64)
    windows = np.zeros(count, dtype=np.uint64)
    for offset in range(SHORTEST):
        windows |= octets[offset : offset + count] << np.uint64(8 * offset)
    near = np.searchsorted(beginnings, windows).clip(max=len(beginnings) - 1)
    found: list[int] = np.nonzero(beginnings[near] == windows)[0].tolist()
    return found


def cells(path: Path) -> Iterator[str]:
    """What a file holds packed: the cells of Parquet; the text in a file of gzip."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        for column in parquet.read_table(path).itercolumns():
            yield "\n".join(str(one) for one in column.to_pylist())
    elif path.suffix == ".gz":
        import gzip

        yield gzip.decompress(path.read_bytes()).decode(errors="replace")
