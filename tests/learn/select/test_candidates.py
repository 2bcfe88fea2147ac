"""Hard limits: who is let in, and what is said to who is not."""

import pytest

from hetagent import skill
from hetagent.errors import InputError, ModelFileError, UnknownModelError
from hetagent.learn.select.candidates import candidates, roomy
from hetagent.learn.select.limits import Facts, Limits
from hetagent.models.catalog import load_catalog

KNOWN = Facts(
    size_bytes=90_000_000,
    licence="Apache-2.0",
    outputs_train="yes",
    context_tokens=4096,
    languages=frozenset({"en", "de"}),
    reasoning=True,
)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(), None),
        (Limits(licences=frozenset({"apache-2.0", "MIT"})), None),
        (Limits(licences=frozenset({"MIT"})), "its licence is Apache-2.0"),
        (Limits(outputs_train=True), None),
        (Limits(context=4096), None),
        (Limits(context=4097), "its context has 4,096 tokens, 4,097 are needed"),
        (Limits(memory_bytes=90_000_000), None),
        (Limits(memory_bytes=80_000_000), "its weights alone have 90 MB"),
        (Limits(languages=frozenset({"en"})), None),
        (Limits(languages=frozenset({"en", "fr"})), "it is not said to know fr"),
        (Limits(reasoning=True), None),
    ],
)
def test_limits_hold_what_is_known(limits, why):
    assert limits.refusal(KNOWN) == why


@pytest.mark.parametrize(
    "limits",
    [
        Limits(licences=frozenset({"MIT"})),
        Limits(outputs_train=True),
        Limits(context=1),
        Limits(languages=frozenset({"en"})),
        Limits(reasoning=True),
    ],
)
def test_what_is_not_known_is_held_against_a_model(limits):
    assert limits.refusal(Facts(size_bytes=1)) is not None


def test_measured_limits():
    limits = Limits(p95_seconds=0.5, memory_bytes=10**8)
    assert limits.excess(p95_seconds=0.5, memory_bytes=None) is None
    assert limits.excess(p95_seconds=0.6, memory_bytes=1) == "p95 of 0.6 s is over the limit"
    assert "memory" in limits.excess(p95_seconds=0.1, memory_bytes=2 * 10**8)
    with pytest.raises(InputError):
        Limits(context=0)


def test_the_catalogue_is_sorted_into_those_that_may_and_those_that_may_not(
    smol_path, monkeypatch, scratch_cache
):
    entered, refused = candidates(Limits(licences=frozenset({"Apache-2.0"}), context=8000))
    assert entered == []
    why = {one.name: one.why for one in refused}
    assert why.keys() == load_catalog().keys()
    pull = "not fetched: hetagent models pull smollm2-135m-instruct"
    assert why["smollm2-135m-instruct"] == pull
    assert why["phi-2"] == "its licence is MIT"
    assert why["hymba-1.5b-instruct"].startswith("it runs only with remote code")
    monkeypatch.undo()
    entered, refused = candidates(names=["smollm2-135m-instruct", str(smol_path)])
    assert [one.reference for one in entered] == [str(smol_path), "smollm2-135m-instruct:Q4_1"]
    assert {one.path for one in entered} == {smol_path}
    assert refused == []


def test_files_of_one_s_own_tell_their_facts(tiny_path, tmp_path):
    (one,), _ = candidates(names=[str(tiny_path)])
    assert one.name == tiny_path.stem
    assert one.facts.size_bytes == tiny_path.stat().st_size
    assert one.facts.context_tokens
    assert one.facts.licence is None
    entered, (refused,) = candidates(Limits(licences=frozenset({"MIT"})), names=[str(tiny_path)])
    assert (entered, refused.why) == ([], "its licence is not known")
    with pytest.raises(UnknownModelError):
        candidates(names=["smollm3-nonesuch"])
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 40)
    with pytest.raises(ModelFileError):
        candidates(names=[str(broken)])


def test_the_context_is_as_long_as_the_longest_prompt(tiny_path):
    @skill
    def topic(text: str) -> bool:
        """Is it about food?"""

    found, _ = candidates(names=[str(tiny_path)])
    (one,), refused = roomy(found, topic, ["soup", "bread"])
    assert (one.context, refused) == (4096, [])
    trained = one.facts.context_tokens
    entered, (refused,) = roomy(found, topic, ["soup", "soup and bread " * trained])
    assert entered == []
    assert refused.why.startswith(f"its context has {trained:,} tokens, ")
