"""From recorded calls to a skill that answers them, in stages that each can be gone on from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hetagent.calibrate.certificate import Certificate
from hetagent.errors import InputError, MissingExtraError
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.convert.data import KeptRecords, read_split, snapshot, write_rows
from hetagent.learn.convert.registering import ADAPTER, TASK, bound, facts_of, switched
from hetagent.learn.convert.settings import ConvertSettings
from hetagent.learn.convert.stages import Done, Stages
from hetagent.learn.convert.steps import (
    CERTIFICATE,
    DECISION,
    EVALUATION,
    brief,
    certified,
    decided,
    evaluated,
    pairs,
    save,
)
from hetagent.learn.economics import Economics
from hetagent.learn.evaluate import Evaluation
from hetagent.learn.promote import Decision
from hetagent.learn.source import RecordSource
from hetagent.learn.task import Split, Task
from hetagent.models.fetch import resolve
from hetagent.models.fetch_store import content_hash
from hetagent.models.llamacpp import LlamaCpp
from hetagent.registry import Binding, ModelRef, Registry, State

__all__ = ["Conversion", "convert"]

_PACKAGES = {"sklearn": "calibrate", "wordllama": "learn", "torch": "tune", "gguf": "tune"}

Tell = Callable[[str, int, int | None], None]
"""Told the stage, what is done of it, and of how much where that is known."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """A workload that was converted.

    Attributes:
        task: It, as a skill.
        certificate: What may be promised of the skill.
        evaluation: How it does on the latest calls.
        decision: Whether it may serve.
        binding: What the registry has of it.
        state: What the registry is switched to.
        economics: When it pays.
        stages: What was done, in order.
    """

    task: Task
    certificate: Certificate
    evaluation: Evaluation
    decision: Decision
    binding: Binding
    state: State
    economics: Economics
    stages: tuple[Done, ...]


def convert(
    records: RecordSource,
    *,
    registry: Registry,
    work: Path,
    workload: str | None = None,
    settings: ConvertSettings | None = None,
    workloads: Workloads | None = None,
    tell: Tell = lambda stage, done, total: None,
) -> Conversion:
    """Convert a workload: curate its calls, tune a small model on them, certify and promote it.

    Each stage is done once for what it follows from. A conversion that was interrupted at any point
    and is run again goes on there, and ends with the same.

    Args:
        records: Calls; what is kept of them in the folder is read from then on.
        registry: Where the skill is bound, and switched to if it may serve.
        work: A folder for what is made on the way.
        workload: Which one; where it is left out, the only narrow one there is.
        settings: How.
        workloads: Those found before; by default they are looked for in the records.
        tell: Told how far it is.

    Raises:
        InputError: There is no such workload or several, it cannot be converted, or there are too
            few calls.
        MissingExtraError: The packages of the extras ``calibrate``, ``learn`` and ``tune`` are not
            all installed.
        HetagentError: A stage cannot be done; those before it stay done.
    """
    _require_installed()
    run = _Run(Stages(work), registry, settings or ConvertSettings(), tell)
    with run.stages.alone():
        return run.whole(records, workload, workloads)


class _Run:
    """One conversion under way."""

    def __init__(
        self, stages: Stages, registry: Registry, settings: ConvertSettings, tell: Tell
    ) -> None:
        self.stages = stages
        self._registry = registry
        self._settings = settings
        self._tell = tell
        self._done: list[Done] = []

    def whole(
        self, records: RecordSource, workload: str | None, workloads: Workloads | None
    ) -> Conversion:
        """Do all stages."""
        settings = self._settings
        kept = self._records(records)
        source = KeptRecords(kept.folder)
        groups = self._workloads(kept, source, workloads)
        known = Workloads.load(groups.folder)
        name = workload or _only(known)
        made = self._task(groups, known, name, source)
        task = _task_in(made.folder)
        data = self._rows(made, task, known, source)
        parted = read_split(data.folder, data.result["dropped"])
        tuned = self._tune(data, task, parted)
        options = settings.model_options(len(task.skill.output.labels))
        adapter = tuned.folder / ADAPTER
        with LlamaCpp(settings.base, adapters=[adapter], **options) as model:
            certifying = self._certify(tuned, data, task, model, parted)
            certificate = Certificate.load(certifying.folder / CERTIFICATE)
            tried = self._evaluate(certifying, task, model, certificate, parted)
            evaluation = Evaluation.from_dict(_json(tried.folder / EVALUATION))
            deciding = self._decide(
                tried, data=data, task=task, model=model, certificate=certificate,
                evaluation=evaluation, parted=parted,
            )  # fmt: skip
            base_hash = content_hash(model.path)
        decision = Decision.from_dict(_json(deciding.folder / DECISION))
        binding = bound(
            self._registry,
            task,
            ModelRef("llamacpp", _anywhere(settings.base), base_hash, self._registry.put(adapter),
                     "adapter", options),
            done={one.name: one for one in self._done},
            data=parted,
            settings=settings,
            facts=facts_of(settings, certificate, evaluation, decision,
                           seconds=tuned.result["seconds"]),
        )  # fmt: skip
        spent = data.result["llm"]
        economics = Economics(
            spent["usd"], spent["tokens"], evaluation.coverage, evaluation.calls_per_second
        )
        state = switched(self._registry, binding, decision, settings=settings)
        return Conversion(
            task, certificate, evaluation, decision, binding, state, economics, tuple(self._done)
        )

    def _stage(self, name: str, make: Callable[[Path], Mapping[str, Any]], *, of: Any) -> Done:
        self._tell(name, 0, None)
        found = self.stages.run(name, make, of=of)
        self._done.append(found)
        return found

    def _records(self, records: RecordSource) -> Done:
        settings = self._settings
        # What was read of a store is read: going on later does not take in what came since.
        where = [{k: v for k, v in one.items() if k not in ("until", "records")}
                 for one in records.facts()]  # fmt: skip
        return self._stage(
            "records",
            lambda folder: snapshot(
                records,
                folder,
                settings=settings,
                on_progress=lambda done: self._tell("records", done, None),
            ),
            of=[where, sorted(settings.permitted), settings.unredacted],
        )

    def _workloads(self, kept: Done, records: KeptRecords, given: Workloads | None) -> Done:
        def make(folder: Path) -> dict[str, Any]:
            found = given or Workloads.fit(
                records, interactive=self._settings.interactive, progress=self._tell
            )
            found.save(folder)
            return {"workloads": [one.name for one in found], "calls": found.total}

        return self._stage(
            "workloads",
            make,
            of=[kept.hash, self._settings.interactive, given.to_dict() if given else None],
        )

    def _task(self, groups: Done, known: Workloads, name: str, records: KeptRecords) -> Done:
        def make(folder: Path) -> dict[str, Any]:
            task = Task.of(known, name, records=records)
            if self._settings.brief:
                task = replace(task, instructions=brief(task.instructions))
            save(folder / TASK, task.to_dict())
            return {"workload": name, "skill": task.name, "inputs": list(task.inputs)}

        return self._stage("task", make, of=[groups.hash, name, self._settings.brief])

    def _rows(self, made: Done, task: Task, known: Workloads, records: KeptRecords) -> Done:
        settings = self._settings
        return self._stage(
            "rows",
            lambda folder: write_rows(task, records, folder, workloads=known, settings=settings),
            of=[made.hash, dict(settings.shares), settings.interactive],
        )

    def _tune(self, data: Done, task: Task, parted: Split) -> Done:
        from hetagent.learn.tune.run import tune

        settings = self._settings

        def make(folder: Path) -> dict[str, Any]:
            with LlamaCpp(settings.base) as model:
                tuned = tune(
                    task.skill,
                    pairs(parted.train),
                    to=folder,
                    model=model,
                    check=pairs(parted.validate) or None,
                    settings=settings.tune,
                    tell=lambda stage, progress: self._tell(
                        stage,
                        progress.done if progress else 0,
                        progress.steps if progress else None,
                    ),
                )
            if not tuned.agreement.holds:
                raise InputError(
                    "llama.cpp does not compute with the adapter what was trained: their logits "
                    f"differ by {tuned.agreement.adapted:.1%}.",
                    hint="Report this, with the model and the settings.",
                )
            return {"seconds": tuned.history.seconds, "examples": tuned.history.examples}

        base = content_hash(resolve(settings.base))
        return self._stage("tune", make, of=[data.hash, base, settings.tune.to_dict()])

    def _certify(self, tuned: Done, data: Done, task: Task, model: LlamaCpp, parted: Split) -> Done:
        settings = self._settings

        def make(folder: Path) -> dict[str, Any]:
            found = certified(
                task, model, parted, settings=settings, on_rows=self._counting("certify")
            )
            found.save(folder / CERTIFICATE)
            return {"coverage": found.coverage, "labels": found.labels}

        levels = [settings.max_error, settings.confidence, settings.seed]
        adapter = tuned.files[ADAPTER]
        return self._stage("certify", make, of=[adapter, data.hash, levels, _version()])

    def _evaluate(
        self,
        certifying: Done,
        task: Task,
        model: LlamaCpp,
        certificate: Certificate,
        parted: Split,
    ) -> Done:
        def make(folder: Path) -> dict[str, Any]:
            found = evaluated(task, model, certificate, parted, on_rows=self._counting("evaluate"))
            save(folder / EVALUATION, found.to_dict())
            return {"right": found.right, "coverage": found.coverage, "wrong": found.wrong}

        return self._stage("evaluate", make, of=[certifying.hash])

    def _decide(
        self,
        tried: Done,
        *,
        data: Done,
        task: Task,
        model: LlamaCpp,
        certificate: Certificate,
        evaluation: Evaluation,
        parted: Split,
    ) -> Done:
        settings = self._settings

        def make(folder: Path) -> dict[str, Any]:
            found = decided(
                task,
                model,
                certificate,
                evaluation,
                parted,
                teachers=data.result["teachers"],
                settings=settings,
            )
            save(folder / DECISION, found.to_dict())
            return {"promoted": found.promoted}

        return self._stage(
            "decide",
            make,
            of=[tried.hash, settings.allowed_loss, settings.confidence, settings.least_coverage,
                sorted(settings.permitted)],
        )  # fmt: skip

    def _counting(self, stage: str) -> Callable[[int, int], None]:
        return lambda done, total: self._tell(stage, done, total)


def _anywhere(base: str) -> str:
    """A model's name as it means the same in every folder."""
    path = Path(base).expanduser()
    return str(path.resolve()) if path.is_file() else base


def _require_installed() -> None:
    """Refuse before hours of work what could not be done after them."""
    for package, extra in _PACKAGES.items():
        if find_spec(package) is None:
            raise MissingExtraError(package, extra=extra)


def _only(known: Workloads) -> str:
    """The workload to convert where none is named."""
    narrow = [one.name for one in known if one.verdict.narrow]
    if len(narrow) == 1:
        return narrow[0]
    names = ", ".join(narrow or [one.name for one in known])
    raise InputError(
        "None of the workloads looks narrow enough to convert without being named."
        if not narrow
        else f"There are {len(narrow)} workloads to convert.",
        hint=f"Name one: --workload. There is: {names}.",
    )


def _task_in(folder: Path) -> Task:
    return Task.from_dict(_json(folder / TASK))


def _json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def _version() -> str:
    from hetagent import __version__

    return __version__
