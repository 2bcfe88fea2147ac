"""Every error hetagent raises, in one tree; each message ends with what to do next.

To catch several kinds, catch what they have in common:

    HetagentError
    ├── SkillError                a skill is declared or called in a way that cannot work
    │   └── UnsupportedTypeError  an output type that no constraint can express
    ├── InputError                an input that cannot be given to any model
    │   └── InputTooLongError     an input that does not fit the model's context window
    ├── ModelError                a model could not be found, loaded or run
    │   ├── UnknownModelError     a name that is in no catalogue and no folder
    │   ├── ModelFileError        a weights file that is missing, truncated or corrupt
    │   │   └── ChecksumError     a file whose SHA-256 is not the pinned one
    │   ├── DownloadError         weights that could not be fetched
    │   ├── BackendError          the installed llama.cpp cannot run on this machine
    │   ├── ConstraintError       a constraint that cannot be compiled or cannot act
    │   ├── ModelTimeoutError     a model that gave no answer in time
    │   ├── ModelDownError        a model that failed so often that it is left alone for a while
    │   └── ProviderError         a remote provider refused or failed
    │       ├── CredentialsError  the key is missing or was refused
    │       ├── RateLimitError    the provider asks to slow down
    │       └── ConnectError      the provider could not be reached
    ├── OutputError               an answer that is not a valid value of the output type
    ├── CertificateError          a certificate or calibrator cannot be made, read or trusted
    │   └── StaleCertificate      what a certificate was made for is not what runs now
    ├── NoAnswerError             neither the SLM nor the LLM gave an acceptable answer
    ├── StoreError                call records that could not be kept or read
    ├── RegistryError             bindings that could not be kept, read or switched
    ├── BudgetError               a model call that the budget has no money or time for
    └── MissingExtraError         an optional dependency is not installed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from hetagent.outcome import Outcome, Usage

__all__ = [
    "BackendError",
    "BudgetError",
    "CertificateError",
    "ChecksumError",
    "ConnectError",
    "ConstraintError",
    "CredentialsError",
    "DownloadError",
    "HetagentError",
    "InputError",
    "InputTooLongError",
    "MissingExtraError",
    "ModelDownError",
    "ModelError",
    "ModelFileError",
    "ModelTimeoutError",
    "NoAnswerError",
    "OutputError",
    "ProviderError",
    "RateLimitError",
    "RegistryError",
    "SkillError",
    "StaleCertificate",
    "StoreError",
    "UnknownModelError",
    "UnsupportedTypeError",
]


class HetagentError(Exception):
    """The root of all errors raised on purpose by hetagent.

    Attributes:
        message: What went wrong, in one sentence.
        hint: What to do next; empty where the message already says it.
        retryable: Whether the same call may succeed if it is made again later.
        usage: What the failed call cost all the same, where the model knows.
        attempts: How many tries it took.
    """

    retryable: bool = False
    usage: Usage | None = None
    attempts: int = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their positional arguments, and ours have keywords too.
        return _revive, (type(self), self.args, self.__dict__.copy())

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


def _revive(kind: type[HetagentError], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class SkillError(HetagentError):
    """A skill is declared or called in a way that cannot work."""


class UnsupportedTypeError(SkillError):
    """An output type that no constraint can express."""


class InputError(HetagentError):
    """An input that cannot be given to any model."""


class InputTooLongError(InputError):
    """An input that does not fit the model's context window.

    Attributes:
        tokens: Length of the prompt, in tokens.
        limit: Tokens the context has room for, the answer's included.
    """

    def __init__(self, message: str, *, tokens: int = 0, limit: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.tokens = tokens
        self.limit = limit


class ModelError(HetagentError):
    """A model could not be found, loaded or run."""


class UnknownModelError(ModelError):
    """A name that is in no catalogue and no folder."""


class ModelFileError(ModelError):
    """A weights file that is missing, truncated or corrupt."""


class ChecksumError(ModelFileError):
    """A file whose SHA-256 is not the pinned one."""


class DownloadError(ModelError):
    """Weights that could not be fetched."""

    retryable = True


class BackendError(ModelError):
    """The installed llama.cpp cannot run on this machine."""


class ConstraintError(ModelError):
    """A constraint that cannot be compiled or cannot act."""


class ModelTimeoutError(ModelError):
    """A model that gave no answer in time."""

    retryable = True


class ModelDownError(ModelError):
    """A model that failed so often in a row that it is left alone for a while.

    Attributes:
        seconds: How long it is left alone yet.
    """

    retryable = True

    def __init__(self, message: str, *, seconds: float = 0.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds


class ProviderError(ModelError):
    """A remote provider refused or failed.

    Attributes:
        status: HTTP status code, or ``None`` where there was no HTTP answer.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retryable: bool | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        if retryable is not None:
            self.retryable = retryable


class CredentialsError(ProviderError):
    """The key is missing or was refused."""


class RateLimitError(ProviderError):
    """The provider asks to slow down."""

    retryable = True


class ConnectError(ProviderError):
    """The provider could not be reached."""

    retryable = True


class OutputError(HetagentError):
    """An answer that is not a valid value of the output type.

    Attributes:
        text: The answer as the model gave it.
    """

    def __init__(self, message: str, *, text: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text = text


class CertificateError(HetagentError):
    """A certificate or calibrator cannot be made, read or trusted."""


class StaleCertificate(CertificateError):  # noqa: N818 - it names a state, and is caught by it
    """What a certificate was made for is not what runs now.

    Attributes:
        changed: Names of the parts that differ, such as ``"prompt"``.
    """

    def __init__(self, message: str, *, changed: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.changed = changed


class NoAnswerError(HetagentError):
    """Neither the SLM nor the LLM gave an acceptable answer.

    Attributes:
        outcome: What was tried: reason, draft, error, usage, trace id.
    """

    def __init__(self, message: str, *, outcome: Outcome[Any], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.outcome = outcome


class BudgetError(HetagentError):
    """A model call that the budget has no money or time for.

    Attributes:
        cap: What is used up: the cap of this ``"call"`` of a skill, of the ``"scope"`` around it,
            or of a time ``"window"``.
        limit: The cap, in US dollars, seconds or calls of LLMs.
        spent: What of it is spent, in the same unit.
        at_cap: What is to be done then.
        outcome: What was tried, where this was raised.
    """

    def __init__(
        self,
        message: str,
        *,
        cap: Literal["call", "scope", "window"],
        limit: float,
        spent: float,
        at_cap: Literal["abstain", "degrade", "raise"] = "abstain",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.cap = cap
        self.limit = limit
        self.spent = spent
        self.at_cap = at_cap
        self.outcome: Outcome[Any] | None = None


class StoreError(HetagentError):
    """Call records could not be kept or read."""


class RegistryError(HetagentError):
    """Bindings could not be kept, read or switched."""


class MissingExtraError(HetagentError, ImportError):
    """An optional dependency is not installed.

    Attributes:
        extra: The name to install, as in ``pip install 'hetagent[extra]'``.
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(
            f"{package!r} is not installed.", hint=f"Install it: pip install 'hetagent[{extra}]'"
        )
        self.extra = extra
