"""Ask a small model first, and an LLM only where the small one is not sure enough."""

from pydantic import BaseModel, Field

from hetagent import LlamaCpp, Orchestrator, Threshold, skill


class Order(BaseModel):
    """What a guest ordered."""

    item: str = Field(max_length=30, description="what is ordered")
    quantity: int = Field(ge=1, le=99, description="how many")
    table: int | None = Field(ge=1, le=40, description="the table's number; null if not said")


@skill(
    examples=[
        ("3 coffees for table 5", Order(item="coffee", quantity=3, table=5)),
        ("Could I get two lemonades?", Order(item="lemonade", quantity=2, table=None)),
        ("One pizza to table 12", Order(item="pizza", quantity=1, table=12)),
    ]
)
def order(message: str) -> Order:
    """Copy out what is ordered."""


@skill(examples=[("The soup was cold.", True), ("The staff were so kind.", False)])
def unhappy(message: str) -> bool:
    """Decide whether the guest is unhappy."""


agent = Orchestrator(
    slm=LlamaCpp("smollm2-135m-instruct"),
    # A second local model, 1.1 GB, fetched at the first run. A hosted one instead needs its key
    # in the environment (OPENAI_API_KEY): llm=LiteLLM("openai/gpt-5-mini")
    llm=LlamaCpp("qwen2.5-coder-1.5b-instruct"),
    policy=Threshold(0.8, skills={"order": {"item": 0.6, "quantity": 0.8, "table": 0.8}}),
    escalate="fields",
)

runs = [
    (order, "4 teas for table 9"),
    (order, "Two beers please"),
    (unhappy, "My steak was burnt and nobody apologised."),
]
for skill_, message in runs:
    outcome = agent.run(skill_, message)
    print(f"{message}\n  {outcome.value!r} by {outcome.served_by}, {outcome.reason or 'accepted'}")
    if outcome.draft is not None:
        print(f"  the small model said {outcome.draft.text}, {outcome.draft.confidence:.2f}")
    for path, field in outcome.fields.items():
        # A hosted LLM reports no probabilities: its fields have the confidence None.
        sure = "  - " if field.confidence is None else f"{field.confidence:.2f}"
        print(f"  {path:<9} {field.value!r:<8} {sure} by {field.served_by}")
    cost = "unknown" if outcome.cost_usd is None else f"${outcome.cost_usd:.4f}"
    seconds = {stage: round(s, 2) for stage, s in outcome.latency.items() if "." not in stage}
    print(f"  cost {cost}, seconds {seconds}")
