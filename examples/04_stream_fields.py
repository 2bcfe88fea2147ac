"""See each field as soon as it is written; the LLM is asked for weak ones meanwhile."""

import time

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


slm = LlamaCpp("smollm2-135m-instruct").load()
# A second local model, 1.1 GB, fetched at the first run. A hosted one instead needs its key
# in the environment (OPENAI_API_KEY): llm=LiteLLM("openai/gpt-5-mini")
llm = LlamaCpp("qwen2.5-coder-1.5b-instruct").load()
agent = Orchestrator(
    slm=slm,
    llm=llm,
    policy=Threshold(0.8, skills={"order": {"item": 0.6, "quantity": 0.8, "table": 0.8}}),
    escalate="fields",
)

for message in ("4 teas for table 9", "Two beers please"):
    print(message)
    began = time.perf_counter()
    with agent.stream(order, message) as answer:
        for path, field in answer:
            seconds = time.perf_counter() - began
            # A hosted LLM reports no probabilities: its fields have the confidence None.
            sure = "  - " if field.confidence is None else f"{field.confidence:.2f}"
            print(f"  {seconds:5.2f} s  {path:<9} {field.value!r:<8} {sure} by {field.served_by}")
    print(f"  {answer.outcome.value!r} by {answer.outcome.served_by}")
