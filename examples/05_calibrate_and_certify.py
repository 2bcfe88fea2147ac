"""Certify when a small model may be trusted, and run it by that. Needs hetagent[calibrate]."""

import tempfile
from pathlib import Path
from typing import Literal

from hetagent import Certified, LlamaCpp, Orchestrator, skill
from hetagent.demo.certify import bundled_parts
from hetagent.errors import StaleCertificate


@skill(
    examples=[
        ("The bill was wrong and the manager shrugged.", "negative"),
        ("Thank you, it was great.", "positive"),
        ("The pasta was overcooked and the waiter laughed.", "negative"),
        ("Please tell the cook that the pie was a joy.", "positive"),
    ]
)
def tone(message: str) -> Literal["negative", "positive"]:
    """Is this message to a restaurant positive or negative?"""


# Messages with their labels, drawn like those to come. Your own: hetagent calibrate --help
parts = bundled_parts()
labelled = [(one.text, one.labels["tone"]) for one in parts["calibrate"][:240]]

agent = Orchestrator(slm=LlamaCpp("smollm2-135m-instruct"), progress=False)
certificate = agent.calibrate(tone, labelled, max_error=0.15, confidence=0.95)
print(certificate.explain())

with tempfile.TemporaryDirectory() as folder:
    certificate.save(Path(folder) / "tone.json")
    # An LLM would answer what is not accepted: Orchestrator(slm, llm=..., policy=...).
    agent = agent.with_options(policy=Certified(Path(folder) / "tone.json"))

fresh = parts["apart"][-40:]
outcomes = agent.map(tone, [one.text for one in fresh])
for message, outcome in list(zip(fresh, outcomes, strict=True))[:4]:
    sure, least = outcome.basis.confidence[""], outcome.basis.least[""]
    what = outcome.value if outcome.served_by == "slm" else "left to an LLM"
    print(f"{what}: {sure:.2f} sure, {least:.2f} needed: {message.text}")

accepted = [i for i, outcome in enumerate(outcomes) if outcome.served_by == "slm"]
wrong = sum(outcomes[i].value != fresh[i].labels["tone"] for i in accepted)
print(f"{len(accepted)} of {len(fresh)} new messages accepted, {wrong} of them wrong")

# Another prompt gives other confidences, of which the certificate knows nothing.
try:
    changed = skill(instructions="Is the guest content?")(tone.__wrapped__)
    agent.run(changed, "It was fine.")
except StaleCertificate as error:
    print(f"refused: {error.message}")
