"""Calls are grouped by the task that they do, and new ones are assigned by their prompts."""

import stat
from itertools import chain

import numpy as np
import pytest

from hetagent.errors import InputError, StoreError
from hetagent.learn.cluster import Workloads
from hetagent.learn.cluster.actions import observe
from hetagent.learn.cluster.read import Call
from hetagent.learn.record import CallRecord
from tests.support import workload_calls as calls

pytest.importorskip("wordllama")
pytest.importorskip("sklearn")

PARTS = {
    "first": calls.shop(60),
    "second": calls.shop(60, wording=1, seed=1),
    "wishes": calls.routed(50, "wish", seed=2),
    "trips": calls.routed(50, "trip", seed=3),
    "orders": calls.orders(60),
    "tools": calls.tooled(60),
    "strange": calls.strange_tools(40),
    "talk": calls.talk(60),
}


@pytest.fixture(scope="module")
def found() -> Workloads:
    return Workloads.fit(list(chain(*PARTS.values())))


def homes(found: Workloads, part: list[CallRecord]) -> set[str | None]:
    return {found.assign(one) for one in part}


def test_two_wordings_of_one_task_are_one_workload(found):
    (name,) = homes(found, PARTS["first"] + PARTS["second"] + PARTS["wishes"])
    assert name is not None
    assert found[name].wordings == 3
    assert set(found[name].output.labels) == {"refund", "delivery", "complaint"}


def test_one_template_with_two_lists_of_labels_is_two_workloads(found):
    (trips,) = homes(found, PARTS["trips"])
    assert homes(found, PARTS["wishes"]).isdisjoint({trips, None})
    assert set(found[trips].output.labels) == set(calls.ROUTES)


@pytest.mark.parametrize(
    "written",
    [
        "{}",
        "```json\n{}\n```",
        "[CONTENT]\n{}\n[/CONTENT]",
        "<answer>{}</answer>\n",
        "[CONTENT]\n```\n{}\n```\n[/CONTENT]",
    ],
)
def test_json_between_marks_is_json(written):
    some = [Call("", "", answer=written.format(f'{{"tip": {number}}}')) for number in range(5)]
    output = observe(some)
    assert (output.kind, output.valid) == ("json", 1.0)
    assert output.schema["properties"] == {"tip": {"type": "integer"}}


def test_text_between_marks_that_do_not_match_is_text():
    for text in ("[CONTENT]{}[/OTHER]", "[CONTENT]{}", "<a>no json</a>"):
        assert observe([Call("", "", answer=text)] * 5).kind != "json"


def test_calls_of_the_same_tools_are_a_workload(found):
    (name,) = homes(found, PARTS["tools"])
    assert found[name].output.tools == ("find.train", "get_weather")
    assert [one["name"] for one in found[name].tools] == ["get_weather", "find.train"]


def test_calls_of_any_tool_that_is_offered_are_a_workload(found):
    (name,) = homes(found, PARTS["strange"])
    assert name not in homes(found, PARTS["tools"]) | {None}
    assert found[name].output.tools == ()
    assert homes(found, calls.strange_tools(20, seed=8)) == {name}


def test_free_chat_is_of_no_workload(found):
    assert homes(found, PARTS["talk"]) == {None}
    assert found.unassigned == len(PARTS["talk"])


def test_there_are_as_many_workloads_as_tasks(found):
    assert len(found) == 5
    assert sum(one.size for one in found) + found.unassigned == found.total


def test_a_new_call_is_assigned_by_its_prompt_alone(found):
    for part, new in (
        ("first", calls.shop(5, seed=70)),
        ("second", calls.shop(5, wording=1, seed=71)),
        ("trips", calls.routed(5, "trip", seed=72)),
        ("orders", calls.orders(5, seed=73)),
        ("tools", calls.tooled(5, seed=74)),
    ):
        (home,) = homes(found, PARTS[part])
        assert {found.assign(one.request) for one in new} == {home}
    assert homes(found, calls.talk(20, seed=75)) == {None}


def test_a_request_of_another_api_is_assigned_alike(found):
    system, user = PARTS["first"][0].request["messages"]
    request = {"system": system["content"], "messages": [user], "max_tokens": 9}
    assert {found.assign(request, form="anthropic.messages")} == homes(found, PARTS["first"])


def test_shares_tokens_and_cost_are_of_all_calls(found):
    (name,) = homes(found, PARTS["tools"])
    one = found[name]
    assert one.size == 60
    assert one.share == pytest.approx(60 / found.total)
    assert one.tokens == 60 * 110
    assert one.cost_usd == pytest.approx(0.06)
    assert sum(one.cost_share for one in found) == pytest.approx(1 - found.unassigned / found.total)


def test_inputs_are_the_slots_of_the_template(found):
    (name,) = homes(found, PARTS["trips"])
    (slot,) = found[name].inputs
    assert (slot.name, slot.type) == ("request", "str")
    assert found[name].instructions.endswith("Request: {request}")
    assert set(found[name].example.inputs) == {"request"}
    assert found[name].example.answer in calls.ROUTES


def test_what_answers_in_a_closed_form_looks_narrow(found):
    assert all(one.verdict.narrow for one in found)
    assert all(one.verdict.reasons for one in found)


def test_long_free_text_looks_open_ended():
    system = "You write the next chapter of a novel for each idea that an editor sends to you."
    some = [
        calls.record(calls.said(system, f"Idea: {one.request['messages'][-1]['content']}"),
                     " ".join(f"word{number}{place}" for place in range(120)))
        for number, one in enumerate(calls.talk(60))
    ]  # fmt: skip
    (one,) = Workloads.fit(some)
    assert one.output.kind == "text"
    assert not one.verdict.narrow
    assert "free text" in one.verdict.reasons[0]


CODE = "```python\nfrom dataclasses import dataclass\n\n\nclass {0}:\n    size: int = {1}\n```"
LETTER = (
    "Dear {0}, " + "thank you very much for your order of {1} and for your patience with us. " * 3
)


@pytest.mark.parametrize(
    ("answer", "narrow", "reason"),
    [
        ("feat({0}): count to {1}", True, "at most 4 words"),
        (CODE, True, "87% of its answers are programs"),
        (CODE + "\nx = 1" * 60, False, "at most 1"),
        (LETTER, False, "free text"),
    ],
)
def test_free_text_is_narrow_where_it_is_a_sentence_or_a_short_program(answer, narrow, reason):
    system = "You write what the project needs next, in the form that your colleagues agreed on."
    some = [
        calls.record(calls.said(system, f"Task: {wish}"), answer.format(f"Part{number}", number))
        for number, one in enumerate(calls.shop(40))
        for wish in [one.request["messages"][-1]["content"].split("Mail: ")[1]]
    ]
    # A few short answers do not make the others short.
    some += [
        one.with_(response={"choices": [{"message": {"content": f"No {number}."}}]})
        for number, one in enumerate(some[:6])
    ]
    (one,) = Workloads.fit(some)
    assert one.output.kind == "text"
    assert one.verdict.narrow is narrow
    assert any(reason in said for said in one.verdict.reasons)


def test_what_is_saved_and_loaded_assigns_the_same(found, tmp_path):
    found.save(tmp_path / "kept")
    loaded = Workloads.load(tmp_path / "kept")
    assert list(loaded) == list(found)
    assert loaded.to_dict() == found.to_dict()
    for part in PARTS.values():
        assert [loaded.assign(one) for one in part] == [found.assign(one) for one in part]
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "kept").iterdir()}
    assert modes == {0o600}


def test_what_is_not_there_or_broken_is_not_loaded(tmp_path):
    with pytest.raises(StoreError, match="cannot be read"):
        Workloads.load(tmp_path)
    (tmp_path / "workloads.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="format is 99"):
        Workloads.load(tmp_path)


def test_a_workload_that_a_call_names_is_kept():
    some = calls.shop(40, workload="mail") + calls.shop(40, wording=1, seed=5)
    few = calls.orders(3)
    found = Workloads.fit([*some, *[one.with_(workload="rare") for one in few]])
    assert {one.name for one in found} == {"mail", "rare"}
    assert found["mail"].size == 80  # the other wording is the same task
    assert found["rare"].size == 3
    assert found.assign(few[0].with_(workload="else")) == "else"


def test_calls_of_people_are_left_out_unless_asked_for():
    some = calls.shop(40, interactive=True)
    with pytest.raises(InputError, match="no calls"):
        Workloads.fit(some)
    assert len(Workloads.fit(some, interactive=True)) == 1


def test_a_task_whose_inputs_change_has_drifted():
    first = calls.shop(60, day=0)
    later = calls.routed(60, "trip", seed=4)
    system, user = calls.SHOP[0]
    changed = [
        calls.record(
            calls.said(system, user.format(one.request["messages"][-1]["content"])),
            "delivery",
            day=16,
        )
        for one in later
    ]
    (one,) = Workloads.fit(first + changed)
    before, after = one.drift
    assert (before.start, after.start) == ("2026-09-07", "2026-09-21")
    assert before.distance == 0.0
    assert after.distance > 0.3
    (same,) = Workloads.fit(first + calls.shop(60, seed=9, day=16))
    assert same.drift[1].distance < 0.1


def test_calls_that_failed_have_prompts_all_the_same():
    failed = [one.with_(response=None) for one in calls.shop(30, seed=6)]
    (one,) = Workloads.fit(calls.shop(60) + failed)
    assert one.size == 90


def test_any_function_may_embed():
    asked = []

    def embed(texts):
        asked.extend(texts)
        return np.array([[len(text), text.count("e"), 1.0] for text in texts], np.float32)

    assert len(Workloads.fit(PARTS["first"] + PARTS["orders"], embed=embed)) == 2
    assert asked


def test_two_tasks_under_one_silent_template_are_told_apart_by_what_is_asked():
    silent = "Name the right handler of the request, as you were trained to do, and nothing else."
    wishes, trips = calls.routed(80, "wish", seed=20), calls.routed(80, "trip", seed=21)
    mixed = [
        one.with_(request={"messages": calls.said(silent, one.request["messages"][1]["content"])})
        for one in (*wishes, *trips)
    ]
    other = calls.shop(80, wording=1, seed=22) + calls.routed(80, "trip", seed=23)
    found = Workloads.fit(mixed + other)
    assert len(found) == 2
    (wish,) = homes(found, calls.shop(80, wording=1, seed=22))
    right = [found.assign(one) == wish for one in mixed[:80]]
    right += [found.assign(one) not in (wish, None) for one in mixed[80:]]
    assert np.mean(right) > 0.95


def test_a_turn_of_phrase_in_free_chat_is_no_template():
    some = [
        calls.record(
            calls.said(
                "",
                f"{text} Explain it as if I were five, then as if I were an expert {text[::-1]}",
            ),
            f"{text} {number}",
        )
        for number, one in enumerate(calls.talk(60, seed=30))
        for text in [one.request["messages"][-1]["content"]]
    ]
    assert len(Workloads.fit(some)) == 0


def test_an_unknown_name_is_told_the_others(found):
    with pytest.raises(InputError, match="There is: "):
        found["nothing"]


def test_pages_that_prompts_quote_do_not_split_a_task():
    (one,) = Workloads.fit(calls.quoted(120, answers=("open", "read", "leave")))
    assert one.size == 120
    assert [slot.name for slot in one.inputs] == ["question", "page"]
    assert [slot.type for slot in one.inputs] == ["str", "str"]


def test_a_label_that_is_rare_but_named_in_the_prompt_is_a_label():
    some = calls.quoted(29, answers=("open", "read"))
    once = some[0].with_(response={"choices": [{"message": {"content": "leave"}}]})
    prompt = "Page:\n{}\n\nAllowed: open, read, leave"
    named = [
        one.with_(request={"messages": calls.said(calls.SHOP[0][0], prompt.format(number))})
        for number, one in enumerate([*some, once])
    ]
    (one,) = Workloads.fit(named)
    assert set(one.output.labels) == {"open", "read", "leave"}
    assert one.output.valid == 1.0


def test_one_wrong_answer_among_few_does_not_make_labels_text():
    some = calls.shop(15)
    wrong = some[3].with_(response={"choices": [{"message": {"content": "shipping"}}]})
    (one,) = Workloads.fit([*some[:3], wrong, *some[4:]])
    assert set(one.output.labels) == {"refund", "delivery", "complaint"}
    assert one.output.valid == pytest.approx(14 / 15)


def test_few_calls_make_a_workload_of_a_short_recording():
    some = calls.shop(9) + calls.orders(9) + calls.talk(60)
    found = Workloads.fit(some)
    assert sorted(one.size for one in found) == [9, 9]
    assert len(Workloads.fit(some, least=20)) == 0


@pytest.mark.parametrize("count", [30, 60, 120, 300])
def test_chat_is_no_workload_however_short_the_recording(count):
    assert len(Workloads.fit(calls.talk(count, seed=count))) == 0


def test_the_narrow_share_is_of_all_calls(found):
    assert found.narrow_share == pytest.approx(1 - found.unassigned / found.total)
    assert found.to_dict()["narrow_share"] == found.narrow_share


def test_what_tasks_hand_on_to_each_other_does_not_cut_across_them():
    found = Workloads.fit(calls.handed_on(30))
    assert [one.size for one in found] == [30, 30, 30]
    for place, system in enumerate(calls.HANDED_ON):
        (name,) = homes(found, calls.handed_on(30)[place::3])
        assert found[name].instructions.startswith(system)
