"""Recognisers tell what is private from what looks like it; nothing is fetched from the network."""

import subprocess
import sys

import pytest

from hetagent import Answer, Scripted
from hetagent.errors import ConnectError
from hetagent.learn.redact.finder import Finder, chunks
from hetagent.learn.redact.found import DEFAULT_KINDS, Found, settle
from hetagent.learn.redact.presidio import Presidio, spacy_model
from hetagent.learn.redact.skill import SkillFinder

FINDER = Finder(DEFAULT_KINDS)


def found(text, **more):
    return [(one.kind, text[one.start : one.end]) for one in FINDER.find(text, **more)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"password": "hunter2go"}', "hunter2go"),
        ("PGPASSWORD=s3cr3tWord psql", "s3cr3tWord"),
        ("the admin password is Winter-2024!", "Winter-2024!"),
        ("postgres://app:p4ss@db/x", "p4ss"),
        ("Authorization: Bearer abcDEF123456ghiJKL789", "abcDEF123456ghiJKL789"),
    ],
)
def test_secrets_are_found_by_what_stands_before_them(text, value):
    assert found(text) == [("secret", value)]


@pytest.mark.parametrize(
    "text",
    [
        "password = getpass.getpass()",
        "password: str",
        "the password is wrong",
        "token = tokens[0]",
        "api_key=os.environ['KEY']",
        "secret: ${SECRET}",
        "password=<your password>",
        "max_tokens: 4096",
        "The key is to listen.",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "2024-06-03 10:11:12",
        "192.168.1.4 and 127.0.0.1",
        "version 1.2.3.4",
        "ssh git@github.com:a/b.git",
        "npm i left-pad@1.3.0",
        "tracking 1Z999AA10123456784",
        "See you at 10:30 on platform 4.",
        "12 Angry Men is on.",
        "San Francisco and Santa Monica",
        "+@app.route('/subtract', methods=['POST'])",
        "Attention: Provide the code as a markdown block.",
    ],
)
def test_what_only_looks_private_is_left(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("last_name", "Zquimby", "person"),
        ("ssn", "123456789", "national_id"),
        ("Telefon", "5550123", "phone"),
        ("zip", "45402", "address"),
        ("api_key", "abcd-efgh", "secret"),
    ],
)
def test_the_name_of_a_field_says_what_its_value_is(key, value, kind):
    assert found(value, key=key) == [(kind, value)]
    assert found(value) == []


def test_a_name_field_is_a_persons_where_fields_beside_it_are():
    assert found("Zquimby Aldo", key="name", siblings=["name", "phone"]) == [
        ("person", "Zquimby Aldo")
    ]
    assert found("Zquimby Lamp", key="name", siblings=["name", "sku"]) == []


def test_cells_are_known_by_the_head_of_their_column():
    text = "sku,last_name,qty\nA1,Zquimby,3\nA2,Brumm,4\n\nA3,Lamp,5"
    assert found(text) == [("person", "Zquimby"), ("person", "Brumm")]


def test_a_table_is_read_to_its_end():
    rows = [f"{at},Zquimby{'abcdefghij'[at % 10]},lamp" for at in range(900)]
    text = "\n".join(["id,last_name,item", *rows])
    assert [value for _, value in found(text)] == [row.split(",")[1] for row in rows]


@pytest.mark.parametrize(
    "part",
    ["Aa-", "Aa ", "rue de la ", "A", "1 ", "a_", "a.", "@a", "+1 ", "O'", "password ", "AB12", '"',
     "a: b ", "my name is ", "eyJa.", "-", "for Aa ", "http://:", "\\"],
)  # fmt: skip
def test_a_text_that_repeats_itself_is_read_in_time_that_grows_with_it(part):
    # A recogniser that tries all ways to read it would not end within the age of the world.
    FINDER.find(f"1 rue {part * (6000 // len(part))}!")


def test_texts_are_remembered_by_a_keyed_hash_and_forgotten_in_time():
    finder = Finder(DEFAULT_KINDS, most_cached=10)
    for at in range(30):
        finder.find(f"I am Maria Keller {at}")
    assert len(finder._seen) == 10
    assert not any(b"Maria" in key for key in finder._seen)
    assert all(isinstance(one, Found) for some in finder._seen.values() for one in some)


def test_a_text_is_cut_where_a_line_ends_and_nothing_is_left_out():
    text = "\n".join(f"{at} words in a line" for at in range(1000))
    parts = list(chunks(text, longest=300))
    assert "".join(part for _, part in parts) == text
    assert all(part.endswith("\n") for _, part in parts[:-1])
    assert all(text[start : start + len(part)] == part for start, part in parts)
    whole = "x" * 1000
    covered = {
        at for start, part in chunks(whole, longest=300) for at in range(start, start + len(part))
    }
    assert covered == set(range(1000))


def test_of_finds_that_overlap_the_stronger_counts_and_the_rest_of_a_name_is_kept():
    text = "Maria Keller maria@web.de"
    some = [Found(0, 25, "person"), Found(13, 25, "email")]
    assert [(one.kind, text[one.start : one.end]) for one in settle(some, text)] == [
        ("person", "Maria Keller"),
        ("email", "maria@web.de"),
    ]


def test_presidio_works_without_a_model_and_adds_what_it_knows():
    presidio = Presidio(names=False)
    text = "The Thai id is 1-1014-00145-50-9 and the mail is a.b@corp.co.uk."
    kinds = {one.kind for one in presidio.find(text)}
    assert "email" in kinds
    assert not presidio.names


@pytest.mark.skipif(spacy_model() is None, reason="spaCy's English model is not here")
def test_the_model_finds_names_that_no_list_has():
    presidio = Presidio(names=True)
    text = "Yesterday Quillon Brathwaite-Osei bought a lamp from the Dyson shop."
    names = [text[one.start : one.end] for one in presidio.find(text) if one.kind == "person"]
    assert "Quillon Brathwaite-Osei" in names


@pytest.mark.skipif(spacy_model() is None, reason="spaCy's English model is not here")
@pytest.mark.parametrize(
    "text",
    [
        "- Original Requirements: <class 'str'>  # Place the original user's requirements here.",
        "Format: output wrapped inside [CONTENT] like format example, nothing else.",
        "# Context\n## Legacy Code\n```Code\n```\n\n## Debug logs\n```text\n```\n",
        "Write NoOne if there are no errors, Engineer or QaEngineer otherwise.",
        '<script src="https://cdn.jsdelivr.net/npm/vue@2.6.14/dist/vue.js"></script>',
        "        Quicken the pace of the build, and quicken the tests.",
        "    def __init__(self, bill_amount: Decimal, tip_percentage: Decimal):",
    ],
)
def test_words_of_prompts_about_code_are_no_names(text):
    assert [text[one.start : one.end] for one in Presidio(names=True).find(text)] == []


@pytest.mark.skipif(spacy_model() is None, reason="spaCy's English model is not here")
def test_names_that_look_like_a_class_or_stand_before_a_verb_are_still_found():
    text = "Yesterday McGonagall told us that Zielinski called, and the meeting with Alice is off."
    names = {text[one.start : one.end] for one in Presidio(names=True).find(text)}
    assert {"McGonagall", "Zielinski", "Alice"} <= names


def test_of_what_a_model_says_only_what_the_text_has_is_used():
    said = [
        {"kind": "person", "text": "bluebell"},
        {"kind": "person", "text": "Rosemary"},
        {"kind": "address", "text": "the mill"},
    ]
    finder = SkillFinder(Scripted(Answer({"found": said})))
    text = "bluebell is at the mill; ask bluebell"
    some = [(one.kind, text[one.start : one.end], one.by) for one in finder.find(text)]
    assert some == [
        ("person", "bluebell", "skill"),
        ("person", "bluebell", "skill"),
        ("address", "the mill", "skill"),
    ]


def test_where_a_model_fails_the_other_recognisers_are_alone():
    finder = SkillFinder(Scripted(Answer(error=ConnectError("It is down."))))
    assert list(finder.find("tell bluebell")) == []
    assert finder.failures == 1


def test_nothing_is_fetched_and_nothing_is_written():
    code = """
import socket, pathlib, sys
def refuse(*_, **__): raise AssertionError("the network is asked")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from hetagent.learn.redact import Redactor
text = "mail a.b@corp.co.uk, call +44 20 7946 0958, card 4539125638231297"
out = Redactor(names=False).redact(text)
assert "corp.co.uk" not in out, out
print("ok")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "ok", done.stderr


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("my pin is 4471", "secret", "4471"),
        ("exp 09/27, cvv 318", "secret", "318"),
        ('say {"cvc": "318"}', "secret", "318"),
        ("lol my pw is still Rain-77-drop", "secret", "Rain-77-drop"),
        ("the admin password's Rain-77-drop", "secret", "Rain-77-drop"),
        ("the wifi is CAFE and the key is rain-77-drop", "secret", "rain-77-drop"),
        ("my licence no. is B1234 56789 01234", "national_id", "B1234 56789 01234"),
        ("NIF 193809621", "national_id", "193809621"),
        ("E-2207,411-16-2227,2019-04-01", "national_id", "411-16-2227"),
        ("ask him on 98632-64619", "phone", "98632-64619"),
        ("ul. Kwiatowa 12 m. 5", "address", "ul. Kwiatowa 12 m. 5"),
        ("A,22/1 MG Road,B", "address", "22/1 MG Road"),
        ("no match for Guðrún Sigurðardóttir", "person", "Guðrún Sigurðardóttir"),
        ("Nguyễn Thị Khai's assistant called", "person", "Nguyễn Thị Khai"),
        ("we're the Papadimitriou party", "person", "Papadimitriou"),
        ("Paid today. Kind regards, Sjoerd van der Ploeg", "person", "Sjoerd van der Ploeg"),
        ("# TODO(Wojtek): rotate", "person", "Wojtek"),
        ("Is 王秀英 in today?", "person", "王秀英"),
        ("sandeep said no", "person", "sandeep"),
        ("Amrapali Ghoshal,x,+91 94966 25378", "person", "Amrapali Ghoshal"),
        ("According to Rukmini Das, the vendor's CFO, no", "person", "Rukmini Das"),
    ],
)
def test_forms_of_tickets_tables_and_chats_are_found(text, kind, value):
    assert (kind, value) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "connect pin 12 to ground",
        "spin 4471 times",
        "we're the Christmas party",
        "a thermostat from the Green party",
        "the key is important",
        "Is 确认 in the menu?",
        "TODO(4471): rotate",
        "Kind regards to all",
        "Red Shoes,14,3.95",
        "Population 1,200 People Street fair",
    ],
)
def test_what_only_has_their_form_is_left(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("smtp_pass", "Rain-77-drop"),
        ("dbPwd", "Rain-77-drop"),
        ("cvc", "318"),
        ("card_pin", "4471"),
    ],
)
def test_a_field_that_ends_in_a_word_for_secrets_has_one(key, value):
    assert found(value, key=key) == [("secret", value)]
    assert found("blue", key="compass") == []
