"""Runs MetaGPT's software company on one idea; a script for MetaGPT's own environment.

    python company.py '{"name": …, "text": …, "change": …}' --seconds 900

Three stages, each of MetaGPT's own making: `software_company.generate_repo` of the idea; tests
for each file that came of it, by the action `WriteTest`; and `generate_repo` of the change that is
asked for, in the same project (`inc`). No stage is begun after so many seconds. The code that the
model writes is not run. It writes one line of JSON for each stage to standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# This file is run as a script, where MetaGPT is installed and this project is not.
from stand_ins import PACKAGES, StandIns, missing

ROUNDS = 5


def main() -> None:
    """Run the stages that the command line asks for."""
    parser = argparse.ArgumentParser(description="MetaGPT's software company on one idea.")
    parser.add_argument("idea", type=json.loads, help="JSON with name, text and change")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    ends = time.monotonic() + options.seconds
    stand_ins = StandIns(missing(PACKAGES))
    stand_ins.install()
    import metagpt.roles
    import metagpt.software_company  # noqa: F401 - all that is imported is, before the seal

    stand_ins.seal()
    idea, out = options.idea, sys.stdout
    sys.stdout = sys.stderr  # MetaGPT prints what it is told as it comes
    with _stage(out, stand_ins, "company") as facts:
        repo = _build(idea["text"], project_name=idea["name"])
        facts.update(_made(repo))
    if not facts["files"] or time.monotonic() > ends:
        return
    with _stage(out, stand_ins, "tests") as facts:
        facts["tests"] = asyncio.run(_write_tests(repo))
    if time.monotonic() > ends:
        return
    with _stage(out, stand_ins, "change") as facts:
        facts.update(_made(_build(idea["change"], inc=True, project_path=str(repo.workdir))))


def _build(text: str, **options: Any) -> Any:
    """Have the company build it, with all its roles but the one that runs the code."""
    from metagpt.software_company import generate_repo

    return generate_repo(text, n_round=ROUNDS, code_review=True, **options)


def _made(repo: Any) -> dict[str, int]:
    """How many documents of each kind a project has, and files of code."""
    docs = {"prds": "prd", "designs": "system_design", "tasks": "task"}
    if repo is None:
        return {**dict.fromkeys(docs, 0), "files": 0}
    found = {name: len(getattr(repo.docs, one).all_files) for name, one in docs.items()}
    return {**found, "files": len(_sources(repo))}


def _sources(repo: Any) -> list[str]:
    """Python files of the project, below the folder that is named like it."""
    folder = repo.workdir / repo.workdir.name
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*.py"))


async def _write_tests(repo: Any) -> int:
    """What the QA engineer does first, and not what it does next: run them."""
    from metagpt.actions import WriteTest
    from metagpt.context import Context
    from metagpt.schema import TestingContext

    context = Context(git_repo=repo.git_repo, repo=repo)
    sources = repo.with_src_path(repo.workdir / repo.workdir.name).srcs
    written = 0
    for name in _sources(repo):
        code = await sources.get(name)
        asked = TestingContext(filename=f"test_{code.filename}", code_doc=code)
        done = await WriteTest(i_context=asked, context=context).run()
        written += bool(done.test_doc.content)
    return written


@contextmanager
def _stage(out: Any, stand_ins: StandIns, name: str) -> Iterator[dict[str, Any]]:
    """Say how a stage went, also where it failed."""
    facts: dict[str, Any] = {"stage": name, "error": None, "files": 0}
    began = time.perf_counter()
    try:
        yield facts
    except Exception as error:
        traceback.print_exc()
        facts["error"] = f"{type(error).__name__}: {error}"[:500]
    facts |= {
        "seconds": time.perf_counter() - began,
        "stood_in": sorted({one.partition(".")[0] for one in stand_ins.imported}),
        "used": stand_ins.used,
    }
    out.write(json.dumps(facts) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
