"""What the name of a field says of its value: in JSON, YAML, CSV, tables, XML and logs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from hetagent.learn.redact.contacts import find_cards
from hetagent.learn.redact.credentials import is_password, is_token
from hetagent.learn.redact.found import Found
from hetagent.learn.redact.letters import words
from hetagent.learn.redact.lexicon import AMBIGUOUS, GIVEN, NO_NAMES
from hetagent.learn.redact.names import is_name, known_given

__all__ = [
    "about_people",
    "field_find",
    "field_kind",
    "find_by_fields",
    "find_in_tables",
    "normal_key",
]

_KINDS = {
    "person": """
        firstname lastname surname fullname givenname familyname middlename forename displayname
        nickname maidenname birthname legalname realname contactname customername clientname
        patientname username userfullname employeename guestname ownername accountname holdername
        accountholder accountholdername cardholder cardholdername nameoncard beneficiary payee payer
        beneficiaryname recipient recipientname sendername drivername passengername studentname
        teachername authorname patient customer employee driver passenger applicant applicantname
        reporter assignee attendee guardian spouse nextofkin emergencycontact physician doctor
        contactperson attn first last vorname nachname familienname kunde kundenname ansprechpartner
        nombre apellido apellidos nombrecompleto nom prenom nomcomplet cognome nome nomecompleto
        sobrenome imie nazwisko imienazwisko voornaam achternaam naam fornavn etternavn efternamn
        fornamn etunimi sukunimi login handle screenname
    """,
    "email": "email emailaddress mail emails useremail contactemail correo courriel replyto",
    "phone": """
        phone phonenumber telephone tel mobile mobilenumber mobilephone cell cellphone fax faxnumber
        homephone workphone contactnumber whatsapp msisdn telefon telefonnummer handy telefono movil
        telefone celular telephonenumber phoneno mobileno
    """,
    "address": """
        address street streetaddress addressline addressline1 addressline2 line1 line2 address1
        address2 homeaddress shippingaddress billingaddress deliveryaddress
        mailingaddress streetname postaladdress residence strasse straße adresse anschrift
        direccion calle rue indirizzo endereco adres ulica zip zipcode postcode postalcode plz
        codigopostal codepostal cap cep postnummer
    """,
    "national_id": """
        ssn socialsecurity socialsecuritynumber sin nino nationalinsurance nhs nhsnumber nationalid
        nationalidnumber taxid taxidnumber tin itin steuerid steueridnr idnr nir dni nie nif cf
        codicefiscale bsn pesel personnummer fodselsnummer hetu cpr cpf aadhaar aadhar pan tfn
        medicare nric fin rrn ahv avs rut curp passport passportnumber passportno idnumber idcard
        identitynumber drivinglicence driverslicense driverlicense licensenumber licencenumber
        mrn cnp ppsn niss insz tckn
    """,
    "iban": "iban ibannumber bankaccount accountiban kontonummer",
    "card": """
        card cardnumber cardno creditcard creditcardnumber debitcard ccnumber ccnum pan
        paymentcard kartennummer
    """,
    "secret": """
        password passwd pwd pass passphrase passwort kennwort contrasena motdepasse senha wachtwoord
        secret secretkey clientsecret apikey apisecret apitoken accesskey accesskeyid
        secretaccesskey accesstoken refreshtoken authtoken bearertoken idtoken token privatekey
        signingkey encryptionkey masterkey credentials authorization cookie sessiontoken sessionkey
        webhooksecret dbpassword userpassword adminpassword totpsecret pin pw cvv cvc cvv2 cvc2
        securitycode cardsecuritycode pincode
    """,
    "ip": "ip ipaddress clientip remoteip remoteaddr sourceip srcip",
    "date": "dob dateofbirth birthdate birthday birthdate geburtsdatum fechanacimiento",
}
_BY_KEY = {key: kind for kind, keys in _KINDS.items() for key in keys.split()}
_BY_KEY["pan"] = "card"
_MAYBE_PERSON = frozenset(
    words(
        """
    name names owner author user contact guest sender manager member signee doctor signer
    creator buyer seller agent host candidate participant student teacher client from to
    chair
    """
    )
)
_PEOPLE = frozenset(
    key
    for key, kind in _BY_KEY.items()
    if kind in ("email", "phone", "national_id", "date", "address", "iban")
) | frozenset(
    words(
        """
    age gender sex salary birthplace nationality firstname lastname surname jobtitle
    department employeeid patientid ward diagnosis role position
    """
    )
)
_TAILS = words(
    """
    password secret apikey accesstoken privatekey email firstname lastname fullname phone
    phonenumber iban ssn postcode
    """
)
_SECRET_ENDS = frozenset({"pass", "pw", "pwd", "passwd", "pin", "cvv", "cvc", "cvv2", "cvc2"})
_LOGINS = ("username", "login", "handle", "screenname", "nickname", "user")


def normal_key(key: str) -> str:
    """A field's name without its case and separators."""
    return re.sub(r"[^^a-zß-öø-ÿ\d]", "", key.lower())


def field_kind(key: str) -> str | None:
    """What the values of a field are by its name; ``None`` where that says nothing."""
    normal = normal_key(key)
    if normal in _BY_KEY:
        return _BY_KEY[normal]
    for tail in _TAILS:
        if normal.endswith(tail):
            return _BY_KEY[tail]
    last = re.findall(r"[A-Z]?[a-z\d]+|[A-Z\d]+", key)[-1:]
    return "secret" if last and last[0].lower() in _SECRET_ENDS else None


def about_people(keys: Collection[str]) -> bool:
    """Whether fields beside a ``name`` say that it is a person's."""
    return any(normal_key(key) in _PEOPLE for key in keys)


def field_find(value: str, *, key: str, siblings: Collection[str] = ()) -> Found | None:
    """What a field's whole value is, by the names of the field and of those beside it."""
    stripped = value.strip()
    start = value.find(stripped) if stripped else 0
    end = start + len(stripped)
    if not 1 < len(stripped) <= 4096 or "\n" in stripped[:200].strip():
        return None
    normal = normal_key(key)
    kind = field_kind(key)
    if kind is None and normal in _MAYBE_PERSON and _person(stripped, normal, siblings):
        kind = "person"
    elif kind is not None and not _FITS[kind](stripped, normal):
        kind = None
    return Found(start, end, kind, by="field") if kind else None


def _person(value: str, key: str, siblings: Collection[str]) -> bool:
    """Whether the value of a field such as ``name`` is a person's."""
    tokens = value.split()
    if key == "user" and re.fullmatch(r"[^\W\d_]{2,}\.[^\W\d_]{2,}\d*", value):
        return True
    if not is_name(value) or any(token.lower() in NO_NAMES for token in tokens):
        return False
    if not all(token[0].isupper() or len(token) < 4 for token in tokens):
        return False
    if about_people(siblings):
        return True
    return any(known_given(token) for token in tokens) or (
        len(tokens) > 1 and tokens[0].lower() in GIVEN and tokens[0].lower() not in AMBIGUOUS
    )


def _fits_person(value: str, key: str) -> bool:
    if key in _LOGINS:
        return bool(re.fullmatch(r"[\w.-]{3,40}", value)) and value.lower() not in _NO_LOGIN
    return is_name(value) and value.lower() not in NO_NAMES


_NO_LOGIN = frozenset(
    words(
        """
    admin root user guest test system robot bot service anonymous nobody postgres ubuntu
    none null jenkins deploy default
    """
    )
)
_NOTHING = frozenset(
    words(
        """
    none null nil true false yes no n/a unknown string str required optional hidden redacted
    empty changeme example password secret token
    """
    )
)


def _fits_secret(value: str, key: str) -> bool:
    if value.lower() in _NOTHING or re.match(r"[<{$%*]|x{4}|\.\.\.|your[-_ ]", value, re.I):
        return False
    if key.endswith(("pin", "cvv", "cvc", "cvv2", "cvc2", "securitycode", "pincode")):
        return bool(re.fullmatch(r"\d{3,8}", value))
    if key in ("token", "authorization", "cookie", "credentials", "secret", "idtoken"):
        return is_token(value.removeprefix("Bearer ")) or is_password(value)
    return len(value) >= 4 and " " not in value


def _fits_address(value: str, key: str) -> bool:
    if key in ("zip", "zipcode", "postcode", "postalcode", "plz", "cap", "cep", "postnummer") or (
        key.endswith(("postcode", "postalcode", "zipcode"))
    ):
        return bool(re.fullmatch(r"[A-Z]{0,2}-?\d[\dA-Z -]{2,8}", value))
    words = re.search(r"[^\W\d_]{2,}", value)
    return bool(words and re.search(r"\d", value)) and "@" not in value and "://" not in value


_FITS: dict[str, Callable[[str, str], bool]] = {
    "person": _fits_person,
    "email": lambda value, key: "@" in value and " " not in value,
    "phone": lambda value, key: (
        6 <= sum(map(str.isdigit, value)) <= 15 and not re.search(r"[^\W\d_x]{2}", value)
    ),
    "address": _fits_address,
    "national_id": lambda value, key: sum(map(str.isdigit, value)) >= 5 and len(value) <= 24,
    "iban": lambda value, key: sum(map(str.isdigit, value)) >= 8 and len(value) <= 42,
    "card": lambda value, key: any(True for _ in find_cards(value, hint="card")),
    "secret": _fits_secret,
    "ip": lambda value, key: False,  # recognisers know which addresses are public
    "date": lambda value, key: any(map(str.isdigit, value)),
}

_PAIR = re.compile(
    r"(?<![\w.-])(?P<mark>\\?[\"'*]{0,2})(?P<key>[^\W\d][\w-]*(?:[ ][\w-]+){0,3}?)(?P=mark)"
    r"[ \t]*(?::\**|=)[ \t]*(?P<value>\\?\"[^\"\\\n]{1,400}|'[^'\n]{1,400}|[^\s\"'\\,;|"
    r"&<>{}\[\]][^\n\"\\,;|&<>{}\[\]]{0,120})"
)
_TAG = re.compile(r"<(?P<key>[A-Za-z][\w:.-]*)[^<>\n]*>(?P<value>[^<>\n]{2,200})</")


def find_by_fields(text: str) -> Iterator[Found]:
    """Values of named fields in a text: `key: value`, `key=value` and XML."""
    pairs = list(_PAIR.finditer(text)) if ":" in text or "=" in text else []
    keys = [match["key"] for match in pairs]
    for match in pairs:
        yield from _paired(text, match, keys)
    if "</" in text:
        tags = list(_TAG.finditer(text))
        names = [match["key"].rpartition(":")[2] for match in tags]
        for match, name in zip(tags, names, strict=True):
            one = field_find(match["value"], key=name, siblings=names)
            if one is not None:
                yield one.moved(match.start("value"))


def _paired(text: str, match: re.Match[str], keys: list[str]) -> Iterator[Found]:
    value, start = match["value"], match.start("value")
    quoted = value.startswith(('"', "'", "\\"))
    if quoted:
        cut = len(value) - len(value.lstrip("\\\"'"))
        value, start = value[cut:], start + cut
    elif "=" in text[match.end("key") : start]:
        value = value.split(" ")[0]  # a log's values end at a space
    else:
        value = re.split(r"[ ]{2,}|[ ][-–#(]|[.!?](?:\s|$)", value)[0]
    # In prose one word after a colon can be anything: only marked up fields count there.
    key = (
        match["key"].split(" ")[-1] if quoted or field_kind(match["key"]) is None else match["key"]
    )
    kind = field_kind(key)
    if kind == "secret":
        return  # its own recogniser knows code from values
    if kind == "person" and not quoted:
        words = value.split()
        while words and not words[-1][0].isupper() and len(words) > 1:
            words.pop()
        value = value[: value.find(words[-1]) + len(words[-1])] if words else ""
        if normal_key(key) not in _LOGINS and not value[:1].isupper():
            return
    one = field_find(value, key=key, siblings=keys)
    if one is not None:
        yield one.moved(start)


def find_in_tables(text: str) -> Iterator[Found]:
    """Cells below a line of field names, in CSV or Markdown; the table may be of any length."""
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    at = 0
    while at < len(lines) - 1:
        header = _header(lines[at])
        if header is None:
            at += 1
            continue
        separator, keys = header
        at += 1
        while at < len(lines) and lines[at].count(separator) >= len(keys) - 1:
            yield from _row(lines[at], starts[at], separator, keys)
            at += 1


def _header(line: str) -> tuple[str, list[str]] | None:
    for separator in ("|", "\t", ";", ","):
        cells = [cell.strip(" \"'*\r") for cell in line.split(separator)]
        cells[0] = re.split(r"[.:?!] ", cells[0])[-1]  # what leads to the table, on its line
        if len(cells) < 2 or len(line) > 2000:
            continue
        named = [cell for cell in cells if cell]
        known = [cell for cell in named if field_kind(cell) or normal_key(cell) in _MAYBE_PERSON]
        if known and all(re.fullmatch(r"[^\W\d][\w .()/-]{0,30}", cell) for cell in named):
            return separator, cells
    return None


def _row(line: str, start: int, separator: str, keys: list[str]) -> Iterator[Found]:
    at = start
    for cell, key in zip(line.split(separator), keys, strict=False):
        value = cell.strip(" \"'\r")
        if value and key:
            one = field_find(value, key=key, siblings=keys)
            if one is not None:
                yield one.moved(at + cell.find(value))
        at += len(cell) + 1
