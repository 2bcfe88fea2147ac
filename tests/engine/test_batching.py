"""Batches composed by hand: parts of tries, preemption, and evaluations that fail.

On a tiny transformer with random 32-bit weights, whose answers are nonsense and fast.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from hetagent import LlamaCpp, skill
from hetagent.engine.batching import Batcher, Limits
from hetagent.engine.context import ContextOptions, LlamaContext
from hetagent.engine.jobs import Job
from hetagent.engine.space import Space
from hetagent.errors import ModelError
from hetagent.models.base import Completion

CELLS = 512
# Paths part at many places, so that there are parts of the trie to look at one after another.
STREETS = [
    f"{kind} {number} {side}"
    for kind in ("Elm", "Oak Road")
    for number in range(7)
    for side in ("left", "right")
]
FAR = " ".join(map(str, range(30)))


class Flags(BaseModel):
    colour: Literal["red", "rose", "rose red"]
    size: Literal["small", "smaller", "smallest"] | None
    sure: bool


@skill
def street(message: str) -> Literal[tuple(STREETS)]:  # type: ignore[valid-type]
    """Find the street."""


@skill
def far(message: str) -> Literal[f"{FAR} yes", f"{FAR} no", "short"]:  # type: ignore[valid-type]
    """Choose."""


@skill
def flags(message: str) -> Flags:
    """Read the flags."""


@skill
def number(message: str) -> int:
    """Count."""


class Bench:
    """A batcher whose jobs are evaluated by hand."""

    def __init__(self, model: LlamaCpp, *, cells: int, limits: Limits) -> None:
        assert model._engine is not None
        assert model._decoder is not None
        self.decoder = model._decoder
        options = ContextOptions(
            cells=CELLS, batch=256, threads=2, flash_attention="off", kv_type="f32"
        )
        self.context = LlamaContext(model._engine._weights, options)
        self.space = Space(cells=cells, sequences=256)
        self.batcher = Batcher(self.context, space=self.space, limits=limits, store=None)

    def job(self, task: Any, text: str = "On Elm Road") -> Job:
        job = Job(self.decoder.begin(task.request(text)))
        job.future.set_running_or_notify_cancel()
        assert job.advance()
        return job

    def run(self, *jobs: Job, between: Callable[[int], None] = lambda _: None) -> list[Completion]:
        left = list(jobs)
        for turn in itertools.count():
            finished = self.batcher.evaluate(left)
            assert finished is not None
            left = [job for job in left if job not in finished]
            if not left:
                break
            between(turn)
        self.check()
        return [job.future.result(0) for job in jobs]

    def check(self) -> None:
        prefixes = list(self.batcher.prefixes)
        assert self.space.used == sum(len(prefix.tokens) for prefix in prefixes)
        assert self.space.free_sequences == 256 - len(prefixes)
        assert all(prefix.users == 0 for prefix in prefixes)


@pytest.fixture
def bench(tiny: LlamaCpp) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def new(*, cells: int = CELLS, **given: Any) -> Bench:
        facts = {"batch": 256, "chunk": 128, "leaves": 96, "joins": True, **given}
        made.append(Bench(tiny, cells=cells, limits=Limits(**facts)))
        return made[-1]

    yield new
    for one in made:
        one.context.close()


def agree(answer: Completion, wanted: Completion) -> None:
    assert answer.text == wanted.text
    assert answer.choices == (wanted.choices and pytest.approx(wanted.choices, abs=1e-4))
    assert answer.outside == (wanted.choices and pytest.approx(wanted.outside, abs=1e-4))
    for token, other in zip(answer.tokens or (), wanted.tokens or (), strict=True):
        assert (token.id, token.free) == (other.id, other.free)
        assert token.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert token.outside == pytest.approx(other.outside, abs=1e-4)


@pytest.fixture(scope="module")
def wanted() -> Any:
    """The answers under generous limits, each computed once."""
    known: dict[str, Completion] = {}

    def answer(task: Any, new: Callable[..., Bench]) -> Completion:
        if task.name not in known:
            one = new()
            known[task.name] = one.run(one.job(task))[0]
        return known[task.name]

    return answer


LIMITS = [
    {"leaves": 5},
    {"batch": 16, "chunk": 8},
    {"batch": 20, "chunk": 10, "leaves": 3},
    {"joins": False},
    {"joins": False, "batch": 12, "chunk": 5},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("task", [street, far, flags], ids=lambda task: task.name)
def test_any_limits_give_the_same_answer(bench: Any, wanted: Any, task: Any, limits: Any):
    one = bench(**limits)
    agree(one.run(one.job(task))[0], wanted(task, bench))


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("task", [street, far, flags, number], ids=lambda task: task.name)
def test_a_job_preempted_anywhere_answers_the_same(bench: Any, wanted: Any, task: Any, every: int):
    """Also between the parts of a trie, and within a path that is longer than a batch."""
    one = bench(batch=40, chunk=20, leaves=4)
    job = one.job(task)
    count = 0

    def preempt(turn: int) -> None:
        nonlocal count
        if count < 6 and turn % (4 * every) == 3 * every:
            one.batcher.preempt(job)
            one.check()
            count += 1

    agree(one.run(job, between=preempt)[0], wanted(task, bench))
    assert count or every > 1


def test_jobs_together_answer_as_alone(bench: Any, wanted: Any):
    one = bench(batch=48, chunk=24)
    tasks = [street, far, flags, number, street]
    for answer, task in zip(one.run(*map(one.job, tasks)), tasks, strict=True):
        agree(answer, wanted(task, bench))


def test_a_long_prompt_does_not_keep_the_others_waiting(bench: Any):
    one = bench(batch=32, chunk=16)
    one.run(one.job(number))
    long, short = one.job(number, "one " * 300), one.job(number, "two")
    done: dict[str, int] = {}

    def note(turn: int) -> None:
        for name, job in (("long", long), ("short", short)):
            if job.prefilled is not None:
                done.setdefault(name, turn)

    one.run(long, short, between=note)
    assert done["short"] < 4
    assert done["long"] > 8


def test_a_job_that_is_given_up_half_way_leaves_nothing(bench: Any):
    for turns in range(6):
        one = bench(batch=40, chunk=20, leaves=4)
        jobs = [one.job(street), one.job(flags)]
        for _ in range(turns):
            one.batcher.evaluate(jobs)
        for job in jobs:
            one.batcher.preempt(job)
            one.batcher.preempt(job)
        one.check()


def test_an_evaluation_that_fails_fails_its_jobs_alone(bench: Any, wanted: Any):
    """The cells are counted wrongly on purpose, so that llama.cpp finds no room."""
    one = bench(cells=10_000)
    jobs = [one.job(number, "one " * 500), one.job(number, "two " * 500)]
    finished = []
    while not finished:
        finished = one.batcher.evaluate(jobs)
    assert finished == jobs
    for job in jobs:
        with pytest.raises(ModelError, match="could not evaluate") as caught:
            job.future.result(0)
        assert "kv_tokens" in caught.value.hint
    one.check()
    agree(one.run(one.job(flags))[0], wanted(flags, bench))


@pytest.mark.parametrize("warm", [True, False])
def test_jobs_that_are_not_in_a_failed_batch_go_on(
    bench: Any, wanted: Any, monkeypatch: pytest.MonkeyPatch, warm: bool
):
    one = bench(batch=32, chunk=16)
    if warm:
        one.run(one.job(number), one.job(flags))
    tasks = [number, number, flags, flags, street]
    jobs = [one.job(task) for task in tasks]

    def fail(_: Any) -> None:
        raise ModelError("could not evaluate")

    with monkeypatch.context() as patch:
        patch.setattr(one.context, "submit", fail)
        failed = one.batcher.evaluate(jobs)
    assert all(job.future.exception(0) for job in failed)
    # Who waits for a prefix has a part in its evaluation.
    assert [jobs.index(job) for job in failed] == ([0, 1, 4] if warm else [0, 1, 2])
    left = [(job, task) for job, task in zip(jobs, tasks, strict=True) if job not in failed]
    for answer, (_, task) in zip(one.run(*(job for job, _ in left)), left, strict=True):
        agree(answer, wanted(task, bench))


def test_there_is_no_room_for_any(bench: Any):
    one = bench(cells=20)
    assert one.batcher.evaluate([one.job(street), one.job(flags)]) is None
