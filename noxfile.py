"""Every check and the demo, each in a virtual environment of its own: `nox -s NAME`."""

from __future__ import annotations

import json
import os
import platform
import sys

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "lint", "types", "examples"]
nox.options.error_on_external_run = True

PROJECT = nox.project.load_toml("pyproject.toml")
# One release, so that a CPU build of it that pip has at hand is taken; users of the extra choose.
TORCH = "torch==2.13.0"
SLM = "smollm2-135m-instruct"
LLM = "qwen2.5-coder-1.5b-instruct"
# GCC 12 drops stores in ggml's AMX code, and the first decode then kills the process.
NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"

# One release of each, so that figures can be compared; all on the same llama.cpp.
LLAMA = "llama-cpp-python==0.3.36"
ENGINE_PEERS = {
    "llama-cpp-python": (LLAMA.replace("==", "[server]=="),),
    "outlines": (LLAMA, "outlines==1.3.3", "llguidance==1.9.1"),
    "guidance": (LLAMA, "guidance==0.3.1"),
    "typed-gguf": (LLAMA, "typed-gguf==0.3.0"),
}
# What their results depend on is pinned with them.
ESCALATION_PEERS = {
    "firstpass": ("firstpass==0.9.0",),
    "pydecide": ("pydecide==0.2.19",),
    "tracer-llm": ("tracer-llm==0.3.3", "scikit-learn==1.9.1", "scipy==1.17.1"),
    "cascadeflow": ("cascadeflow==1.2.0",),
}
PEERS = ENGINE_PEERS | ESCALATION_PEERS

# MetaGPT asks for seventy packages, many of them old. These are what its company uses, in the
# releases that it names where it names one; `benchmarks.metagpt` stands in for the others.
METAGPT = (
    "metagpt==0.8.2",
    "aiofiles==23.2.1",
    "aiohttp==3.8.6",
    "chardet",
    "gitignore-parser==0.1.9",
    "gitpython==3.1.40",
    "gymnasium==0.29.1",
    "httpx==0.27.2",
    "joblib",
    "loguru==0.6.0",
    "networkx~=3.2.1",
    "numpy~=1.26.4",
    "openai~=1.39.0",
    "pydantic==2.6.4",
    "pyyaml==6.0.1",
    "regex",
    "requests",
    "rich==13.6.0",
    "tenacity==8.2.3",
    "tqdm==4.66.2",
    "typer==0.9.0",
    "typing-extensions==4.9.0",
    "wrapt==1.15.0",
)


def build_environment() -> dict[str, str]:
    """What llama-cpp-python is built with where pip has no wheel of it yet."""
    if platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux":
        return {}
    own = os.environ.get("CMAKE_ARGS", "")
    flags = f"-DCMAKE_C_FLAGS='{NO_AMX}' -DCMAKE_CXX_FLAGS='{NO_AMX}'"
    return {"CMAKE_ARGS": f"{own} {flags}".strip()}


def install(session: nox.Session, *requirements: str, groups: tuple[str, ...] = ()) -> None:
    """Install the project, and what a session needs besides."""
    extra = nox.project.dependency_groups(PROJECT, *groups) if groups else ()
    session.install(*requirements, *extra, env=build_environment())


def ensure_llama_works(session: nox.Session) -> None:
    """Fetch the small model, and build llama.cpp anew where pip's cached build crashes here."""
    session.run("hetagent", "models", "pull", SLM)
    if diagnose(session) == "ok":
        return
    session.warn("The installed llama.cpp does not run well here; building it anew.")
    # Out of pip's cache too, or every new environment would get the bad build again.
    session.run("python", "-m", "pip", "cache", "remove", "llama_cpp_python", success_codes=[0, 1])
    session.install(
        "--force-reinstall",
        "--no-deps",
        "llama-cpp-python>=0.3.36",
        env=build_environment(),
    )
    if diagnose(session) not in ("ok", "fallback"):
        session.error("llama.cpp does not run on this machine; `hetagent doctor` says more.")


def diagnose(session: nox.Session) -> str:
    """What `hetagent doctor` found: ok, fallback, crashed, …"""
    report = session.run(
        "hetagent", "doctor", "--json", silent=True, success_codes=[0, 1], stderr=None
    )
    if not report:
        return "ok"  # nox --install-only runs nothing
    return str(json.loads(str(report))["llama_cpp"]["status"])


@nox.session
def demo(session: nox.Session) -> None:
    """Three skills over a restaurant's messages, on two small models; -- passes options on."""
    install(session, ".[calibrate]")
    ensure_llama_works(session)
    session.run("hetagent", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but the end-to-end ones; -- passes options to pytest."""
    extras = "calibrate,gateway,keyring,learn,otel,postgres,ray,records,transformers,tune"
    install(session, "-e", f".[{extras}]", TORCH, groups=("test",))
    ensure_llama_works(session)
    # Two at a time. Two llama.cpp processes that spin on the same cores starve each other.
    together = ("-n", "2", "--dist", "worksteal")
    session.run("pytest", *together, *session.posargs, env={"OMP_WAIT_POLICY": "passive"})


@nox.session
def e2e(session: nox.Session) -> None:
    """Real servers through LiteLLM, and the examples that take longest."""
    extras = "calibrate,gateway,keyring,learn,postgres,records,tune"
    install(session, "-e", f".[{extras}]", TORCH, groups=("e2e",))
    ensure_llama_works(session)
    session.run("hetagent", "models", "pull", LLM)
    # Two llama.cpp processes that spin on the same cores starve each other.
    session.run("pytest", "-m", "e2e", *session.posargs, env={"OMP_WAIT_POLICY": "passive"})


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    install(session, groups=("lint",))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, on the source; and the pinned signatures of the public names."""
    install(session, "-e", ".[gateway,keyring,postgres,records]", groups=("types",))
    session.run("mypy")
    session.run("mypy", "--disable-error-code=empty-body", "tests/typing/signatures.py")


@nox.session
def examples(session: nox.Session) -> None:
    """Run every example as a user would."""
    install(session, ".[calibrate]")
    ensure_llama_works(session)
    session.run("hetagent", "models", "pull", LLM)
    folder = os.path.join(os.path.dirname(__file__), "examples")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            session.run("python", os.path.join(folder, name))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site into `site`."""
    install(session, "-e", ".", groups=("docs",))
    session.run("mkdocs", "build", "--strict")


@nox.session
@nox.parametrize("system", [nox.param(name, id=name) for name in PEERS])
def peers(session: nox.Session, system: str) -> None:
    """What `benchmark -- engine` and `-- escalation` compare with, each in its own environment."""
    session.install(*PEERS[system], env=build_environment())


@nox.session(python="3.11")
def metagpt(session: nox.Session) -> None:
    """The agent that `benchmark -- metagpt` records, in an environment of its own."""
    agent, *needed = METAGPT
    session.install(*needed)
    session.install("--no-deps", agent)


@nox.session
def benchmark(session: nox.Session) -> None:
    """`nox -s benchmark -- skills --json FILE`.

    First `nox -s peers` for `engine` and `escalation`, and `nox -s metagpt` for `metagpt`.
    """
    name, *options = session.posargs or ["skills"]
    install(
        session,
        "-e",
        ".[gateway,learn,postgres,records,transformers,tune]",
        TORCH,
        groups=("benchmark",),
    )
    ensure_llama_works(session)
    session.run("python", "-m", f"benchmarks.{name}", *options)
