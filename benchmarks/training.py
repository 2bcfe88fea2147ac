"""Training speed beside a plain loop: examples per second, to the same validation loss.

    python -m benchmarks.training --json training.json

The plain loop is what one writes with transformers and peft: the same GGUF file dequantised, LoRA
of the same rank beside the same layers, bfloat16 autocast, whole padded texts in batches of the
same examples, the loss on the answers. hetagent trains with and without compiling what it can. All
train side by side, some steps each in turn, from the same low-rank terms, on the same batches, at
the same learning rates. Then their adapters are evaluated alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.report import Report, arguments, main
from benchmarks.tune_clinc import base_model, clinc150, intent_skill
from hetagent import LlamaCpp
from hetagent.learn.tune.adapter import PEFT_NAMES
from hetagent.learn.tune.batches import Batch, Text, batched, collated
from hetagent.learn.tune.fusing import compiler, fusing
from hetagent.learn.tune.kernels import losses
from hetagent.learn.tune.llama import LlamaNetwork, parameters
from hetagent.learn.tune.loop import evaluated
from hetagent.learn.tune.run import lessons
from hetagent.learn.tune.weights import Weights

RANK, SCALE, RATE, BATCH, SEED = 16, 2.0, 2e-3, 64, 20261121
COMPILED = "hetagent, compiled"
TURN = 4  # steps of one before the other's
PROFILED = 8
PRODUCTS = ("aten::mm", "aten::bmm", "aten::addmm", "aten::addmm_")


class Plain:
    """The plain loop: transformers and peft."""

    def __init__(self) -> None:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        path = base_model()
        network = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="sdpa"
        )
        config = LoraConfig(
            r=RANK,
            lora_alpha=SCALE * RANK,
            target_modules=[one.split(".")[1] for one in PEFT_NAMES.values()],
        )
        self.network: Any = get_peft_model(network, config)
        self.parameters = [one for one in self.network.parameters() if one.requires_grad]

    def loss(self, texts: Sequence[Text]) -> torch.Tensor:
        longest = max(len(one.prompt) + len(one.answer) for one in texts)
        tokens = torch.zeros(len(texts), longest, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        labels = torch.full_like(tokens, -100)
        for row, one in enumerate(texts):
            whole = torch.tensor([*one.prompt, *one.answer])
            tokens[row, : len(whole)] = whole
            mask[row, : len(whole)] = 1
            first = len(one.prompt)
            labels[row, first : len(whole)] = whole[first:]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = self.network(input_ids=tokens, attention_mask=mask, labels=labels)
        loss: torch.Tensor = found.loss
        return loss

    def factors(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Its low-rank terms by llama.cpp's names."""
        layers = self.network.base_model.model.model.layers
        found = {}
        for number, layer in enumerate(layers):
            for name, theirs in PEFT_NAMES.items():
                part = layer.get_submodule(theirs)
                pair = (part.lora_A["default"].weight, part.lora_B["default"].weight)
                found[f"blk.{number}.{name}.weight"] = pair
        return found


class Ours:
    """hetagent's network."""

    def __init__(self, fixed: int, *, compiled: bool) -> None:
        self.fixed = fixed
        self.compiled = compiled
        self.network = LlamaNetwork(Weights(base_model()))
        generator = torch.Generator().manual_seed(SEED)
        self.terms = self.network.adapt(rank=RANK, scale=SCALE, generator=generator)
        self.parameters = parameters(self.terms)

    def loss(self, texts: Sequence[Text]) -> torch.Tensor:
        batch: Batch = collated(texts, fixed=self.fixed)
        with fusing(self.compiled):
            return losses(self.network.predictions(batch), batch.targets).mean()

    def take(self, factors: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Have other low-rank terms."""
        with torch.no_grad():
            for name, pair in factors.items():
                for one, other in zip(self.terms[name], pair, strict=True):
                    one.copy_(other)


def measure(report: Report, options: argparse.Namespace) -> None:
    data = clinc150()
    task = intent_skill()
    with LlamaCpp(base_model()) as model:
        learn, fixed = lessons(
            task, data["train"][:: max(1, 15_000 // options.examples)], model=model
        )
        check, _ = lessons(task, data["val"][::6], model=model)
    whole = [Text(one.prompt, one.answer, (True,) * len(one.answer)) for one in learn]
    ours, plain = Ours(fixed, compiled=False), Plain()
    runs: dict[str, Ours | Plain] = {"hetagent": ours, "plain": plain}
    if compiler() is not None:
        runs = {COMPILED: Ours(fixed, compiled=True), **runs}
    for one in runs.values():  # all begin alike
        if isinstance(one, Ours):
            one.take(plain.factors())
    batches = list(batched(whole, size=BATCH, tokens=BATCH * 512, seed=SEED))
    warm_up = {name: _seconds_of(one, batches[0]) for name, one in runs.items()}
    optimisers = {
        name: torch.optim.AdamW(one.parameters, lr=RATE, weight_decay=0.0)
        for name, one in runs.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    lost: dict[str, list[float]] = {name: [] for name in runs}
    for start in range(0, len(batches), TURN):
        for name, one in runs.items():
            for step in range(start, min(start + TURN, len(batches))):
                began = time.perf_counter()
                for group in optimisers[name].param_groups:
                    group["lr"] = RATE * min((step + 1) / 10, (len(batches) - step) / len(batches))
                loss = one.loss(batches[step])
                optimisers[name].zero_grad()
                with fusing(name == COMPILED):
                    loss.backward()
                torch.nn.utils.clip_grad_norm_(one.parameters, 1.0)
                optimisers[name].step()
                seconds[name].append(time.perf_counter() - began)
                lost[name].append(loss.item())
                print(f"{name} step {step + 1} of {len(batches)}: {loss.item():.3f}", flush=True)
    for name, one in runs.items():
        ours.take(one.factors() if isinstance(one, Plain) else one.terms)
        loss, exact = evaluated(ours.network, check, fixed=fixed, tokens=16_384)
        report.row(
            part="training",
            loop=name,
            examples_per_second=sum(map(len, batches)) / sum(seconds[name]),
            median_step_seconds=statistics.median(seconds[name]),
            first_step_seconds=warm_up[name],
            validation_loss=loss,
            validation_exact=exact,
            trained=sum(map(torch.numel, one.parameters)),
        )
    for name in runs:
        for step, (taken, loss) in enumerate(zip(seconds[name], lost[name], strict=True), 1):
            texts = len(batches[step - 1])
            report.row(
                part="steps", raw=True, loop=name, step=step, texts=texts, seconds=taken, loss=loss
            )
    found = {row["loop"]: row for row in report.rows if row["part"] == "training"}
    for name in [one for one in runs if one != "plain"]:
        ratios = [a / b for a, b in zip(seconds["plain"], seconds[name], strict=True)]
        ratio = statistics.median(ratios)
        words = f"{name}: times the plain loop's speed"
        report.target(words, value=ratio, target=">= 1.5", holds=ratio >= 1.5)
        gap = found[name]["validation_loss"] / found["plain"]["validation_loss"]
        words = f"{name}: validation loss, of the plain loop's"
        report.target(words, value=gap, target="<= 1.02", holds=gap <= 1.02)
    _products(report, ours, batches)


def _seconds_of(loop: Ours | Plain, texts: Sequence[Text]) -> float:
    """Seconds of a first step, in which things are compiled; nothing is learned."""
    began = time.perf_counter()
    loss = loop.loss(texts)
    with fusing(isinstance(loop, Ours) and loop.compiled):
        loss.backward()
    for one in loop.parameters:
        one.grad = None
    return time.perf_counter() - began


def _products(report: Report, ours: Ours, batches: Sequence[Sequence[Text]]) -> None:
    """The share of time in matrix products, and their rate beside bare ones of the same sizes."""
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    some = batches[:: max(1, len(batches) // PROFILED)][:PROFILED]
    for texts in some[:2]:
        ours.loss(texts).backward()
    with FlopCounterMode(display=False) as counter:
        for texts in some:
            ours.loss(texts).backward()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        for texts in some:
            ours.loss(texts).backward()
    events = found.key_averages(group_by_input_shape=True)
    total = sum(one.self_cpu_time_total for one in events) / 1e6
    products = [one for one in events if one.key in PRODUCTS]
    spent = sum(one.self_cpu_time_total for one in products) / 1e6
    bare = sum(_bare(one.input_shapes) * one.count for one in products if one.key == "aten::mm")
    real = sum(one.self_cpu_time_total for one in products if one.key == "aten::mm") / 1e6
    flops = counter.get_total_flops()
    report.row(
        part="matrix products",
        share_of_time=spent / total,
        of_all_tflops=flops / total / 1e12,
        tflops=flops / spent / 1e12,
        seconds=real,
        bare_seconds=bare,
        rate_of_bare=bare / real,
    )


def _bare(shapes: Sequence[Sequence[int]]) -> float:
    """Seconds of a bare bfloat16 product of these sizes: the median of some."""
    (rows, inner), (_, columns) = shapes[:2]
    left = torch.randn(rows, inner).bfloat16()
    right = torch.randn(inner, columns).bfloat16()
    times = []
    for _ in range(7):
        began = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def parser() -> argparse.ArgumentParser:
    found = arguments("Training speed beside a plain loop.")
    found.add_argument("--examples", type=int, default=3000, help="that both learn from")
    return found


if __name__ == "__main__":
    main(measure, parser())
