"""Names of people in a text, by what stands around them and by common given names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hetagent.learn.redact_found import Found
from hetagent.learn.redact_letters import LOWER, UPPER, words
from hetagent.learn.redact_lexicon import (
    AMBIGUOUS,
    GIVEN,
    NO_NAMES,
    PARTICLES,
    PLACES,
    TITLES,
)

__all__ = ["find_names", "is_name", "known_given"]

_TOKEN = (
    rf"(?:[{UPPER}](?:['’][{UPPER}])?[{LOWER}]+(?:[{UPPER}][{LOWER}]+)?"
    rf"(?:[-’'][{UPPER}][{LOWER}]+)*)"
)
_INITIAL = rf"(?:[{UPPER}]\.?(?![{LOWER}\w]))"
_PARTICLE = (
    r"(?:de|da|do|dos|das|del|della|di|du|la|le|van|von|der|den|zu|zum|bin|ibn|al|el|ter|ten)"
)
_NAME = rf"{_TOKEN}(?:[ ]+(?:{_PARTICLE}[ ]+){{0,3}}(?:{_TOKEN}|{_INITIAL})){{0,3}}"
_LONG_NAME = (
    rf"(?:{_TOKEN}|{_INITIAL})(?:[ ]+(?:{_PARTICLE}[ ]+){{0,3}}(?:{_TOKEN}|{_INITIAL})){{1,3}}"
)
_LOWER_NAME = rf"[{LOWER}]{{2,}}(?:[ ][{LOWER}'’-]{{2,}})?"

_TITLED = re.compile(
    rf"(?<![\w])(?:{TITLES})\.?[ ]+(?P<name>(?:{_PARTICLE}[ ]+){{0,3}}(?:{_INITIAL}[ ]+)*{_NAME})"
)
_GREETED = re.compile(
    rf"(?:^|[\n>\"“.!?][ ]*)(?i:dear|hi|hello|hey|hallo|liebe[r]?|bonjour|hola|ciao|car[oa]|cher|"
    rf"ch[èe]re|"
    rf"good (?:morning|afternoon|evening)|thanks(?: again)?|thank you|thx|cheers|moin|olá|hej|hei|"
    rf"sorry(?: for the delay)?|congratulations|welcome|ping|cc)(?i:,? (?:so much|all|both))?,?[ ]+"
    rf"(?P<name>{_NAME})(?=[ ]*(?:[,!.:;?\n)–-]|and\b|&|$))"
)
_TOLD = re.compile(
    rf"(?i:\b(?:my (?:full )?name(?:['’]s| is)|(?:his|her|their|the) name (?:is|was)|name on card|"
    rf"i am called|call me|named|"
    rf"je m['’]appelle|mein name ist|ich hei(?:ß|ss)e|me llamo|mi nombre es|mi chiamo|"
    rf"meu nome [ée]|"
    rf"jag heter|jeg heter|ik heet|mijn naam is|nazywam si[ęe]|a nombre de|na (?:me|am)e of|"
    rf"maiden name(?: is|:)?|booked? under|reservation under|table under|under the name(?: of)?|"
    rf"in the name of|on behalf of|signed(?: by)?[,:]?|hilsen|gru(?:ß|ss),?|grüße,?|obrigad[ao],?|"
    rf"saludos,?|merci,?|vriendelijke groet,?|pozdrawiam,?|six under|for [a-z]+ under|book under))"
    rf"[ ,:]+(?P<name>{_NAME})"
)
_SAID_SELF = re.compile(
    rf"(?i:\b(?:this is|i['’]?m|i am|it['’]s|it is|soy|sono|ich bin|je suis|here is|hier ist|ici|"
    rf"regarding|about|from|by|per|von|according to|met|with|ask|tell|told|invite[d]?|add|contact|"
    rf"remind|email|text|call|for|to|and|that|if|is|was|has|spoke to|talk to|speak to|message[d]?))"
    rf"[ ,:]+(?P<name>{_NAME})"
)
_LOWER_TOLD = re.compile(
    rf"(?i:\b(?:my (?:full )?name(?:['’]s| is)|this is|i['’]?m|i am|it['’]s|call me|tell|ask|"
    rf"spoke to|talked to|met|with|from|dear|hi|hello|hey))[ ,:]+(?P<name>{_LOWER_NAME})"
)
_SIGNED = re.compile(
    rf"(?i:(?:^|\n)[ \t>]*(?:(?:(?:with )?(?:kind|best|warm|many)(?:est)? )?(?:regards|wishes)|"
    rf"best|"
    rf"sincerely(?: yours)?|yours(?: \w+)?|thanks(?: (?:again|a lot|in advance))?|thank you|cheers|"
    rf"love|take care|mit freundlichen gr[üu](?:ß|ss)en|(?:viele |liebe |beste )?gr[üu](?:ß|ss)e?|"
    rf"cordialement|saludos(?: cordiales)?|atentamente|cordiali saluti|met vriendelijke groet|"
    rf"med vennlig hilsen|hilsen|abraços|pozdrawiam|signed)[,.!]?[ \t]*\n+[ \t>–-]*)"
    rf"(?P<name>{_NAME})(?=[ \t]*(?:\n|$|,|\||\())"
)
_HEADED = re.compile(
    rf"(?im:^[> \t]*(?:from|to|cc|bcc|reply-to|von|an|de|para|attn|attention|c/o)[ \t]*:[ \t]*\"?)"
    rf"(?P<name>{_NAME})"
)
_MAILED = re.compile(rf"(?P<name>{_LONG_NAME})\"?[ ]*(?:<|\(|\[)[\w.+'-]+@")
_WROTE = re.compile(
    rf"(?P<name>{_LONG_NAME})(?=(?:['’]s)?,?[ ](?i:wrote|said|says|asked|reports?|reported|"
    rf"called|speaking|"
    rf"hereby|will join|opens|reads|noted|signed|schrieb|a écrit|presented|met|joined|offered))"
)
_ROLED = re.compile(
    rf"(?i:\b(?:patient|customer|client|user|employee|tenant|applicant|driver|passenger|guest|"
    rf"student|"
    rf"candidate|beneficiary|account holder|card ?holder|recipient|sender|reporter|manager|boss|"
    rf"colleague|neighbou?r|brother|sister|mother|father|son|daughter|wife|husband|partner|friend|"
    rf"cousin|lawyer|doctor|teacher|landlord|nurse|author|signatory|witness|next of kin|attendees?|"
    rf"participants?|apologies|present|chair|owner|assignee|contact|imi[ęe]|kunde|patientin|kundin|"
    rf"bewohner|conducteur|paciente|cliente)(?:['’]?s)?(?: name)?(?: is| was|"
    rf" ist)?[*_]*)[,:;]?[*_]*[ ]*"
    rf"(?P<name>{_LONG_NAME})"
)
_LISTED = re.compile(
    rf"(?P<first>{_LONG_NAME})(?:[ ]*\([^)\n]{{1,20}}\))?"
    rf"(?:(?:,[ ]*(?:and |& )?|[ ]+(?:and|&|und|et|y)[ ]+){_LONG_NAME}(?:[ ]*\([^)\n]{{1,20}}\))?)+"
)
_ANY = re.compile(rf"(?<![\w@#/.'’-]){_NAME}(?![\w@]|\(|\.\w)")
_LONG = re.compile(_LONG_NAME)
_SENTENCE = re.compile(r"(?:^|[.!?:\n\"“(]\s*)$")
_TOWNS = frozenset(  # begin the names of towns: "San Francisco", "Fort William"
    words(
        """
    san santa são sao saint st st. los las fort port lake mount mt new buenos el hong
    """
    )
)
_STREETS = re.compile(
    r"(?i)^(?:\s|-)*(?:street|st\b|road|rd\b|avenue|ave\b|lane|square|park|station|airport|"
    r"university|"
    r"college|school|hospital|hotel|bank|island|city|county|bridge|river|tower|hall|inc\b|ltd\b|"
    r"llc|"
    r"gmbh|corp|group|partners|prize|theorem|law\b|award|model|algorithm)"
)


def find_names(text: str) -> Iterator[Found]:
    """Names in a text; one of several words is never split."""
    for form in (_TITLED, _TOLD, _SIGNED, _HEADED, _MAILED, _GREETED):
        for match in form.finditer(text):
            yield from _cleaned(text, match.start("name"), match["name"], sure=True)
    for form in (_WROTE, _ROLED):
        for match in form.finditer(text):
            yield from _cleaned(text, match.start("name"), match["name"], sure=False)
    for match in _SAID_SELF.finditer(text):
        if _likely(match["name"]):
            yield from _cleaned(text, match.start("name"), match["name"], sure=False)
    for match in _LOWER_TOLD.finditer(text):
        first, _, rest = match["name"].partition(" ")
        if first in GIVEN and (first not in AMBIGUOUS or rest) and rest not in NO_NAMES:
            yield Found(*match.span("name"), "person")
        elif first in GIVEN and first not in AMBIGUOUS:
            yield Found(match.start("name"), match.start("name") + len(first), "person")
    for match in _LISTED.finditer(text):
        names = list(_LONG.finditer(match[0]))
        if any(_likely(name[0]) for name in names):
            for name in names:
                at = match.start() + name.start()
                yield from _cleaned(text, at, name[0], sure=False)
    for match in _ANY.finditer(text):
        if _likely(match[0]):
            yield from _cleaned(text, match.start(), match[0], sure=False)


def known_given(token: str) -> bool:
    """Whether a word is a given name that is no other word."""
    lower = token.lower()
    first = re.split(r"[-’']", lower)[0]
    return (lower in GIVEN or first in GIVEN) and lower not in AMBIGUOUS and lower not in PLACES


def _likely(name: str) -> bool:
    """Whether a given name begins it, or is the whole of it."""
    tokens = name.split()
    if len(tokens) == 1:
        return known_given(tokens[0])
    first = re.split(r"[-’']", tokens[0].lower())[0]
    if first in _TOWNS:
        return False
    if any(_no_name(token) for token in tokens):
        return any(known_given(token) for token in tokens)
    return first in GIVEN or any(known_given(token) for token in tokens[:2])


def _cleaned(text: str, start: int, name: str, *, sure: bool) -> Iterator[Found]:
    """A name without words that are none at its ends."""
    tokens = [(match.start(), match[0]) for match in re.finditer(r"\S+", name)]
    while tokens and _no_name(tokens[0][1]):
        tokens.pop(0)
    while tokens and (_no_name(tokens[-1][1]) or tokens[-1][1].lower() in PARTICLES):
        tokens.pop()
    if not tokens:
        return
    end = start + tokens[-1][0] + len(tokens[-1][1])
    begin = start + tokens[0][0]
    value = text[begin:end]
    if not is_name(value) or _STREETS.match(text[end:]):
        return
    yield Found(begin, end, "person", sure=sure)


def _no_name(token: str) -> bool:
    bare = token.lower().strip(".,'’")
    return bare in NO_NAMES and bare not in AMBIGUOUS


def is_name(value: str) -> bool:
    """Whether a text can be the name of a person at all: some words of letters."""
    tokens = re.findall(r"\S+", value)
    if not tokens or len(tokens) > 6 or len(value) > 80:
        return False
    if not re.fullmatch(r"(?:[^\W\d_]|[ .,'’\u00a0-])+", value):
        return False
    words = [token.lower().strip(".,") for token in tokens]
    if all(word in NO_NAMES or word in PARTICLES for word in words):
        return False
    return any(len(word) > 1 and word[0].isalpha() for word in words)
