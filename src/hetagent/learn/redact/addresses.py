"""Street addresses: the line of street and number, and the postcode near it.

The town between them stays: it is no secret by itself, and answers often need it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hetagent.learn.redact.found import Found
from hetagent.learn.redact.letters import LOWER, UPPER

__all__ = ["STREET_WORDS", "find_addresses"]

_WORD = rf"(?:[{UPPER}][\w'’.-]*|\d{{1,3}}(?:st|nd|rd|th))"
STREET_WORDS = (
    "Street|St|Road|Rd|Avenue|Ave|Av|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Terrace|Ter|"
    "Close|Crescent|Cres|Gardens|Gdns|Square|Sq|Way|Walk|Parade|Pde|Parkway|Pkwy|Highway|Hwy|Circle|"
    "Cir|Trail|Trl|Mews|Row|Grove|Hill|Rise|View|Plaza|Esplanade|Quay|Wharf|Green|Park|Loop|Alley|"
    "Brae|Vale|Gate|Yard|Path|Pike|Turnpike|Bend|Cove|Ridge|Run|Pass|Crossing|Heights|Glen|Dale|"
    "Meadow|Meadows|Chase|Croft|Embankment|Broadway|Expressway|Freeway|Route"
)
_NUMBER = r"\d{1,5}(?:[ ]?(?:bis|ter|quater))?[ ]?(?:[A-Za-z](?![\w]))?(?:[/-]\d{1,5}[A-Za-z]?)?"
_UNIT = (
    r"(?:Flat|Apt|Apartment|Suite|Ste|Unit|Room|Rm|Floor|Fl|Level|Office|Shop|Lot|#)\.?[ ]?#?"
    r"[A-Za-z]?\d{0,5}[A-Za-z]?(?:-\d+)?"
)
_ENGLISH = re.compile(
    # A comma before it parts cells, unless it parts thousands.
    rf"(?<![\w.-])(?:(?<=\d{{4}},)|(?<!\d,))(?<!\d )(?:{_UNIT},?[ ]+)?{_NUMBER}[ ]+"
    rf"(?:(?:[NSEW]|NE|NW|SE|SW|North|South|"
    rf"East|"
    rf"West|Old|Upper|Lower|The)\.?[ ]+)?(?:{_WORD}[ ]+){{0,3}}{_WORD}[ ]+(?:{STREET_WORDS})\b\.?"
    rf"(?:[ ]+(?:[NSEW]|NE|NW|SE|SW)\b)?(?:,?[ ]+{_UNIT}(?![\w]))?"
)
_ONE_WORD = re.compile(  # "90 Broadway", "12 Highfields"
    rf"(?i:\b(?:at|to|lives?|address(?:es)?|from|deliver(?:y|ed)?|located|ship|send|visit))[ :,is]*"
    rf"(?P<line>(?:{_UNIT},?[ ]+)?\d{{1,5}}[A-Za-z]?[ ]+[{UPPER}][{LOWER}'’-]{{3,}}(?:[ ]"
    rf"[{UPPER}][{LOWER}'’-]{{2,}})?)(?=,[ ]+[{UPPER}])"
)
_BOX = re.compile(
    r"(?i)(?<![\w])(?:P\.?[ ]?O\.?[ ]?Box|Post(?:al)? Box|GPO Box|Postfach|Boîte postale|BP|"
    r"Apartado"
    r"(?: de correos)?|Casella postale|Postbus|Postboks)[ ]+#?\d[\d ]{1,7}(?<! )(?!\w)"
)
# A street's name that ends in its own word: German, Dutch, the Nordic languages.
_ENDINGS = (
    "straße|strasse|str\\.|weg|gasse|platz|allee|ring|damm|ufer|steig|pfad|hof|berg|graben|markt|"
    "chaussee|stieg|winkel|bach|feld|wall|tor|"
    "straat|laan|gracht|plein|kade|singel|dijk|steeg|dreef|hof|"
    "gatan|gata|gaten|gade|vägen|vagen|veien|vegen|vej|gränd|torget|torg|allé|plads|stræde|bakken|"
    "katu|tie|polku|kuja"
)
_COMPOUND = re.compile(
    rf"(?<![\w])(?:(?:Am|An der|An den|Im|In der|In den|Auf der|Auf dem|Zum|Zur|Unter den|"
    rf"Alte[rs]?|"
    rf"Neue[rs]?|Obere[rs]?|Untere[rs]?|Große|Kleine|Oude|Nieuwe|Lange|Korte|Store|Lille|Gamla|"
    rf"Norra|Södra)"
    rf"[ ])?(?:[{UPPER}][\w.’']{{0,25}}[ -]){{0,2}}[{UPPER}]?[\w’']{{0,30}}(?:{_ENDINGS})"
    rf"[ ]+\d{{1,4}}[ ]?"
    rf"(?:[a-zA-Z](?![\w]))?(?:[-/]\d{{1,4}}[a-z]?)?(?![\w])(?![.,]\d)"
)
_SEPARATE = re.compile(  # "Berliner Straße 5", "Am Mühlbach 7"
    rf"(?<![\w-])(?:[{UPPER}][\w.’']{{1,25}}[ -]){{1,3}}(?:Straße|Strasse|Str\.|Weg|Gasse|Platz|"
    rf"Allee|Ring|"
    rf"Damm|Ufer|Gata|Gate|Vej|Vei|Väg)[ ]+\d{{1,4}}[ ]?[a-zA-Z]?(?![\w])"
    rf"|(?<![\w])(?:Am|An der|An den|Im|In der|In den|Auf der|Auf dem|Zum|Zur|Unter den|Hinter der|"
    rf"Vor dem|Bei der|Op de|Aan de)[ ](?:[{UPPER}][\w’'-]+[ ]){{1,2}}\d{{1,4}}[ ]?[a-z]?(?![\w])"
)
# Languages in which the kind of street comes first.
_ROMANCE_WORDS = (
    "rue|avenue|av\\.|boulevard|bd|place|chemin|allée|allees|impasse|quai|cours|route|passage|square|"
    "faubourg|ruelle|voie|sentier|"
    "calle|c/|avenida|avda\\.?|plaza|paseo|camino|carrera|cra\\.|ronda|travesía|carretera|glorieta|"
    "via|viale|piazza|piazzale|corso|vicolo|largo|strada|lungomare|salita|contrada|"
    "rua|travessa|praça|alameda|estrada|rodovia|largo|beco|"
    "strada|bulevardul|calea|aleea|ulica|ul\\.|aleja|al\\.|plac|ulitsa|"
    "jalan|jl\\."
)
_FLAT = (
    r"(?:,?[ ]*\d{1,2}\.?[ºª°o]\.?[ ]?(?:[A-Z](?![\w])|(?i:izq|dcha|esq|dto|dir|fte)\b\.?)"
    r"|[ ](?:m|lok|kv|int|sc)\.?[ ]?\d{1,4}(?![\w]))?"
)
_ROMANCE = (
    r"(?:(?:de|du|des|da|do|dos|das|del|della|dello|delle|dei|di|de la|de las|de los|de l|"
    r"la|le|les|el|los)['’]?[ ]?)*"
)
_NUMBER_FIRST = re.compile(
    rf"(?i:(?<![\w.,/-])\d{{1,4}}(?:[ ]?(?:bis|ter|quater|[a-d]))?,?[ ]+(?:{_ROMANCE_WORDS})[ ]+)"
    rf"(?:(?i:{_ROMANCE})[{UPPER}\d][\w’'.-]{{0,30}}[ ]){{0,4}}(?i:{_ROMANCE})[{UPPER}\d]"
    rf"[\w’'.-]{{0,30}}"
)
_NUMBER_LAST = re.compile(
    rf"(?<![\w])(?i:{_ROMANCE_WORDS})[ ]*(?:(?i:{_ROMANCE})[{UPPER}\d][\w’'.-]{{0,30}}[ ]){{1,4}}?"
    rf"(?:,?[ ]*(?:n[º°o.]?[ ]?)?)\d{{1,5}}(?:[ ]?[a-zA-Z](?![\w]|\.[ ]?\d))?(?:[/-]\d+[a-z]?)?"
    rf"{_FLAT}(?![\w])"
)
_NUMBER_LAST_COMMA = re.compile(
    rf"(?<![\w])(?i:{_ROMANCE_WORDS})[ ]*(?:(?i:{_ROMANCE})[{UPPER}\d][\w’'.-]{{0,30}}[ ]){{0,3}}"
    rf"(?i:{_ROMANCE})[{UPPER}\d][\w’'.-]{{0,30}},[ ]*"
    rf"(?:n[º°o.]?[ ]?)?\d{{1,4}}(?!\d)(?:[ ]?[a-zA-Z](?![\w]))?"
    rf"{_FLAT}(?![\w,]\d)"
)
_LINES = (
    _ENGLISH,
    _BOX,
    _COMPOUND,
    _SEPARATE,
    _NUMBER_FIRST,
    _NUMBER_LAST,
    _NUMBER_LAST_COMMA,
)
_UK = r"[A-Z]{1,2}\d[A-Z\d]?[ ]?\d[A-Z]{2}"
_CANADA = r"[ABCEGHJ-NPRSTVXY]\d[A-Z][ -]?\d[A-Z]\d"
_NETHERLANDS = r"[1-9]\d{3}[ ]?[A-Z]{2}"
_DIGITS = r"\d{5}(?:-\d{4})?|\d{3}[ ]\d{2}|\d{2}-\d{3}|\d{5}-\d{3}|\d{4}-\d{3}|\d{4}|\d{6}"
_POSTCODE = re.compile(
    rf"(?<![\w./-])(?<!\d,)(?:{_UK}|{_CANADA}|{_NETHERLANDS}|{_DIGITS})(?![\w])(?![.,/:]\d)"
)
_ALONE = re.compile(
    rf"(?<![\w])(?:{_UK}|{_CANADA})(?![\w])"
    rf"|(?<=[ ,](?:AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|"
    rf"NE|NV|"
    r"NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|"
    r"DC)[ ])\d{5}(?:-\d{4})?(?![\w])"
)
_NEAR = 48


def find_addresses(text: str) -> Iterator[Found]:
    """Lines of street and number, and postcodes within a few words after or before them."""
    lines: list[Found] = []
    for form in _LINES:
        for match in form.finditer(text):
            value = match[0].rstrip(" ,.")
            lines.append(Found(match.start(), match.start() + len(value), "address"))
    lines += [
        Found(*match.span("line"), "address", sure=False) for match in _ONE_WORD.finditer(text)
    ]
    yield from lines
    for line in lines:
        after = re.split(r"\n\n|[;!?]", text[line.end : line.end + _NEAR])[0]
        for match in _POSTCODE.finditer(after):
            if _is_postcode(match[0], after[: match.start()]):
                yield Found(line.end + match.start(), line.end + match.end(), "address", sure=False)
                break
    for match in _ALONE.finditer(text):
        yield Found(match.start(), match.end(), "address", sure=False)


def _is_postcode(value: str, before: str) -> bool:
    """Four and six digits alone are one only right after a comma or a town's name."""
    if re.search(r"\d", before):
        return False
    if re.fullmatch(r"\d{4}|\d{6}", value):
        return bool(re.fullmatch(rf"[\"']?,?[ \n]*[\"']?(?:[{UPPER}][\w’'-]*[ ,]*){{0,4}}", before))
    return True


_NO_NAME_OF_STREET = re.compile(
    rf"(?i)^(?:{STREET_WORDS}|{_ROMANCE_WORDS}|flat|apt|apartment|suite|ste|unit|room|floor|level|"
    rf"office|shop|lot|p\.?o\.?|box|post|postfach|postbus|postboks|gpo|bis|ter|quater|n|s|e|w|ne|"
    rf"nw|"
    rf"se|sw|north|south|east|west|old|upper|lower|the|am|an|im|in|auf|zum|zur|unter|der|dem|den|"
    rf"de|"
    rf"du|des|da|do|dos|das|del|della|di|la|le|las|los|les|el|of|straße|strasse|str|weg|gasse|"
    rf"platz|"
    rf"allee|ring|damm|ufer|bp|apartado|casella|postale|bo[iî]te|op|aan)\.?$"
)


def name_of_street(text: str) -> tuple[int, int]:
    """Where in an address the street's own name is; at its end where there is none.

    Of a compound, such as *Lindenstraße*, it is what stands before the ending.
    """
    own = [
        match
        for match in re.finditer(r"[^\W\d_][^\W\d_'’.-]*(?:['’.-][^\W\d_]+)*", text)
        if len(match[0]) > 1 and not _NO_NAME_OF_STREET.match(match[0])
    ]
    if not own:
        return len(text), len(text)
    start, end = own[0].start(), own[-1].end()
    for one in own[1:]:  # names of several words, but not what comes after a comma
        if "," in text[own[0].end() : one.start()]:
            end = own[own.index(one) - 1].end()
            break
    ending = re.search(rf"(?:{_ENDINGS})$", text[start:end])
    if ending is not None and ending.start() > 1:
        end = start + ending.start()
    return start, end
