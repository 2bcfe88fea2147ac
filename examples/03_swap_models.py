"""Run one skill on different models: a small one, one of your own, and a scripted one for tests."""

from typing import Literal

from hetagent import Answer, Completion, LlamaCpp, Orchestrator, Request, Scripted, skill

MESSAGES = ["My steak was burnt.", "The best meal all year!", "Nobody greeted us."]


@skill(
    examples=[
        ("What a lovely evening!", "happy"),
        ("The soup was cold.", "unhappy"),
        ("The staff were so kind.", "happy"),
        ("We waited an hour and left.", "unhappy"),
    ]
)
def mood(message: str) -> Literal["happy", "unhappy"]:
    """Decide how the guest feels."""


class WordList:
    """A model of your own: anything with a name that completes a request."""

    name = "word-list"

    async def complete(self, request: Request) -> Completion:
        """Look for words that unhappy guests use."""
        message = request.messages[-1].content.lower()
        bad = any(word in message for word in ("burnt", "cold", "rude", "waited"))
        return Completion("unhappy" if bad else "happy", model=self.name)


# The skill itself stays as it is; `using` gives the same skill on another model. Other weights are
# LlamaCpp("path/to/model.gguf") or any name of `hetagent models list`.
candidates = [
    mood.using(LlamaCpp("smollm2-135m-instruct")),
    mood.using(WordList()),
    mood.using(Scripted([Answer("happy", confidence=0.9)] * len(MESSAGES), name="always-happy")),
]
agent = Orchestrator(policy=0.0)  # each skill brings its own model; accept every answer

outcomes = [agent.map(candidate, MESSAGES) for candidate in candidates]
print(f"{'':<25}" + "".join(f"{one[0].calls[0].model:<24}" for one in outcomes))
for row, message in enumerate(MESSAGES):
    print(f"{message:<25}", end="")
    for one in outcomes:
        sure = one[row].confidence
        shown = "no confidence" if sure is None else f"{sure:.2f}"
        print(f"{f'{one[row].value}, {shown}':<24}", end="")
    print()
