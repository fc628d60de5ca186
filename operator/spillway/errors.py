"""Every error Spillway raises on purpose: one class per meaning, a leaf that imports nothing of ours.

SpillwayError
├── InvalidObject(ValueError)         a field of an object cannot be used; says the field, the value and the cure
│   ├── UnknownProfile                spec.accelerator.profile names none of the administrator's profiles
│   └── DoesNotFit                    the model does not fit the accelerator
├── BadRequest(ValueError)            a caller's request cannot be served as it is: status, message, param, code
├── WatchExpired(LookupError)         a watch has to begin again with a list
├── LedgerUnreachable(ConnectionError)  the ledger cannot be read or written: nothing may be spent
│   └── JournalUnwritable             the disk under the journal is full or broken: nothing may be spent
├── JournalDamaged(ValueError)        a journal's bytes are not those that were written
├── LedgerConflict(RuntimeError)      somebody else wrote the ledger first: read it again
├── BudgetExhausted(RuntimeError)     the budget's window has not that much left
├── NotReserved(KeyError)             a reservation is settled or released that is not open (unknown, or a second time)
├── AlreadyReserved(KeyError)         a reservation's key is in use
├── CredentialMissing(LookupError)    a target's credential or CA bundle is not there: reason and message
├── MalformedShares(ValueError)       what a peer told of its work is not in the form that is told
├── NothingSent(ConnectionError)      an upstream could not be connected to
│   ├── AddressRefused                it is at an address that may not be called
│   └── CertificateNotTrusted         its certificate is of no authority that is trusted, or of another host
├── ClientLeft(ConnectionError)       the caller is gone
├── ImpossibleEvent(RuntimeError)     the request machine was told what cannot happen where it is
├── StreamBroken(ValueError)          an upstream's event stream cannot be read
├── SetupError(RuntimeError)          this machine lacks something; says what and how to get it
├── InvalidSetting(ValueError)        an environment variable or option of a process cannot be used
├── FetchError                        a model could not be downloaded; each has a reason for status and an exit code
│   ├── Unauthorized(PermissionError)   the hub or bucket wants another token
│   ├── ModelNotFound(LookupError)    there is no such repository, revision, bucket or folder
│   ├── SecretMissing(LookupError)    the Secret or its key is not there
│   ├── DiskFull(OSError)             the claim is too small
│   ├── ConnectionLost(ConnectionError)  the hub or bucket does not answer, or stops in the middle
│   └── ChecksumMismatch(ValueError)  what arrived is not what was published
└── ClusterError                      the Kubernetes API did not do what was asked
    ├── NotFound(LookupError)         the object, or its kind, does not exist
    ├── Conflict                      another writer was first, or the object exists already
    ├── Invalid(ValueError)           the API server refuses the object: field and message
    ├── Forbidden(PermissionError)    our account has no right to it, or a quota is used up
    └── Unreachable(ConnectionError)  no answer, or one that says to come back later
"""

from __future__ import annotations


class SpillwayError(Exception):
    """The root of all errors that Spillway raises on purpose."""


class InvalidObject(SpillwayError, ValueError):
    """A field of an object cannot be used as it is: names the field, its value and what to write instead."""

    def __init__(self, field: str, problem: str, cure: str, reason: str = "InvalidSpec") -> None:
        """Name the `field` by its path in the object, the `problem` with its value, the `cure` and a reason."""
        super().__init__(f"{field}: {problem}; {cure}")
        self.field = field
        self.problem = problem
        self.cure = cure
        self.reason = reason


class UnknownProfile(InvalidObject):
    """spec.accelerator.profile names none of the administrator's profiles."""


class DoesNotFit(InvalidObject):
    """The model, at its context and quantisation, does not fit the accelerator."""


class SetupError(SpillwayError, RuntimeError):
    """This machine lacks something that was needed: the message says what and how to get it."""


class BadRequest(SpillwayError, ValueError):
    """A caller's request cannot be served as it is, whoever would serve it: 400, 404 or 413 in OpenAI's error shape."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        """Say in `message` what to send instead; `param` is the body's field, `code` OpenAI's machine-readable word."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code


class WatchExpired(SpillwayError, LookupError):
    """A watch's resourceVersion is too old (410): list again."""


class LedgerUnreachable(SpillwayError, ConnectionError):
    """The ledger cannot be read or written. Nothing may be spent meanwhile."""


class JournalUnwritable(LedgerUnreachable):
    """What is spent could not be written down: the disk under the journal is full or broken."""


class JournalDamaged(SpillwayError, ValueError):
    """A journal is of another version, or its bytes are not those that were written: nothing of it is believed."""


class LedgerConflict(SpillwayError, RuntimeError):
    """Somebody else wrote the ledger since it was read: read it again."""


class BudgetExhausted(SpillwayError, RuntimeError):
    """The window of the budget has not as much left as was asked for."""


class NotReserved(SpillwayError, KeyError):
    """A reservation is settled or released that is not open: it never was, or this is the second time."""


class AlreadyReserved(SpillwayError, KeyError):
    """A reservation is asked for under a key that is in use."""


class CredentialMissing(SpillwayError, LookupError):
    """A target's credential or CA bundle is not there, or cannot be used."""

    def __init__(self, reason: str, message: str) -> None:
        """Give the CamelCase `reason` for status, and a `message` that names the Secret or ConfigMap and its key."""
        super().__init__(message)
        self.reason = reason
        self.message = message


class StreamBroken(SpillwayError, ValueError):
    """An upstream's event stream cannot be read: an event has no end within its limit."""


class InvalidSetting(SpillwayError, ValueError):
    """An environment variable or option of a process of ours cannot be used: which, its value and what to write."""


class ClusterError(SpillwayError):
    """The Kubernetes API did not do what was asked; the message is the API server's own, after what was asked."""


class NotFound(ClusterError, LookupError):
    """The object, or the kind itself, does not exist."""


class Conflict(ClusterError):
    """Another writer was first, or an object of that name exists already."""


class Invalid(ClusterError, ValueError):
    """The API server refuses the object: `field` is the path of the first bad field, empty when it names none."""

    def __init__(self, message: str, field: str = "") -> None:
        """Keep the `field` beside the API server's `message`."""
        super().__init__(message)
        self.field = field


class Forbidden(ClusterError, PermissionError):
    """Our account has no right to it, or an admission rule such as a quota refuses it."""


class Unreachable(ClusterError, ConnectionError):
    """The API server gave no answer, failed, or asked to come back later."""


class ImpossibleEvent(SpillwayError, RuntimeError):
    """The request machine was told what cannot happen in its state: a bug of ours; stop the request and charge it."""


class MalformedShares(SpillwayError, ValueError):
    """What a peer told of its work is not in the form that is told: ignore all of it, and count it."""


class NothingSent(SpillwayError, ConnectionError):
    """An upstream could not be connected to: nothing of the request reached it."""


class AddressRefused(NothingSent):
    """A cloud host is at an address inside this machine or network that the administrator did not name."""


class CertificateNotTrusted(NothingSent):
    """A cloud's certificate is of no authority that is trusted for it, has expired, or is of another host."""


class ClientLeft(SpillwayError, ConnectionError):
    """The caller's connection is gone, or takes no more bytes."""


class FetchError(SpillwayError):
    """A model could not be downloaded: `reason` for status, `exit_code` for whoever runs `spillway fetch`."""

    reason = "DownloadFailed"
    exit_code = 1


class Unauthorized(FetchError, PermissionError):
    """The hub or bucket refuses the token, or wants one."""

    reason = "Unauthorized"
    exit_code = 10


class ModelNotFound(FetchError, LookupError):
    """The hub or bucket has no such repository, revision, folder or file."""

    reason = "NotFound"
    exit_code = 11


class SecretMissing(FetchError, LookupError):
    """The Secret that the model's secretRef names is not there, or has no such key, or holds nothing usable."""

    reason = "SecretNotFound"
    exit_code = 12


class DiskFull(FetchError, OSError):
    """The model does not fit on the claim."""

    reason = "DiskFull"
    exit_code = 13


class ConnectionLost(FetchError, ConnectionError):
    """The hub or bucket does not answer, or stops in the middle: what has arrived is kept, and the rest worth a try."""

    reason = "ConnectionLost"
    exit_code = 14


class ChecksumMismatch(FetchError, ValueError):
    """What has arrived is not what was published: the file is thrown away."""

    reason = "ChecksumMismatch"
    exit_code = 15
