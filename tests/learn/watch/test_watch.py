"""What is seen of a stream that changes, and of one that does not."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from hetagent.calibrate.audits import Audits
from hetagent.calibrate.certificate import Certificate
from hetagent.cli.app import app
from hetagent.errors import InputError
from hetagent.learn.watch import act, watch
from tests.learn.watch.conftest import ALPHA, CALLS, Shop, timed
from tests.support.bindings import added
from tests.support.workload_calls import record, said


def seen(shop: Shop, *later, **more):
    (found,) = watch([*shop.records, *later], shop.registry, **more)
    return found


def audits_of(shop: Shop, *, wrong: float, count: int = 150) -> Audits:
    """Audits of accepted answers, of which this share was wrong."""
    binding = shop.registry.binding(shop.binding)
    name = Certificate.load(shop.registry.path(binding.certificate)).id
    audits, generator = Audits(1.0), random.Random(4)
    audits.watch(name, max_error=ALPHA)
    for number in range(count):
        audits.draw(str(number), [name])
        audits.verdict(str(number), generator.random() >= wrong)
    return audits


def compare(shop: Shop, count: int, *, wrong: int, **parts) -> None:
    """Comparisons of the binding with the LLM, as shadow mode writes them."""
    folder = shop.registry.folder / "shadows"
    folder.mkdir(exist_ok=True)
    plain = {
        "skill": shop.task.name, "binding": shop.binding, "accepted": True, "served_by": "llm",
        "seconds": 0.1,
    }  # fmt: skip
    with (folder / f"{shop.binding}.jsonl").open("a") as file:
        for number in range(count):
            time = datetime(2026, 10, 1, tzinfo=UTC) + timedelta(minutes=number)
            line = {"time": time.isoformat(), "trace_id": str(number), "same": number >= wrong}
            file.write(json.dumps({**plain, **line, **parts}) + "\n")


def test_calls_as_before_ask_for_nothing(shop):
    others = [one.with_(tags={"binding": "0" * 16}) for one in shop.later(50, seed=7, asks=0)]
    found = seen(shop, *shop.later(200), *others)  # those that another binding was asked
    assert found.attention == ()
    assert (found.skill, found.binding, found.mode) == (shop.task.name, shop.binding, "live")
    assert found.share.calls == 200
    assert sum(one.calls for one in found.share.days) == 200
    assert all(one.low <= one.served / one.calls <= one.high for one in found.share.days)
    assert found.moves is not None
    assert found.moves.p_value > 0.01
    assert (found.clusters, found.new_answers) == ((), {})
    assert found.learnable.calls == 50 + 200 - found.share.served
    assert not found.learnable.recommended
    assert "Nobody audits what it serves" in found.explain()


@pytest.fixture(scope="module")
def invoiced(shop):
    """A stream with a new kind of call."""
    return shop.later(540, new=0.4)


def test_a_new_kind_of_call_is_named_and_asks_for_a_conversion(shop, invoiced):
    found = seen(shop, *invoiced)
    assert found.share.fallen
    assert found.share.served / found.share.calls < 0.7
    assert found.moves is not None
    assert found.moves.moved
    assert all("invoice" in one or "VAT" in one for one in found.moves.examples)
    (group,) = [one for one in found.clusters if "invoice" in one.answers]
    assert group.share > 0.3
    assert group.before < 0.05
    assert "invoice" in group.terms
    assert max(group.answers, key=group.answers.__getitem__) == "invoice"
    strays = sum(one.response["choices"][0]["message"]["content"] == "invoice" for one in invoiced)
    assert found.new_answers == {"invoice": strays}
    assert found.learnable.recommended
    assert "new kinds of calls" in found.explain()
    assert json.loads(json.dumps(found.to_dict()))["attention"] == list(found.attention)


def test_nothing_is_made_of_it_where_the_calls_may_not_be_learned_from(shop, invoiced):
    some = [one.with_(trainable="no-train") for one in invoiced[:150]]
    (found,) = watch(some, shop.registry)
    assert found.clusters
    assert found.learnable.calls == 0
    assert found.learnable.unusable == {"trainable: no-train": 150 - found.share.served}
    assert not found.learnable.recommended


def test_another_wording_is_seen_as_such(shop):
    since = shop.records[-1].time + timedelta(minutes=30)
    found = seen(shop, *shop.later(30), *shop.later(80, wording=1)[30:], since=since)
    assert found.reading.changed
    assert found.reading.unread == {"another wording": 50}
    assert found.reading.before == 0
    assert "It cannot be asked" in found.attention[0]
    assert found.learnable.calls >= 50  # a skill that is made anew can read them


def test_a_prompt_that_was_rewritten_beyond_recognition(shop):
    generator, labels = random.Random(5), ["refund", "delivery", "complaint"]
    system = "Classify."
    later = [
        timed(record(said(system, f"Nr. {number}"), generator.choice(labels)), CALLS + number)
        for number in range(30)
    ]
    found = seen(shop, *later)
    assert (found.reading.elsewhere, found.reading.calls) == (30, 0)
    assert found.reading.moved
    assert "may have been rewritten" in found.attention[0]


def test_audits_tell_of_errors(shop):
    (looked,) = watch([], shop.registry, audits=[audits_of(shop, wrong=0.05)])
    (fine,) = looked.verdicts
    assert (fine.source, fine.answers, fine.exceeded) == ("audits", 150, False)
    (found,) = watch([], shop.registry, audits=[audits_of(shop, wrong=0.4)])
    assert found.exceeded
    assert "should not go on serving" in found.attention[0]


def test_what_exceeds_its_bound_is_put_into_shadow(own_shop):
    shop = own_shop
    compare(shop, 80, wrong=0)
    (fine,) = watch([], shop.registry)
    assert act(shop.registry, fine) is None
    compare(shop, 80, wrong=40, same=False)
    compare(shop, 80, wrong=40, same=False, served_by="slm")  # says nothing of what is right
    compare(shop, 80, wrong=40, same=False, accepted=False)
    (found,) = watch([], shop.registry)
    (verdicts,) = found.verdicts
    assert (verdicts.source, verdicts.answers, verdicts.errors) == ("shadow", 160, 80)
    event = act(shop.registry, found)
    assert event is not None
    state = shop.registry.state(shop.task.name)
    assert (state.mode, state.live, state.trial.id) == ("shadow", None, shop.binding)
    assert "80 were wrong" in event.why
    assert act(shop.registry, found) is None  # once
    (again,) = watch([], shop.registry)
    assert again.mode == "shadow"
    assert again.share.calls == 320  # as compared
    assert act(shop.registry, again) is None


def test_the_command_says_what_needs_attention(own_shop, tmp_path):
    shop = own_shop
    log = tmp_path / "calls.jsonl"
    places = ["--records", str(log), "--registry", str(shop.registry.folder)]

    def run(records, *words, code):
        log.write_text("".join(one.to_json() + "\n" for one in [*shop.records, *records]))
        result = CliRunner().invoke(app, ["watch", *places, *words], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.stdout

    assert "Nothing has changed" in run(shop.later(60), code=0)
    state = tmp_path / "audits.json"
    state.write_text(json.dumps(audits_of(shop, wrong=0.4).to_dict()))
    printed = run([], "--audits", str(state), "--act", "--json", code=1)
    (skill,) = json.loads(printed)["skills"]
    assert skill["switched"] == "shadow"
    assert skill["verdicts"][0]["exceeded"] is True
    assert shop.registry.state(shop.task.name).mode == "shadow"


def test_what_cannot_be_watched(own_shop):
    with pytest.raises(InputError, match="Nothing was ever switched of nobody"):
        watch([], own_shop.registry, skill="nobody")
    own_shop.registry.switch("intent", binding=added(own_shop.registry))
    with pytest.raises(InputError, match="No binding of intent"):
        watch([], own_shop.registry, skill="intent")
    (found,) = watch([], own_shop.registry)
    assert found.skill == own_shop.task.name
    assert found.share.calls == 0
    assert found.attention == ()
