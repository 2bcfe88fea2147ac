"""Many callers, one engine: fair, bounded, cancellable, and never stuck."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from hetagent import LlamaCpp, skill
from hetagent.engine.decode import Decoding
from hetagent.engine.jobs import FairQueue, Job
from hetagent.errors import ConstraintError, ModelError
from hetagent.models.base import Completion
from tests.support.lora import write_adapter
from tests.support.settled import settled


class Essay(BaseModel):
    text: str = Field(min_length=300, max_length=900)


@skill
def intent(message: str) -> Literal["book", "cancel", "other"]:
    """Decide what the guest wants."""


@skill
def mood(message: str) -> Literal["good", "bad"]:
    """Tell the mood of the guest."""


@skill(max_tokens=300)
def essay(message: str) -> Essay:
    """Write at length."""


@skill(max_tokens=40)
def story(message: str) -> Essay:
    """Write briefly."""


@skill
def odd(message: str) -> Annotated[str, Field(pattern="^\x16+$", max_length=3)]:
    """Answer with a character that the vocabulary lacks."""


def new_model(path: Path, **options: Any) -> LlamaCpp:
    return LlamaCpp(path, **{"context": 800, "kv_tokens": 900, "batch": 64, **options}).load()


@pytest.fixture(scope="module")
def model(smol_path: Path) -> Iterator[LlamaCpp]:
    with new_model(smol_path) as made:
        yield made


def waiting_job(first: int) -> Job:
    """A job of one skill, told from others by its first token; it is never run."""

    def answer() -> Any:
        yield

    return Job(Decoding(prompt=(first, 2, 3), fixed=1, answer=answer(), model="none"))


def test_skills_take_turns_in_the_queue():
    queue = FairQueue()
    jobs = [waiting_job(first) for first in (1, 1, 1, 1, 2, 2, 3)]
    for job in jobs:
        queue.put(job)
    jobs[1].cancelled = jobs[5].cancelled = True
    assert queue.remove_cancelled() == [jobs[1], jobs[5]]
    assert len(queue) == len(list(queue)) == 5
    order = [queue.take() for _ in range(5)]
    assert order == [jobs[0], jobs[4], jobs[6], jobs[2], jobs[3]]
    assert len(queue) == 0


def test_a_flood_of_one_skill_does_not_keep_another_waiting(smol_path: Path):
    done: list[str] = []

    async def ask(model: LlamaCpp, task: Any, text: str) -> None:
        await model.complete(task.request(text))
        done.append(task.name)

    async def main(model: LlamaCpp) -> None:
        flood = [asyncio.create_task(ask(model, intent, f"Table {n}")) for n in range(30)]
        await asyncio.sleep(0)
        await asyncio.gather(ask(model, mood, "Fine"), *flood)

    with new_model(smol_path, parallel=1) as model:
        asyncio.run(main(model))
        settled(model)
    assert done.index("mood") < 10


def test_the_queue_is_bounded_and_nobody_is_forgotten(smol_path: Path):
    dice = random.Random(1)
    most = 0

    async def watch(model: LlamaCpp) -> None:
        nonlocal most
        while True:
            most = max(most, model._engine.scheduler.stats().waiting)  # type: ignore[union-attr]
            await asyncio.sleep(0.001)

    async def main(model: LlamaCpp) -> list[Any]:
        observer = asyncio.create_task(watch(model))
        tasks = [
            asyncio.create_task(model.complete(intent.request(f"Table {n}"))) for n in range(40)
        ]
        await asyncio.sleep(0.02)
        # Those that wait for room in the queue are among them.
        for task in dice.sample(tasks, 20):
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        observer.cancel()
        return answers

    with new_model(smol_path, parallel=1, queue=2) as model:
        answers = asyncio.run(asyncio.wait_for(main(model), 30))
        settled(model)
    assert sum(isinstance(answer, Completion) for answer in answers) >= 20
    assert all(isinstance(a, Completion | asyncio.CancelledError) for a in answers)
    assert 0 < most <= 2


def test_cancelling_frees_everything_within_a_step(model: LlamaCpp):
    async def main() -> int:
        tasks = [asyncio.create_task(model.complete(essay.request(f"Sea {n}"))) for n in range(4)]
        while model.stats().active < 4:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        before = model.stats().evaluations
        while model.stats().active:
            await asyncio.sleep(0.001)
        return model.stats().evaluations - before

    assert asyncio.run(main()) <= 2
    settled(model)
    assert asyncio.run(model.complete(intent.request("A table"))).choices


def test_more_than_the_cache_holds(smol_path: Path):
    """Each alone may need nearly half of the cells."""

    async def main(model: LlamaCpp) -> list[Completion]:
        requests = [story.request(f"{n} " + "The sea is wide. " * 15) for n in range(4)]
        requests += [task.request("Well, " * 30) for task in (intent, mood)]
        return list(await asyncio.gather(*map(model.complete, requests)))

    # Where it is off, prefixes leave before they have to.
    with new_model(smol_path, context=260, kv_tokens=260, flash_attention="on") as model:
        answers = asyncio.run(main(model))
        assert [bool(answer.choices) for answer in answers] == [False] * 4 + [True] * 2
        stats = model.stats()
        assert stats.preempted > 0
        assert stats.evicted > 0
        assert stats.kv_size == 260
        settled(model)


def test_a_short_request_overtakes_a_long_prompt(model: LlamaCpp):
    async def main() -> tuple[bool, int]:
        await model.complete(intent.request("A table"))
        before = model.stats().evaluations
        long = asyncio.create_task(model.complete(mood.request("Well, " * 300)))
        await asyncio.sleep(0)
        await model.complete(intent.request("Another table"))
        overtaken, count = not long.done(), model.stats().evaluations - before
        await long
        assert model.stats().evaluations - before > 10
        return overtaken, count

    overtaken, count = asyncio.run(main())
    assert overtaken
    assert count <= 5


def test_adapters_are_evaluated_in_groups(model: LlamaCpp, smol_path: Path, tmp_path: Path):
    adapter = write_adapter(smol_path, tmp_path / "lora.gguf", rank=2)
    with new_model(smol_path, adapters={str(adapter): 0.1}) as tuned:
        assert tuned._engine is model._engine

        async def main() -> int:
            for one in (model, tuned):
                await one.complete(intent.request("A table"))
            before = model.stats().evaluations
            asked = [
                one.complete(intent.request(f"Table {n}"))
                for n in range(6)
                for one in (model, tuned)
            ]
            await asyncio.gather(*asked)
            return model.stats().evaluations - before

        assert asyncio.run(main()) <= 8
        settled(model)


@pytest.mark.parametrize(("attention", "in_cache"), [("off", 1), ("on", 2)])
def test_prefixes_that_slow_others_down_wait_outside(
    smol_path: Path, attention: Any, in_cache: int
):
    """Without flash attention every token is compared with all that is in the cache."""
    texts = ["Fine, thanks", "Two, please", "Never again"]

    async def ask(model: LlamaCpp) -> list[Completion]:
        requests = [task.request(text) for text in texts for task in (intent, mood)]
        return await asyncio.gather(*map(model.complete, requests))

    with new_model(smol_path, flash_attention=attention) as model:
        asyncio.run(model.complete(intent.request(texts[0])))
        asyncio.run(model.complete(mood.request(texts[0])))
        one_by_one = settled(model)
        assert (one_by_one.prefixes, one_by_one.shelved) == (in_cache, 2 - in_cache)
        evaluated = one_by_one.evaluated
        answers = asyncio.run(ask(model))
        stats = settled(model)
        assert stats.prefixes == in_cache
        assert stats.evicted == 0
        # No prefix was evaluated again.
        rest = sum(a.usage.prompt_tokens - a.usage.cached_tokens for a in answers)
        assert all(answer.usage.cached_tokens > 0 for answer in answers)
        assert stats.evaluated - evaluated < rest + 30 * len(answers)


def test_what_is_wrong_with_one_request_hurts_no_other(
    model: LlamaCpp, caplog: pytest.LogCaptureFixture
):
    engine, decoder = model._engine, model._decoder
    assert engine is not None
    assert decoder is not None

    def broken(_: Any) -> None:
        raise RuntimeError("the reader is gone")

    async def main() -> list[Any]:
        job = Job(decoder.begin(essay.request("The sea"), watch=broken))
        assert engine.scheduler.submit(job) is None
        requests = [intent.request("A"), odd.request("B"), essay.request("C"), odd.request("D")]
        return await asyncio.gather(
            asyncio.wrap_future(job.future),
            *map(model.complete, requests),
            return_exceptions=True,
        )

    fault, first, wrong, second, again = asyncio.run(main())
    assert isinstance(fault, ModelError)
    assert "the reader is gone" in str(fault)
    assert "The engine failed" in caplog.text
    assert isinstance(wrong, ConstraintError)
    assert isinstance(again, ConstraintError)
    assert first.choices
    assert second.tokens
    settled(model)


def test_closing_finishes_what_was_taken(smol_path: Path):
    model = new_model(smol_path, context=801)  # on an engine of its own
    engine, decoder = model._engine, model._decoder
    assert engine is not None
    assert decoder is not None
    jobs = [Job(decoder.begin(intent.request(f"Table {n}"))) for n in range(30)]
    assert [engine.scheduler.submit(job) for job in jobs] == [None] * 30
    late = Job(decoder.begin(intent.request("Late")))
    model.close()
    assert all(job.future.result(0).choices for job in jobs)
    with pytest.raises(ModelError, match="engine is closed"):
        engine.scheduler.submit(late)


def test_an_engine_that_could_not_start_its_thread_tries_again(
    smol_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with new_model(smol_path, context=802) as model:  # on an engine of its own
        assert model._engine is not None
        assert model._decoder is not None
        job = Job(model._decoder.begin(intent.request("A table")))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(ModelError, match="can't start new thread") as caught:
                model._engine.scheduler.submit(job)
        assert "limit" in caught.value.hint
        assert not model.stats().waiting
        answer = asyncio.run(asyncio.wait_for(model.complete(intent.request("A table")), 30))
        assert answer.choices
        settled(model)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_in_a_map_leaves_nothing_under_way():
    code = """
        from hetagent import LlamaCpp, Orchestrator
        from tests.engine.test_scheduler import essay, intent
        from tests.support.settled import settled
        model = LlamaCpp("smollm2-135m-instruct", context=800, kv_tokens=900).load()
        agent = Orchestrator(slm=model, policy=0.0)
        agent.map(intent, ["a table"])
        print("ready", flush=True)
        outcomes = agent.map(essay, [f"Sea {n}" for n in range(200)])
        print(len(outcomes), outcomes[-1].reason)
        settled(model)
        print(agent.run(intent, "a table").served_by)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert rest.splitlines() == ["200 cancelled", "slm"]
    assert process.returncode == 0
