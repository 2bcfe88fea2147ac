"""Names of people by how surnames are made, and by what stands around names in tickets and chats.

No list of names helps with those that nobody thought of. Many languages make surnames with endings
of their own, though, and Chinese and Korean ones begin with one of few characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hetagent.learn.redact.found import Found
from hetagent.learn.redact.letters import LOWER, UPPER, words
from hetagent.learn.redact.lexicon import NO_NAMES, TITLES

__all__ = ["find_by_surname"]

_TOKEN = rf"[{UPPER}][{LOWER}]+(?:[-’'][{UPPER}][{LOWER}]+)*"
_PARTICLE = r"(?:de|da|do|dos|del|della|di|du|van|von|der|den|ten|bin|al|el)"
_LONG = rf"{_TOKEN}(?:[ ](?:{_PARTICLE}[ ]){{0,2}}{_TOKEN}){{1,3}}"
_ENDINGS = (
    "d[óo]ttir|sson|ovi[ćč]|evi[ćč]|ovich|evich|escu|shvili|adze|enko|chuk|czyk|[ńnw]sk[ia]|ck[ia]|"
    "opoulos|opoulou|idis|akis|oğlu|oglu|murthy|swamy|subramanian|nathan|rajan|wardene|singh|"
    "[eéo]ndez|[ií]nez|[ií]guez|[uá]lez|[áa][ñn]ez|quist|gaard|nsen|rsen|ssen|inger|meier|mayer|"
    "mann|schmidt|huber|bauer|ashi|amoto|awa|azaki|imura|uchi"
)
_MADE = re.compile(
    rf"(?<![\w@#/.'’-])(?P<name>(?:{_TOKEN}[ ](?:{_PARTICLE}[ ]){{0,2}}){{1,2}}"
    rf"[{UPPER}][{LOWER}]{{2,}}(?:{_ENDINGS}))(?![\w@]|\.\w)"
)
_OWNS = re.compile(
    rf"(?P<name>{_LONG})(?=['’]s (?:assistant|secretary|office|wife|husband|partner|mother|father|"
    rf"son|daughter|brother|sister|account|phone|number|mobile|e-?mail|mail|address|order|file|"
    rf"record|room|booking|reservation|appointment|insurance|password|passport|licen[cs]e|card)\b)"
)
_HOUSEHOLD = re.compile(
    rf"(?i:\b(?:we['’]?re|we are|for|from|it['’]s|this is|under) the )(?P<name>{_TOKEN})"
    r"(?= (?:party|family|wedding|reservation|booking|household|residence)\b)"
)
_ROLE = re.compile(
    rf"(?P<name>{_LONG})(?=, (?:the|our|my|your|their|his|her) (?:[\w’'-]+ ){{0,3}}"
    r"(?i:ceo|cfo|cto|coo|director|manager|head|lead|chair\w*|president|founder|owner|lawyer|accountant|secretary|"
    r"assistant|doctor|nurse|teacher|neighbou?r|landlord|tenant|engineer|colleague|boss)\b)"
)
_REGARDS = re.compile(
    r"(?i:\b(?:kind|best|warm) (?:regards|wishes)|\bregards|\bsincerely|"
    r"\byours (?:truly|faithfully)|"
    r"gr[üu](?:ß|ss)en?|\bcordialement|\bsaludos|\bgroet(?:en)?|\bhilsen)[,.!]?[ ]+"
    rf"(?P<name>{_LONG})"
)
_REMARK = re.compile(rf"\b(?:TODO|FIXME|XXX|HACK)\((?P<name>[{UPPER}{LOWER}][{LOWER}]{{2,}})\)")
_MATCHED = re.compile(
    r"(?i:\b(?:no|any) (?:match|user|customer|patient|client|guest|person|entry|record) "
    rf"(?:for|named|called|found for|of)[ :]+)[\"'“]?(?P<name>{_LONG})"
)
_CELL = re.compile(  # of a table without names of fields, beside a mailbox or a phone number
    rf"(?m)^\"?(?P<name>{_LONG})\"?(?=[,;\t|][^\n]*(?:@\w|\+\d|\b[6-9]\d{{4}}[ -]\d{{5}}\b))"
)
_HOLIDAYS = frozenset(
    words(
        """
        christmas easter halloween thanksgiving birthday labour labor green democratic republican
        conservative liberal tea garden royal whole entire second third other summer winter
        """
    )
)
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_HAN = (
    "王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何高林罗羅郑鄭梁谢謝宋唐许許韩韓冯馮邓鄧曹彭曾萧蕭田董"
    "潘袁蔡蒋蔣余于杜叶葉程苏蘇魏吕呂丁任沈姚卢盧姜崔钟鐘谭譚陆陸汪范石廖贾賈夏韦韋付方白邹鄒孟熊秦邱江尹薛"
)
_HANGUL = "김이박최정강조윤장임한오서신권황안송류홍전고문손양배백허유남심노하곽성차주우구민진"
_EASTERN = re.compile(
    rf"(?<![{_CJK}])(?:[{_HAN}][\u4e00-\u9fff]{{2}}(?![{_CJK}])"
    rf"|[{_HANGUL}][\uac00-\ud7af]{{2}}(?=[ ]?(?:씨|님|입니다)))"
)
_ASKED_EASTERN = re.compile(
    rf"(?:我叫|我是|姓名[:\uff1a]?|名字是)[ ]?(?P<name>[{_HAN}][\u4e00-\u9fff]{{1,2}})"
)
_FORMS = (_MADE, _OWNS, _HOUSEHOLD, _REGARDS, _REMARK, _MATCHED, _ROLE, _CELL)
_TITLE = re.compile(rf"(?:{TITLES})\.?")


def find_by_surname(text: str) -> Iterator[Found]:
    """Names in a text; all but those of signatures may be overruled by what is surer."""
    for form in _FORMS:
        for match in form.finditer(text):
            told = form in (_OWNS, _ROLE, _REGARDS)  # whatever the last word is, it is a name
            sure = form is _REGARDS
            yield from _trimmed(match["name"], match.start("name"), told=told, sure=sure)
    if not text.isascii():
        for match in _EASTERN.finditer(text):
            yield Found(match.start(), match.end(), "person", sure=False)
        for match in _ASKED_EASTERN.finditer(text):
            yield Found(*match.span("name"), "person", sure=False)


def _trimmed(name: str, start: int, *, told: bool, sure: bool) -> Iterator[Found]:
    """A name without words before it that are none; nothing where its last word may be none."""
    tokens = name.split(" ")
    while tokens and (_no_name(tokens[0]) or _TITLE.fullmatch(tokens[0])):
        start += len(tokens.pop(0)) + 1
    if tokens and (not _no_name(tokens[-1]) or (told and len(tokens) > 1)):
        yield Found(start, start + len(" ".join(tokens)), "person", sure=sure)


def _no_name(token: str) -> bool:
    return token.lower() in NO_NAMES or token.lower() in _HOLIDAYS
