"""Certificates as readable JSON files, of skills and of workflows alike.

A file has the certificate's id, which is a hash of all the rest, so that an edit shows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hetagent.errors import CertificateError
from hetagent.files import write_whole
from hetagent.fingerprint import digest

__all__ = ["id_of", "is_edited", "load", "save"]


def id_of(facts: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that name a certificate.

    Args:
        facts: All of it as JSON data, without the id.
    """
    return digest(dict(facts))[:12]


def is_edited(data: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether JSON data is not what its id was made of.

    Args:
        data: With the id, and maybe with more than belongs to a certificate.
        names: Of all that does, but the id.
    """
    return data.get("id") != id_of({name: data.get(name) for name in names})


def save(path: str | os.PathLike[str], data: Mapping[str, Any]) -> Path:
    """Write JSON data, whole or not at all."""
    return write_whole(path, json.dumps(data, indent=1) + "\n")


def load(path: str | os.PathLike[str]) -> Any:
    """Read JSON data.

    Raises:
        CertificateError: It cannot be read.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"{path} cannot be read: {error}.", hint="Check the path, or calibrate again."
        ) from error
