"""Tuning a skill: from labelled examples to an adapter that the engine loads."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import torch

from hetagent.calibrate.calibration import parsed
from hetagent.errors import InputError, ModelFileError
from hetagent.files import write_whole
from hetagent.fingerprint import digest
from hetagent.learn.tune.adapter import base_name, write_gguf, write_peft
from hetagent.learn.tune.agreement import Agreement, agreement
from hetagent.learn.tune.batches import Text
from hetagent.learn.tune.llama import LlamaNetwork, parameters
from hetagent.learn.tune.loop import History, Progress, train
from hetagent.learn.tune.precision import fastest
from hetagent.learn.tune.settings import TuneSettings
from hetagent.learn.tune.weights import Weights
from hetagent.models.fetch_store import content_hash
from hetagent.models.llamacpp import LlamaCpp
from hetagent.skill import Skill

__all__ = ["Tuned", "lessons", "tune"]

_CHECK_SHARE, _MOST_CHECKED = 0.1, 1000
_COMPARED = 16
_DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}
_ADAPTER, _RECORD, _CHECKPOINT = "adapter.gguf", "tuned.json", "checkpoint.pt"

Tell = Callable[[str, Progress | None], None]
_Pair = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Tuned:
    """A tuned skill's files.

    Attributes:
        folder: Where they are: ``adapter.gguf`` for llama.cpp, ``adapter_model.safetensors`` and
            ``adapter_config.json`` for peft, ``tuned.json``, what was done.
        base: The weights that the adapter is for.
        settings: How it was trained.
        history: What happened.
        agreement: How well llama.cpp and PyTorch agree on it.
        facts: Examples, hashes, machine, memory.
    """

    folder: Path
    base: Path
    settings: TuneSettings
    history: History
    agreement: Agreement
    facts: dict[str, Any]

    @property
    def adapter(self) -> Path:
        """The adapter in GGUF."""
        return self.folder / _ADAPTER

    def model(self, **options: Any) -> LlamaCpp:
        """The base with the adapter; options are those of `LlamaCpp`."""
        return LlamaCpp(self.base, adapters=[self.adapter], **options)

    @classmethod
    def of(cls, folder: Path, data: Mapping[str, Any], *, base: Path) -> Self:
        """What a folder's ``tuned.json`` tells."""
        compared = {name: one for name, one in data["agreement"].items() if name != "holds"}
        return cls(
            folder,
            base,
            TuneSettings.from_dict(data["settings"]),
            History.from_dict(data["history"]),
            Agreement(**compared),
            data["facts"],
        )


def tune(
    skill: Skill[Any, Any],
    examples: Iterable[Any],
    *,
    to: Path | str,
    model: LlamaCpp,
    check: Iterable[Any] | None = None,
    settings: TuneSettings | None = None,
    tell: Tell = lambda stage, progress: None,
) -> Tuned:
    """Train low-rank terms of a model for one skill.

    What is trained is, token for token, what the engine will evaluate: the loss is taken on those
    tokens of the answer that the output type leaves the model to choose. A run that was killed
    goes on from its last checkpoint; one that is done is not done again.

    Args:
        skill: What is to be learned.
        examples: Pairs of an input and the right answer.
        to: A folder for the result.
        model: What is tuned: a GGUF file's weights, which the adapter is for.
        check: Pairs that decide when it is best and are not learned; by default a tenth of the
            examples, at most 1,000.
        settings: How; sound defaults where not given.
        tell: Told the stage and, in training, how far it is.

    Raises:
        InputError: An example is none, or there are too few.
        OutputError: An answer is none that the model can give.
        InputTooLongError: A prompt does not fit the model's context.
        ModelFileError: The weights cannot be read or trained, or the folder is of another run.
        MissingExtraError: The packages of the extra ``tune`` are not installed.
    """
    settings = settings or TuneSettings()
    folder = Path(to)
    folder.mkdir(parents=True, exist_ok=True)
    learn = _pairs(skill, examples)
    if check is None:
        learn, held = _held_out(skill, learn, seed=settings.seed)
    else:
        held = _pairs(skill, check)
    of = _identity(skill, model, settings, learn=learn, held=held)
    done = _done(folder, of)
    if done is None:
        done = _tuned(skill, learn, held, model=model, settings=settings, folder=folder, of=of,
                      tell=tell)  # fmt: skip
        write_whole(folder / _RECORD, json.dumps(done, indent=1) + "\n")
        (folder / _CHECKPOINT).unlink(missing_ok=True)
    return Tuned.of(folder, done, base=model.path)


def _tuned(
    skill: Skill[Any, Any],
    learn: Sequence[_Pair],
    held: Sequence[_Pair],
    *,
    model: LlamaCpp,
    settings: TuneSettings,
    folder: Path,
    of: dict[str, Any],
    tell: Tell,
) -> dict[str, Any]:
    """Train, write the adapter, and compare it with what was trained; the record of it."""
    began = time.monotonic()
    tell("reading", None)
    texts, fixed = lessons(skill, learn, model=model)
    checks, _ = lessons(skill, held, model=model)
    weights = Weights(model.path)
    dtype = _DTYPES[settings.precision] if settings.precision else fastest()
    network = LlamaNetwork(weights, dtype=dtype)
    factors = network.adapt(
        rank=settings.rank,
        scale=settings.scale,
        generator=torch.Generator().manual_seed(settings.seed),
    )
    history = train(
        network,
        parameters(factors),
        learn=texts,
        check=checks,
        fixed=fixed,
        rate=settings.rate_for(network.shape.width),
        settings=settings,
        checkpoint=folder / _CHECKPOINT,
        identity=digest(of),
        on_progress=lambda progress: tell("training", progress),
    )
    tell("writing", None)
    adapter = folder / _ADAPTER
    write_gguf(factors, adapter, shape=network.shape, scale=settings.scale, name=skill.name)
    write_peft(factors, folder, scale=settings.scale, base=base_name(weights))
    tell("comparing", None)
    compared = agreement(
        network, checks[:_COMPARED], model=model.path, adapter=adapter, fixed=fixed
    )
    facts = {
        **of,
        "adapter": content_hash(adapter),
        "learned": len(texts),
        "checked": len(checks),
        "free_tokens": sum(sum(one.free) for one in texts) / len(texts),
        "seconds": round(time.monotonic() - began, 1),
        "peak_bytes": _peak_bytes(),
        "precision": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }
    return {
        "format": 1,
        "settings": settings.to_dict(),
        "history": history.to_dict(),
        "agreement": compared.to_dict(),
        "facts": facts,
    }


def lessons(
    skill: Skill[Any, Any], examples: Sequence[_Pair], *, model: LlamaCpp
) -> tuple[list[Text], int]:
    """Texts to train on, in the tokens that the engine takes, and how many tokens all share."""
    model.load()
    found, fixed = [], 0
    for row, label in examples:
        args, kwargs = skill.bind_row(row)
        request = skill.request(*args, **kwargs)
        one = model.lesson(request, request.output.text_of_json(label))
        found.append(Text(one.prompt, one.answer, one.free))
        fixed = one.fixed
    return found, fixed


def _pairs(skill: Skill[Any, Any], examples: Iterable[Any]) -> list[_Pair]:
    return list(zip(*parsed(skill, examples), strict=True))


def _identity(
    skill: Skill[Any, Any],
    model: LlamaCpp,
    settings: TuneSettings,
    *,
    learn: Sequence[_Pair],
    held: Sequence[_Pair],
) -> dict[str, Any]:
    """What a run is of: all that its result follows from, but for the machine."""
    return {
        "base": content_hash(model.path),
        "settings": settings.to_dict(),
        "skill": digest([[one.role, one.content] for one in skill.messages]),
        "output": skill.output.fingerprint,
        "examples": digest([[repr(row), label] for row, label in learn]),
        "check": digest([[repr(row), label] for row, label in held]),
    }


def _peak_bytes() -> int | None:
    """The most memory that this process had so far; ``None`` where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _held_out(
    skill: Skill[Any, Any], pairs: Sequence[_Pair], *, seed: int
) -> tuple[list[_Pair], list[_Pair]]:
    """Some examples to check with: by their input alone, so that equal ones stay together."""
    wanted = min(_CHECK_SHARE, _MOST_CHECKED / max(1, len(pairs)))
    learn: list[_Pair] = []
    held: list[_Pair] = []
    for row, label in pairs:
        args, kwargs = skill.bind_row(row)
        text = f"{seed} {skill.request_text(*args, **kwargs)}"
        drawn = int.from_bytes(sha256(text.encode()).digest()[:8]) / 2**64
        (held if drawn < wanted else learn).append((row, label))
    if not held or not learn:
        raise InputError(
            f"{len(pairs)} examples of {skill.name} are too few to learn from and to check with.",
            hint="Give some dozens at least.",
        )
    return learn, held


def _done(folder: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """What is in the folder, where it is this run's.

    Raises:
        ModelFileError: It is another one's.
    """
    path = folder / _RECORD
    if not path.exists():
        return None
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if {name: data["facts"].get(name) for name in wanted} != wanted:
        raise ModelFileError(
            f"{folder} holds what was tuned from something else.",
            hint="Name another folder, or remove it.",
        )
    return data
