"""`LlamaCpp`: files that cannot be, limits, adapters, cancelling, closing, many callers."""

import asyncio
import gc
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from hetagent import LlamaCpp, Model, Orchestrator, skill
from hetagent.errors import (
    InputError,
    InputTooLongError,
    ModelError,
    ModelFileError,
    UnknownModelError,
)
from hetagent.models.base import Completion
from tests.support.lora import write_adapter


class Essay(BaseModel):
    text: str = Field(min_length=300, max_length=1500)


@skill
def intent(message: str) -> Literal["book", "cancel", "other"]:
    """Decide what the guest wants."""


@skill(max_tokens=400)
def essay(message: str) -> Essay:
    """Write at length."""


@skill
def number(message: str) -> int:
    """Count the guests."""


def complete(model: LlamaCpp, text: str = "A table for two") -> Completion:
    return asyncio.run(model.complete(intent.request(text)))


def copy(smol_path: Path, target: Path, length: int | None = None) -> Path:
    if length is None:
        shutil.copy(smol_path, target)
    else:
        with smol_path.open("rb") as file:
            target.write_bytes(file.read(length))
    return target


# --- files


def test_it_is_a_model(smol: LlamaCpp):
    assert isinstance(smol, Model)
    assert smol.name == "smollm2-135m-instruct"
    assert repr(smol) == "LlamaCpp('smollm2-135m-instruct')"


def test_a_path_names_itself(smol_path: Path):
    assert LlamaCpp(smol_path).name == smol_path.stem


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(ModelFileError, match=r"none\.gguf"):
        LlamaCpp(tmp_path / "none.gguf")


def test_an_unknown_name():
    with pytest.raises(UnknownModelError, match="smollm"):
        LlamaCpp("smolm2-135m-instruct")


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 not a model", b"<html>404</html>"])
def test_a_file_that_is_not_gguf(tmp_path: Path, content: bytes):
    file = tmp_path / "page.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"GGUF|is empty") as caught:
        LlamaCpp(file)
    assert caught.value.hint


def test_a_folder(tmp_path: Path):
    folder = tmp_path / "model.gguf"
    folder.mkdir()
    with pytest.raises(ModelFileError):
        LlamaCpp(folder)


@pytest.mark.parametrize("length", [4, 20, 1000, 2_000_000, -1])
def test_a_truncated_file(scratch_cache: Path, smol_path: Path, tmp_path: Path, length: int):
    size = smol_path.stat().st_size
    file = copy(smol_path, tmp_path / "cut.gguf", length if length > 0 else size + length)
    with LlamaCpp(file) as model:
        with pytest.raises(ModelFileError, match=r"cut\.gguf") as caught:
            model.load()
        assert "truncated" in caught.value.hint
        outcome = Orchestrator(slm=model).run(intent, "x")
        assert (outcome.served_by, outcome.reason) == ("none", "model_error")


@pytest.mark.parametrize("at", [4, 8, 16, 24, 60, 1000])
def test_a_corrupt_header(scratch_cache: Path, smol_path: Path, tmp_path: Path, at: int):
    file = copy(smol_path, tmp_path / "corrupt.gguf", 200_000)
    data = bytearray(file.read_bytes())
    data[at : at + 8] = b"\xff" * 8
    file.write_bytes(data)
    with LlamaCpp(file) as model, pytest.raises(ModelFileError, match=r"corrupt\.gguf"):
        model.load()


def test_a_file_that_goes_away(scratch_cache: Path, smol_path: Path, tmp_path: Path):
    file = copy(smol_path, tmp_path / "gone.gguf", 1000)
    model = LlamaCpp(file)
    file.unlink()
    with pytest.raises(ModelFileError, match="cannot be read"):
        model.load()


# --- limits


@pytest.mark.parametrize("context", [0, -1])
def test_a_context_of_nothing(smol_path: Path, context: int):
    with pytest.raises(ModelError, match="context is out of range"):
        LlamaCpp(smol_path, context=context)


def test_a_cache_that_does_not_hold_one_context(smol_path: Path):
    with pytest.raises(ModelError, match="kv_tokens=512 is less than context=4096") as caught:
        LlamaCpp(smol_path, kv_tokens=512)
    assert "kv_tokens=4096" in caught.value.hint
    assert LlamaCpp(smol_path, kv_tokens=512, context=512)._kv_tokens == 512


@pytest.mark.parametrize("context", [1, 8, 40])
def test_a_context_too_small_for_the_prompt(smol_path: Path, context: int):
    with LlamaCpp(smol_path, context=context) as model:
        with pytest.raises(InputTooLongError) as caught:
            complete(model)
        assert caught.value.limit == context
        assert caught.value.tokens >= context


def test_a_context_that_holds_the_prompt_and_little_more(smol: LlamaCpp, smol_path: Path):
    needed = complete(smol).usage.prompt_tokens
    for context in (needed + 1, needed + 2, needed + 3, needed + 10):
        with LlamaCpp(smol_path, context=context) as model:
            answer = asyncio.run(model.complete(number.request("A table for two, please")))
            assert answer.finish in ("stop", "length")
            # A label and its end of turn need two tokens more than the prompt.
            if context >= needed + 3:
                assert sum((complete(model).choices or {}).values()) == pytest.approx(1)
            elif context < needed + 2:
                with pytest.raises(InputTooLongError):
                    complete(model)


def test_an_input_longer_than_the_context(smol: LlamaCpp):
    with pytest.raises(InputTooLongError, match="room for") as caught:
        complete(smol, "table " * 6000)
    assert caught.value.tokens > caught.value.limit
    assert complete(smol).choices is not None


@pytest.mark.parametrize("text", ["", "a\0b", "\udc00"])
def test_inputs_no_model_can_be_given(smol: LlamaCpp, text: str):
    with pytest.raises(InputError):
        Orchestrator(slm=smol).run(intent, text)


def test_a_template_that_is_broken(smol_path: Path):
    with LlamaCpp(smol_path, context=256, chat_template="{% for") as model:
        with pytest.raises(ModelError, match="not valid Jinja"):
            model.load()
        assert Orchestrator(slm=model).run(intent, "x").reason == "model_error"


# --- adapters


@pytest.fixture(scope="module")
def adapter(smol_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(smol_path, tmp_path_factory.mktemp("lora") / "random.gguf")


def test_adapters(smol_path: Path, adapter: Path):
    def choices(adapters: Any) -> dict[str, float]:
        with LlamaCpp(smol_path, context=256, adapters=adapters) as model:
            return dict(complete(model).choices or {})

    plain = choices(())
    assert choices({str(adapter): 0.0}) == plain
    whole, half = choices([adapter]), choices({str(adapter): 0.5})
    assert whole == choices({str(adapter): 1.0})
    for one, other in ((whole, plain), (half, plain), (half, whole)):
        assert max(abs(one[name] - other[name]) for name in plain) > 1e-3


def test_adapters_that_do_not_fit(smol_path: Path, tmp_path: Path):
    with pytest.raises(ModelFileError, match="cannot be read"):
        LlamaCpp(smol_path, adapters=[tmp_path / "none.gguf"])
    text = tmp_path / "text.gguf"
    text.write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match="not a GGUF"):
        LlamaCpp(smol_path, adapters=[text])
    other = write_adapter(smol_path, tmp_path / "other.gguf", architecture="qwen2")
    for wrong in (other, smol_path):
        model = LlamaCpp(smol_path, context=256, adapters=[wrong])
        with model, pytest.raises(ModelFileError, match="adapter") as caught:
            model.load()
        assert "LoRA" in caught.value.hint


# --- cancelling and closing


def test_cancelling_stops_soon_and_the_model_still_answers(smol: LlamaCpp):
    expected = complete(smol).choices

    async def main() -> float:
        task = asyncio.create_task(smol.complete(essay.request("The sea")))
        await asyncio.sleep(0.4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        began = time.perf_counter()
        answer = await smol.complete(intent.request("A table for two"))
        assert answer.choices == expected
        return time.perf_counter() - began

    whole = _seconds_of_an_essay(smol)
    assert asyncio.run(main()) < max(1.0, whole / 2)


def _seconds_of_an_essay(model: LlamaCpp) -> float:
    began = time.perf_counter()
    asyncio.run(model.complete(essay.request("The sea")))
    return time.perf_counter() - began


def test_a_cancelled_request_leaves_the_queue(smol: LlamaCpp):
    async def main() -> list[Any]:
        tasks = [asyncio.create_task(smol.complete(essay.request("The sea"))) for _ in range(4)]
        await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return [task.cancelled() for task in tasks]

    began = time.perf_counter()
    assert asyncio.run(main()) == [True] * 4
    complete(smol)
    assert time.perf_counter() - began < 10


def test_a_timeout_of_the_orchestrator(smol: LlamaCpp):
    agent = Orchestrator(slm=smol, timeout=0.3)
    outcome = agent.run(essay, "The sea")
    assert (outcome.served_by, outcome.reason) == ("none", "timeout")
    assert complete(smol).choices is not None


def test_eight_callers_from_threads_and_tasks(f32: LlamaCpp):
    """On 32-bit weights: with quantised ones it matters who else is in the batch."""
    texts = [f"A table for {n}" if n % 2 else f"Cancel number {n}" for n in range(8)]
    expected = {text: pytest.approx(complete(f32, text).choices, abs=1e-5) for text in texts}
    seen: dict[str, Any] = {}

    def work(text: str) -> None:
        seen[text] = complete(f32, text).choices

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == expected

    async def main() -> list[Any]:
        answers = await asyncio.gather(*(f32.complete(intent.request(t)) for t in texts))
        return [answer.choices for answer in answers]

    assert asyncio.run(main()) == list(expected.values())
    outcomes = Orchestrator(slm=f32, policy=0.0).map(intent, texts)
    assert [outcome.choices for outcome in outcomes] == list(expected.values())


def test_models_that_agree_on_all_options_share_the_weights(
    scratch_cache: Path, smol_path: Path, tmp_path: Path
):
    file = copy(smol_path, tmp_path / "shared.gguf")
    first, second = (LlamaCpp(file, context=256).load() for _ in range(2))
    other = LlamaCpp(file, context=257).load()
    assert first._engine is second._engine
    assert first._engine is not other._engine
    first.close()
    assert complete(second).choices
    # What was written in its place since is another model.
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    with LlamaCpp(file, context=256).load() as replaced:
        assert replaced._engine is not second._engine
    second.close()
    other.close()


@pytest.mark.parametrize("turn", range(3))
def test_closing_while_others_ask(smol_path: Path, turn: int):
    """Nobody's request meets weights that are freed already."""
    model = LlamaCpp(smol_path, context=258).load()
    wrong: list[str] = []

    def work() -> None:
        try:
            while True:
                complete(model)
        except ModelError as error:
            wrong.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.05 * turn)
    model.close()
    for thread in threads:
        thread.join()
    assert len(wrong) == 4
    assert all("closed" in message for message in wrong)


def test_a_stream_whose_loop_is_gone_hurts_nobody(smol: LlamaCpp, caplog: pytest.LogCaptureFixture):
    loop = asyncio.new_event_loop()
    stream = smol.stream(essay.request("The sea"))
    loop.run_until_complete(anext(aiter(stream)))
    loop.close()
    assert complete(smol).choices is not None
    assert not caplog.records
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(stream.aclose())  # type: ignore[attr-defined]


def test_closing(smol_path: Path):
    model = LlamaCpp(smol_path, context=256)
    assert complete(model).choices is not None
    model.close()
    model.close()
    with pytest.raises(ModelError, match="is closed") as caught:
        complete(model)
    assert "LlamaCpp" in caught.value.hint
    with pytest.raises(ModelError, match="is closed"):
        model.load()


def test_closing_waits_for_what_is_under_way(smol_path: Path):
    model = LlamaCpp(smol_path, context=256).load()

    async def main() -> Completion:
        task = asyncio.create_task(model.complete(number.request("Two")))
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        await asyncio.to_thread(model.close)
        return await task

    assert asyncio.run(main()).finish == "stop"


def test_a_model_that_is_dropped_frees_its_weights(smol_path: Path):
    model = LlamaCpp(smol_path, context=256).load()
    freed: list[str] = []
    model._to_free.append(lambda: freed.append("all"))
    gone = weakref.ref(model)
    del model
    for _ in range(50):
        gc.collect()
        if gone() is None:
            break
        time.sleep(0.02)
    assert gone() is None
    for _ in range(250):
        if freed:
            break
        time.sleep(0.02)
    assert freed == ["all"]


# --- processes


def test_in_a_forked_child_a_loaded_model_says_what_to_do():
    code = """
        import asyncio, os, warnings
        from typing import Literal
        from hetagent import LlamaCpp, skill
        from hetagent.errors import ModelError
        warnings.simplefilter("ignore", DeprecationWarning)
        @skill
        def f(message: str) -> Literal["a", "b"]:
            "Decide."
        fresh = LlamaCpp("smollm2-135m-instruct", context=256)
        model = LlamaCpp("smollm2-135m-instruct", context=256).load()
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(model.complete(f.request("x")))
            except ModelError as error:
                print(error, flush=True)
                os._exit(3)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(sum(asyncio.run(model.complete(f.request("x"))).choices.values()) > 0.99)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = result.stdout.splitlines()
    assert lines[1:] == ["3", "True"], result.stderr
    assert "before this process was forked" in lines[0]


def test_an_interpreter_with_a_loaded_model_ends_cleanly():
    code = (
        "from hetagent import LlamaCpp\n"
        "model = LlamaCpp('smollm2-135m-instruct', context=256).load()\n"
        "print('loaded')"
    )
    command = [sys.executable, "-X", "faulthandler", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "loaded\n", "")
