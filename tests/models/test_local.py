"""Loading, sharing and freeing, whoever lets go of a model and wherever; on stand-in engines."""

import gc
import os
import queue
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from hetagent.engine import engine as engines
from hetagent.errors import ModelError
from hetagent.models.local import LocalModel


class FakeEngine:
    """Only knows whether it is closed."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Fake(LocalModel):
    """A model on an engine of the registry."""

    def __init__(self, options: Any = "options") -> None:
        super().__init__("fake")
        self.options = options
        self.freed: queue.Queue[str] = queue.Queue()

    def _open(self) -> Any:
        self.lease = lease = engines.acquire(self.options)
        freed = self.freed
        return [
            lambda: engines.release(lease),
            lambda: freed.put(threading.current_thread().name),
        ]

    async def _submit(self, request: Any, watch: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def fake_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "Engine", FakeEngine)


def in_a_child(work: str) -> list[str]:
    """Run code in a process of its own, with a deadline; what it printed."""
    code = f"""
import gc, os, signal, warnings
from tests.models import test_local
from tests.models.test_local import Fake, FakeEngine, engines
warnings.simplefilter("ignore", DeprecationWarning)
engines.Engine = FakeEngine
signal.alarm(30)
{textwrap.dedent(work)}
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_models_share_an_engine_until_the_last_is_closed():
    first, second, other = Fake().load(), Fake().load(), Fake("others").load()
    engine: Any = first.lease.engine
    assert second.lease.engine is engine
    assert other.lease.engine is not engine
    first.close()
    first.close()
    assert not engine.closed
    second.close()
    assert engine.closed
    with pytest.raises(ModelError, match="is closed"):
        second.load()
    other.close()


def test_a_dropped_model_is_freed_on_a_thread_of_its_own():
    """Where it is dropped may be a thread that freeing waits for."""
    model = Fake().load()
    engine: Any = model.lease.engine
    freed = model.freed
    del model
    assert freed.get(timeout=10) == "hetagent-closing"
    assert engine.closed


def test_a_model_that_cannot_be_freed_hinders_no_other(caplog: pytest.LogCaptureFixture):
    model, other = Fake().load(), Fake().load()
    model._to_free.insert(0, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    left, freed = model.lease, other.freed
    assert left is not None
    del model, other
    assert freed.get(timeout=10)
    assert "could not be freed" in caplog.text
    engines.release(left)


@pytest.mark.skipif(os.name != "posix", reason="needs an alarm")
def test_garbage_found_while_an_engine_is_acquired():
    """The collector may run at any allocation, also where the registry is locked."""
    work = """
        class Shared(engines._Shared):
            def __init__(self):
                gc.collect()
                super().__init__()

        model = Fake().load()
        freed = model.freed
        model.itself = model
        del model
        engines._Shared = Shared
        other = Fake("others").load()
        print(freed.get(timeout=10))
        other.close()
    """
    assert in_a_child(work) == ["hetagent-closing"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("way", ["model.close()", "with model: pass", "del model; gc.collect()"])
def test_a_forked_child_lets_go_of_what_its_parent_loaded(way: str):
    work = f"""
        model = Fake().load()
        freed = model.freed
        if os.fork() == 0:
            signal.alarm(10)  # children inherit none
            own = Fake().load()
            {way}
            print(own.lease.engine.closed, freed.qsize())
            own.close()
            print(own.lease.engine.closed, flush=True)
            os._exit(0)
        assert os.wait()[1] == 0
        print(model.lease.engine.closed)
        model.close()
        print(model.lease.engine.closed)
    """
    assert in_a_child(work) == ["False 0", "True", "False", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_lease_is_void_in_a_forked_child():
    work = """
        theirs = engines.acquire("options")
        if os.fork() == 0:
            own = engines.acquire("options")
            engines.release(theirs)
            print(own.engine.closed, theirs.engine.closed)
            engines.release(own)
            print(own.engine.closed, flush=True)
            os._exit(0)
        assert os.wait()[1] == 0
    """
    assert in_a_child(work) == ["False False", "True"]


def test_an_object_that_was_never_loaded():
    model = Fake()
    del model
    gc.collect()
    with Fake() as model:
        pass
    with pytest.raises(ModelError, match="is closed"):
        model.load()
