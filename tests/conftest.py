"""Fixtures of the whole suite, and the rule that tests reach loopback alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import socket_allow_hosts

from hetagent import LlamaCpp
from hetagent.engine.quantize import requantise
from hetagent.models.fetch import resolve
from tests.support.reference import quantise_to_f32
from tests.support.tiny import write_llama

# Where the suite runs in the background, SIGINT is ignored, and child processes would inherit that:
# a test that presses Ctrl-C in one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

SMOL = "smollm2-135m-instruct"

settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    # asyncio's own pipes are unix sockets.
    socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, for mypy takes long to read hetagent and what it stands on for the first time."""
    return tmp_path_factory.mktemp("mypy")


@pytest.fixture(scope="session")
def smol_path() -> Path:
    """The weights of SmolLM2, from the user's cache folder or fetched into it."""
    return resolve(SMOL, progress=False)


@pytest.fixture(scope="session")
def smol(smol_path: Path) -> Iterator[LlamaCpp]:
    """The real small model, loaded once for all tests."""
    with LlamaCpp(SMOL) as model:
        yield model.load()


@pytest.fixture(scope="session")
def f32_path(smol_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 with its weights written out as 32-bit floats: batch shape moves nothing there."""
    target = tmp_path_factory.mktemp("weights") / "smollm2-f32.gguf"
    quantise_to_f32(smol_path, target)
    return target


@pytest.fixture(scope="session")
def f32(f32_path: Path) -> Iterator[LlamaCpp]:
    """The F32 copy under an F32 cache and without flash attention."""
    with pytest.MonkeyPatch.context() as patch:
        # What is remembered of a temporary file does not belong into the user's folder.
        patch.setenv("HETAGENT_CACHE", str(f32_path.parent))
        model = LlamaCpp(f32_path, kv_type="f32", flash_attention="off", context=1024)
        model.load()
    with model:
        yield model


@pytest.fixture(scope="session")
def tiny_path(smol_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny transformer of random 32-bit weights with SmolLM2's tokens: nonsense, and fast."""
    return write_llama(smol_path, tmp_path_factory.mktemp("tiny") / "llama.gguf")


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> Iterator[LlamaCpp]:
    """The tiny transformer, loaded once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HETAGENT_CACHE", str(tiny_path.parent))
        model = LlamaCpp(tiny_path, context=1024).load()
    with model:
        yield model


@pytest.fixture(scope="session")
def tiny_q4_path(tiny_path: Path) -> Path:
    """The tiny transformer in Q4_1."""
    target = tiny_path.with_name("llama.q4_1.gguf")
    requantise(tiny_path, target, kind="q4_1")
    return target


@pytest.fixture
def scratch_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, for tests that write into it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HETAGENT_CACHE", str(folder))
    return folder
