"""Prefixes on disk: what can be trusted comes back, and nothing else is ever a fault."""

import asyncio
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from hetagent import LlamaCpp, skill
from hetagent.engine.prefix_store import PrefixStore

KEY: Any = ((), (1, 2, 3))
CONTENT = bytes(range(256)) * 40


@skill
def intent(message: str) -> Literal["book", "cancel", "other"]:
    """Decide what the guest of this fine restaurant really wants."""


def new_store(folder: Path, **options: Any) -> PrefixStore:
    facts = {"model": {"build": [1, "b"]}, "name_adapters": list, **options}
    return PrefixStore(folder, **facts)


@pytest.fixture
def store(tmp_path: Path) -> PrefixStore:
    return new_store(tmp_path)


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """A folder this process may only read; root may write everywhere, so it becomes nobody."""
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_what_was_put_comes_back(store: PrefixStore, tmp_path: Path):
    assert store.get(KEY) is None
    store.put(KEY, CONTENT)
    assert store.get(KEY) == CONTENT
    store.put(KEY, CONTENT)
    assert only_file(tmp_path).suffix == ".prefix"
    assert new_store(tmp_path).get(KEY) == CONTENT


@pytest.mark.parametrize(
    "other",
    [
        {"model": {"build": [2, "b"]}},
        {"model": {"build": [1, "b"], "kv_type": "f32"}},
        {"name_adapters": lambda given: ["tuned"]},
    ],
)
def test_what_another_build_or_model_put_is_not_found(
    store: PrefixStore, tmp_path: Path, other: Any
):
    store.put(KEY, CONTENT)
    assert new_store(tmp_path, **other).get(KEY) is None
    assert store.get(((), (1, 2))) is None
    assert store.get(((), (1, 2, 3, 4))) is None
    assert store.get(KEY) == CONTENT


@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "header", "longer", "foreign"])
def test_a_damaged_file_is_removed(
    store: PrefixStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
):
    store.put(((), (9,)), b"other")
    foreign = only_file(tmp_path).read_bytes()
    only_file(tmp_path).unlink()
    store.put(KEY, CONTENT)
    file = only_file(tmp_path)
    data = bytearray(file.read_bytes())
    flipped, magic = data.copy(), data.copy()
    flipped[-1] ^= 1
    magic[0] ^= 1
    damaged = {
        "cut": data[:500],
        "empty": b"",
        "bit": flipped,
        "header": magic,
        "longer": data + b"x",
        "foreign": foreign,
    }
    file.write_bytes(damaged[damage])
    assert store.get(KEY) is None
    assert not file.exists()
    assert "corrupt or foreign" in caplog.text
    store.put(KEY, CONTENT)
    assert store.get(KEY) == CONTENT


def test_the_least_recently_used_make_room(tmp_path: Path):
    store = new_store(tmp_path, limit=3 * len(CONTENT) + 600)
    for number in range(3):
        store.put(((), (number,)), CONTENT)
        age = 1000 - number
        for file in tmp_path.iterdir():
            os.utime(file, (file.stat().st_atime, file.stat().st_mtime - age))
    assert store.get(((), (0,))) == CONTENT, "it is used again"
    store.put(((), (3,)), CONTENT)
    assert [store.get(((), (n,))) is not None for n in range(4)] == [True, False, True, True]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 3 * len(CONTENT) + 600


@pytest.mark.skipif(sys.platform == "win32", reason="other permissions")
def test_a_folder_that_cannot_be_written(caplog: pytest.LogCaptureFixture):
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        store = new_store(folder)
        store.put(KEY, CONTENT)
        file = only_file(folder)
        file.chmod(0o644)
        with unwritable(folder):
            assert store.get(KEY) == CONTENT
            store.put(((), (7,)), CONTENT)
        assert "could not be stored" in caplog.text
        assert only_file(folder) == file
        file.write_bytes(b"damaged")
        with unwritable(folder):
            assert store.get(KEY) is None
        assert file.exists()


def test_a_place_that_is_taken(store: PrefixStore, tmp_path: Path):
    """By a folder of the same name: nothing is stored, and nothing is left lying about."""
    store.put(KEY, CONTENT)
    file = only_file(tmp_path)
    file.unlink()
    file.mkdir()
    assert store.get(KEY) is None
    store.put(KEY, CONTENT)
    assert list(tmp_path.iterdir()) == [file]
    above = new_store(tmp_path / "text" / "deeper")
    (tmp_path / "text").write_text("no folder")
    above.put(KEY, CONTENT)
    assert above.get(KEY) is None


def test_many_writers_and_readers(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    seen: list[bytes | None] = []

    def work(number: int) -> None:
        store = new_store(tmp_path, limit=4 * len(CONTENT))
        for turn in range(30):
            key: Any = ((), ((number + turn) % 6,))
            store.put(key, CONTENT)
            seen.append(store.get(key))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 180
    assert set(seen) <= {CONTENT, None}
    assert CONTENT in seen
    assert "corrupt" not in caplog.text
    assert "could not" not in caplog.text
    assert all(file.suffix == ".prefix" for file in tmp_path.iterdir())


def ask(path: Path, store: Path, *, context: int = 300) -> Any:
    with LlamaCpp(path, context=context, store_prefixes=store) as model:
        return asyncio.run(model.complete(intent.request("A table for two")))


def test_a_new_process_starts_warm(smol_path: Path, tmp_path: Path):
    cold = ask(smol_path, tmp_path)
    assert cold.usage.cached_tokens == 0
    code = f"""
        import asyncio
        from pathlib import Path
        from tests.engine.test_prefix_store import ask
        answer = ask(Path({str(smol_path)!r}), Path({str(tmp_path)!r}))
        print(answer.usage.cached_tokens, answer.usage.prompt_tokens, dict(answer.choices))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    cached, whole, choices = result.stdout.split(" ", 2)
    assert 20 < int(cached) < int(whole)
    assert eval(choices) == pytest.approx(dict(cold.choices), abs=1e-3)


def test_a_stored_prefix_that_llama_cpp_refuses_is_evaluated(smol_path: Path, tmp_path: Path):
    expected = ask(smol_path, tmp_path)
    file = only_file(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[:-9])
    again = ask(smol_path, tmp_path)
    assert again.usage.cached_tokens == 0
    assert again.choices == expected.choices
    assert ask(smol_path, tmp_path).usage.cached_tokens > 20
    # Another precision of the cache is another prefix.
    with LlamaCpp(smol_path, context=300, store_prefixes=tmp_path, kv_type="f32") as model:
        other = asyncio.run(model.complete(intent.request("A table for two")))
    assert other.usage.cached_tokens == 0
    assert len(list(tmp_path.iterdir())) == 2
