"""Bindings at run time: what serves while a registry is switched, broken, or of no use."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from hetagent import Answer, Certificate, Certified, LlamaCpp, Orchestrator, Scripted, Skill, skill
from hetagent.bound import Bound, BoundSkills, open_binding
from hetagent.errors import ChecksumError, ModelError, RegistryError, StaleCertificate
from hetagent.models.fetch_store import content_hash
from hetagent.registry import Binding, ModelRef, Registry
from tests.support.bindings import added, binding
from tests.support.served import certified, real_binding, sign_skill

KEY = "conversation"


@skill
def intent(message: str) -> Literal["a", "b", "c", "d"]:
    """Say which letter."""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


class Opening:
    """Opens bindings on scripted models that answer with the binding's adapter's letter."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.held: dict[str, threading.Event] = {}
        self.broken: dict[str, BaseException] = {}
        self.models: dict[str, weakref.ref[Scripted]] = {}

    def __call__(self, one: Binding, registry: Registry, _: Skill[Any, Any]) -> Bound:
        assert one.model.artifact is not None
        letter = registry.path(one.model.artifact).read_text()[-1]
        self.begun.append(letter)
        if (held := self.held.get(letter)) is not None:
            held.wait(10)
        if letter in self.broken:
            raise self.broken[letter]
        model = Scripted(Answer(letter), name=letter)
        self.models[letter] = weakref.ref(model)
        return Bound(one, model, None)

    def hold(self, letter: str) -> threading.Event:
        return self.held.setdefault(letter, threading.Event())


@pytest.fixture
def opening() -> Opening:
    return Opening()


@pytest.fixture
def bound(registry: Registry, opening: Opening) -> BoundSkills:
    return BoundSkills(registry, open_with=opening)


def live(registry: Registry, name: str, **parts: Any) -> str:
    id_ = added(registry, name=name)
    registry.switch("intent", binding=id_, **parts)
    return id_


def serving(bound: BoundSkills, key: str = KEY) -> str | None:
    choice = asyncio.run(bound.choice(intent, key=key))
    assert choice is not None
    return None if choice.serving is None else choice.serving.model.name


def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "that never came to be"
        time.sleep(0.002)


def test_a_skill_the_registry_does_not_know_is_left_alone(bound, opening):
    assert asyncio.run(bound.choice(intent, key=KEY)) is None
    assert opening.begun == []


def test_the_first_call_waits_for_the_first_binding_and_blocks_no_loop(registry, bound, opening):
    live(registry, "a")
    held = opening.hold("a")

    async def first() -> tuple[Any, int]:
        waiting = [asyncio.ensure_future(bound.choice(intent, key=KEY)) for _ in range(3)]
        waiting[0].cancel()
        turns = 0
        while opening.begun != ["a"] or turns < 20:
            turns += 1
            await asyncio.sleep(0.001)
        assert not any(one.done() for one in waiting[1:])
        held.set()
        return [one.serving.model.name for one in await asyncio.gather(*waiting[1:])], turns

    names, turns = asyncio.run(first())
    assert names == ["a", "a"]
    assert turns >= 20
    assert opening.begun == ["a"]


def test_a_switch_is_loaded_beside_the_calls_and_frees_the_old_model(registry, bound, opening):
    live(registry, "a")
    assert serving(bound) == "a"
    held = opening.hold("b")
    live(registry, "b")
    assert serving(bound) == "a"
    until(lambda: "b" in opening.begun)
    assert serving(bound) == "a"
    assert opening.models["a"]() is not None
    held.set()
    until(lambda: serving(bound) == "b")
    gc.collect()
    assert opening.models["a"]() is None
    assert opening.begun == ["a", "b"]


def test_a_skill_that_becomes_known_while_calls_go_on_makes_none_wait(registry, bound, opening):
    assert asyncio.run(bound.choice(intent, key=KEY)) is None
    held = opening.hold("a")
    live(registry, "a")
    assert asyncio.run(bound.choice(intent, key=KEY)) is None
    held.set()
    bound.load(intent)
    assert serving(bound) == "a"


def test_of_switches_in_a_row_the_last_one_serves_and_nothing_is_loaded_twice(
    registry, bound, opening
):
    held = opening.hold("a")
    live(registry, "a")

    async def first() -> Any:
        waiting = asyncio.ensure_future(bound.choice(intent, key=KEY))
        while opening.begun != ["a"]:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(live, registry, "b", mode="canary", share=1.0)
        again = asyncio.ensure_future(bound.choice(intent, key=KEY))
        await asyncio.sleep(0.01)
        held.set()
        return [one.serving.model.name for one in await asyncio.gather(waiting, again)]

    assert asyncio.run(first()) == ["b", "b"]
    assert opening.begun == ["a", "b"]


def test_off_and_the_end_of_a_canary_hold_at_once_whatever_else_is_loaded(registry, bound, opening):
    live(registry, "a")
    live(registry, "b", mode="canary", share=1.0)
    bound.load(intent)
    assert serving(bound) == "b"
    held = opening.hold("c")
    live(registry, "c")
    assert serving(bound) == "a"  # the canary is over, and what it stood beside goes on
    registry.switch("intent", mode="off")
    assert serving(bound) is None
    held.set()
    bound.load(intent)
    assert serving(bound) is None


@pytest.mark.parametrize(
    "error",
    [ModelError("No room for it.", hint="Make some."), ValueError("a prompt"), SystemExit(3)],
)
def test_what_cannot_be_loaded_leaves_the_old_one_serving(registry, bound, opening, caplog, error):
    live(registry, "a")
    assert serving(bound) == "a"
    opening.broken["b"] = error
    id_ = live(registry, "b")
    bound.load(intent)
    assert serving(bound) == "a"
    assert list(bound.failures()) == [id_]
    assert "a prompt" not in caplog.text
    assert ("No room for it. Make some." in caplog.text) == isinstance(error, ModelError)
    added(registry, "other")
    registry.switch("other", mode="off")
    bound.load(intent)
    assert opening.begun == ["a", "b"]  # another skill's switch is no reason to try again
    opening.broken.clear()
    registry.switch("intent", binding=id_)
    bound.load(intent)
    assert serving(bound) == "b"
    assert bound.failures() == {}


def test_where_the_first_cannot_be_loaded_only_the_llm_serves(registry, bound, opening):
    opening.broken["a"] = ModelError("No.")
    live(registry, "a")
    choice = asyncio.run(bound.choice(intent, key=KEY))
    assert choice is not None
    assert (choice.mode, choice.serving, choice.shadow) == ("off", None, None)


def test_a_trial_that_cannot_be_loaded_leaves_the_live_one_alone(registry, bound, opening):
    live(registry, "a")
    opening.broken["b"] = ModelError("No.")
    live(registry, "b", mode="canary", share=1.0)
    bound.load(intent)
    assert serving(bound) == "a"


def test_the_share_of_a_canary_is_sticky_and_unbiased(registry, bound):
    live(registry, "a")
    live(registry, "b", mode="canary", share=0.2)
    bound.load(intent)
    keys = [f"conversation {number}" for number in range(4000)]

    async def sides() -> list[str]:
        found = [await bound.choice(intent, key=key) for key in keys]
        return [one.serving.model.name for one in found if one is not None]

    first = asyncio.run(sides())
    assert first == asyncio.run(sides())
    # Four standard deviations of a share of 0.2 among 4,000.
    assert abs(first.count("b") / len(keys) - 0.2) < 4 * (0.2 * 0.8 / len(keys)) ** 0.5
    registry.rollback("intent")
    assert set(asyncio.run(sides())) == {"a"}


def test_a_broken_log_changes_nothing_and_is_told_once(registry, bound, opening, caplog):
    live(registry, "a")
    assert serving(bound) == "a"
    log = registry.folder / "log.jsonl"
    whole = log.read_bytes()
    with log.open("ab") as file:
        file.write(b"no event\n")
    with caplog.at_level(logging.WARNING, "hetagent"):
        assert [serving(bound) for _ in range(5)] == ["a"] * 5
    (said,) = caplog.messages
    assert "Calls go on as before" in said
    assert "Line 2" in said
    log.write_bytes(whole)
    live(registry, "b")
    until(lambda: serving(bound) == "b")
    assert len(caplog.messages) == 1


def test_a_registry_that_cannot_be_looked_at_changes_nothing(registry, bound, caplog, monkeypatch):
    live(registry, "a")
    assert serving(bound) == "a"
    monkeypatch.setattr("hetagent.bound._SECONDS_UNTIL_AGAIN", 0.0)
    folder, away = registry.folder, registry.folder.with_name("away")
    folder.rename(away)
    folder.write_text("a file in its place")
    assert [serving(bound) for _ in range(3)] == ["a"] * 3
    assert len(caplog.messages) == 1
    folder.unlink()
    away.rename(folder)
    live(registry, "b")
    until(lambda: serving(bound) == "b")


def test_a_log_that_was_broken_from_the_start_leaves_calls_as_they_were(registry, bound, caplog):
    live(registry, "a")
    log = registry.folder / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"nothing of the kind\n")
    assert asyncio.run(bound.choice(intent, key=KEY)) is None
    assert "Calls go on as before" in caplog.text
    log.write_bytes(whole)
    until(lambda: asyncio.run(bound.choice(intent, key=KEY)) is not None)
    assert serving(bound) == "a"


def test_a_certificate_is_not_borrowed_by_another_skill_of_that_name(registry, caplog):
    model, made = certified()
    bound = BoundSkills(registry, open_with=lambda one, *_: Bound(one, model, Certified(made)))
    registry.switch("sign", binding=added(registry, "sign"))
    original, other = sign_skill(), sign_skill("Guess a sign.")
    found = [asyncio.run(bound.choice(one, key=KEY)) for one in (original, other, original, other)]
    assert [one is not None and one.serving is not None for one in found] == [True, False] * 2
    assert caplog.text.count("is not used for another skill") == 1


def test_a_forked_child_loads_its_own(registry, bound, opening):
    live(registry, "a")
    assert serving(bound) == "a"
    bound._lock.acquire()  # as another thread may hold it at that moment
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if serving(bound) == "a" and opening.begun == ["a", "a"] else 2
        finally:
            os._exit(code)
    bound._lock.release()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_load_that_hangs_does_not_keep_the_process(tmp_path: Path):
    code = """
        import asyncio, sys, time
        from hetagent.bound import BoundSkills
        from hetagent.registry import Registry
        from tests.support.bindings import added
        from tests.test_bound import intent

        registry = Registry(sys.argv[1])
        bound = BoundSkills(registry, open_with=lambda *_: time.sleep(60))
        asyncio.run(bound.choice(intent, key="k"))
        registry.switch("intent", binding=added(registry))
        assert asyncio.run(bound.choice(intent, key="k")) is None
        print("served")
    """
    began = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "registry")],
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert found.stdout == "served\n", found.stderr
    assert found.stderr == ""
    assert time.monotonic() - began < 30


# --- with real models


def test_a_binding_over_the_real_model_serves_under_its_certificate(
    registry: Registry, smol: LlamaCpp, tmp_path: Path
):
    one = real_binding(registry, smol, tmp_path)
    registry.switch("sign", binding=one.id)
    outcome = Orchestrator(registry=registry.folder).run(sign_skill(), "number 7")
    assert outcome.binding == one.id
    assert outcome.basis is not None
    assert one.certificate is not None
    held = Certificate.load(registry.path(one.certificate))
    assert outcome.basis.certificate == held.id
    assert outcome.calls[0].model == "smollm2-135m-instruct"


def test_stale_certificates_and_damaged_files_are_refused(
    registry: Registry, tiny: LlamaCpp, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    one = real_binding(registry, tiny, tmp_path, context=1024)
    with pytest.raises(StaleCertificate, match="prompt"):
        open_binding(one, registry, sign_skill("Guess a sign."))
    registry.switch("sign", binding=one.id)
    llm = Scripted(Answer("minus"), name="llm")
    agent = Orchestrator(Scripted(Answer("plus")), llm=llm, registry=registry)
    assert agent.run(sign_skill("Guess a sign."), "7").served_by == "llm"
    assert "was made for other prompt" in caplog.text
    for wrong, error in (("0" * 64, ChecksumError), (None, RegistryError)):
        kind = "llamacpp" if wrong else "classifier"
        artifact = (None, None) if wrong else (registry.put(b"x"), "classifier")
        model = ModelRef(kind, str(tiny.path), wrong or content_hash(tiny.path), *artifact)
        with pytest.raises(error):
            open_binding(Binding("sign", model), registry, sign_skill())
    path = registry.path(one.certificate or "")
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    with pytest.raises(ChecksumError, match="changed or damaged"):
        open_binding(one, registry, sign_skill())
    gone = binding(registry, "sign", certificate=None)
    registry.path(gone.model.artifact or "").unlink()
    with pytest.raises(RegistryError, match="no artifact"):
        open_binding(gone, registry, sign_skill())
