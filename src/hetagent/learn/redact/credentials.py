"""Keys, tokens and passwords, by the form their makers give them or by what stands before them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from hetagent.learn.redact.found import Found

__all__ = ["entropy", "find_secrets", "find_tokens", "is_password", "is_token"]

# Tokens that say whose they are. One expression, so that a text is read once.
_KNOWN = re.compile(
    r"""(?<![A-Za-z0-9])(?:
      sk-(?:proj|svcacct|admin|ant|or|lf|None)[\w-]{20,} | sk-[A-Za-z0-9]{20,}
    | (?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|ANPA|AROA)[A-Z2-7]{16}(?![A-Za-z0-9])
    | AIza[\w-]{35} | ya29\.[\w.-]{20,} | GOCSPX-[\w-]{20,} | 1//0[\w-]{30,}
    | gh[oprsu]_[A-Za-z0-9]{20,} | github_pat_\w{22,} | gl[a-z]{2,6}-[\w-]{20,}
    | xox[a-z]-[\w-]{10,} | xapp-\d-[\w-]{10,}
    | [prs]k_(?:live|test)_[A-Za-z0-9]{10,} | whsec_[A-Za-z0-9+/=]{16,}
    | SG\.[\w-]{16,32}\.[\w-]{16,64} | key-[0-9a-f]{32} | SK[0-9a-f]{32}
    | npm_[A-Za-z0-9]{30,} | pypi-[\w-]{50,} | rubygems_[0-9a-f]{48} | dckr_pat_[\w-]{20,}
    | hf_[A-Za-z0-9]{30,} | api_org_[A-Za-z0-9]{30,} | gsk_[A-Za-z0-9]{40,} | r8_[A-Za-z0-9]{37}
    | xai-[A-Za-z0-9]{40,} | pplx-[A-Za-z0-9]{40,} | nvapi-[\w-]{40,} | fw_[A-Za-z0-9]{22,}
    | \d{8,10}:AA[\w-]{33} | [MNO][\w-]{22,27}\.[\w-]{6}\.[\w-]{27,45}
    | do[opr]_v1_[0-9a-f]{64} | shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32} | sq0[a-z]{3}-[\w-]{22,}
    | dapi[0-9a-f]{32} | lin_api_[A-Za-z0-9]{30,} | ntn_[A-Za-z0-9]{30,} | figd_[\w-]{30,}
    | hv[bs]\.[\w-]{24,} | ATATT3[\w=-]{30,} | ATCTT3[\w=-]{30,} | gl(?:c|sa)_[\w=+/]{30,}
    | sntry[su]_[\w=+/]{30,} | NRAK-[A-Z0-9]{27} | PMAK-[0-9a-f-]{50,} | tskey-[\w-]{20,}
    | phc_[A-Za-z0-9]{30,} | pat-[a-z]{2}\d-[0-9a-f-]{36} | AGE-SECRET-KEY-1[A-Z0-9]{50,}
    | eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)* | eyJ[\w-]{8,}\.eyJ[\w-]{8,}
    )""",
    re.VERBOSE,
)
_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
# Passwords in addresses; a host must follow.
_URL = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@\"'<>]*:([^\s@\"'<>]+)@(?=[\w\[])")
_HOOK = re.compile(
    r"(?:hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/"
    r"|\.webhook\.office\.com/webhookb2/|api\.telegram\.org/(?:file/)?bot)([\w/@.:-]{20,}?)"
    r"(?=/(?:send|get|set|edit|delete|answer|forward)\w+|[^\w/@.:-]|$)"
)
_BEARER = re.compile(
    r"\b(?:[Bb]earer|[Bb]asic|BEARER|BASIC|[Tt]oken)[ \t]+([A-Za-z0-9._~+/-]{12,}=*)"
)
_USER = re.compile(r"(?:^|\s)(?:-u|--user)[ =]['\"]?[\w.@-]+:([^\s'\"]{4,})")
_OPTION = re.compile(
    r"(?:^|\s)--?(?:password|passwd|pass|token|api-key|apikey|"
    r"secret)[ =]['\"]?([^\s'\"-][^\s'\"]{3,})"
)
_SHORT_OPTION = re.compile(
    r"\b(?:docker|podman|helm|mysql|mysqldump|mariadb|sshpass|az|oc|redis-cli|htpasswd)\b"
    r"[^\n|;&]*?\s-[pPa][ ]?['\"]?([^\s'\"-][^\s'\"]{3,})"
)
_WORD = (
    r"(?:api[_ -]?key|apikey|app[_ -]?key|access[_ -]?key(?:[_ -]?id)?|account[_ -]?key|"
    r"shared[_ -]?access[_ -]?(?:key|signature)|secret(?:[_ -]?(?:access[_ -]?)?key)?|"
    r"client[_ -]?secret|(?:auth|access|refresh|id|bearer|session|bot|csrf|_)?[_ -]?token|"
    r"private[_ -]?key|signing[_ -]?key|encryption[_ -]?key|master[_ -]?key|credentials?|"
    r"passwords?|passwd|passphrase|passcode|pwd|pass|pw|kennwort|passwort|contrase[ñn]a|"
    r"mot de passe|wachtwoord|senha|has[łl]o|pin[_ -]?code|"
    r"session(?:[_ -]?id)?|sessid|sid|phpsessid|jsessionid|sig|signature|authorization|cookie)"
)
_ASSIGNED = re.compile(
    r"(?i)(?<![a-z])(?:[a-z0-9]{1,30}[_.-]){0,4}(?:pg|db|my|app|user|root|admin)?(?P<word>"
    + _WORD
    + r")"
    r"(?P<between>\\?[\"'\]]{0,2}[ \t]*(?:=>|:=|[:=])[ \t]*(?:\\?[\"'`])?(?:Bearer |Basic )?)"
    r"(?P<value>[^\s\"'`<>,;\\]{4,})"
)
_TOLD = re.compile(
    r"(?i)\b(?P<word>" + _WORD + r")[\"']?(?: (?:for|of|to) [\w' .-]{1,30}?)?"
    r"(?: (?:is|was|are|to|ist|lautet|war|est|es|è|will be|=)|['’]s)"
    r"(?: now| still| set to| called)?[ :]+[\"'`]?"
    r"(?P<value>[^\s\"'`<>,;]{5,})"
)
_LATER = re.compile(  # "reset my password? It was ..."
    r"(?i)\b(?:password|passwd|passphrase|passcode|pwd|token|"
    r"pin)\b[^\n]{0,50}?[.,?!;:] [^\n.?!]{0,20}?"
    r"\bit(?:'s| is| was)(?: now)? [\"'`]?(?P<value>[^\s\"'`<>,;]{5,})"
)
_NUMBERED = re.compile(  # "PIN 4471", "cvv: 123"
    r"(?<![\w-])(?i:pin(?:[ -]?(?:code|number|no\.?))?|cvv2?|cvc2?|card security code|"
    r"security code)\\?[\"']?(?i:[ ](?:is|was))?[ ]?[:=]?[ ]?\\?[\"']?"
    r"(?P<value>\d{3,8})(?![\w.,-]\d|\w)"
)
_LOCKED = re.compile(  # "the wifi is CAFE and the key is ..."
    r"(?i)\b(?:wi-?fi|wlan|wireless|router|hotspot|ssid|network)\b[^\n]{0,60}?\b(?:key|code)"
    r"(?: is| was)?[ :=]+[\"'`]?(?P<value>[^\s\"'`<>,;]{5,})"
)
_SPACED = re.compile(r"(?i)(?:" + _WORD + r")[ \t]+(?P<value>[A-Za-z0-9+/=_-]{20,})(?![\w/+])")
_NEAR_AWS = re.compile(r"(?<![\w/+=])[A-Za-z0-9/+]{40}(?![\w/+=])")
_WEAK_WORDS = ("session", "sid", "sessid", "sig", "signature", "cookie", "authorization")
_PLACEHOLDER = re.compile(
    r"(?i)^(?:<.*|\{\{?.*|\$[{(\w].*|%[\w(].*|x{4,}|\*+|\.{3,}|…+|none|null|nil|true|false|"
    r"undefined|"
    r"str(?:ing)?|bytes|int|bool|any|optional.*|secretstr.*|required|redacted|masked|hidden|empty|"
    r"your[-_ ].*|my[-_](?:api|secret|token|pass).*|os\.(?:environ|getenv).*|process\.env.*|"
    r"env[.\[(].*|getenv.*|config[.\[].*|settings[.\[].*|self\..*|args\..*|this\..*|secrets?\..*|"
    r"[a-z_.]*\(.*|[a-z_]+\[.*|changed?|reset|wrong|invalid|expired|incorrect|missing)$"
)


def find_tokens(text: str) -> Iterator[Found]:
    """Secrets that are known by their own form, in a text of any length; they may be long."""
    for match in _KNOWN.finditer(text):
        yield Found(match.start(), match.end(), "secret")
    if "-----BEGIN" in text:
        for match in _BLOCK.finditer(text):
            yield Found(match.start(), match.end(), "secret")


def find_secrets(text: str) -> Iterator[Found]:
    """Secrets that are known by what stands around them."""
    for expression in (_URL, _HOOK, _USER) if ":" in text else ():
        for match in expression.finditer(text):
            if not _PLACEHOLDER.match(match[1]):
                yield Found(*match.span(1), "secret")
    for match in _BEARER.finditer(text):
        if is_token(match[1]):
            yield Found(*match.span(1), "secret")
    if " -" in text:
        yield from _from_commands(text)
    yield from _from_words(text)
    if "AKIA" in text or "ASIA" in text:
        for match in _NEAR_AWS.finditer(text):
            if entropy(match[0]) > 4.2:
                yield Found(match.start(), match.end(), "secret")


def _from_commands(text: str) -> Iterator[Found]:
    for expression in (_OPTION, _SHORT_OPTION):
        for match in expression.finditer(text):
            if not _PLACEHOLDER.match(match[1]):
                yield Found(*match.span(1), "secret")


def _from_words(text: str) -> Iterator[Found]:
    """Values that follow a word such as *password*."""
    for match in _ASSIGNED.finditer(text):
        value = _tidied(match["value"])
        if _assigned(match, value):
            yield Found(match.start("value"), match.start("value") + len(value), "secret")
    for match in _TOLD.finditer(text):
        value = _tidied(match["value"])
        if is_password(value):
            yield Found(match.start("value"), match.start("value") + len(value), "secret")
    for match in _LATER.finditer(text):
        value = _tidied(match["value"])
        if is_password(value):
            yield Found(match.start("value"), match.start("value") + len(value), "secret")
    for match in _LOCKED.finditer(text):
        value = _tidied(match["value"])
        if is_password(value):
            yield Found(match.start("value"), match.start("value") + len(value), "secret")
    for match in _NUMBERED.finditer(text):
        if len(match["value"]) > 3 or match[0][:1] not in "pP":
            yield Found(*match.span("value"), "secret")
    for match in _SPACED.finditer(text):
        if is_token(match["value"]):
            yield Found(*match.span("value"), "secret")


def _assigned(match: re.Match[str], value: str) -> bool:
    """Whether what follows a sign of assignment is a secret, not code or prose."""
    if len(value) < 4 or _PLACEHOLDER.match(value):
        return False
    word = match["word"].lower()
    between = match["between"]
    if word in _WEAK_WORDS or "token" in word or "key" in word:
        return is_token(value)
    if between[-1] in "\"'`":
        return True
    if "=" in between and " " not in between:
        # `password=password` passes a variable on.
        return not re.fullmatch(r"[a-z]+(?:[_.][a-z]+)+|" + _WORD, value)
    return is_password(value)


def _tidied(value: str) -> str:
    """Without what ends a sentence or a bracket around it."""
    value = re.split(r"&(?=\w+=)", value)[0]
    while value and (value[-1] in ".:" or (value[-1] in ")]}" and _unopened(value))):
        value = value[:-1]
    return value


def _unopened(value: str) -> bool:
    return value.count(value[-1]) > value.count({")": "(", "]": "[", "}": "{"}[value[-1]])


def is_password(value: str) -> bool:
    """Whether somebody's word for it being a password can be believed: it is no plain word."""
    if len(value) < 5 or _PLACEHOLDER.match(value) or "://" in value:
        return False
    digit = any(char.isdigit() for char in value)
    letter = any(char.isalpha() for char in value)
    sign = any(char in "!#$%&*?@^~+=" for char in value[:-1]) or value[-1] in "!#$%&*@^~"
    mixed = any(char.isupper() for char in value[1:]) and any(char.islower() for char in value)
    return (letter and digit) or (letter and sign and mixed) or (sign and digit)


def is_token(value: str) -> bool:
    """Whether it is long and mixed enough to have been drawn at random."""
    if len(value) < 16 or _PLACEHOLDER.match(value):
        return False
    if not any(char.isdigit() for char in value) or not any(char.isalpha() for char in value):
        return False
    return entropy(value) > 2.8


def entropy(text: str) -> float:
    """Bits per character, by how often each occurs (Shannon 1948)."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)
