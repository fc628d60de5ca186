"""A repository of the Hugging Face Hub, or of a mirror that speaks its API.

What exists, where it is and what went wrong is asked of `huggingface_hub`; the bytes are read by its HTTP client,
because its own download can neither stop at a percentage nor verify a checksum.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import HfApi, get_session, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling

from spillway.errors import ConnectionLost, FetchError, ModelNotFound, Unauthorized
from spillway.fetch.checksums import Checksum, Kind
from spillway.fetch.select import needed
from spillway.fetch.source import Listing, RemoteFile, checked

_TIMEOUT_SECONDS = 30.0


class HubSource:
    """One repository at one revision; `token` is empty for none."""

    def __init__(self, repository: str, revision: str, token: str, endpoint: str) -> None:
        self._repository = repository
        self._revision = revision or "main"
        self._token = token or False  # False: not the one of whoever is logged in on this machine either
        self._endpoint = endpoint.rstrip("/")

    def resolve(self) -> Listing:
        """The commit that the revision stands for now, and its files."""
        api = HfApi(endpoint=self._endpoint, token=self._token)
        with self._as_ours():
            info = api.model_info(
                self._repository, revision=self._revision, files_metadata=True, timeout=_TIMEOUT_SECONDS
            )
        files = [_remote_file(sibling) for sibling in info.siblings or ()]
        if not info.sha:
            raise ModelNotFound(f"{self._endpoint} names no commit of {self._repository}")
        return checked(Listing(info.sha, needed(files)))

    @contextmanager
    def read(self, listing: Listing, file: RemoteFile, start: int) -> Iterator[Iterator[bytes]]:
        """The bytes of `file` from byte `start` on; a server that takes no ranges is read in vain up to there."""
        url = hf_hub_url(self._repository, file.path, revision=listing.revision, endpoint=self._endpoint)
        # a range over a compressed answer would count other bytes than ours
        headers = {"Accept-Encoding": "identity"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"  # not sent on to another host that it redirects to
        if start:
            headers["Range"] = f"bytes={start}-"
        with self._as_ours(), get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT_SECONDS) as response:
            if response.status_code >= 400:
                response.read()
                raise self._refusal(response.status_code, file.path)
            # as it arrives: a chunk that is gathered first is lost with the connection
            chunks = response.iter_raw()
            yield chunks if response.status_code == 206 or not start else _after(chunks, start)

    @contextmanager
    def _as_ours(self) -> Iterator[None]:
        """The library's errors, and those of its HTTP client, in our words."""
        try:
            yield
        except GatedRepoError as error:
            raise self._refusal(403, "it is gated") from error
        except RevisionNotFoundError as error:
            raise ModelNotFound(
                f"{self._repository} has no revision {self._revision!r} on {self._endpoint}; see spec.model.revision"
            ) from error
        except RepositoryNotFoundError as error:
            # the hub answers so for what is private as well, so that nobody learns of it
            if self._token and error.response.status_code != 401:
                raise self._refusal(404, "") from error
            raise self._refusal(error.response.status_code, "") from error
        except HfHubHTTPError as error:
            raise self._refusal(error.response.status_code, "") from error
        except HFValidationError as error:
            raise ModelNotFound(f"{self._repository} cannot be the name of a repository: {error}") from error
        except httpx2.HTTPError as error:
            raise ConnectionLost(f"{self._endpoint}: {type(error).__name__} {error}".strip()) from error

    def _refusal(self, status: int, about: str) -> FetchError:
        what = f"{self._repository}{f' ({about})' if about else ''}"
        if status in {401, 403}:
            cure = (
                "has the token of spec.model.secretRef the right to read it?"
                if self._token
                else "if it exists, it is private or gated: name a token in spec.model.secretRef"
            )
            return Unauthorized(f"{self._endpoint} answered {status} for {what}; {cure}")
        if status in {404, 410}:
            return ModelNotFound(f"{self._endpoint} has no {what}; see spec.model.uri and revision")
        return ConnectionLost(f"{self._endpoint} answered {status} for {what}")


def _remote_file(sibling: RepoSibling) -> RemoteFile:
    if sibling.lfs is not None:
        return RemoteFile(sibling.rfilename, sibling.lfs.size, Checksum(Kind.SHA256, sibling.lfs.sha256))
    checksum = Checksum(Kind.GIT_BLOB, sibling.blob_id) if sibling.blob_id else None
    return RemoteFile(sibling.rfilename, sibling.size or 0, checksum)


def _after(chunks: Iterator[bytes], start: int) -> Iterator[bytes]:
    for chunk in chunks:
        if start < len(chunk):
            yield chunk[start:]
        start = max(0, start - len(chunk))
