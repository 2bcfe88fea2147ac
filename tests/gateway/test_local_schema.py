"""A local model's answers fit the schema that was asked for, or the schema is refused."""

import json

import pytest
from jsonschema import Draft202012Validator

from hetagent.gateway.apis import Refusal
from hetagent.gateway.local import LocalUpstream
from hetagent.gateway.local_schema import MOST_VALUES, json_type
from tests.support.gateways import served


def record(**properties) -> dict:
    names = list(properties)
    return {"type": "object", "properties": properties, "required": names}


SMALL = {"type": "integer", "minimum": 0, "maximum": 9}
FLAG = {"type": "boolean"}

KEPT = {
    "several types": record(a={"type": ["integer", "null"], "minimum": 0, "maximum": 9}),
    "several types of an enumeration": record(a={"type": ["string", "null"], "enum": ["x", None]}),
    "an enumeration with a type": record(a={"type": "string", "enum": ["x", 7, True]}),
    "definitions of draft 7": {
        **record(a={"$ref": "#/definitions/A"}),
        "definitions": {"A": SMALL},
    },
    "a reference with a description": {
        **record(a={"$ref": "#/$defs/A", "description": "how many"}),
        "$defs": {"A": SMALL},
    },
    "recursion": {
        "$ref": "#/$defs/N",
        "$defs": {"N": record(v=FLAG, n={"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]})},
    },
    "one of allOf": record(a={"allOf": [SMALL], "title": "A"}),
    "one of several": record(a={"oneOf": [FLAG, {"type": "null"}]}),
    "properties that may be more": {**record(a=FLAG), "additionalProperties": True},
    "properties that may be of a type": {**record(a=FLAG), "additionalProperties": SMALL},
    "a bounded number of properties": {**record(a=FLAG), "minProperties": 1, "maxProperties": 1},
    "a format that is not known": record(a={"type": "string", "format": "x", "maxLength": 4}),
    "a format of numbers": record(a={**SMALL, "format": "int32"}),
    "a list": {"type": "array", "items": SMALL, "minItems": 2, "maxItems": 3},
    "a tuple": {"type": "array", "prefixItems": [FLAG, SMALL], "minItems": 2},
    "a constant": record(a={"const": "x"}, b={"const": 7}),
    "a number": {"type": "number", "minimum": 0, "maximum": 1},
    "a pattern": record(a={"type": "string", "pattern": "^[ab]{2}$"}),
}

REFUSED = {
    "all of several": record(a={"allOf": [SMALL, {"minimum": 3}]}),
    "more beside a choice": {**record(a=FLAG), "anyOf": [{"required": ["a"]}]},
    "more beside a reference": {
        **record(a={"$ref": "#/$defs/A", "minimum": 3}),
        "$defs": {"A": SMALL},
    },
    "not": record(a={**SMALL, "not": {"const": 3}}),
    "if": {**record(a=FLAG), "if": record(a=FLAG), "then": {"minProperties": 2}},
    "names by a pattern": {**record(a=FLAG), "patternProperties": {"^x": FLAG}},
    "something in a list": {"type": "array", "items": SMALL, "contains": {"const": 3}},
    "items that differ": {"type": "array", "items": SMALL, "uniqueItems": True},
    "required and not described": {"type": "object", "properties": {"a": FLAG}, "required": ["b"]},
    "more properties than named": {**record(a=FLAG), "minProperties": 2},
    "any object": {"type": "object", "additionalProperties": True},
    "anything": record(a={}),
    "anything by true": record(a=True),
    "a reference to another place": record(a={"$ref": "#/properties/b"}, b=FLAG),
    "a reference to the network": record(a={"$ref": "http://127.0.0.1:9/schema"}),
    "a reference to nothing": record(a={"$ref": "#/$defs/none"}),
    "look-ahead": record(a={"type": "string", "pattern": "^(?=a)b$"}),
    "nothing at all": record(a={"type": "integer", "minimum": 3, "maximum": 2}),
    "no values": record(a={"type": "string", "enum": [1, 2]}),
    "too many values": record(a={"enum": list(range(MOST_VALUES + 1))}),
    "too many parts": record(**{f"p{number}": FLAG for number in range(3000)}),
    "properties that are a list": {"type": "object", "properties": ["a"]},
    "a type that is a number": {"type": 5},
    "too deep": json.loads('{"type": "array", "items": ' * 500 + "{}" + "}" * 500),
}


@pytest.fixture(scope="module")
def gateway(tiny):
    with served(LocalUpstream(tiny, models=["local"])) as found:
        yield found


@pytest.mark.parametrize("schema", KEPT.values(), ids=KEPT.keys())
def test_an_answer_fits_the_schema_as_it_was_asked(gateway, schema):
    Draft202012Validator.check_schema(schema)
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    for number in range(3):
        body = {
            "model": "local",
            "messages": [{"role": "user", "content": f"Number {number}."}],
            "response_format": wanted,
            "max_tokens": 400,
        }
        choice = gateway.post("/v1/chat/completions", body).json()["choices"][0]
        if choice["finish_reason"] == "stop":
            Draft202012Validator(schema).validate(json.loads(choice["message"]["content"]))


@pytest.mark.parametrize("schema", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_kept_whole_is_refused(schema):
    with pytest.raises(Refusal) as caught:
        json_type(schema, where="the schema")
    assert caught.value.status == 400


def test_a_schema_that_comes_again_is_understood_once():
    schema = KEPT["several types"]
    assert json_type(schema, where="the schema") is json_type(dict(schema), where="the schema")
