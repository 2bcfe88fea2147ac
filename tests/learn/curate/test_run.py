"""Datasets of records: nothing leaks, the same comes again, and each removal is accounted for."""

import errno
import json
import os
import random
import tempfile
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.errors import InputError, StoreError
from hetagent.learn.curate import STEPS, curate
from hetagent.learn.curate.dataset import Dataset
from hetagent.learn.curate.recipe import Balance, Near, Recipe, Split
from hetagent.learn.curate.words import Shingles, words_of
from tests.support.calls import BEGIN, SEARCH, call, prose

TOOLS = {"tools": [SEARCH]}


def made(records, recipe=None, *, to=None, **options):
    """The dataset and its examples; its folder is gone unless it is named."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = curate(records, recipe, to=to or Path(folder) / "set", **options)
        return dataset, list(dataset.examples())


def asked(example):
    return example.messages[-1]["content"]


@st.composite
def logs(draw):
    """Records of few texts with small changes, in few conversations and traces."""
    ids = st.none() | st.sampled_from(["a", "b", "c", "d", "e", "f"])
    records = []
    for number in range(draw(st.integers(1, 25))):
        if records and draw(st.integers(0, 3)) == 0:
            again = draw(st.sampled_from(records))
            time = BEGIN + timedelta(minutes=draw(st.integers(0, 30)))
            records.append(again.with_(id=f"r{number:06}", time=time, trace_id=draw(ids)))
            continue
        words = prose(draw(st.integers(0, 9)), 60).split()
        for _ in range(draw(st.integers(0, 2))):
            words[draw(st.integers(0, 59))] = "changed"
        answer = draw(st.sampled_from(["yes", "no", "unknown", "x " * 50, ""]))
        records.append(
            call(
                number,
                " ".join(words),
                answer,
                minutes=draw(st.integers(0, 30)),
                request=draw(st.sampled_from([{}, TOOLS])),
                conversation_id=draw(ids),
                trace_id=draw(ids),
                trainable=draw(st.sampled_from(["trainable"] * 5 + ["unknown"])),
            )
        )
    return records


RECIPES = st.builds(
    Recipe,
    near=st.sampled_from([Near(template_least=50), None]),
    split=st.builds(
        Split,
        by=st.sampled_from(["time", "conversation"]),
        across=st.sampled_from(["earlier", "drop"]),
        validation=st.sampled_from([0.0, 0.25]),
        test=st.sampled_from([0.25, 0.4]),
    ),
    balance=st.sampled_from([Balance(), Balance(how="cap", cap=2), Balance(how="none")]),
)


@settings(max_examples=40)
@given(logs(), RECIPES)
def test_no_conversation_trace_or_likeness_is_in_two_splits(records, recipe):
    by_id = {one.id: one for one in records}
    dataset, examples = made(records, recipe)
    where = defaultdict(set)
    for one in examples:
        record = by_id[one.record]
        for kind, name in (
            ("conversation", record.conversation_id),
            ("trace", record.trace_id),
            ("unit", one.unit),
            ("group", one.group),
            ("text", asked(one)),
        ):
            if name is not None:
                where[kind, name].add(one.split)
    assert all(len(splits) == 1 for splits in where.values())
    assert dataset.counts == {
        name: sum(one.split == name for one in examples) for name in ("train", "validation", "test")
    }


@settings(max_examples=40)
@given(logs())
def test_no_near_duplicate_is_in_another_split(records):
    recipe = Recipe(near=Near(template_least=50), split=Split(validation=0.2, test=0.3))
    _, examples = made(records, recipe)
    shingles = Shingles(3)
    sets = [set(shingles(words_of(asked(one))).tolist()) for one in examples]
    for one, some in zip(examples, sets, strict=True):
        for other, others in zip(examples, sets, strict=True):
            # The estimate's standard error is 0.035 at the threshold of 0.8.
            if len(some & others) / len(some | others) >= 0.93:
                assert one.split == other.split
                assert one.group == other.group


@settings(max_examples=25)
@given(logs(), RECIPES, st.randoms(use_true_random=False))
def test_the_order_of_records_changes_nothing(records, recipe, rng):
    first, examples = made(records, recipe)
    shuffled = list(records)
    rng.shuffle(shuffled)
    second, again = made(shuffled, first.recipe)
    assert second.hash == first.hash
    assert again == examples
    assert second.report == first.report


@settings(max_examples=40)
@given(logs(), RECIPES)
def test_every_record_is_an_example_or_accounted_for(records, recipe):
    dataset, examples = made(records, recipe)
    report = dataset.report
    assert report.read == len(records)
    assert tuple(step.name for step in report.steps) == STEPS
    for before, after in zip(report.steps, report.steps[1:], strict=False):
        assert after.before == before.after
    assert report.kept == len(examples) == len(dataset)
    ids = {one.id for one in records}
    removed = {i for step in report.steps for one in step.reasons.values() for i in one.ids}
    assert removed | {one.record for one in examples} <= ids
    assert not removed & {one.record for one in examples}
    copies = sum(one.copies - 1 for one in examples)
    assert copies <= report.step("duplicates").removed


@settings(max_examples=40)
@given(logs(), st.sampled_from([Balance(), Balance(how="cap", cap=1)]))
def test_no_tool_and_abstentions_are_all_kept(records, balance):
    recipe = Recipe(near=Near(template_least=50), balance=balance)
    _, examples = made(records, recipe)
    said = {
        (one.request["messages"][-1]["content"], one.response["choices"][0]["message"]["content"],
         "tools" in one.request)
        for one in records
        if one.trainable == "trainable"
    }  # fmt: skip
    kept = {(text, a, tools) for text, a, tools in said if a == "unknown" or (a and tools)}
    found = {(asked(one), one.answer["content"], bool(one.tools)) for one in examples}
    assert kept <= found


def test_the_test_split_is_later_than_the_beginning_of_what_is_trained_on():
    records = [call(at, prose(at)) for at in range(100)]
    dataset, examples = made(records)
    assert dataset.counts == {"train": 80, "validation": 10, "test": 10}
    assert [one.record for one in examples] == [one.id for one in records]
    assert dataset.report.facts["cuts"]["test"] == 1772323200_000_000 + 90 * 60_000_000


def test_likenesses_go_to_the_earlier_split_or_are_dropped():
    text = prose(1, 60)
    records = [call(at, prose(at + 10, 60)) for at in range(40)]
    records += [call(50, f"{text} one", "1", minutes=-5), call(51, f"{text} two", "2", minutes=99)]
    _, kept = made(records)
    assert {one.record: one.split for one in kept}["r000051"] == "train"
    dataset, dropped = made(records, Recipe(split=Split(across="drop")))
    assert "r000051" not in {one.record for one in dropped}
    assert dataset.report.step("splits").removed == 1


def test_turns_of_a_conversation_without_ids_stay_together():
    records, number = [], 0
    for conversation in range(30):
        history = []
        for turn in range(6):
            text = f"{prose(conversation * 10 + turn, 15)}"
            answer = prose(5000 + conversation * 10 + turn, 15)
            records.append(call(number, text, answer, history=list(history)))
            history += [
                {"role": "user", "content": text}, {"role": "assistant", "content": answer},
            ]  # fmt: skip
            number += 1
    random.Random(0).shuffle(records)
    dataset, examples = made(records, Recipe(near=None, split=Split(by="conversation", test=0.3)))
    splits = defaultdict(set)
    for one in examples:
        splits[int(one.record[1:]) // 6].add(one.split)
    assert all(len(one) == 1 for one in splits.values())
    assert dataset.report.facts["units"] == {"count": 30, "largest": 6}
    assert all(dataset.counts.values())


def test_a_long_template_makes_no_likeness():
    system, frame = prose(1, 300), prose(2, 100)
    records = [
        call(at, f"{frame} Message: {prose(at + 10, 6)}", f"label{at % 3}", system=system)
        for at in range(200)
    ]
    dataset, _ = made(records)
    assert dataset.report.step("near-duplicates").removed == 0
    assert dataset.report.facts["units"]["largest"] == 1


def test_copies_and_likenesses_of_the_same_answer_are_removed_and_the_first_stays():
    text = prose(1, 60)
    records = [
        call(3, text), call(1, text), call(2, text), call(4, f"{text} more"),
        call(5, f"{text} more", "no"), call(6, prose(2)),
    ]  # fmt: skip
    dataset, examples = made(records, Recipe(split=Split(validation=0, test=0)))
    assert [(one.record, one.copies) for one in examples] == [
        ("r000001", 3), ("r000005", 1), ("r000006", 1),
    ]  # fmt: skip
    report = dataset.report
    assert report.step("duplicates").reasons["said before"].ids == ("r000002", "r000003")
    assert report.step("near-duplicates").reasons["same answer"].ids == ("r000004",)
    assert examples[0].group == examples[1].group == examples[0].id
    assert report.facts["near_groups"] == {"count": 1, "largest": 2}


def test_no_near_duplicate_of_no_tool_and_abstentions_is_removed():
    text, recipe = prose(1, 60), Recipe(split=Split(validation=0, test=0))
    for answer, request, left in (("yes", {}, 1), ("unknown", {}, 4), ("yes", TOOLS, 4)):
        records = [call(at, f"{text} end{at}", answer, request=request) for at in range(4)]
        dataset, _ = made(records, recipe)
        assert len(dataset) == left
        assert dataset.report.facts["units"] == {"count": 1, "largest": left}


def test_the_same_text_under_other_instructions_is_no_repeat():
    records = [call(1, prose(1), system="Translate."), call(2, prose(1), system="Summarise.")]
    _, examples = made(records, Recipe(split=Split(validation=0, test=0)))
    assert len(examples) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("eval.txt", f"{prose(7)}\nhello there\n"),
        ("eval.jsonl", json.dumps({"question": prose(7)}) + '\n"Hello, there!"\n'),
        ("eval.json", json.dumps({"test": [[prose(7), "label"], ["hello there", "label"]]})),
        ("chat.jsonl", "\n".join(
            json.dumps({"messages": [{"role": "system", "content": "Be brief. " * 9},
                                     {"role": "user", "content": text}]})
            for text in (prose(7), "hello there")
        )),
    ],
)  # fmt: skip
def test_texts_of_evaluations_are_in_no_example(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    words = prose(7).split()
    words[3] = "other"
    records = [
        call(0, prose(0), system="Be brief. " * 9),
        call(1, f"Please answer: {prose(7)} Thank you."),
        call(2, f"Please answer: {' '.join(words)}"),
        call(3, "hello there"),
        call(4, "she said hello there and went on to the next town"),
    ]
    recipe = Recipe(against=(str(tmp_path / name),), split=Split(validation=0, test=0))
    dataset, examples = made(records, recipe)
    assert [one.record for one in examples] == ["r000000", "r000004"]
    step = dataset.report.step("evaluations")
    assert step.reasons[f"in {name}"].ids == ("r000001", "r000002", "r000003")
    assert dataset.sources[0]["texts"] == 2


def test_a_file_of_evaluations_that_all_have_one_frame_does_not_take_the_frame(tmp_path):
    frame = prose(1, 60)
    texts = [f"{frame} Message: {prose(at + 10, 12)}" for at in range(60)]
    (tmp_path / "eval.txt").write_text("\n".join(texts))
    records = [call(at, f"{frame} Message: {prose(at + 50, 12)}") for at in range(20)]
    dataset, _ = made(records, Recipe(against=(str(tmp_path / "eval.txt"),)))
    assert dataset.report.step("evaluations").removed == 20  # 50 to 69 are 10 to 69's last
    records = [call(at, f"{frame} Message: {prose(at + 500, 12)}") for at in range(20)]
    dataset, _ = made(records, Recipe(against=(str(tmp_path / "eval.txt"),)))
    assert dataset.report.step("evaluations").removed == 0


def test_a_cap_thins_common_classes_of_the_training_split_alone():
    records = [call(at, prose(at), "yes" if at % 10 else "no") for at in range(300)]
    records += [call(at, prose(at), "unknown") for at in range(300, 320)]
    dataset, examples = made(records, Recipe(balance=Balance(how="cap", cap=10)))
    trained = Counter(one.class_ for one in examples if one.split == "train")
    assert trained["label:yes"] == trained["label:no"] == 10
    assert Counter(one.class_ for one in examples)["abstain"] == 20
    assert dataset.counts["test"] == dataset.counts["validation"] == 32


def test_weights_are_of_the_training_split_alone():
    records = [call(at, prose(at), "yes" if at % 10 else "no") for at in range(300)]
    _, examples = made(records)
    trained = [one for one in examples if one.split == "train"]
    assert sum(one.weight for one in trained) / len(trained) == pytest.approx(1, abs=1e-4)
    rare = {one.weight for one in trained if one.class_ == "label:no"}
    common = {one.weight for one in trained if one.class_ == "label:yes"}
    assert min(rare) / max(common) == pytest.approx(3, abs=0.1)
    assert {one.weight for one in examples if one.split != "train"} == {1.0}


def test_one_workload_can_be_taken():
    records = [call(at, prose(at), workload="a" if at % 2 else None) for at in range(10)]
    dataset, examples = made(records, Recipe(workload="a"))
    assert len(examples) == 5
    assert dataset.report.step("workload").reasons["no workload"].count == 5


def test_nothing_left_is_said_and_no_error(tmp_path):
    dataset, examples = made([call(1, "x", trainable="unknown")], to=tmp_path / "set")
    assert examples == []
    assert dataset.report.warnings == ("Nothing is left: see what was removed, and why.",)
    dataset.verify()


def test_one_time_for_all_is_warned_of():
    dataset, _ = made([call(at, prose(at), minutes=0) for at in range(50)])
    assert dataset.counts["test"] == 0
    assert any("no test split" in one for one in dataset.report.warnings)


def test_a_large_unit_is_warned_of():
    dataset, _ = made([call(at, prose(at), trace_id="same") for at in range(50)])
    assert any("One unit holds 50 of 50" in one for one in dataset.report.warnings)


def test_half_a_surrogate_pair_and_strange_ids_come_back(tmp_path):
    records = [call(1, "half \ud83d of it", "x\u2028y", id="\udc00\x00")]
    dataset, examples = made(records, to=tmp_path / "set")
    assert asked(examples[0]) == "half \ud83d of it"
    assert examples[0].record == "\udc00\x00"
    dataset.verify()


def test_a_failure_leaves_nothing_behind(tmp_path):
    def broken():
        yield call(1, "x")
        raise RuntimeError("the log ends")

    with pytest.raises(RuntimeError, match="the log ends"):
        curate(broken(), to=tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreError, match="No space left"):
        curate([call(1, "x")], to=tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_records_of_other_forms_are_removed_and_no_crash():
    dataset, _ = made([call(1, "x", form="openai.embeddings"), call(2, "x", form="telepathy")])
    assert dataset.report.step("response").reasons["not a chat"].count == 2


def test_a_folder_in_use_is_not_touched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        curate([], to=tmp_path, replace=True)
    first = curate([call(1, "x")], to=tmp_path / "set")
    with pytest.raises(InputError, match="holds a dataset"):
        curate([call(2, "y")], to=tmp_path / "set")
    second = curate([call(2, "y")], to=tmp_path / "set", replace=True)
    assert Dataset.load(tmp_path / "set").hash == second.hash != first.hash
    assert sorted(one.name for one in tmp_path.iterdir()) == ["notes.txt", "set"]


def test_a_dataset_is_as_it_was_written_and_a_change_is_seen(tmp_path):
    records = [call(at, prose(at), calls=[("search", '{"words": "a"}')], request=TOOLS)
               for at in range(20)]  # fmt: skip
    dataset = curate(records, to=tmp_path / "set", sources=[{"file": "calls.jsonl"}])
    again = Dataset.load(tmp_path / "set")
    assert again == dataset
    assert again.sources == ({"file": "calls.jsonl"},)
    assert [one.id for one in again.examples("test")] == [
        one.id for one in dataset.examples() if one.split == "test"
    ]
    again.verify()
    file = tmp_path / "set" / "train.jsonl"
    file.write_text(file.read_text().replace("tool:search", "tool:other", 1))
    with pytest.raises(InputError, match="was changed"):
        again.verify()


def test_the_hash_is_of_what_is_said_not_of_the_records_ids():
    one, _ = made([call(at, prose(at)) for at in range(20)])
    two, _ = made([call(at, prose(at), id=f"other{at:02}") for at in range(20)])
    three, _ = made([call(at, prose(at + 1)) for at in range(20)])
    assert one.hash == two.hash != three.hash


def test_the_card_says_what_it_is(tmp_path):
    records = [call(at, prose(at), "a|b", model="qwen2.5-1.5b-instruct") for at in range(20)]
    records += [call(99, "x", trainable="unknown")]
    dataset = curate(records, to=tmp_path / "set", sources=[{"file": "calls.jsonl"}])
    card = (tmp_path / "set" / "card.md").read_text()
    assert dataset.hash in card
    assert "trainable: unknown: 1" in card
    assert "label:a\\|b" in card
    assert "Apache-2.0" in card
    assert "Latin 20" in card
    assert "Made with: file calls.jsonl." in card


@pytest.mark.parametrize("content", [None, "{", "[]", '{"format": 99}', '{"format": 1}'])
def test_what_is_no_dataset_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InputError, match="dataset"):
        Dataset.load(tmp_path)
