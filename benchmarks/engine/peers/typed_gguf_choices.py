"""typed-gguf on the libraries inside llama-cpp-python, in process; choices only.

A request of typed-gguf is a *state* and questions about it, which suits many questions about one
text. Here one question is asked about many texts, so the skill's instructions and examples are the
state, which is the same for every call and can be restored from disk (`save_state`), and the text
is the question's: 0.6 times the seconds of asking the other way round, which evaluates the
instructions anew in every call. Of its prompts (`cue`, `chat_format`) the shortest are taken.
typed-gguf writes its own prompt around both, so answers differ from the others'. It makes a
context for every decision. It has no adapters.
"""

from __future__ import annotations

import os
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import Any


def runtime() -> Path:
    """Where llama-cpp-python keeps llama.cpp's libraries, found without loading them."""
    spec = util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise RuntimeError("llama-cpp-python is not installed")
    return Path(spec.origin).parent / "lib"


os.environ["TYPED_GGUF_RUNTIME_DIR"] = str(runtime())

from typed_gguf.cli import decide_on_handle, prepare_decision  # noqa: E402
from typed_gguf.engine import session  # noqa: E402

from benchmarks.engine.peers.serve import serve  # noqa: E402

MANY = 20


class Decisions:
    """One call is one decision on the loaded handle."""

    def __init__(self, workload: dict[str, Any], options: dict[str, Any]) -> None:
        self.evaluated = 0
        self._skills = workload["skills"]
        if any(skill["adapter"] or skill["form"] != "choice" for skill in self._skills.values()):
            raise RuntimeError("typed-gguf has neither adapters nor records")
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="typed-gguf-")
        self._home = Path(self._folder.name)
        self._prepared = prepare_decision(
            self._payload(workload["calls"][0]), home=self._home, fit_enabled=False
        )
        self._handle = session.open_model(
            options["model"], home=self._home, fit_disabled=True, cpu_only=True
        )
        self._count()
        self.facts = {"version": metadata.version("typed-gguf")}

    def _count(self) -> None:
        plain = session.ModelSession.decode

        def counted(live: Any, batch: Any) -> Any:
            self.evaluated += batch.n_tokens
            return plain(live, batch)

        session.ModelSession.decode = counted

    def _payload(self, call: dict[str, Any]) -> dict[str, Any]:
        skill = self._skills[call["skill"]]
        examples = [m["content"] for m in skill["messages"][1:]]
        shown = "".join(
            f"\n\n{question}\n{answer}"
            for question, answer in zip(examples[::2], examples[1::2], strict=True)
        )
        return {
            "model": self._options["model"],
            "state": skill["instructions"] + shown,
            "questions": {
                "answer": {
                    "type": "choice",
                    "instructions": call["message"],
                    "criteria": dict.fromkeys(skill["labels"]),
                }
            },
            "options": {
                "cue": "shipped",
                "chat_format": "answer_sheet",
                "threads": self._options["threads"],
                "backend": "cuda" if self._options["gpu_layers"] else "cpu",
                "save_state": True,
                # Its own estimate, which is faster to set up, leaves no room for many branches.
                "n_ctx": self._options["context"] if len(skill["labels"]) > MANY else None,
            },
        }

    def answer(self, call: dict[str, Any]) -> str:
        body = decide_on_handle(self._prepared, self._payload(call), self._handle)
        return str(body["answers"]["answer"]["choice"])


if __name__ == "__main__":
    serve(Decisions)
