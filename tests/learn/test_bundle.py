"""Bundles: they run elsewhere with no network, and are there whole or not at all."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hetagent import LlamaCpp, Orchestrator
from hetagent.cli.app import app
from hetagent.errors import ChecksumError, HetagentError, InputError, RegistryError
from hetagent.learn.bundle import FACTS, README, Bundle, bundle, check_bundle, skill_of
from hetagent.learn.task import Task
from hetagent.learn.task.answers import Answers
from hetagent.learn.task.prompts import Prompts, Wording
from hetagent.registry import Binding, Registry
from tests.support.certificates import certificate
from tests.support.served import real_binding


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def served(registry: Registry, tiny: LlamaCpp, tmp_path: Path) -> Registry:
    """A registry in which a skill that is declared in code is live on the tiny model."""
    lineage = {"examples": registry.put(b"what somebody wrote")}
    one = real_binding(registry, tiny, tmp_path, context=1024, lineage=lineage)
    registry.switch("sign", binding=one.id)
    return registry


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_is_a_registry_with_all_it_needs_and_no_more(served, tiny, tmp_path):
    told: list[tuple[int, int]] = []
    found = bundle(served, ["sign"], to=tmp_path / "out" / "b", tell=lambda *at: told.append(at))
    assert found == Bundle.load(found.folder)
    assert left(tmp_path / "out") == ["b"]
    assert left(found.folder) == [README, "bindings", FACTS, "log.jsonl", "objects"]
    assert check_bundle(found.folder) == []
    assert told[-1] == (found.size_bytes, found.size_bytes)
    (state,) = Registry(found.folder).states().values()
    assert state.live == served.state("sign").live
    base = state.live.model.base_hash
    assert Registry(found.folder).path(base).read_bytes() == tiny.path.read_bytes()
    assert (found.declared, found.uncertified) == (("sign",), ())
    (lineage,) = state.live.lineage.values()
    assert not Registry(found.folder).has(lineage)
    text = (found.folder / README).read_text()
    assert "hetagent run MODULE:sign --registry . --input" in text
    assert found.versions["hetagent"] in text
    assert str(tmp_path) not in text + (found.folder / FACTS).read_text()


def test_what_is_there_is_never_replaced_unless_it_is_a_bundle_and_told(served, tmp_path):
    to = tmp_path / "b"
    first = bundle(served, ["sign"], to=to)
    with pytest.raises(InputError, match="there already"):
        bundle(served, ["sign"], to=to)
    second = bundle(served, ["sign"], to=to, replace=True)
    assert second.skills == first.skills
    assert check_bundle(to) == []
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("Dear")
    with pytest.raises(InputError, match="no bundle"):
        bundle(served, ["sign"], to=mine, replace=True)
    assert left(mine) == ["letter.txt"]
    assert not [name for name in left(tmp_path) if name.startswith(".")]


def test_what_cannot_be_bundled_is_refused_and_leaves_nothing(registry, tiny, tmp_path):
    one = real_binding(registry, tiny, tmp_path, context=1024)
    before = left(tmp_path)
    with pytest.raises(InputError, match="No skill"):
        bundle(registry, [], to=tmp_path / "b")
    with pytest.raises(RegistryError, match="No binding of sign is live"):
        bundle(registry, ["sign"], to=tmp_path / "b")
    named = {"sign": one.id}
    with pytest.raises(RegistryError, match="not of other"):
        bundle(registry, ["other"], to=tmp_path / "b", bindings={"other": one.id})
    assert one.certificate is not None
    path = registry.path(one.certificate)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ChecksumError, match="is not what the binding was made with"):
        bundle(registry, ["sign"], to=tmp_path / "b", bindings=named)
    assert left(tmp_path) == before


def test_a_base_that_changed_is_refused(served, tiny, tmp_path):
    state = served.state("sign")
    assert state is not None
    assert state.live is not None
    other = tmp_path / "other.gguf"
    other.write_bytes(tiny.path.read_bytes() + b"\0")
    changed = {**state.live.to_dict(), "model": {**state.live.model.to_dict(), "base": str(other)}}
    id_ = served.add(Binding.from_dict(changed))
    with pytest.raises(ChecksumError, match=r"other\.gguf"):
        bundle(served, ["sign"], to=tmp_path / "b", bindings={"sign": id_})
    assert "b" not in left(tmp_path)


def test_a_damaged_bundle_is_recognised(served, tmp_path):
    whole = bundle(served, ["sign"], to=tmp_path / "b").folder

    def copy(name: str) -> Path:
        return Path(shutil.copytree(whole, tmp_path / name))

    for index, path in enumerate(sorted((whole / "objects").glob("??/*"))):
        damaged, missing = copy(f"damaged {index}"), copy(f"missing {index}")
        with (damaged / path.relative_to(whole)).open("r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        (missing / path.relative_to(whole)).unlink()
        assert check_bundle(damaged)
        assert check_bundle(missing)
    off = copy("off")
    Registry(off).switch("sign", mode="off")
    assert any("does not serve sign" in one for one in check_bundle(off))
    for text in ("", "[]", '{"format": 1}', '{"format": 7}'):
        (off / FACTS).write_text(text)
        with pytest.raises(InputError):
            check_bundle(off)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_bundling_that_is_interrupted_leaves_nothing_in_its_place(served, tmp_path, how):
    code = """
        import sys, time
        from hetagent.learn.bundle import bundle
        from hetagent.registry import Registry
        def wait(done, total):
            print(done, flush=True)
            time.sleep(60)
        bundle(Registry(sys.argv[1]), ["sign"], to=sys.argv[2], tell=wait)
    """
    to = tmp_path / "out" / "b"
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(served.folder), str(to)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline()
    child.send_signal(how)
    child.wait(20)
    child.stdout.close()
    assert not to.exists()
    if how == signal.SIGINT:
        assert left(to.parent) == []
    assert check_bundle(bundle(served, ["sign"], to=to).folder) == []


def found_task() -> Task:
    """A task as it is found in recorded calls: the skill is all in it."""
    wording = Wording(("Text: ", ""), ("text",), alone=True)
    return Task(
        Prompts("sign", ("text",), (wording,), ()),
        Answers("labels", labels=("plus", "minus")),
        "sign",
        "Say which sign the number has.",
        8,
    )


@pytest.mark.e2e
def test_a_bundle_runs_elsewhere_with_no_network(
    registry: Registry, smol: LlamaCpp, tmp_path: Path
):
    task = found_task()
    made = certificate(task.skill, smol, least=0.01)
    kept = registry.put(json.dumps(task.to_dict()).encode())
    one = real_binding(registry, smol, tmp_path, made=made, task=kept)
    registry.switch("sign", binding=one.id)
    here = Orchestrator(registry=registry).run(skill_of(registry, "sign"), "number 7")
    assert here.served_by == "slm"
    out = tmp_path / "b"
    wrote = CliRunner().invoke(
        app, ["bundle", "sign", "--registry", str(registry.folder), "--to", str(out), "--json"]
    )
    assert wrote.exit_code == 0, wrote.output
    assert json.loads(wrote.stdout)["skills"] == {"sign": one.id}
    checked = CliRunner().invoke(app, ["bundle", "--check", str(out)])
    assert (checked.exit_code, checked.output) == (0, f"All is well in {out}.\n")
    away = tmp_path / "elsewhere"
    out.rename(away)
    shutil.rmtree(registry.folder)
    there = elsewhere(tmp_path, away)
    assert there["value"] == here.value
    assert there["binding"] == one.id
    assert there["confidence"] == pytest.approx(here.confidence, abs=0.05)


def elsewhere(tmp_path: Path, away: Path) -> Any:
    """A run by a process with empty folders of its own, which may open no socket."""
    empty = tmp_path / "empty"
    empty.mkdir()
    code = """
        import socket, sys
        def refused(*args, **kwargs):
            raise OSError("no network here")
        real = socket.socket
        class Unix(real):
            def __init__(self, family=socket.AF_INET, *args, **kwargs):
                if family != socket.AF_UNIX:
                    refused()
                super().__init__(family, *args, **kwargs)
        socket.socket = Unix
        socket.create_connection = socket.getaddrinfo = refused
        from hetagent.cli import main
        sys.argv = ["hetagent", *sys.argv[1:]]
        sys.exit(main())
    """
    env = {
        **os.environ,
        **dict.fromkeys(
            ("HOME", "HETAGENT_CACHE", "HF_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"), str(empty)
        ),
    }
    env.pop("HETAGENT_REGISTRY", None)
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), "run", "sign", "--registry", str(away),
         "--input", "number 7", "--json"],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_on_the_command_line_what_does_not_go_together_is_refused(served, tmp_path):
    registry = ["--registry", str(served.folder)]
    for arguments, error in (
        (["bundle"], "No skill"),
        (["bundle", "a", "b", "--binding", "0" * 16], "several skills"),
        (["bundle", "--check", str(tmp_path)], "no bundle"),
        (["run", "sign", *registry, "--input", "7"], "declared in code"),
        (["run", "other", *registry, "--input", "7"], "Nothing serves"),
        (["run", "sign", *registry, "--slm", "x", "--input", "7"], "--slm"),
    ):
        found = CliRunner().invoke(app, arguments)
        assert isinstance(found.exception, HetagentError)
        assert error in found.exception.message
