"""Stand-ins for llama.cpp's library that kill the process, compiled on the spot."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from importlib import util
from pathlib import Path

import pytest

_AT_LOAD = """
#include <signal.h>
__attribute__((constructor)) static void die(void) { raise(%s); }
"""

# Everything but one function is the real library's, which this one depends on.
_AT_MODEL_LOAD = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
struct params { char bytes[%(size)d]; } __attribute__((aligned(8)));
typedef void *(*load)(const char *, struct params);
void *llama_model_load_from_file(const char *path, struct params p) {
    if (p.bytes[%(offset)d] || %(always)d) raise(SIGSEGV);
    return ((load)dlsym(RTLD_NEXT, "llama_model_load_from_file"))(path, p);
}
"""


def crashing_library(folder: Path, signal_name: str) -> Path:
    """A folder for ``LLAMA_CPP_LIB_PATH`` whose library dies as soon as it is loaded."""
    folder.mkdir(parents=True)
    _compile(_AT_LOAD % signal_name, folder / "libllama.so")
    return folder


def library_without_extra_buffers(folder: Path, *, always: bool = False) -> Path:
    """The real library, but loading a model with repacked weights (or any) kills the process."""
    import llama_cpp

    folder.mkdir(parents=True)
    fields = llama_cpp.llama_model_params
    facts = {
        "size": ctypes.sizeof(fields),
        "offset": fields.use_extra_bufts.offset,
        "always": int(always),
    }
    real = _real_folder()
    for path in real.iterdir():
        if path.name != "libllama.so":
            (folder / path.name).symlink_to(path)
    library = next(path for path in real.iterdir() if path.name.startswith("libllama.so."))
    linked = ["-Wl,--no-as-needed", str(library), f"-Wl,-rpath,{real}", "-ldl"]
    _compile(_AT_MODEL_LOAD % facts, folder / "libllama.so", *linked)
    return folder


def _compile(source: str, target: Path, *flags: str) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or os.name != "posix":
        pytest.skip("no C compiler here")
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-x", "none", *flags]
    subprocess.run([*command, "-o", str(target)], input=source.encode(), check=True)


def _real_folder() -> Path:
    spec = util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "lib"
