"""The inputs that a skill was made with, as vectors: what later ones are compared with.

No text is kept, so that a binding can carry them wherever it goes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hetagent.errors import InputError
from hetagent.fingerprint import digest
from hetagent.learn.cluster.embed import Embed, Vectors, unit, wordllama
from hetagent.learn.task import Example, Split, Task

__all__ = ["Inputs", "group_of"]

_FORMAT = 1
_MOST = 2000
_GROUP_DIGITS = 16


@dataclass(frozen=True)
class Inputs:
    """Inputs of a skill's data.

    Attributes:
        vectors: Unit vectors, shape ``(inputs, dimensions)``.
        groups: For each a hash of its text.
        as_calls: For each whether it is of the calls that certify and test, which have every input
            as often as calls have it; in those learned from, inputs that come again are left out.
        calls: Labelled calls that the skill was made with, all of them.
        until: Time of the latest.
    """

    vectors: Vectors
    groups: NDArray[np.str_]
    as_calls: NDArray[np.bool_]
    calls: int
    until: datetime

    @classmethod
    def of(
        cls, task: Task, data: Split, *, embed: Embed = wordllama, most: int = _MOST, seed: int = 0
    ) -> Self:
        """The inputs of a skill's data, or a random sample: half of it of the later calls.

        Args:
            task: The skill's.
            data: What it was made with.
            embed: Texts to vectors.
            most: Inputs that are kept.
            seed: Of the sample.

        Raises:
            InputError: There is no data.
            MissingExtraError: WordLlama is not installed.
        """
        strays = [one for some in data.strays.values() for one in some]
        later = [*data.calibrate, *data.test, *strays]
        learned = [*data.train, *data.validate]
        if not later and not learned:
            raise InputError("There are no inputs to keep.", hint="Give the data of the skill.")
        draw = np.random.default_rng(seed)
        kept = _some(later, max(most // 2, most - len(learned)), draw)
        some = [*kept, *_some(learned, most - len(kept), draw)]
        texts = [task.skill.request_text(**one.row) for one in some]
        return cls(
            unit(embed(texts)),
            np.array([group_of(text) for text in texts]),
            np.arange(len(some)) < len(kept),
            len(later) + len(learned),
            max(one.time for one in (*later, *learned)).astimezone(UTC),
        )

    def to_bytes(self) -> bytes:
        """As a compressed ``.npz`` with vectors in half precision; the same bytes each time."""
        packed = io.BytesIO()
        np.savez_compressed(
            packed,
            format=np.array(_FORMAT),
            vectors=self.vectors.astype(np.float16),
            groups=self.groups,
            as_calls=self.as_calls,
            calls=np.array(self.calls),
            until=np.array(self.until.isoformat()),
        )
        return packed.getvalue()

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """What `to_bytes` gave.

        Raises:
            InputError: It is none, or of a later version's format.
        """
        try:
            with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
                if int(arrays["format"]) != _FORMAT:
                    raise ValueError(f"its format is {int(arrays['format'])}, not {_FORMAT}")
                return cls(
                    unit(arrays["vectors"].astype(np.float32)),
                    arrays["groups"],
                    arrays["as_calls"],
                    int(arrays["calls"]),
                    datetime.fromisoformat(str(arrays["until"])),
                )
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"The inputs that a skill was made with cannot be read: {error}.",
                hint="Convert the workload again with this version.",
            ) from error


def group_of(text: str) -> str:
    """The same for inputs with the same text."""
    return digest(text)[:_GROUP_DIGITS]


def _some(examples: Sequence[Example], most: int, draw: np.random.Generator) -> list[Example]:
    if len(examples) <= most:
        return list(examples)
    return [examples[place] for place in sorted(draw.choice(len(examples), most, replace=False))]
