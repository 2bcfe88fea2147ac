"""What an embedding is called, so that what was made with it can name it."""

from __future__ import annotations

from importlib import metadata

from hetagent.fingerprint import function_digest
from hetagent.learn.cluster.embed import Embed, wordllama

__all__ = ["embedding_name"]


def embedding_name(embed: Embed) -> str:
    """Package and version of the built-in embedding, or a hash of what another function does."""
    if embed is wordllama:
        try:
            return f"wordllama {metadata.version('wordllama')}"
        except metadata.PackageNotFoundError:
            return "wordllama"
    return function_digest(embed)
