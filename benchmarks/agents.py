"""Agents that call an LLM for everything, recorded as they are: what they repeat, and how narrow.

    python -m benchmarks.agents --records FOLDER --json agents.json

Starts the gateway before a local model, runs the agents in `examples/agents` against it, all at
once, and finds the workloads of each one's records. Recordings that are in the folder already are
used again; those of other agents are given as ``--recorded metagpt=FILE``, a store or JSON lines.
What the agents say is the local model's. An hour on two cores, most of it decoding.

An agent's prompts are known, and which of them its author means to be open-ended: both are compared
with what is found. The estimates beside are those of Belcak et al. (2025, section 6) for the agents
whose shape these have.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import CannotMeasureError, Report, arguments, main
from hetagent.learn.record import CallRecord

FOLDER = Path(__file__).parents[1] / "examples" / "agents"
MODEL = "qwen2.5-coder-1.5b-instruct"
SERVER_SECONDS = 120


@dataclass(frozen=True)
class Agent:
    """An agent of a case study.

    Attributes:
        study: The agent of the paper that it is like.
        estimate: Share of that one's calls that small models could do, by the paper.
        open_ended: Names of the prompts that its author means to be open-ended.
    """

    study: str
    estimate: float
    open_ended: tuple[str, ...] = ()


AGENTS: Mapping[str, Agent] = {
    "software_company": Agent(
        "MetaGPT", 0.6, ("ARCHITECT_APPROACH", "REVIEWER", "ENGINEER_AGAIN", "LETTER")
    ),
    "web_operator": Agent("Open Operator", 0.4, ("PLAN", "MESSAGE")),
    "gui_control": Agent("Cradle", 0.7, ("INFER", "LEARN")),
}
OTHERS: Mapping[str, Agent] = {
    "metagpt": Agent("MetaGPT", 0.6),
    "open_operator": Agent("Open Operator", 0.4),
    "cradle": Agent("Cradle", 0.7),
}


def measure(report: Report, options: Any) -> None:
    given = dict(split(one) for one in options.recorded)
    folder = options.records or Path(tempfile.mkdtemp(prefix="agents-"))
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.jsonl" for name in options.agents} | given
    missing = [name for name in options.agents if name not in given and not files[name].is_file()]
    if missing:
        record(missing, folder, options, report)
    for name, file in files.items():
        assess(name, read(file), report)


def split(given: str) -> tuple[str, Path]:
    name, equals, path = given.partition("=")
    if not equals or not Path(path).is_file():
        raise CannotMeasureError(f"--recorded {given}: say NAME=FILE, with a file that is there")
    return name, Path(path)


def record(names: Sequence[str], folder: Path, options: Any, report: Report) -> None:
    """Run agents through the gateway, and write a file of records for each."""
    from hetagent.learn.keys import FolderKeys
    from hetagent.learn.store import Query, Reader

    store = folder / "agents.db"
    environment = {
        **os.environ,
        "HETAGENT_KEYS": str(folder / "keys"),
        "OMP_WAIT_POLICY": "passive",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with gateway(options.model, store, options.port, environment) as (address, status):
        ran = run(names, address, options.tasks)
    lost = status["records"]["lost"]
    report.target("calls that were not recorded", value=lost, target="= 0", holds=lost == 0)
    for name, code in ran.items():
        report.target(f"{name}: it ended well", value=code, target="= 0", holds=code == 0)
    with Reader(str(store), keys=FolderKeys(folder / "keys")) as reader:
        for name in names:
            lines = [f"{one.to_json()}\n" for one in reader.records(Query(model=name))]
            (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


@contextmanager
def gateway(
    model: str, store: Path, port: int, environment: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`hetagent serve`, its address, and after it has ended what it says of itself."""
    command = [sys.executable, "-m", "hetagent", "serve", "--model", f"*={model}", "--json"]
    command += ["--records", str(store), "--port", str(port)]
    status: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            first = server.stdout.readline()
            if not first:
                raise CannotMeasureError("hetagent serve did not start")
            yield json.loads(first)["base_url"], status
        finally:
            server.send_signal(signal.SIGTERM)
            rest, _ = server.communicate(timeout=SERVER_SECONDS)
    status |= json.loads(rest.splitlines()[-1])


def run(names: Sequence[str], address: str, tasks: int | None) -> dict[str, int]:
    """Exit codes of agents that run at once; the name of the model tells their calls apart."""
    environment = {**os.environ, "OPENAI_BASE_URL": address, "OPENAI_API_KEY": "none"}
    some = [] if tasks is None else ["--tasks", str(tasks)]
    began = time.monotonic()
    running = {
        name: subprocess.Popen(
            [sys.executable, str(FOLDER / f"{name}.py"), "--model", name, *some],
            env=environment,
            stdout=sys.stderr,
        )
        for name in names
    }
    codes = {name: one.wait() for name, one in running.items()}
    print(f"{', '.join(names)} ran for {time.monotonic() - began:.0f} s", file=sys.stderr)
    return codes


def read(file: Path) -> list[CallRecord]:
    """Records of a file: a store, or a log."""
    from hetagent.integrations.sources import record_source

    with record_source(file, assigned=False) as source:
        return list(source)


def assess(name: str, records: list[CallRecord], report: Report) -> None:
    """Find an agent's workloads, and compare them with its prompts where these are known."""
    from hetagent.learn.cluster import Workloads

    if not records:
        raise CannotMeasureError(f"there are no records of {name}")
    found = Workloads.fit(records)
    homes = [found.assign(one) or "" for one in records]
    agent = AGENTS.get(name) or OTHERS.get(name)
    prompts = prompts_of(name, records)
    for one in found:
        inside = [prompt for prompt, home in zip(prompts, homes, strict=True) if home == one.name]
        report.row(
            part="workloads",
            agent=name,
            workload=one.name,
            calls=one.size,
            share=one.share,
            answers=one.output.kind,
            verdict=one.verdict.in_words,
            prompts=", ".join(f"{p} {n}" for p, n in Counter(filter(None, inside)).most_common()),
        )
        for reason in one.verdict.reasons:
            report.row(part="reasons", raw=True, workload=one.name, reason=reason)
    row: dict[str, Any] = {
        "calls": len(records),
        "failed": sum(one.error is not None for one in records),
        "workloads": len(found),
        "of none": found.unassigned,
        "convertible": found.narrow_share,
        "of tokens": sum(one.token_share for one in found if one.verdict.narrow),
    }
    if agent is not None:
        row |= {"paper": agent.estimate, "its agent": agent.study}
    if any(prompts):
        row |= compare(name, found, prompts, homes, report)
    report.row(part="agents", agent=name, **row)
    report.target(f"{name}: calls recorded", value=len(records), target="> 0", holds=True)


def prompts_of(name: str, records: Sequence[CallRecord]) -> list[str]:
    """The name of each call's prompt in the agent's source; ``""`` where it is not known."""
    if name not in AGENTS:
        return [""] * len(records)
    source = runpy.run_path(str(FOLDER / f"{name}.py"))
    known = {value: key for key, value in source.items() if isinstance(value, str)}
    return [known.get(one.request["messages"][0]["content"], "") for one in records]


def compare(
    name: str, found: Any, prompts: Sequence[str], homes: Sequence[str], report: Report
) -> dict[str, float]:
    """How well workloads are the prompts, and verdicts what the author means."""
    from sklearn.metrics import adjusted_rand_score

    index = float(adjusted_rand_score(prompts, homes))
    open_ended = AGENTS[name].open_ended
    meant = [prompt not in open_ended for prompt in prompts]
    said = [bool(home) and found[home].verdict.narrow for home in homes]
    agreed = sum(a == b for a, b in zip(meant, said, strict=True)) / len(meant)
    for what, value, least in (
        ("adjusted Rand index against its prompts", index, 0.95),
        ("calls whose verdict is its author's", agreed, 0.9),
    ):
        report.target(f"{name}: {what}", value=value, target=f">= {least}", holds=value >= least)
    return {
        "prompts": len(set(prompts)),
        "Rand index": index,
        "meant narrow": sum(meant) / len(meant),
        "agreed": agreed,
    }


def parser() -> Any:
    found = arguments("Agents that call an LLM for everything: what they repeat, how narrow it is.")
    found.add_argument("--records", type=Path, help="folder of recordings; made where missing")
    found.add_argument("--recorded", action="append", default=[], metavar="NAME=FILE",
                       help="a recording of another agent: a store, or JSON lines")  # fmt: skip
    found.add_argument("--agents", nargs="*", choices=list(AGENTS), default=list(AGENTS))
    found.add_argument("--tasks", type=int, help="of each agent; all unless told")
    found.add_argument("--model", default=MODEL, help="what answers them")
    found.add_argument("--port", type=int, default=8766, help="of the gateway")
    return found


if __name__ == "__main__":
    main(measure, parser())
