"""Certificates as readable JSON files, of skills and of workflows alike."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hetagent.errors import CertificateError
from hetagent.files import write_whole

__all__ = ["load", "save"]


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
