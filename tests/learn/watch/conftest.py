"""A skill that was converted from calls of a shop, without the model, and calls that came later."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from hetagent import Answer, Scripted
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.convert import ConvertSettings
from hetagent.learn.inputs import Inputs
from hetagent.learn.record import CallRecord
from hetagent.learn.task import Task, rows, split
from hetagent.registry import Registry
from tests.support.bindings import binding
from tests.support.certificates import certificate
from tests.support.workload_calls import BEGAN, GOODS, PLACES, SHOP, record, said, wish

CALLS = 300
COVERAGE = 0.9
ALPHA = 0.1
INVOICES = (
    "send the invoice with the tax number of our firm in {}",
    "the bill lacks our company's VAT number, we sit in {}",
    "please issue a new invoice to the accounts office in {}",
)


def timed(one: CallRecord, minutes: float, **parts) -> CallRecord:
    given = {"trainable": "trainable", "redacted": {}, **parts}
    return one.with_(time=BEGAN + timedelta(minutes=minutes), **given)


def invoice(generator: random.Random) -> tuple[str, str]:
    """What no customer wrote before, and its label."""
    text = generator.choice(INVOICES).format(generator.choice(PLACES))
    return f"{text}, {generator.choice(GOODS)}, order {generator.randrange(10**6)}", "invoice"


def early(count: int = CALLS) -> list[CallRecord]:
    """The calls that it is made from."""
    generator = random.Random(1)
    system, user = SHOP[0]
    found = []
    for number in range(count):
        text, label = wish(generator)
        found.append(timed(record(said(system, user.format(text)), label), number))
    return found


@dataclass(frozen=True)
class Shop:
    """The skill, where it is bound, and what it was made from."""

    registry: Registry
    task: Task
    binding: str
    records: list[CallRecord]

    def later(
        self,
        count: int,
        *,
        seed: int = 2,
        new: float = 0.0,
        wording: int = 0,
        asks: float = COVERAGE,
    ) -> list[CallRecord]:
        """Calls through the gateway: most are served, and invoices never are.

        Args:
            count: How many.
            seed: Of them.
            new: Share of invoices.
            wording: Of the prompt.
            asks: Share of the others that the skill serves.
        """
        generator = random.Random(seed)
        system, user = SHOP[wording]
        known = {"workload": self.task.workload}
        own = {**known, "tags": {"binding": self.binding}}
        found = []
        for number in range(CALLS, CALLS + count):
            is_new = generator.random() < new
            text, label = (invoice if is_new else wish)(generator)
            one = record(said(system, user.format(text)), label)
            if wording:
                parts = {**known, "served_by": "llm", "reason": "other_request"}
            elif is_new or generator.random() >= asks:
                parts = {**own, "served_by": "llm", "reason": "low_confidence"}
            else:
                parts = {**own, "served_by": "slm", "trainable": "no-train"}
            found.append(timed(one, number, **parts))
        return found


def bind(folder: Path) -> Shop:
    records = early()
    found = Workloads.fit(records)
    (name,) = [one.name for one in found]
    task = Task.of(found, name, records=records)
    parted = split(rows(task, records, workloads=found))
    registry = Registry(folder / "registry")
    promise = certificate(task.skill, Scripted(Answer("refund")), max_error=ALPHA)
    put = registry.put
    made = binding(
        registry,
        task.name,
        task=put(json.dumps(task.to_dict()).encode()),
        certificate=put(json.dumps(promise.to_dict()).encode()),
        lineage={
            "workloads": put(found.to_bytes()),
            "inputs": put(Inputs.of(task, parted).to_bytes()),
            "settings": put(json.dumps(ConvertSettings(max_error=ALPHA).to_dict()).encode()),
        },
        facts={"coverage": COVERAGE, "calls": 100},
    )
    registry.add(made)
    registry.switch(task.name, binding=made.id, why="promoted")
    return Shop(registry, task, made.id, records)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """One that no test switches."""
    return bind(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def own_shop(shop: Shop, tmp_path: Path) -> Shop:
    """The same for one test alone."""
    folder = shutil.copytree(shop.registry.folder, tmp_path / "registry")
    return replace(shop, registry=Registry(folder))
