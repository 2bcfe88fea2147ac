"""The training loop: one path from examples to the weights that did best on others.

What it does follows from the examples, the settings and the seed; a run that was killed goes on
from its last checkpoint to the same result.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from hetagent.errors import InputError, ModelFileError
from hetagent.learn.tune.batches import Batch, Text, batched, collated
from hetagent.learn.tune.fusing import compiler, fusing
from hetagent.learn.tune.kernels import losses
from hetagent.learn.tune.settings import TuneSettings

__all__ = ["Evaluation", "History", "Network", "Progress", "evaluated", "train"]

_CHECKPOINT_SECONDS = 60.0
_COMPILED_FROM = 300_000  # tokens; on two cores five minutes without
_TIMED = 8  # steps after which the time that is left is planned
_FORWARD = 1 / 3  # of a step's time; the backward pass takes twice as long
_CLIP = 1.0
_LEAST = 1e-9


class Network(Protocol):
    """What is trained."""

    def predictions(self, batch: Batch) -> Tensor:
        """Logits of the tokens that the batch's answers are free to choose, ``(n, vocabulary)``."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the validation examples say of the weights.

    Attributes:
        step: After how many steps.
        loss: Mean negative logarithm of the probability of a whole answer, in nats: the answers'
            confidence loss.
        exact: Share of examples all of whose free tokens are the most probable ones.
    """

    step: int
    loss: float
    exact: float


@dataclass(slots=True)
class History:
    """What happened.

    Attributes:
        steps: Steps that were planned.
        done: Steps that were done.
        losses: Mean loss of a free token at each step, in nats.
        evaluations: In their order.
        best: The step whose weights were kept.
        examples: Examples that were learned from, repetitions included.
        seconds: Time of training, of all runs together, without evaluation.
        stopped: Why it ended: ``"steps"``, ``"patience"``.
    """

    steps: int = 0
    done: int = 0
    losses: list[float] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    best: int = 0
    examples: int = 0
    seconds: float = 0.0
    stopped: str = "steps"

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        known = {**data, "evaluations": [Evaluation(**one) for one in data["evaluations"]]}
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is.

    Attributes:
        done: Steps.
        steps: Of how many.
        loss: Mean loss of a free token of late, in nats.
        evaluation: The last one.
        seconds_left: About how long it will take.
    """

    done: int
    steps: int
    loss: float
    evaluation: Evaluation | None
    seconds_left: float


def train(
    network: Network,
    parameters: Sequence[Tensor],
    *,
    learn: Sequence[Text],
    check: Sequence[Text],
    fixed: int,
    rate: float,
    settings: TuneSettings,
    checkpoint: Path | None = None,
    identity: str = "",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> History:
    """Minimise the loss of the answers; the parameters are left as they did best.

    Args:
        network: What is trained.
        parameters: What of it changes, in float32.
        learn: Texts to learn.
        check: Texts that say when it is best.
        fixed: Tokens that all texts begin with.
        rate: Peak learning rate.
        settings: The rest.
        checkpoint: A file to go on from, written every minute and where it is interrupted; removed
            by whoever keeps the result.
        identity: What the run is of; a checkpoint of another one is refused.
        on_progress: Told after each step.

    Raises:
        InputError: There is nothing to learn or to check.
        ModelFileError: The checkpoint is of another run, or cannot be read.
    """
    if not learn or not check:
        raise InputError(
            f"There are {len(learn)} examples to learn and {len(check)} to check with.",
            hint="Give some of each.",
        )
    run = _Run(network, list(parameters), settings=settings, rate=rate, fixed=fixed)
    run.plan(learn)
    with fusing(run.compiles):
        _work(run, check, checkpoint=checkpoint, identity=identity, on_progress=on_progress)
    run.keep_best()
    return run.history


def _work(
    run: _Run,
    check: Sequence[Text],
    *,
    checkpoint: Path | None,
    identity: str,
    on_progress: Callable[[Progress], None],
) -> None:
    """Do all steps that are left."""
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint, identity=identity)
    saved = time.monotonic()
    try:
        while run.history.done < run.history.steps:
            run.step()
            run.plan_time(check)
            if run.due():
                run.evaluate(check)
                if run.is_stuck():
                    run.history.stopped = "patience"
                    break
            on_progress(run.progress())
            if checkpoint is not None and time.monotonic() - saved > _CHECKPOINT_SECONDS:
                run.save(checkpoint, identity=identity)
                saved = time.monotonic()
    except KeyboardInterrupt:
        if checkpoint is not None:
            run.save(checkpoint, identity=identity)
        raise


class _Run:
    """A run under way; all of it is in a checkpoint."""

    def __init__(
        self,
        network: Network,
        parameters: list[Tensor],
        *,
        settings: TuneSettings,
        rate: float,
        fixed: int,
    ) -> None:
        self._network = network
        self._parameters = parameters
        self._settings = settings
        self._rate = rate
        self._fixed = fixed
        self._optimiser = torch.optim.AdamW(
            parameters, lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )
        self._best: list[Tensor] = []
        self._steps: list[list[list[Text]]] = []
        self._planned = False
        self._durations: list[float] = []
        self.history = History()

    def plan(self, learn: Sequence[Text]) -> None:
        """Lay out all batches."""
        whole, part = divmod(self._settings.epochs, 1.0)
        for epoch in range(int(whole) + (part > 0)):
            cut = list(
                batched(
                    learn,
                    size=self._settings.batch,
                    tokens=self._settings.tokens,
                    seed=self._settings.seed * 1000 + epoch,
                )
            )
            cut = cut if epoch < whole else cut[: max(1, round(part * len(cut)))]
            self._steps += _grouped(cut, size=self._settings.batch)
        self.history.steps = len(self._steps)

    @property
    def compiles(self) -> bool:
        """Whether operations are to be compiled."""
        if self._settings.compiled is not None:
            return self._settings.compiled
        batches = [one for step in self._steps for one in step]
        tokens = sum(sum(map(len, one)) - (len(one) - 1) * self._fixed for one in batches)
        return tokens >= _COMPILED_FROM and compiler() is not None

    def step(self) -> None:
        """Learn from some examples: one batch, or several where they are long."""
        history = self.history
        began = time.monotonic()
        texts = self._steps[history.done]
        total = sum(one.weight * sum(one.free) for some in texts for one in some)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * self._share_of_rate()
        self._optimiser.zero_grad(set_to_none=True)
        summed = 0.0
        for some in texts:
            loss = _loss(self._network, collated(some, fixed=self._fixed)) / max(total, _LEAST)
            loss.backward()
            summed += loss.item()
        torch.nn.utils.clip_grad_norm_(self._parameters, _CLIP)
        self._optimiser.step()
        history.losses.append(summed)
        history.done += 1
        history.examples += sum(map(len, texts))
        self._durations.append(time.monotonic() - began)
        history.seconds += self._durations[-1]

    def plan_time(self, check: Sequence[Text]) -> None:
        """Cut the steps short after the first few, where there is no time for all of them."""
        minutes = self._settings.minutes
        if self.history.done == _TIMED and minutes is not None and not self._planned:
            self._fit_into(minutes * 60, check)

    def due(self) -> bool:
        """Whether it is time to evaluate."""
        every = max(1, self.history.steps // self._settings.evaluations)
        return self.history.done % every == 0 or self.history.done == self.history.steps

    def evaluate(self, check: Sequence[Text]) -> None:
        """See how well it does; keep the weights that do best."""
        loss, exact = evaluated(
            self._network, check, fixed=self._fixed, tokens=self._settings.tokens
        )
        history = self.history
        best = min((one.loss for one in history.evaluations), default=float("inf"))
        history.evaluations.append(Evaluation(history.done, loss, exact))
        if loss < best:
            history.best = history.done
            self._best = [one.detach().clone() for one in self._parameters]

    def is_stuck(self) -> bool:
        """Whether the loss did not fall for long."""
        since = [one for one in self.history.evaluations if one.step > self.history.best]
        return len(since) >= self._settings.patience

    def keep_best(self) -> None:
        """Go back to the weights that did best."""
        with torch.no_grad():
            for one, best in zip(self._parameters, self._best, strict=True):
                one.copy_(best)

    def progress(self) -> Progress:
        """How far it is."""
        history = self.history
        late = history.losses[-10:]
        left = history.seconds / max(1, history.done) * (history.steps - history.done)
        last = history.evaluations[-1] if history.evaluations else None
        return Progress(history.done, history.steps, sum(late) / len(late), last, left)

    def save(self, path: Path, *, identity: str) -> None:
        """Write a checkpoint; one that is there is replaced at once or not at all."""
        partial = path.with_name(f".{path.name}.partial")
        data = {
            "identity": identity,
            "parameters": self._parameters,
            "best": self._best,
            "optimiser": self._optimiser.state_dict(),
            "history": self.history.to_dict(),
            "planned": self._planned,
        }
        with partial.open("wb") as file:
            torch.save(data, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)

    def load(self, path: Path, *, identity: str) -> None:
        """Go on from a checkpoint."""
        try:
            data = torch.load(path, weights_only=True)
        except (OSError, RuntimeError, ValueError, UnpicklingError) as error:
            raise ModelFileError(
                f"The checkpoint {path} cannot be read: {error}.",
                hint="Remove it to begin anew.",
            ) from error
        if data["identity"] != identity:
            raise ModelFileError(
                f"The checkpoint {path} is of another run: its examples, settings or model differ.",
                hint="Name another folder, or remove it to begin anew.",
            )
        with torch.no_grad():
            for one, kept in zip(self._parameters, data["parameters"], strict=True):
                one.copy_(kept)
        self._best = data["best"]
        self._optimiser.load_state_dict(data["optimiser"])
        self.history = History.from_dict(data["history"])
        self._planned = data["planned"]

    def _share_of_rate(self) -> float:
        """Linear up, linear down to nearly zero."""
        done, steps = self.history.done, self.history.steps
        warmup = max(1, round(self._settings.warmup * len(self._steps)))
        return min((done + 1) / warmup, (steps - done) / max(1, steps - warmup), 1.0)

    def _fit_into(self, seconds: float, check: Sequence[Text]) -> None:
        """Do as many steps as there is time for, evaluations included."""
        self._planned = True
        # The first steps are no measure: things are compiled and memory is taken.
        each = statistics.median(self._durations[-_TIMED // 2 :])
        learned = [one for step in self._steps[:_TIMED] for some in step for one in some]
        per_token = each * _TIMED / self._tokens(learned)
        evaluating = self._settings.evaluations * per_token * _FORWARD * self._tokens(check)
        left = seconds - self.history.seconds - evaluating
        self.history.steps = min(self.history.steps, _TIMED + max(0, int(left / each)))

    def _tokens(self, texts: Sequence[Text]) -> int:
        """Tokens of texts, without those that all of them share."""
        return max(1, sum(map(len, texts)) - len(texts) * self._fixed)


def evaluated(
    network: Network, texts: Sequence[Text], *, fixed: int, tokens: int, size: int = 128
) -> tuple[float, float]:
    """Mean confidence loss of answers, in nats, and the share that is exact; see `Evaluation`."""
    loss = exact = 0.0
    with torch.no_grad():
        for some in batched(texts, size=size, tokens=tokens, seed=0):
            batch = collated(some, fixed=fixed)
            logits = network.predictions(batch)
            targets = batch.targets.to(logits.device)
            loss += float(losses(logits, targets).sum())
            wrong = (logits.argmax(-1) != targets).to("cpu")
            exact += len(some) - len(batch.texts[wrong].unique())
    return loss / len(texts), exact / len(texts)


def _loss(network: Network, batch: Batch) -> Tensor:
    """Weighted sum of the cross-entropy of the answers' free tokens, in nats."""
    logits = network.predictions(batch)
    targets, weights = batch.targets.to(logits.device), batch.weights.to(logits.device)
    each = losses(logits, targets)
    return (each * weights).sum()


def _grouped(batches: Sequence[list[Text]], *, size: int) -> list[list[list[Text]]]:
    """Batches in their order, as many for a step as have so many texts."""
    found: list[list[list[Text]]] = []
    have = size
    for batch in batches:
        if have >= size:
            found.append([])
            have = 0
        found[-1].append(batch)
        have += len(batch)
    return found
