"""Tune SmolLM2-135M-Instruct on the 150 intents of CLINC150, as plainly as it can be done.

    python -m benchmarks.tune_clinc --out FOLDER

LoRA of rank 16 on all linear layers; 6,000 random training utterances that are in scope, two
epochs; the loss is taken on the label's tokens and the end of turn alone. FOLDER then holds
`clinc150.lora.gguf`, for ``LlamaCpp(..., adapters=[path])``, and `tune.json`, what was done and how
well it went. Needs what `pip install -e .[transformers,tune]` installs. It took 32 minutes
on one core of a busy machine (with ``OMP_NUM_THREADS=1``: threads that wait for one another are
several times slower where other work takes turns with them).

The model has learned its labels, so the prompt does not list them: it is the skill's instructions
and the utterance. What is trained is, token for token, what llama.cpp evaluates later: the tokens
come from hetagent's own tokeniser, and the end of the run compares them, and the probabilities of
all labels, with what hetagent gives with the adapter loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.engine.weights import LINEAR, base_model, requantized
from benchmarks.report import data_folder
from hetagent import LlamaCpp, skill
from hetagent.skill import Skill

SEED = 20261121
RANK, ALPHA = 16, 32.0
EXAMPLES, EPOCHS, BATCH = 6000, 2, 64
RATE, WARMUP = 2e-3, 10
CHECKED, EVALUATED = 8, 500

ADAPTER = "clinc150.lora.gguf"
# llama.cpp's names of linear layers, and those of transformers.
NAMES = dict(
    zip(
        LINEAR,
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        strict=True,
    )
)


@dataclass(frozen=True)
class Example:
    """Tokens of one training text.

    Attributes:
        prompt: Up to where the answer begins.
        fixed: How many of these every prompt shares.
        answer: The label's tokens and the end of turn.
    """

    prompt: tuple[int, ...]
    fixed: int
    answer: tuple[int, ...]


def clinc150() -> dict[str, list[tuple[str, str]]]:
    """Utterances and labels by split."""
    path = data_folder("clinc150") / "data_full.json"
    splits: dict[str, list[tuple[str, str]]] = json.loads(path.read_text(encoding="utf-8"))
    return splits


def intents() -> list[str]:
    """The 150 labels, sorted; everything that numbers labels counts them in this order."""
    return sorted({label for _, label in clinc150()["train"]})


def intent_skill(*, lists_labels: bool = False) -> Skill[[str], str]:
    """The skill that is tuned.

    Args:
        lists_labels: Whether the prompt names the labels, as hetagent writes it, for a model that
            has not learned them.
    """

    @skill(output=Literal[tuple(intents())], describes_output=lists_labels)  # type: ignore[misc]
    def intent(utterance: str) -> str:
        """Name the intent of what the user said to a voice assistant."""

    return intent


def main() -> None:
    parser = argparse.ArgumentParser(description="Tune SmolLM2-135M-Instruct on CLINC150.")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="training utterances")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    chosen = random.Random(SEED).sample(clinc150()["train"], options.examples)
    examples = tokenised(chosen)
    network = load_network()
    factors = add_lora(network)
    losses = train(network, factors, examples, epochs=options.epochs)
    adapter = options.out / ADAPTER
    write_adapter(factors, adapter)
    trained = time.perf_counter() - began
    check_tokens(adapter, chosen, examples)
    gap = check_probabilities(adapter, network)
    accuracy = evaluate(adapter)
    facts = {
        "base": base_model().name,
        "seed": SEED,
        "rank": RANK,
        "alpha": ALPHA,
        "rate": RATE,
        "batch": BATCH,
        "examples": options.examples,
        "epochs": options.epochs,
        "minutes": round(trained / 60, 1),
        "losses": [round(loss, 4) for loss in losses],
        "largest_probability_gap": gap,
        "validation_accuracy": accuracy,
    }
    (options.out / "tune.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {adapter}: {accuracy:.1%} of {EVALUATED} validation utterances are right")


def tokenised(cases: Sequence[tuple[str, str]]) -> list[Example]:
    """Training texts in the tokens that hetagent gives llama.cpp."""
    task = intent_skill()
    with LlamaCpp(base_model()).load() as model:
        chat = model._decoder._chat  # type: ignore[union-attr]
        examples = []
        for text, label in cases:
            prompt = chat.encode(task.request(text).messages)
            answer = chat.encode_answer(label, prompt=prompt)
            examples.append(Example(prompt.tokens, prompt.fixed, (*answer, chat.end_of_turn)))
    return examples


def load_network() -> Any:
    """The same weights in torch, dequantised; frozen, so their precision can be halved."""
    import torch
    from transformers import AutoModelForCausalLM

    path = base_model()
    network = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="sdpa"
    )
    return network.requires_grad_(False)


def add_lora(network: Any) -> dict[str, Any]:
    """Put trainable low-rank terms beside all linear layers; by the tensor's name in GGUF."""
    import torch
    from torch import nn

    class Lora(nn.Module):
        """``y = W x + (alpha / rank) B A x``; see Hu et al. 2021, arXiv 2106.09685."""

        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base = base.to(torch.bfloat16)
            self.a = nn.Parameter(torch.empty(RANK, base.in_features))
            self.b = nn.Parameter(torch.zeros(base.out_features, RANK))
            nn.init.kaiming_uniform_(self.a, a=5**0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            low = nn.functional.linear(x, self.a)
            return self.base(x) + nn.functional.linear(low, self.b) * (ALPHA / RANK)

    torch.manual_seed(SEED)
    factors = {}
    for number, layer in enumerate(network.model.layers):
        for name, theirs in NAMES.items():
            part = layer.mlp if name.startswith("ffn") else layer.self_attn
            setattr(part, theirs, lora := Lora(getattr(part, theirs)))
            factors[f"blk.{number}.{name}.weight"] = lora
    return factors


def train(
    network: Any, factors: dict[str, Any], examples: Sequence[Example], *, epochs: int
) -> list[float]:
    """Minimise the loss of the answers; the mean loss of each step."""
    import torch

    parameters = [p for lora in factors.values() for p in (lora.a, lora.b)]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0)
    batches = [batch for epoch in range(epochs) for batch in batched(examples, epoch)]
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / WARMUP, (len(batches) - step) / len(batches)),
    )
    losses = []
    began = time.perf_counter()
    for step, batch in enumerate(batches, 1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = answer_loss(network, batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 5 == 0 or step == len(batches):
            spent = time.perf_counter() - began
            left = spent / step * (len(batches) - step)
            mean = sum(losses[-5:]) / len(losses[-5:])
            print(
                f"step {step} of {len(batches)}: loss {mean:.3f}, {left / 60:.1f} minutes left",
                flush=True,
            )
    return losses


def batched(examples: Sequence[Example], epoch: int) -> Iterator[list[Example]]:
    """Every example once, in random batches of texts of about the same length."""
    generator = random.Random(SEED + epoch)
    shuffled = generator.sample(examples, len(examples))
    batches = []
    for start in range(0, len(shuffled), 16 * BATCH):
        near = sorted(shuffled[start : start + 16 * BATCH], key=lambda e: len(e.prompt))
        batches += [near[i : i + BATCH] for i in range(0, len(near), BATCH)]
    generator.shuffle(batches)
    yield from batches


def answer_loss(network: Any, batch: Sequence[Example]) -> Any:
    """Mean cross-entropy of the answers' tokens, in nats."""
    import torch

    hidden, places, targets = answer_states(network, batch)
    logits = network.lm_head(hidden[places]).float()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(targets))


def answer_states(network: Any, batch: Sequence[Example]) -> tuple[Any, Any, list[int]]:
    """Hidden states, where in them answers are predicted, and the tokens to be predicted there.

    The part that all prompts share is evaluated once and its keys and values are repeated, with
    their gradients: the same result as from whole texts, at little more than half the work.
    """
    import torch
    from transformers import DynamicCache

    fixed = batch[0].fixed
    start = torch.tensor([batch[0].prompt[:fixed]])
    cache = DynamicCache()
    network.model(input_ids=start, past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(len(batch))
    # The last token of an answer predicts nothing.
    texts = [[*one.prompt[fixed:], *one.answer[:-1]] for one in batch]
    longest = max(map(len, texts))
    tokens = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros(len(batch), fixed + longest, dtype=torch.long)
    rows, columns, targets = [], [], []
    for row, (one, text) in enumerate(zip(batch, texts, strict=True)):
        if one.fixed != fixed or one.prompt[:fixed] != batch[0].prompt[:fixed]:
            raise RuntimeError("prompts of one skill differ in their fixed part")
        tokens[row, : len(text)] = torch.tensor(text)
        mask[row, : fixed + len(text)] = 1
        first = len(one.prompt) - fixed - 1
        rows += [row] * len(one.answer)
        columns += range(first, first + len(one.answer))
        targets += one.answer
    hidden = network.model(
        input_ids=tokens, attention_mask=mask, past_key_values=cache, use_cache=True
    ).last_hidden_state
    return hidden, (torch.tensor(rows), torch.tensor(columns)), targets


def write_adapter(factors: dict[str, Any], target: Path) -> None:
    """Write the factors as llama.cpp reads them."""
    from gguf import GGUFReader, GGUFWriter

    from hetagent.learn.tune.weights import interleaved

    fields = GGUFReader(base_model()).fields
    heads = {
        "attn_q": int(fields["llama.attention.head_count"].contents()),
        "attn_k": int(fields["llama.attention.head_count_kv"].contents()),
    }
    writer: Any = GGUFWriter(target, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name, lora in factors.items():
        down, up = (p.detach().float().numpy() for p in (lora.a, lora.b))
        if (count := heads.get(name.split(".")[2])) is not None:
            up = interleaved(up, count)
        writer.add_tensor(f"{name}.lora_a", down.copy())
        writer.add_tensor(f"{name}.lora_b", up.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_tokens(
    adapter: Path, cases: Sequence[tuple[str, str]], examples: Sequence[Example]
) -> None:
    """Compare what was trained with what is evaluated for the same utterances.

    Raises:
        RuntimeError: Some token differs.
    """
    task = intent_skill()
    labels = intents()
    with tuned(adapter).load() as model:
        decoder = model._decoder
        assert decoder is not None
        for (text, label), example in zip(cases, examples, strict=True):
            decoding = decoder.begin(task.request(text))
            step = next(decoding.answer)
            path = step.trie.paths[labels.index(label)]  # type: ignore[union-attr]
            if (decoding.prompt, path) != (example.prompt, example.answer):
                raise RuntimeError(f"the tokens of {text!r}, {label!r} are not those trained")
    print(f"the tokens of all {len(cases)} training texts are those that llama.cpp evaluates")


def check_probabilities(adapter: Path, network: Any) -> float:
    """Largest difference of any label's probability between torch and hetagent.

    Torch computes in bfloat16 and llama.cpp in Q8_0, so it is not zero; a wrong row order or scale
    would make it close to one.
    """
    import torch

    cases = random.Random(SEED).sample(clinc150()["val"], CHECKED)
    labels = intents()
    worst = 0.0
    for text, _ in cases:
        paths = tokenised([(text, label) for label in labels])
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            hidden, places, _ = answer_states(network, paths)
            logits = network.lm_head(hidden[places]).double().numpy()
        expected = label_probabilities([one.answer for one in paths], logits)
        with tuned(adapter) as model:
            given = asyncio.run(model.complete(intent_skill().request(text))).choices
        assert given is not None
        gaps = [abs(given[label] - p) for label, p in zip(labels, expected, strict=True)]
        worst = max(worst, *gaps)
    print(f"probabilities of labels differ from torch's by at most {worst:.3f}")
    return worst


def label_probabilities(paths: Sequence[tuple[int, ...]], logits: Any) -> list[float]:
    """Probability of each path among all: softmax over the tokens that go on, step by step."""
    import numpy as np

    rows = iter(logits)
    found = []
    for path in paths:
        total = 0.0
        for depth, token in enumerate(path):
            row = next(rows)
            siblings = sorted({p[depth] for p in paths if p[:depth] == path[:depth]})
            total += row[token] - np.logaddexp.reduce(row[siblings])
        found.append(float(np.exp(total)))
    return found


def evaluate(adapter: Path) -> float:
    """Share of right answers on validation utterances, which nothing was trained on."""
    cases = random.Random(SEED).sample(clinc150()["val"], EVALUATED)
    task = intent_skill()

    async def ask(model: LlamaCpp) -> list[str]:
        requests = [task.request(text) for text, _ in cases]
        return [one.text for one in await asyncio.gather(*map(model.complete, requests))]

    with tuned(adapter) as model:
        given = asyncio.run(ask(model))
    return sum(a == label for a, (_, label) in zip(given, cases, strict=True)) / len(cases)


def tuned(adapter: Path, *, threads: int | None = None) -> LlamaCpp:
    """The tuned model, on Q8_0 weights, which are faster than Q4_1 and lose nothing."""
    return LlamaCpp(requantized("Q8_0"), adapters=[adapter], threads=threads)


if __name__ == "__main__":
    main()
