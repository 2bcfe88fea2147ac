"""Names of people in a text, by what stands around them and by common given names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from hetagent.learn.redact.found import Found
from hetagent.learn.redact.letters import LOWER, UPPER, words
from hetagent.learn.redact.lexicon import (
    AMBIGUOUS,
    GIVEN,
    NO_NAMES,
    PARTICLES,
    PLACES,
    TITLES,
)

__all__ = ["answered_name", "asks_name", "find_names", "is_name", "known_given"]

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
    rf"(?i:\b(?:(?:my|his|her|their|our|the|first|last|full|given|family|sur) ?name(?:['’]?s)?"
    rf"(?: (?:is|was|will be)| for (?:the|this|my) \w+ is| is for the \w+ is)?|"
    rf"(?:on|by|use|with|in|under|has|with) (?:the |my )?names?(?: (?:of|is|as))?|"
    rf"name (?:is|on card)|"
    rf"in the name of|na me of|maiden name(?: is)?|i am called|call me|known as|goes by|"
    rf"je m['’]appelle|mein name ist|ich hei(?:ß|ss)e|me llamo|mi nombre es|mi chiamo|"
    rf"meu nome [ée]|jag heter|jeg heter|ik heet|mijn naam is|nazywam si[ęe]|a nombre de|"
    rf"(?:book(?:ed|ing)?|reserv(?:ed|ation)|table|party|listed|made|filed|registered|it is|"
    rf"it['’]s|"
    rf"be|is|for \w+|of \w+|placed|room|order|appointment|put (?:it|that|this)) under|"
    rf"(?:someone|somebody|person|man|woman|guy|girl|boy|colleague|customer|patient|employee|user|"
    rf"friend|agent|client|guest|son|daughter|baby) (?:named|called)|"
    rf"on behalf of|signed(?: by)?|hilsen|gru(?:ß|ss)|grüße|obrigad[ao]|"
    rf"saludos|merci|vriendelijke groet|pozdrawiam))"
    rf"[ ]*[,:]?[ ]*[\"“']?(?P<name>(?:[{UPPER}]\.?[ ]+){{0,3}}{_NAME})"
)
_HELD = re.compile(  # "a booking for two for Ada Byron"
    rf"(?i:\b(?:book(?:ed|ing)?|reserv(?:ed|ation)|table|room|appointment|order(?:ed)?|ticket|"
    rf"account|"
    rf"policy|file|invoice|delivery|package|parcel|prescription|meeting|call|message|note|seat|"
    rf"flight|"
    rf"party|changed?|guest)\b[^.!?\n]{{0,40}}?\b(?:for|by|at|of|from|to|with)(?: i think)? )"
    rf"(?P<name>{_TOKEN}[ ]{_TOKEN})(?![ ]*[{UPPER}])"
)
_HERE = re.compile(
    rf"(?P<name>{_NAME})(?=,?[ ](?:here\b|speaking\b|is my (?:\w+ )?name|is the name|"
    rf"that is my name))"
    rf"|(?P<long>{_LONG_NAME})(?=,?[ ](?:(?:party|table) (?:of|for)\b|has (?:a|the|done|made|"
    rf"booked)\b|"
    rf"booking\b|reservation\b))"
)
_SELF = re.compile(
    rf"(?i:\b(?:this is|i['’]?m(?: with)?|i am(?: with)?|(?:it )?may be under|under|soy|sono|"
    rf"ich bin|"
    rf"je suis))[ ](?P<name>{_TOKEN}[ ](?:{_INITIAL}[ ])?{_TOKEN})(?![ ]*[{UPPER}])"
)
_SAID_SELF = re.compile(
    rf"(?i:\b(?:this is|i['’]?m|i am|it['’]s|it is|soy|sono|ich bin|je suis|here is|hier ist|ici|"
    rf"regarding|about|from|by|per|von|according to|met|with|ask|tell|told|invite[d]?|add|contact|"
    rf"remind|email|text|call|for|to|and|that|if|is|was|has|spoke to|talk to|speak to|message[d]?))"
    rf"[ ,:]+(?P<name>{_NAME})"
)
_LOWER_TOLD = re.compile(
    rf"(?i:\b(?:my (?:full )?name(?:['’]s| is)|this is|i['’]?m|i am|it['’]?s|call me|tell|ask|"
    rf"spoke to|talked to|met|with|from|dear|hi|hello|hey))[ ,:]+(?P<name>{_LOWER_NAME})"
)
_LOWER_NAMED = re.compile(
    rf"(?i:\b(?:my (?:full |first |last )?names?(?:['’]s| is)?|under the name(?: of)?|"
    rf"in the name of|"
    rf"on name|(?:first|last) name(?: is|:)?|surname(?: is|:)?))[ ,:]+(?P<name>[{LOWER}]{{3,}}"
    rf"(?:[ ][{LOWER}{UPPER}]{{3,}}){{0,2}})"
)
_LOWER_WROTE = re.compile(
    rf"(?<![\w@.])(?P<name>[{LOWER}]{{3,}})(?= (?:said|says|told|asked|wrote|texted|called)\b)"
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
_ASKS = re.compile(
    r"(?i)\b(?:first|last|full|sur|your|the|what|which|whose|a|under)[ -]?(?:first |last |full )?"
    r"names?\b[^.!]{0,60}(?:\?|$|:)|\bwho (?:is|am i|are you|should|shall|may)\b[^.!]{0,60}\?|"
    r"\bname, please"
)
_COMMON = NO_NAMES | frozenset(
    words(
        """
        above alone already also anyone anything around asap away bad below booked booking both bye
        cancel cancelled change checking correct dinner done down eight either else enough evening
        even fine five four full given got guess half hers hidden his incorrect its just know late
        later least like listed lunch made many maybe midnight missing more morning much nine noon
        none nope now number okay one other others outside over people person pm probably put really
        reservation right same seven several six six sorry soon spelled still sure table ten than
        thing think though three tonight too twelve two typed unknown usual weekend whatever
        without wrong yep
        """
    )
)
_NO_PERSON = frozenset(  # words of places and businesses
    words(
        """
        street road avenue lane square palace park station hotel restaurant cafe bar grill kitchen
        house garden gardens market center centre tower bridge hall church school college university
        museum theatre theater hospital airport bank shop store club room lounge pizza brasserie
        ltd inc llc gmbh corp group partners bistro tavern inn court plaza beach island river lake
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
    for match in _HERE.finditer(text):
        group = "name" if match["name"] else "long"
        yield from _cleaned(text, match.start(group), match[group], sure=False)
    for form in (_WROTE, _ROLED, _HELD, _SELF):
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
    for match in _LOWER_WROTE.finditer(text):
        if known_given(match["name"]):
            yield Found(*match.span("name"), "person", sure=False)
    for match in _LOWER_NAMED.finditer(text):
        words_of = list(itertools.takewhile(_no_word, match["name"].split(" ")))
        if words_of:
            start = match.start("name")
            yield Found(start, start + len(" ".join(words_of)), "person", sure=False)
    for match in _LISTED.finditer(text):
        names = list(_LONG.finditer(match[0]))
        if any(_likely(name[0]) for name in names):
            for name in names:
                at = match.start() + name.start()
                yield from _cleaned(text, at, name[0], sure=False)
    for match in _ANY.finditer(text):
        if _likely(match[0]):
            yield from _cleaned(text, match.start(), match[0], sure=False)


def answered_name(text: str) -> Found | None:
    """The name in a message that answers the question for one, where that is all it has."""
    match = re.fullmatch(
        r"\s*(?i:(?:sure|yes|ok(?:ay)?|it is|it['’]s|i['’]?m|i am|this is|under|that['’]s|"
        r"that would be|"
        r"for|mr|mrs|ms|miss|"
        r"dr)[,.!]?[ ]+)*(?P<name>[^\W\d_][\w'’.-]*(?:[ ,]+[^\W\d_][\w'’.-]*){0,3})"
        r"(?i:,?[ ]*please)?[ ]*[.!]?\s*",
        text,
    )
    if match is None or not is_name(match["name"]):
        return None
    words_of = re.findall(r"[^\s,]+", match["name"])
    if not all(_no_word(word) for word in words_of):
        return None
    return Found(
        match.start("name"), match.start("name") + len(match["name"].rstrip(".")), "person"
    )


def asks_name(text: str) -> bool:
    """Whether a message asks for somebody's name."""
    return bool(_ASKS.search(text[-300:]))


def _no_word(word: str) -> bool:
    """Whether a word after *my name is* can be a name."""
    return word.lower().strip(".,") not in _COMMON


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
    if not sure and any(token.lower() in _NO_PERSON for _, token in tokens[1:]):
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
