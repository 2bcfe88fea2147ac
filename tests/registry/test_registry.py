"""The registry: what is switched is what everybody sees, and can be taken back."""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from hetagent.engine.llama import LlamaWeights
from hetagent.errors import RegistryError
from hetagent.models.fetch import resolve
from hetagent.registry import Registry
from hetagent.registry.log import Log
from tests.support.bindings import added, binding
from tests.support.registry_work import Worker, tell_states


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def live(registry: Registry, skill: str = "intent") -> str | None:
    state = registry.state(skill)
    return None if state is None or state.live is None else state.live.id


def test_reading_makes_nothing(registry):
    assert registry.states() == {}
    assert registry.state("intent") is None
    assert registry.history("intent") == registry.bindings() == ()
    assert registry.verify() == []
    assert not registry.folder.exists()


def test_its_folder_is_the_one_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HETAGENT_REGISTRY", str(tmp_path / "mine"))
    assert Registry().folder == tmp_path / "mine"
    assert Registry(tmp_path / "other").folder == tmp_path / "other"
    monkeypatch.delenv("HETAGENT_REGISTRY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = Registry().folder
    assert folder.name == "registry"
    assert folder.is_relative_to(tmp_path)


def test_a_binding_is_added_once(registry):
    one = binding(registry)
    assert registry.add(one) == one.id
    assert registry.add(replace(one, made="2030-01-01T00:00:00+00:00")) == one.id
    assert registry.binding(one.id) == one
    assert registry.bindings() == registry.bindings("intent") == (one,)
    assert registry.bindings("other") == ()
    assert registry.state("intent") is None  # nothing was switched


def test_what_it_needs_must_be_there(registry):
    one = binding(registry)
    for part in ({"certificate": "f" * 64}, {"model": replace(one.model, artifact="f" * 64)}):
        with pytest.raises(RegistryError, match="there is no artifact ffff"):
            registry.add(replace(one, **part))
    registry.add(replace(one, lineage={"records": "f" * 64}))  # may be kept elsewhere


@pytest.mark.parametrize("name", ["0" * 16, "", "../log.jsonl", "x"])
def test_an_unknown_binding_is_refused(registry, name):
    added(registry)
    with pytest.raises(RegistryError, match="There is no binding"):
        registry.switch("intent", binding=name)
    with pytest.raises(RegistryError, match="There is no binding"):
        registry.binding(name)


def test_what_may_not_serve_is_refused(registry):
    one, bare = added(registry), added(registry, name="b", certificate=None)
    with pytest.raises(RegistryError, match="is of intent, not of tone"):
        registry.switch("tone", binding=one)
    for mode in ("live", "canary"):
        with pytest.raises(RegistryError, match="has no certificate"):
            registry.switch("intent", binding=bare, mode=mode)
    assert registry.history("intent") == ()
    registry.switch("intent", binding=bare, mode="shadow")
    registry.switch("intent", binding=bare, uncertified=True)
    assert live(registry) == bare


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"binding": None}, "needs a binding"),
        ({"mode": "off"}, "takes no binding"),
        ({"mode": "sometimes"}, "no mode"),
        ({"mode": "canary", "share": 0}, "share is 0"),
        ({"mode": "canary", "share": 1.1}, "share is 1.1"),
        ({"mode": "canary", "share": float("nan")}, "share is nan"),
        ({"share": 0.5}, "is of all calls"),
        ({"skill": " "}, "has a name"),
    ],
)
def test_what_makes_no_sense_is_refused(registry, parts, words):
    given = {"skill": "intent", "binding": added(registry), **parts}
    with pytest.raises(RegistryError, match=words) as caught:
        registry.switch(given.pop("skill"), **given)
    assert caught.value.hint
    assert not (registry.folder / "log.jsonl").exists()


def test_a_trial_runs_beside_what_is_live_until_one_is_made_live(registry):
    one, two = added(registry), added(registry, name="b")
    registry.switch("intent", binding=two, mode="canary", share=0.2, why="first try")
    state = registry.state("intent")
    assert (state.live, state.trial.id, state.mode, state.share) == (None, two, "canary", 0.2)
    assert state.why == "first try"
    registry.switch("intent", binding=one)
    assert registry.state("intent").trial is None
    event = registry.switch("intent", binding=two, mode="shadow")
    state = registry.state("intent")
    assert (state.live.id, state.trial.id, state.mode, state.share) == (one, two, "shadow", 1.0)
    assert state.since == event.time
    registry.switch("intent", binding=two)
    state = registry.state("intent")
    assert (state.live.id, state.trial, state.mode) == (two, None, "live")
    registry.switch("intent", mode="off")
    state = registry.state("intent")
    assert (state.live, state.trial, state.mode) == (None, None, "off")
    assert [event.mode for event in registry.history("intent")] == [
        "canary", "live", "shadow", "live", "off",
    ]  # fmt: skip


def test_what_is_live_is_not_tried_beside_itself(registry):
    one = added(registry)
    registry.switch("intent", binding=one)
    with pytest.raises(RegistryError, match="beside itself"):
        registry.switch("intent", binding=one, mode="canary", share=0.5)


def test_rolling_back_goes_one_further_back_each_time(registry):
    names = [added(registry, name=name) for name in "abc"]
    for name in names:
        registry.switch("intent", binding=name)
    registry.switch("intent", binding=names[0], mode="canary", share=0.5)
    seen = []
    for _ in range(4):
        event = registry.rollback("intent", why="worse")
        assert event.undo
        assert event.binding == live(registry)
        seen.append(live(registry))
    assert seen == [names[2], names[1], names[0], None]
    with pytest.raises(RegistryError, match="nothing to roll back"):
        registry.rollback("intent")
    registry.switch("intent", binding=names[1])
    registry.rollback("intent")
    assert live(registry) is None


def test_switching_off_is_taken_back_too(registry):
    one = added(registry)
    registry.switch("intent", binding=one)
    for _ in range(2):
        registry.switch("intent", mode="off")  # once more changes nothing
    registry.rollback("intent")
    assert live(registry) == one


def test_nothing_switched_is_nothing_to_roll_back(registry):
    with pytest.raises(RegistryError, match="Nothing was ever switched of intent"):
        registry.rollback("intent")
    registry.switch("intent", mode="off")
    with pytest.raises(RegistryError, match="nothing to roll back"):
        registry.rollback("intent")


def test_skills_do_not_touch_each_other(registry):
    one, other = added(registry), added(registry, "tone")
    registry.switch("tone", binding=other)
    registry.switch("intent", binding=one)
    registry.rollback("tone")
    assert live(registry) == one
    assert live(registry, "tone") is None
    assert list(registry.states()) == ["intent", "tone"]


def test_another_process_sees_a_switch_at_once(registry):
    one, two = added(registry), added(registry, name="b")
    worker = Worker(tell_states, registry.folder, "intent")
    seen = []
    for change in (None, one, two, None):
        if change is not None:
            registry.switch("intent", binding=change)
        elif seen:
            registry.rollback("intent")
        worker.connection.send(True)
        seen.append(worker.connection.recv())
    worker.connection.send(False)
    worker.ends()
    assert seen == [None, one, two, one]


def test_asking_again_reads_nothing(registry, monkeypatch):
    registry.switch("intent", binding=added(registry))
    first, states = registry.state("intent"), registry.states()

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("A file was opened.")

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(os, "open", opened)
    for _ in range(100_000):
        assert registry.state("intent") is first
    assert registry.states() == states


def test_threads_share_one_registry(registry):
    names = [added(registry, name=str(number)) for number in range(3)]
    failed = []

    def work(name: str) -> None:
        try:
            for _ in range(8):
                registry.switch("intent", binding=name)
                assert live(registry) in names
                registry.states()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed == []
    assert len(registry.history("intent")) == 24
    assert live(registry) == registry.history("intent")[-1].binding


def test_lineage_tells_where_it_came_from_and_what_became_of_it(registry):
    decision = registry.put(json.dumps({"promoted": True}).encode())
    dataset = registry.put(b"not JSON")
    lineage = {"records": "digest", "dataset": dataset, "decision": decision}
    one = added(registry, lineage=lineage, facts={"coverage": 0.8})
    registry.switch("intent", binding=one, why="better")
    registry.switch("intent", binding=added(registry, name="b"))
    registry.rollback("intent")
    known = registry.lineage(one)
    assert known["binding"]["id"] == one
    assert known["binding"]["facts"] == {"coverage": 0.8}
    assert list(known["lineage"]) == ["records", "dataset", "decision"]
    assert known["lineage"]["records"] == {"hash": "digest", "kept": False}
    assert known["lineage"]["dataset"] == {"hash": dataset, "kept": True, "size_bytes": 8}
    assert known["lineage"]["decision"]["content"] == {"promoted": True}
    assert set(known["artifacts"]) == {"certificate", "adapter"}
    assert [(event["mode"], event["undo"]) for event in known["events"]] == [
        ("live", False), ("live", True),
    ]  # fmt: skip
    json.dumps(known)


def test_verifying_names_all_that_is_wrong(registry):
    one = binding(registry)
    registry.switch("intent", binding=registry.add(one))
    other = registry.put(b"other")
    assert registry.verify() == []
    registry.path(one.certificate).unlink()
    registry.path(other).write_bytes(b"else")
    (registry.folder / "bindings" / ("0" * 16)).write_text("nonsense")
    found = registry.verify()
    assert len(found) == 3
    assert any(one.certificate in problem for problem in found)
    assert any("changed or damaged" in problem for problem in found)
    assert any("does not name a binding's file" in problem for problem in found)
    (registry.folder / "log.jsonl").write_text("{}\n")
    assert any("Line 1 of the log" in problem for problem in registry.verify())


def test_without_its_file_a_skill_cannot_be_told_but_can_be_switched(registry):
    one, two = added(registry), added(registry, name="b")
    registry.switch("intent", binding=one)
    registry.switch("intent", binding=two)
    registry.switch("tone", mode="off")
    registry.path(registry.history("intent")[1].artifact).unlink()
    fresh = Registry(registry.folder)
    with pytest.raises(RegistryError, match="There is no artifact"):
        fresh.state("intent")
    assert fresh.state("tone").mode == "off"
    fresh.rollback("intent")
    assert live(fresh) == one


def test_a_rollback_to_what_is_gone_is_refused(registry):
    for name in "ab":
        registry.switch("intent", binding=added(registry, name=name))
    registry.path(registry.history("intent")[0].artifact).unlink()
    fresh = Registry(registry.folder)
    with pytest.raises(RegistryError, match="There is no artifact"):
        fresh.rollback("intent")
    assert len(fresh.history("intent")) == 2


def test_a_binding_that_was_damaged_is_mended_by_adding_it_again(registry):
    one = binding(registry)
    place = registry.folder / "bindings" / registry.add(one)
    for damaged in (place, registry.path(place.read_text().strip())):
        damaged.write_text("{}")
        fresh = Registry(registry.folder)
        with pytest.raises(RegistryError):
            fresh.binding(one.id)
        fresh.add(one)
        assert fresh.binding(one.id) == one


def test_the_registry_stands_on_little():
    import ast

    from hetagent import registry

    lower = ("errors", "files", "fingerprint", "paths", "registry")
    for path in Path(registry.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hetagent."):
                assert node.module.split(".")[1] in lower, path


def test_llama_cpp_loads_what_is_kept(registry, smol_path):
    weights = registry.path(registry.put(smol_path))
    assert resolve(weights) == weights  # it needs no suffix
    LlamaWeights(weights, gpu_layers=0, extra_buffers=False).close()


class Switching(RuleBasedStateMachine):
    """Two registries over one folder, against lists of what was live."""

    skills = st.sampled_from(["intent", "tone"])

    folder: Path
    bindings: Mapping[str, list[str]]

    def __init__(self) -> None:
        super().__init__()
        (self.folder / "log.jsonl").unlink(missing_ok=True)
        self.registries = [Registry(self.folder) for _ in range(2)]
        self.live: dict[str, list[str | None]] = {skill: [None] for skill in self.bindings}
        self.trial: dict[str, tuple[str, str] | None] = dict.fromkeys(self.bindings)
        self.switched: dict[str, int] = dict.fromkeys(self.bindings, 0)

    @rule(by=st.integers(0, 1), skill=skills, which=st.integers(0, 2))
    def make_live(self, by: int, skill: str, which: int) -> None:
        name = self.bindings[skill][which]
        self.registries[by].switch(skill, binding=name)
        self._goes_live(skill, name)

    @rule(by=st.integers(0, 1), skill=skills)
    def off(self, by: int, skill: str) -> None:
        self.registries[by].switch(skill, mode="off")
        self._goes_live(skill, None)

    @rule(
        by=st.integers(0, 1),
        skill=skills,
        which=st.integers(0, 2),
        mode=st.sampled_from(["canary", "shadow"]),
    )
    def attempt(self, by: int, skill: str, which: int, mode: str) -> None:
        name = self.bindings[skill][which]
        if name == self.live[skill][-1]:
            with pytest.raises(RegistryError, match="beside itself"):
                self.registries[by].switch(skill, binding=name, mode=mode)  # type: ignore[arg-type]
            return
        self.registries[by].switch(skill, binding=name, mode=mode, share=0.5)  # type: ignore[arg-type]
        self.trial[skill] = (name, mode)
        self.switched[skill] += 1

    @rule(by=st.integers(0, 1), skill=skills)
    def roll_back(self, by: int, skill: str) -> None:
        if self.trial[skill] is not None:
            self.registries[by].rollback(skill)
            self.trial[skill] = None
        elif len(self.live[skill]) > 1:
            self.registries[by].rollback(skill)
            self.live[skill].pop()
        else:
            with pytest.raises(RegistryError):
                self.registries[by].rollback(skill)
            return
        self.switched[skill] += 1

    @invariant()
    def all_see_the_same(self) -> None:
        for registry in self.registries:
            for skill, lives in self.live.items():
                state = registry.state(skill)
                assert len(registry.history(skill)) == self.switched[skill]
                if state is None:
                    assert self.switched[skill] == 0
                    continue
                trial = self.trial[skill]
                assert (state.live.id if state.live else None) == lives[-1]
                assert (state.trial and (state.trial.id, state.mode)) == trial
                if trial is None:
                    assert state.mode == ("off" if lives[-1] is None else "live")
        whole = Log(self.folder / "log.jsonl").read().events
        assert len(whole) == sum(self.switched.values())

    def _goes_live(self, skill: str, name: str | None) -> None:
        if self.live[skill][-1] != name:
            self.live[skill].append(name)
        self.trial[skill] = None
        self.switched[skill] += 1


def test_any_switches_and_rollbacks_add_up(registry):
    bindings = {
        skill: [added(registry, skill, name=name) for name in "abc"] for skill in ("intent", "tone")
    }
    kind = type("Placed", (Switching,), {"folder": registry.folder, "bindings": bindings})
    run_state_machine_as_test(kind, settings=settings(max_examples=10, stateful_step_count=15))
