"""Stages are done once for what they follow from, whatever happens in between."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.errors import InputError
from hetagent.learn.convert.stages import Stages


def writer(counts, *, text="x"):
    def make(folder):
        counts.append(folder.name)
        (folder / "made.txt").write_text(text)
        return {"length": len(text)}

    return make


def test_a_stage_is_done_once(tmp_path):
    counts = []
    first = Stages(tmp_path).run("one", writer(counts), of=[1])
    again = Stages(tmp_path).run("one", writer(counts), of=[1])
    assert counts == ["one"]
    assert (first.again, again.again) == (False, True)
    assert again.hash == first.hash
    assert again.result == {"length": 1}


def test_it_is_done_anew_where_it_follows_from_something_else(tmp_path):
    counts = []
    Stages(tmp_path).run("one", writer(counts), of=[1])
    (tmp_path / "one" / "left.txt").write_text("over")
    other = Stages(tmp_path).run("one", writer(counts, text="yy"), of=[2])
    assert counts == ["one", "one"]
    assert set(other.files) == {"made.txt"}


@pytest.mark.parametrize("damage", ["cut", "gone", "more", "note"])
def test_what_was_damaged_is_done_again(tmp_path, damage):
    counts = []
    first = Stages(tmp_path).run("one", writer(counts, text="whole"), of=[1])
    made = tmp_path / "one" / "made.txt"
    match damage:
        case "cut":
            made.write_text("who")
        case "gone":
            made.unlink()
        case "more":
            (tmp_path / "one" / "more.txt").write_text("?")
        case "note":
            (tmp_path / "one" / "done.json").write_text('{"of": "')
    again = Stages(tmp_path).run("one", writer(counts, text="whole"), of=[1])
    assert not again.again
    assert again.files["made.txt"] == first.files["made.txt"]


def test_an_interrupted_stage_goes_on_in_its_folder(tmp_path):
    def stop(folder):
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path).run("one", stop, of=[1])

    def go_on(folder):
        found = (folder / "checkpoint").read_text()
        (folder / "checkpoint").unlink()
        return {"found": found}

    assert Stages(tmp_path).run("one", go_on, of=[1]).result == {"found": "half"}


def test_an_interrupted_stage_of_something_else_begins_anew(tmp_path):
    def stop(folder):
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path).run("one", stop, of=[1])
    found = Stages(tmp_path).run("one", lambda folder: {"left": len([*folder.iterdir()])}, of=[2])
    assert found.result == {"left": 1}  # the note of what it follows from


def test_one_process_at_a_time(tmp_path):
    other = Stages(tmp_path)
    with (
        Stages(tmp_path).alone(),
        pytest.raises(InputError, match="Another process"),
        other.alone(),
    ):
        pass
    with Stages(tmp_path).alone():
        pass


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                    max_leaves=8))  # fmt: skip
def test_a_first_run_and_a_later_one_have_the_same(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("stages")
    first = Stages(folder).run("one", lambda _: {"data": data}, of=data)
    again = Stages(folder).run("one", lambda _: {}, of=json.loads(json.dumps(data)))
    assert again.again
    assert first.hash == again.hash
