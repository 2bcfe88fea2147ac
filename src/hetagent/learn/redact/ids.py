"""National ids of many countries: by their form and check digits, or by the word before them.

Where form and check are strong enough, a number is one wherever it stands. Where a tenth of all
numbers of that length would pass, a word such as *PESEL* must stand near. Where such a word stands
right before a number, the check need not hold: a typing error is private too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hetagent.learn.redact import checksums as checks
from hetagent.learn.redact.found import Found

__all__ = ["NATIONAL_IDS", "NationalId", "find_national_ids", "id_of"]

_AROUND = 60
_RIGHT_BEFORE = 28


@dataclass(frozen=True)
class NationalId:
    """How the ids of one country look.

    Attributes:
        name: Country, then the id's own name.
        form: What they look like, separators included.
        holds: The check, over letters and digits alone; ``None`` where there is none.
        words: What people write before them.
        alone: Whether form and check are enough.
    """

    name: str
    form: re.Pattern[str]
    holds: Callable[[str], bool] | None
    words: re.Pattern[str]
    alone: bool = False

    def check(self, text: str) -> bool:
        """Whether the check digits hold, or there are none; separators are passed over."""
        try:
            return self.holds is None or self.holds(re.sub(r"[^0-9A-Za-z]", "", text))
        except (ValueError, KeyError, IndexError):
            return False


def _id(
    name: str,
    form: str,
    holds: Callable[[str], bool] | None,
    words: str,
    *,
    alone: bool = False,
) -> NationalId:
    return NationalId(
        name,
        # A comma may part cells, but not thousands or decimals.
        re.compile(
            rf"(?<![\w])(?<!\d[./-])(?:(?<=\d{{4}},)|(?<!\d,))(?:{form})"
            r"(?!\w)(?![./-]\d)(?!,\d{1,2}(?!\d))"
        ),
        holds,
        re.compile(rf"(?i)(?<![^\W\d_])(?:{words})(?![^\W\d_])"),
        alone,
    )


def _ssn(digits: str) -> bool:
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00"


def _itin(digits: str) -> bool:
    group = int(digits[3:5])
    return digits[0] == "9" and (50 <= group <= 65 or 70 <= group <= 99)


def _sweden(digits: str) -> bool:
    last = digits[-10:]
    day = f"{last[:4]}{int(last[4:6]) % 60:02d}"  # a coordination number's day is raised by 60
    return checks.dated(day, "ymd") and checks.luhn(last)


def _south_africa(digits: str) -> bool:
    return checks.dated(digits, "ymd") and digits[10] in "012" and checks.luhn(digits)


def _korea(digits: str) -> bool:
    return checks.dated(digits, "ymd")


def _czechia(digits: str) -> bool:
    return len(digits) == 9 or int(digits) % 11 == 0


def _australia(digits: str) -> bool:
    return checks.mod11(digits, (1, 4, 3, 7, 5, 8, 6, 9, 10))


def _medicare(digits: str) -> bool:
    return checks.weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(digits[8])


def _dated_dmy(digits: str) -> bool:
    return checks.dated(digits, "dmy")


NATIONAL_IDS = (
    _id(
        "us ssn",
        r"\d{3}-\d{2}-\d{4}",
        _ssn,
        r"ssn|social security(?: (?:number|no|#))?",
        alone=True,
    ),
    _id(
        "us ssn",
        r"\d{3}[ .]?\d{2}[ .]?\d{4}",
        _ssn,
        r"ssn|ss#|social security(?: (?:number|no|#))?",
    ),
    _id("us itin", r"9\d{2}[- ]?\d{2}[- ]?\d{4}", _itin, r"itin|taxpayer id\w*|tin", alone=True),
    _id(
        "ca sin", r"\d{3}[- ]?\d{3}[- ]?\d{3}", checks.luhn, r"sin|nas|social insurance(?: number)?"
    ),
    _id(
        "uk nino",
        r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]",
        None,
        r"nino|ni number|national insurance(?: (?:number|no))?",
        alone=True,
    ),
    _id(
        "uk nhs",
        r"\d{3}[- ]?\d{3}[- ]?\d{4}",
        checks.britain,
        r"nhs(?: ?(?:number|no|id))?|national health(?: service)?(?: number)?|chi number",
    ),
    _id("de tax", r"\d{2} \d{3} \d{3} \d{3}", checks.germany, r"steuer\S*|id-?nr|tin", alone=True),
    _id(
        "de tax",
        r"\d{11}",
        checks.germany,
        r"steuer-?id(?:ent\w*)?(?:-?n(?:umme)?r)?|id-?nr|tax id\w*|tin|steuerliche\w* id\w*",
    ),
    _id(
        "de id card",
        r"[CFGHJKLMNPRTVWXYZ][0-9CFGHJKLMNPRTVWXYZ]{8}\d?",
        None,
        r"\w*ausweis\w*|"
        r"reisepass\w*",
    ),
    _id(
        "de insurance",
        r"\d{2} ?\d{6} ?[A-Z] ?\d{3}",
        None,
        r"(?:sozial|renten)versicherungs\w*|svnr",
    ),
    _id(
        "fr nir",
        r"[1-4] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}",
        checks.france,
        r"nir|s[ée]cu(?:rit[ée] sociale)?|insee",
        alone=True,
    ),
    _id("es dni", r"\d{8}-?[A-Z]", checks.spain, r"dni|nif", alone=True),
    _id("es nie", r"[XYZ]-?\d{7}-?[A-Z]", checks.spain, r"nie", alone=True),
    _id(
        "it codice fiscale",
        r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]",
        checks.italy,
        r"codice fiscale|c\.?f\.?",
        alone=True,
    ),
    _id(
        "nl bsn",
        r"\d{3}[. ]?\d{3}[. ]?\d{3}",
        checks.netherlands,
        r"bsn|burger ?service ?nummer|sofi\w*",
    ),
    _id("pl pesel", r"\d{11}", checks.poland, r"(?:numer )?pesel"),
    _id(
        "se personnummer",
        r"(?:19|20)?\d{6}[-+]\d{4}",
        _sweden,
        r"person(?:lig )?(?:nummer|nr)|samordningsnummer",
        alone=True,
    ),
    _id("se personnummer", r"(?:19|20)?\d{10}", _sweden, r"person(?:nummer|nr)|samordningsnummer"),
    _id(
        "fi hetu",
        r"\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]",
        checks.finland,
        r"hetu|henkil[öo]tunnus|personbeteckning",
        alone=True,
    ),
    _id(
        "no fnr",
        r"\d{6} ?\d{5}",
        checks.norway,
        r"f[øo]dsels?(?:nummer|nr)|personnummer|fnr|"
        r"d-nummer",
        alone=True,
    ),
    _id("dk cpr", r"\d{6}[- ]?\d{4}", _dated_dmy, r"cpr(?:-?(?:nummer|nr))?|personnummer"),
    _id("br cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}", checks.brazil, r"cpf", alone=True),
    _id("br cpf", r"\d{11}", checks.brazil, r"cpf"),
    _id(
        "in aadhaar",
        r"[2-9]\d{3}[- ]\d{4}[- ]\d{4}",
        checks.verhoeff,
        r"aadhaa?r|uid(?:ai)?",
        alone=True,
    ),
    _id("in aadhaar", r"[2-9]\d{11}", checks.verhoeff, r"aadhaa?r|uid(?:ai)?"),
    _id(
        "in pan",
        r"[A-Z]{3}P[A-Z]\d{4}[A-Z]",
        None,
        r"pan(?: card)?|"
        r"permanent account",
        alone=True,
    ),
    _id("in pan", r"[A-Z]{5}\d{4}[A-Z]", None, r"pan(?: card)?|permanent account(?: number)?"),
    _id("au tfn", r"\d{3}[ -]?\d{3}[ -]?\d{3}", _australia, r"tfn|tax file(?: (?:number|no))?"),
    _id(
        "au medicare",
        r"[2-6]\d{3}[ -]?\d{5}[ -]?\d",
        _medicare,
        r"medicare(?: (?:card|number|"
        r"no))*",
    ),
    _id("sg nric", r"[STFGM]\d{7}[A-Z]", checks.singapore, r"nric|fin", alone=True),
    _id("kr rrn", r"\d{6}-[1-8]\d{6}", _korea, r"rrn|주민\w*", alone=True),
    _id("ch ahv", r"756\.\d{4}\.\d{4}\.\d{2}", checks.switzerland, r"ahv|avs", alone=True),
    _id("ch ahv", r"756\d{10}", checks.switzerland, r"ahv\S*|avs\S*|oasi"),
    _id(
        "be rrn",
        r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}",
        checks.belgium,
        r"rijksregister\w*|national belge|registre national|insz|niss",
        alone=True,
    ),
    _id("be rrn", r"\d{11}", checks.belgium, r"rijksregister\w*|registre national|insz|niss"),
    _id("cl rut", r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]", checks.chile, r"rut|run", alone=True),
    _id("cl rut", r"\d{7,8}-?[\dkK]", checks.chile, r"rut"),
    _id(
        "za id",
        r"\d{13}",
        _south_africa,
        r"(?:south african |sa )?id(?: (?:number|no))?",
        alone=True,
    ),
    _id(
        "tr tckn",
        r"[1-9]\d{10}",
        checks.turkey,
        r"t\.?c\.?(?: kimlik)?(?: no| numara\w*)?|tckn|"
        r"kimlik\w*",
    ),
    _id("mx curp", r"[A-Z][AEIOUX][A-Z]{2}\d{6}[HM][A-Z]{5}[A-Z\d]\d", None, r"curp", alone=True),
    _id("th id", r"\d-\d{4}-\d{5}-\d{2}-\d", checks.thailand, r"thai id", alone=True),
    _id("ro cnp", r"[1-9]\d{12}", checks.romania, r"cnp|cod numeric personal"),
    _id(
        "cz rodné číslo",
        r"\d{6}/\d{3,4}",
        _czechia,
        r"rodn[ée] ?[čc][íi]slo|r\.?[čc]\.?",
        alone=True,
    ),
    _id("pt nif", r"\d{3} ?\d{3} ?\d{3}", checks.portugal, r"nif|contribuinte|n[úu]mero fiscal"),
    _id("ie pps", r"\d{7}[A-W][A-IW]?", checks.ireland, r"pps(?:n| (?:number|no))?"),
    _id("jp my number", r"\d{4}[ -]?\d{4}[ -]?\d{4}", None, r"my number|マイナンバー"),
    _id("ng nin", r"\d{11}", None, r"nin|national identi\w+(?: number)?"),
    _id(
        "passport",
        r"[A-Z]{1,2}\d{6,8}[A-Z]?|\d{9}|[A-Z]\d{2}[A-Z]{2}\d{4}",
        None,
        r"pass?port[eo]?(?:s|nummer|-?nr| (?:number|no|num|#))*|reisepass\w*|pasaporte|"
        r"paspoort\w*|paszport\w*|travel document",
    ),
    _id(
        "driving licence",
        r"[A-Z]{1,2}\d{5,8}|\d{7,9}|[A-Z]\d{3}-\d{4}-\d{4}|[A-Z9]{5}\d{6}[A-Z9]{2}[A-Z\d]{3}|"
        r"[A-Z]\d{4}[ -]?\d{5}[ -]?\d{5}|[A-Z]\d{12}|"
        r"[A-Z]\d{3}[ -]?\d{3}[ -]?\d{2}[ -]?\d{3}[ -]?\d",
        None,
        r"driv(?:er['’]?s?|ing) licen[cs]e(?: (?:number|no|#))*|licen[cs]e (?:number|no\.?|#)|"
        r"f[üu]hrerschein\w*|dl (?:number|no|#)",
    ),
)
"""What is looked for, in order."""

_ANY_WORD = re.compile(
    r"(?i)\b(?:national id|identity (?:card|number)|id card|ssn|nin|dni|cedula|c[ée]dula|"
    r"personal (?:id|code|number))\b[^\n\d]{0,20}$"
)


def find_national_ids(text: str, *, hint: str = "") -> Iterator[Found]:
    """National ids in a text of at least seven digits; ``hint`` is the name of its field."""
    for one in NATIONAL_IDS:
        for match in one.form.finditer(text):
            holds = one.check(match[0])
            told = _told(one.words, text, match.start(), match.end(), hint)
            if (one.alone and holds) or told == "right before" or (told and holds):
                yield Found(match.start(), match.end(), "national_id", sure=bool(told) or one.alone)
    for match in re.finditer(r"(?<!\w)[A-Z]{0,2}\d[\d. /-]{4,16}\d[A-Z]?(?!\w)", text):
        if _ANY_WORD.search(text[max(0, match.start() - 50) : match.start()]):
            yield Found(match.start(), match.end(), "national_id")


def id_of(text: str) -> NationalId | None:
    """Which country's id a text is, by its whole form and check."""
    fits = [one for one in NATIONAL_IDS if one.form.fullmatch(text)]
    held = [one for one in fits if one.holds is not None and one.check(text)]
    return next(iter(held or fits), None)


def _told(words: re.Pattern[str], text: str, start: int, end: int, hint: str) -> str:
    """Where a word for such ids stands: right before, around, or nowhere."""
    if hint and words.search(hint):
        return "right before"
    before = text[max(0, start - _AROUND) : start]
    line = before.rpartition("\n")[2]
    spoken = [match.end() for match in words.finditer(line)]
    if spoken and not re.search(r"\d{4}", between := line[spoken[-1] :]):
        return "right before" if len(between) <= _RIGHT_BEFORE else "around"
    if words.search(before) or words.search(text[end : end + 24]):
        return "around"
    return ""
