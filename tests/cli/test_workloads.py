"""`hetagent workloads`: lists, shows, keeps and exports what records repeat."""

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hetagent.cli.app import app
from hetagent.errors import InputError, StoreError
from hetagent.learn.cluster import Workloads
from hetagent.learn.cluster.names import by_model
from hetagent.learn.store import Reader, Store
from hetagent.models.scripted import Answer, Scripted
from hetagent.report.markup import rendered
from hetagent.report.workloads import workloads_section
from tests.support import workload_calls as calls

pytest.importorskip("wordllama")
pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("records") / "calls.jsonl"
    some = calls.shop(40) + calls.shop(40, seed=3, day=20) + calls.orders(50) + calls.talk(30)
    path.write_text("\n".join(one.to_json() for one in some) + "\n\n", encoding="utf-8")
    return path


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(app, ["workloads", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_names_each_workload_and_what_is_of_none(records):
    text = run("--records", records)
    assert "3 labels" in text
    assert "JSON" in text
    assert "30 of 160 calls (18.8%) are of none." in text
    assert "81.2% of them all are of workloads that look narrow." in text


def test_json_has_the_same(records, tmp_path):
    data = json.loads(run("--records", records, "--save", tmp_path / "kept", "--json"))
    assert [one["size"] for one in data["workloads"]] == [80, 50]
    assert data["unassigned"] == 30
    assert json.loads(run("--saved", tmp_path / "kept", "--json")) == data
    name = data["workloads"][1]["name"]
    shown = json.loads(run("show", name, "--saved", tmp_path / "kept", "--json"))
    assert shown == data["workloads"][1]


def test_one_is_shown_with_its_reasons_inputs_and_example(records, tmp_path):
    data = json.loads(run("--records", records, "--save", tmp_path / "kept", "--json"))
    text = run("show", data["workloads"][0]["name"], "--saved", tmp_path / "kept")
    assert "narrow and repetitive" in text
    assert "household goods" in text
    assert "mail: str" in text
    assert "2026-09-21" in text


def test_a_file_is_exported_that_imports(records, tmp_path, monkeypatch):
    data = json.loads(run("--records", records, "--save", tmp_path / "kept", "--json"))
    name = data["workloads"][0]["name"]
    target = tmp_path / "exported_by_command.py"
    assert "Wrote" in run("export", name, "--saved", tmp_path / "kept", "--out", target)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "exported_by_command", raising=False)
    module = __import__("exported_by_command")
    function = getattr(module, name.replace("-", "_"))
    assert function.parameters == ("mail",)
    assert run("export", name, "--saved", tmp_path / "kept", "--out", "-") == target.read_text()


def test_records_and_saved_workloads_are_not_both_taken():
    with pytest.raises(InputError, match="--saved"):
        run("--records", "x", "--saved", "y")


def test_a_line_that_is_no_record_is_named(tmp_path):
    path = tmp_path / "calls.jsonl"
    path.write_text(calls.shop(1)[0].to_json() + "\n{}\n")
    with pytest.raises(InputError, match=r"Line 2 of .*calls\.jsonl"):
        run("--records", path)
    path.write_text("no json\n")
    with pytest.raises(InputError, match="no format that is known"):
        run("--records", path)
    with pytest.raises(InputError, match="cannot be read"):
        run("--records", tmp_path / "nothing.jsonl")


def test_a_model_names_workloads_on_request():
    model = Scripted(Answer("sort mail"))
    (one,) = Workloads.fit(calls.shop(30), namer=by_model(model))
    assert one.name == "sort-mail"
    assert "household goods" in model.requests[0].messages[-1].content
    first, second = Workloads.fit(calls.shop(30) + calls.orders(30), namer=by_model(model))
    assert {first.name, second.name} == {"sort-mail", "sort-mail-2"}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)


def test_the_reports_section_has_pictures_and_escapes_what_calls_say(records):
    evil = [
        {"role": "user", "content": f"<script>alert({number})</script>"} for number in range(30)
    ]
    hostile = [calls.record([*calls.said(*calls.SHOP[0]), one], "refund") for one in evil]
    some = calls.shop(40) + calls.shop(40, seed=3, day=20) + calls.orders(50) + hostile
    found = Workloads.fit(some)
    html = rendered(workloads_section(found))
    tags = Tags()
    tags.feed(html)
    assert tags.seen.count("svg") > 3
    assert "script" not in tags.seen
    assert "How far inputs have moved" in html
    assert all(one.name in html for one in found)


def test_the_page_has_the_section_too(records, tmp_path):
    run("--records", records, "--save", tmp_path / "kept")
    words = ["report", "--workloads", str(tmp_path / "kept"), "--out", str(tmp_path / "page.html")]
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["workloads"]["total"] == 160
    assert "How calls divide" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HETAGENT_RECORDS", str(tmp_path / "records.db"))
    monkeypatch.setenv("HETAGENT_KEYS", str(tmp_path / "keys"))
    with Store() as opened:
        opened.append(calls.shop(40) + calls.orders(30) + calls.talk(10))
        opened.append([one.with_(trainable="no-train", interactive=True) for one in calls.talk(4)])
        opened.append([one.with_(trainable="no-train") for one in calls.talk(3, seed=5)])
    return tmp_path / "records.db"


def summary() -> dict[str | None, int]:
    with Reader() as reader:
        return {one.name: one.calls for one in reader.totals()}


def test_without_records_the_default_store_is_searched_and_told(store):
    text = run()
    assert "13 of 83 calls (15.7%) are of none." in text
    assert "Left out: 4 calls in which a person talks with the model (--interactive)." in text
    assert "3 answers may not train a model; of 80 answers it is not known" in text
    known = summary()
    assert sorted(known.values()) == [17, 30, 40]
    name = next(one for one, count in known.items() if count == 30)
    assert json.loads(run("show", name, "--json"))["size"] == 30
    assert "def " in run("export", name, "--out", "-")
    with Store() as opened:
        opened.append(calls.orders(5, seed=2))
    assert json.loads(run("assign", "--json")) == {
        "records": 18,
        "workloads": {name: 5},
        "unassigned": 13,
        "left_out": {"interactive": 4},
    }
    assert "13 of 13 records are of none." in run("assign", "--records", store)
    assert "35 of" in run("assign", "--again")


def test_a_dry_run_writes_nothing(store):
    before = sorted(one.name for one in store.parent.iterdir())
    assert "3 labels" in run("--dry-run")
    assert summary() == {None: 87}
    assert sorted(one.name for one in store.parent.iterdir()) == before
    with pytest.raises(StoreError, match="no workloads beside"):
        run("show", "x")


def test_a_store_and_a_log_are_searched_together_without_being_told(store, records):
    text = run("--records", store, "--records", records)
    assert "of 243 calls" in text
    assert summary() == {None: 87}


def test_the_report_has_the_stores_workloads(store, tmp_path):
    run()
    page = tmp_path / "page.html"
    for words in ([], ["--records", str(store)]):
        result = CliRunner().invoke(
            app, ["report", *words, "--out", str(page), "--json"], catch_exceptions=False
        )
        assert json.loads(result.stdout)["workloads"]["total"] == 83
    assert "How calls divide" in page.read_text(encoding="utf-8")
