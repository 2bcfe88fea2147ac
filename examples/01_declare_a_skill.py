"""Declare two skills, run them on a small model on this machine, and see how sure it is."""

from typing import Literal

from pydantic import BaseModel, Field

from hetagent import LlamaCpp, Orchestrator, skill


class Order(BaseModel):
    """What a guest ordered."""

    item: str = Field(max_length=30, description="what is ordered")
    quantity: int = Field(ge=1, le=99, description="how many")
    table: int | None = Field(ge=1, le=40, description="the table's number; null if not said")


# A skill is a function without a body: the docstring tells the model what to do, the parameters are
# the inputs, and the return type is all that it can answer.
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


@skill(
    examples=[
        ("3 coffees for table 5", Order(item="coffee", quantity=3, table=5)),
        ("Could I get two lemonades?", Order(item="lemonade", quantity=2, table=None)),
        ("One pizza to table 12", Order(item="pizza", quantity=1, table=12)),
    ]
)
def order(message: str) -> Order:
    """Copy out what is ordered."""


if __name__ == "__main__":
    # Threshold 0: whatever the model says is accepted, so that we see all of its answers.
    agent = Orchestrator(slm=LlamaCpp("smollm2-135m-instruct"), policy=0.0)

    for message in ("My steak was burnt and nobody apologised.", "The best meal all year!"):
        outcome = agent.run(mood, message)
        print(f"{message}\n  {outcome.value}, confidence {outcome.confidence:.2f}")
        print("  all labels:", {k: round(p, 2) for k, p in (outcome.choices or {}).items()})

    for message in ("4 teas for table 9", "Two beers please"):
        found = agent.run(order, message)
        print(f"{message}\n  {found.value!r}, confidence {found.confidence:.2f}")
        for path, field in found.fields.items():
            print(f"  {path:<9} {field.value!r:<8} {field.confidence:.2f}")
