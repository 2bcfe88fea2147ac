"""What a GGUF file says of itself, read without its weights."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from hetagent.engine.library import forget_words, last_words, llama_cpp
from hetagent.errors import ModelFileError

__all__ = ["read_metadata"]

_ROOM = 256


def read_metadata(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Values of a file's metadata as text; those it does not have are left out.

    ``{arch}`` in a name stands for the architecture, as in ``"{arch}.context_length"``.

    Raises:
        ModelFileError: llama.cpp refuses the file.
    """
    lib = llama_cpp()
    params = lib.llama_model_default_params()
    params.vocab_only = True
    forget_words()
    model = lib.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ModelFileError(
            f"llama.cpp cannot load {path.name}: {last_words() or 'it gives no reason'}",
            hint="The file is truncated, corrupt, or of an architecture this llama.cpp does not "
            "know: fetch it again, or update llama-cpp-python.",
        )

    def value(name: str) -> str | None:
        buffer = ctypes.create_string_buffer(_ROOM)
        size = lib.llama_model_meta_val_str(model, name.encode(), buffer, _ROOM)
        return buffer.value.decode("utf-8", errors="replace") if size > 0 else None

    try:
        architecture = value("general.architecture") or ""
        found = {name: value(name.replace("{arch}", architecture)) for name in names}
    finally:
        lib.llama_model_free(model)
    return {name: text for name, text in found.items() if text is not None}
