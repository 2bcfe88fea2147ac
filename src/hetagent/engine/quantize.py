"""Requantising a GGUF file with llama.cpp, in a child process.

``llama_model_quantize`` cannot be interrupted, and may abort its process. In a child it can be
stopped, and what it aborts is not the caller. The child tells how far it is on standard output, one
JSON object a line, and ends with its parent.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from hetagent.engine.library import forget_words, last_words, llama_cpp
from hetagent.engine.metadata import read_metadata
from hetagent.errors import BackendError, ModelError, ModelFileError, UnknownModelError

__all__ = ["LOSSLESS", "TYPES", "check_type", "default_types", "requantise", "weights_type"]

TYPES: Mapping[str, int] = MappingProxyType(
    {
        "f32": 0,
        "f16": 1,
        "bf16": 32,
        "q8_0": 7,
        "q6_k": 18,
        "q5_k_m": 17,
        "q5_1": 9,
        "q5_0": 8,
        "q4_k_m": 15,
        "q4_k_s": 14,
        "q4_1": 3,
        "q4_0": 2,
    }
)
"""The types on offer, from precise to coarse, with their ``llama_ftype`` (llama.h)."""

LOSSLESS = frozenset({"f32", "f16", "bf16"})
"""Types that weights are trained in; every other one has lost precision already."""

_GUESSED = 1024  # LLAMA_FTYPE_GUESSED, a flag on top of the type
_TENSOR = re.compile(r"^\[ *(\d+)/ *(\d+)\]")
_RESULT_SIZE = re.compile(r"quant size *= *([\d.]+) MiB")
_METADATA_BYTES = 64 << 20  # generous room for what the dry run does not count: the vocabulary


def default_types() -> tuple[str, ...]:
    """The types worth a try on this CPU.

    Q8_0 loses next to nothing and its kernels are the simplest; Q4_0 is the type whose weights
    llama.cpp repacks for wide vectors. Where the CPU multiplies BF16 itself, BF16 reads prompts
    fastest, at twice the memory of Q8_0.
    """
    native = b"BF16 = 1" in llama_cpp().llama_print_system_info()
    return ("q8_0", "q4_0", *(("bf16",) if native else ()))


def check_type(kind: str) -> str:
    """The name of a type as `TYPES` has it, whatever its case.

    Raises:
        UnknownModelError: It is none of them.
    """
    name = kind.strip().lower()
    if name not in TYPES:
        raise UnknownModelError(
            f"{kind!r} is not a type to requantise to.", hint=f"Use one of {', '.join(TYPES)}."
        )
    return name


def weights_type(path: Path) -> str | None:
    """The type most weights of a GGUF file have, in lower case; ``None`` where it does not say.

    A type that is not in `TYPES` is given by its number in ``llama.h``, such as ``"type 25"``.

    Raises:
        ModelFileError: llama.cpp refuses the file.
    """
    text = read_metadata(path, ["general.file_type"]).get("general.file_type")
    if text is None:
        return None
    number = int(text) & ~_GUESSED
    return next((name for name, known in TYPES.items() if known == number), f"type {number}")


def requantise(
    source: Path,
    target: Path,
    *,
    kind: str,
    threads: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write a file's weights in another type.

    Nothing is left at ``target`` where it fails or is interrupted.

    Args:
        source: A GGUF file.
        target: Where to write; it must not exist, and is complete once this returns.
        kind: One of `TYPES`.
        threads: CPU threads; 0 for all.
        on_progress: Called with the tensors that are written and those there are.

    Raises:
        UnknownModelError: There is no such type.
        ModelFileError: The file exists, the disk is too full, or llama.cpp refuses the source.
        BackendError: llama.cpp crashed.
    """
    kind = check_type(kind)
    if target.exists():
        raise ModelFileError(f"{target} exists already.", hint="Remove it, or name another file.")
    partial = target.with_name(f".{target.name}.partial")
    command = [sys.executable, "-m", "hetagent.engine.quantize", str(source), str(partial), kind]
    command += ["--threads", str(threads)]
    try:
        answer = _run(command, on_progress)
        if answer["status"] != "ok":
            raise ModelFileError(
                f"{source.name} cannot be written as {kind}: {answer['detail']}",
                hint=answer["hint"],
            )
        os.replace(partial, target)
    except OSError as error:
        raise ModelFileError(
            f"{target} cannot be written: {error.strerror or error}.",
            hint="Check the folder's rights and free space.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _run(command: list[str], on_progress: Callable[[int, int], None]) -> dict[str, str]:
    """Run the child to its end; its last word."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env=environment
        )
        assert child.stdout is not None
        answer = None
        try:
            for message in _messages(child.stdout):
                if "status" in message:
                    answer = message
                else:
                    on_progress(message["done"], message["total"])
            child.wait()
        finally:
            child.kill()
            # Closes the pipes too; the exception under way, if any, is the one that counts.
            child.communicate()
        if answer is None:
            words.seek(0)
            raise _death(child.returncode, words.read())
        return answer


def _messages(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    for line in stream:
        with contextlib.suppress(ValueError):  # a library may print lines of its own
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


def _death(code: int, words: bytes) -> BackendError:
    last = words.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
    how = f"ended with code {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    return BackendError(
        f"llama.cpp {how} while it requantised. {last[0][:200]}".rstrip(),
        hint="Free some memory and try again; if it dies again, choose another type.",
    )


def main() -> None:
    """The child: requantise, and tell how far it is."""
    parser = argparse.ArgumentParser(prog="python -m hetagent.engine.quantize")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("kind", choices=TYPES)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    # Ctrl-C reaches the whole group of a terminal; the parent decides, and kills this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=[arguments.target], daemon=True).start()
    try:
        _quantise(arguments.source, arguments.target, arguments.kind, threads=arguments.threads)
    except ModelError as error:
        _tell(status="refused", detail=error.message, hint=error.hint)
    else:
        _tell(status="ok")


def _end_with_parent(target: Path) -> None:
    """End where the parent is gone: its end of standard input is closed then."""
    # Not sys.stdin, whose lock would be held while the interpreter ends.
    os.read(0, 1)
    target.unlink(missing_ok=True)
    os._exit(1)


def _quantise(source: Path, target: Path, kind: str, *, threads: int) -> None:
    heard = _Listener()
    log = logging.getLogger("hetagent.llama_cpp")
    log.addHandler(heard)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    _call(source, target, kind, threads=threads, dry_run=True)
    needed = heard.result_bytes + _METADATA_BYTES
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise ModelFileError(
            f"{target.parent} has {free / 1e9:.2f} GB free, and it needs {needed / 1e9:.2f} GB.",
            hint="Free some space, or choose a smaller type.",
        )
    heard.tells = True
    _call(source, target, kind, threads=threads, dry_run=False)


def _call(source: Path, target: Path, kind: str, *, threads: int, dry_run: bool) -> None:
    lib = llama_cpp()
    params = lib.llama_model_quantize_default_params()
    params.ftype = TYPES[kind]
    params.nthread = threads
    params.allow_requantize = True
    params.dry_run = dry_run
    forget_words()
    if lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), params):
        raise ModelFileError(
            last_words() or "llama.cpp gives no reason.",
            hint="The file may be truncated, corrupt or of an unknown architecture; otherwise "
            "choose another type.",
        )


class _Listener(logging.Handler):
    """Reads from llama.cpp's log how far it is, and how big the result will be."""

    def __init__(self) -> None:
        super().__init__()
        self.result_bytes = 0
        self.tells = False

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if size := _RESULT_SIZE.search(line):
            self.result_bytes = int(float(size[1]) * (1 << 20))
        elif self.tells and (tensor := _TENSOR.match(line)):
            _tell(done=int(tensor[1]), total=int(tensor[2]))


def _tell(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
