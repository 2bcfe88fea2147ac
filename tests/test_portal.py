"""Synchronous calls into the one asynchronous code path."""

import asyncio
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from hetagent import portal
from hetagent.errors import SkillError


async def double(number: int, wait: float = 0.0) -> int:
    await asyncio.sleep(wait)
    return 2 * number


def test_a_call_gives_the_result_or_the_error():
    async def fail() -> None:
        raise ZeroDivisionError("on purpose")

    assert portal.call(double(2)) == 4
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        portal.call(fail())


def test_within_a_running_loop():
    async def main() -> int:
        return portal.call(double(3))

    assert asyncio.run(main()) == 6


def test_from_many_threads():
    results: dict[int, int] = {}

    def work(number: int) -> None:
        results[number] = portal.call(double(number, 0.05))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: 2 * n for n in range(8)}
    assert time.perf_counter() - began < 0.35, "they ran side by side"


def test_from_within_the_background_loop_is_an_error():
    async def nested() -> int:
        return portal.call(double(1))

    with pytest.raises(SkillError, match="from within an asynchronous one") as caught:
        portal.call(nested())
    assert "arun" in caught.value.hint
    assert portal.call(double(1)) == 2, "the loop still works"


def test_after_a_fork():
    result = run(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from hetagent import portal
        async def two(): return 2
        assert portal.call(two()) == 2
        child = os.fork()
        if child == 0:
            os._exit(10 + portal.call(two()))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), portal.call(two()))
        """
    )
    assert result.stdout.split() == ["12", "2"], result.stderr


def test_ctrl_c_cancels_what_was_begun():
    result = run(
        """
        import asyncio, signal, threading
        from hetagent import portal
        seen = []
        async def long():
            main = threading.main_thread().ident
            threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
        try:
            portal.call(long())
        except KeyboardInterrupt:
            seen.append("interrupted")
        print(*seen)
        """
    )
    assert result.stdout.split() == ["cancelled", "interrupted"], result.stderr
    assert result.returncode == 0


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
