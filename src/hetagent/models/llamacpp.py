"""Models in GGUF files, run on this machine by llama.cpp."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hetagent.errors import ModelError
from hetagent.models.base import Request
from hetagent.models.local import LocalModel, Pending, Watch

if TYPE_CHECKING:
    from hetagent.engine.context import FlashAttention, KvType
    from hetagent.engine.decode import Decoder
    from hetagent.engine.engine import Engine, EngineOptions
    from hetagent.engine.lessons import Lesson
    from hetagent.engine.prefixes import Adapters
    from hetagent.engine.scheduler import Stats

__all__ = ["LlamaCpp"]

DEFAULT_CONTEXT = 4096
# Room for some skills' prefixes and for requests beside the longest one.
_SHARED_TOKENS = 4096


class LlamaCpp(LocalModel):
    """A model in a GGUF file.

    The file is found, and fetched where it must be, when the object is made; the weights are loaded
    at the first call, or by `load`. Concurrent calls are evaluated together, and the fixed part of
    every skill's prompt is evaluated once. Models on the same file that agree on all options but
    ``adapters`` and ``chat_template`` share one copy of the weights.

    Args:
        model: A catalogue name (``hetagent models list``), a path to a ``.gguf`` file, or a hub
            reference such as ``"owner/repository/file.gguf"``.
        context: Tokens of prompt and answer together; at most what the model was trained for.
        threads: CPU threads; by default one for each CPU this process may use.
        gpu_layers: Layers to keep on the GPU; -1 for all.
        adapters: LoRA adapters in GGUF, with the scale of each; or a sequence for a scale of 1.
        flash_attention: ``"auto"`` takes what was measured to be faster here when the file was
            first loaded; on a GPU it is left to llama.cpp.
        kv_type: Precision of the KV cache.
        kv_tokens: Tokens the KV cache holds, of all skills and requests together; at least
            ``context``, and by default 4096 more.
        parallel: Requests under way at once; further ones wait.
        batch: Tokens one evaluation may have. Larger ones may be faster and let others wait longer.
        queue: Requests that may wait; callers beyond wait until there is room.
        all_labels: Whether a choice gives the exact probability of every label. ``False`` gives
            that of the best alone, which is much less work where there are many; unlikely labels
            with a common beginning then share its probability evenly.
        store_prefixes: Whether to keep the evaluated fixed parts of prompts on disk, so that a new
            process need not evaluate them again; in hetagent's cache folder, or in the one given.
        chat_template: A Jinja chat template, instead of the file's own.
        name: A short name for tables, traces and messages; by default what ``model`` says.
        progress: Whether to show a download's progress; by default on a terminal.

    Raises:
        ModelError: An option is out of range.
        UnknownModelError: No such catalogue name.
        ModelFileError: The file is missing or is not GGUF.
        DownloadError: It could not be fetched.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        context: int = DEFAULT_CONTEXT,
        threads: int | None = None,
        gpu_layers: int = 0,
        adapters: Mapping[str, float] | Sequence[str | os.PathLike[str]] = (),
        flash_attention: FlashAttention = "auto",
        kv_type: KvType = "f16",
        kv_tokens: int | None = None,
        parallel: int = 16,
        batch: int = 256,
        queue: int = 1024,
        all_labels: bool = True,
        store_prefixes: bool | str | os.PathLike[str] = False,
        chat_template: str | None = None,
        name: str | None = None,
        progress: bool | None = None,
    ) -> None:
        from hetagent.engine.speed import usable_cpus
        from hetagent.models.fetch import resolve
        from hetagent.models.fetch_store import check_gguf

        _check_options(
            context=context >= 1,
            threads=threads is None or threads >= 1,
            flash_attention=flash_attention in ("auto", "on", "off"),
            kv_type=kv_type in ("f16", "f32"),
            parallel=1 <= parallel <= 64,
            batch=1 <= batch <= 4096,
            queue=queue >= 1,
        )
        if kv_tokens is None:
            kv_tokens = context + _SHARED_TOKENS
        elif kv_tokens < context:
            raise ModelError(
                f"kv_tokens={kv_tokens} is less than context={context}, so that a request that is "
                "allowed would never fit.",
                hint=f"Give kv_tokens={context} or more, or a smaller context=.",
            )
        reference = os.fspath(model)
        self.path: Path = resolve(reference, progress=progress)
        is_path = reference.endswith(self.path.name)
        super().__init__(name or (self.path.stem if is_path else reference))
        named = adapters if isinstance(adapters, Mapping) else dict.fromkeys(adapters, 1.0)
        self._adapters = {Path(path): float(scale) for path, scale in named.items()}
        for path in self._adapters:
            check_gguf(path)
        self._context_length = context
        self._threads = threads or usable_cpus()
        self._gpu_layers = gpu_layers
        self._flash_attention = flash_attention
        self._kv_type = kv_type
        self._kv_tokens = kv_tokens
        self._parallel = parallel
        self._batch = batch
        self._queue = queue
        self._all_labels = all_labels
        self._store = _store_folder(store_prefixes)
        self._template = chat_template
        self._decoder: Decoder | None = None
        self._engine: Engine | None = None
        self._loaded_adapters: Adapters = ()
        self._spelled: dict[tuple[str, str], Lesson] = {}

    def stats(self) -> Stats:
        """What the engine does now: jobs, prefixes, and the use of the KV cache.

        Models on the same file with the same options share an engine, and so its figures.

        Raises:
            ModelError: The weights cannot be loaded.
        """
        self.load()
        assert self._engine is not None
        return self._engine.scheduler.stats()

    def identity(self) -> dict[str, str]:
        """What its answers depend on: weights, adapters, quantisation and options that matter.

        The hash of a large file takes a second; it is computed once for each file.

        Raises:
            ModelFileError: A file cannot be read.
        """
        from hetagent.engine.quantize import weights_type
        from hetagent.models.fetch_store import content_hash

        adapters = [f"{content_hash(path)} x {scale}" for path, scale in self._adapters.items()]
        return {
            "model": content_hash(self.path),
            "adapters": ", ".join(adapters) or "none",
            "quantisation": weights_type(self.path) or "unknown",
            "chat_template": self._template or "the file's own",
            "labels": "all" if self._all_labels else "best",
        }

    def prompt_tokens(self, request: Request) -> int:
        """Tokens of a request's prompt; the weights are loaded."""
        assert self._decoder is not None
        return self._decoder.prompt_tokens(request)

    def lesson(self, request: Request, text: str) -> Lesson:
        """A request's prompt and a wanted answer, in the tokens that the engine takes for them.

        The weights are loaded.

        Raises:
            InputTooLongError: The prompt leaves no room for an answer.
            ConstraintError: The output type cannot be compiled for this vocabulary.
            OutputError: The answer is none that this request can have.
        """
        from hetagent.engine.lessons import lesson

        assert self._decoder is not None
        assert self._engine is not None
        decoding = self._decoder.begin(request)
        # A label has the same tokens after every prompt.
        label = (request.output.fingerprint, text) if request.output.labels else None
        if label is not None and (known := self._spelled.get(label)) is not None:
            return replace(known, prompt=decoding.prompt, fixed=decoding.fixed)
        found = lesson(
            decoding, text, vocabulary=self._engine.vocabulary, end=self._decoder.end_of_turn
        )
        if label is not None:
            self._spelled[label] = found
        return found

    def _open(self) -> list[Callable[[], None]]:
        from hetagent.engine.chat import ChatTokenizer
        from hetagent.engine.decode import Decoder
        from hetagent.engine.engine import acquire, release
        from hetagent.models.fetch_store import check_gguf

        check_gguf(self.path)  # it may have gone since this object was made
        lease = acquire(self._engine_options())
        engine = lease.engine
        try:
            chat = ChatTokenizer(
                engine.vocabulary, template=self._template or engine.template, name=self.name
            )
            self._decoder = Decoder(
                vocabulary=engine.vocabulary,
                chat=chat,
                name=self.name,
                capacity=engine.capacity,
                all_labels=self._all_labels,
            )
            self._loaded_adapters = engine.adapters(list(self._adapters.items()))
        except BaseException:
            release(lease)
            raise
        self._engine = engine
        return [lambda: release(lease)]

    async def _submit(self, request: Request, watch: Watch | None) -> Pending:
        from hetagent.engine.jobs import Job

        assert self._decoder is not None
        assert self._engine is not None
        with self._entry:
            self._refuse_closed()
            job = Job(self._decoder.begin(request, watch=watch), adapters=self._loaded_adapters)
        while (again := self._engine.scheduler.submit(job)) is not None:
            await asyncio.wrap_future(again)
        return job

    def _engine_options(self) -> EngineOptions:
        from hetagent.engine.context import ContextOptions
        from hetagent.engine.engine import EngineOptions
        from hetagent.engine.identity import file_identity

        return EngineOptions(
            path=self.path,
            file=tuple(file_identity(self.path)),
            gpu_layers=self._gpu_layers,
            capacity=self._context_length,
            parallel=self._parallel,
            queue=self._queue,
            context=ContextOptions(
                cells=self._kv_tokens,
                batch=self._batch,
                threads=self._threads,
                flash_attention=self._flash_attention,
                kv_type=self._kv_type,
            ),
            store=self._store,
        )


def _check_options(**fine: bool) -> None:
    allowed = {
        "context": "at least 1 token",
        "threads": "at least 1",
        "flash_attention": "'auto', 'on' or 'off'",
        "kv_type": "'f16' or 'f32'",
        "parallel": "1 to 64",
        "batch": "1 to 4096 tokens",
        "queue": "at least 1",
    }
    for name, is_fine in fine.items():
        if not is_fine:
            raise ModelError(f"{name} is out of range.", hint=f"Give {allowed[name]}.")


def _store_folder(given: bool | str | os.PathLike[str]) -> Path | None:
    from hetagent.paths import cache_dir

    if isinstance(given, bool):
        return cache_dir() / "prefixes" if given else None
    return Path(given)
