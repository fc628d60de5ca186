"""A folder of an S3 bucket, or of any store that speaks S3.

`minio` rather than the AWS SDK: python-dateutil is held below 3 by botocore and above by the Kubernetes client, and a
download needs but three calls of S3.
"""

from __future__ import annotations

import configparser
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import urllib3
from minio import Minio
from minio.datatypes import Object
from minio.error import InvalidResponseError, S3Error, ServerError

from spillway.errors import ConnectionLost, FetchError, ModelNotFound, SecretMissing, Unauthorized
from spillway.fetch.checksums import Checksum, Kind
from spillway.fetch.source import Listing, RemoteFile, checked

_CHUNK_BYTES = 1 << 16  # what is gathered of a chunk is lost with the connection
_CONNECTIONS = 8
_TIMEOUT_SECONDS = 30.0
_UNAUTHORIZED = frozenset(
    {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
    }
)
_NOT_FOUND = frozenset({"NoSuchBucket", "NoSuchKey", "InvalidBucketName"})


@dataclass(frozen=True, slots=True)
class Keys:
    """Who reads the bucket."""

    access_key: str
    secret_key: str
    session_token: str | None = None
    region: str | None = None


def parse_keys(text: str) -> Keys:
    """The keys of the default profile of an AWS credentials file; `region` may stand beside them.

    Raises:
        SecretMissing: it is no such file, or a key is missing.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
        profile = parser["default"]
        return Keys(
            profile["aws_access_key_id"],
            profile["aws_secret_access_key"],
            profile.get("aws_session_token"),
            profile.get("region"),
        )
    except (configparser.Error, KeyError):  # what it says could hold the key itself
        raise SecretMissing(
            "the Secret's key must hold an AWS credentials file: "
            "[default], aws_access_key_id = ..., aws_secret_access_key = ..."
        ) from None


class BucketSource:
    """The folder `prefix` of a bucket; without keys it is read as anybody may."""

    def __init__(self, bucket: str, prefix: str, keys: Keys | None, endpoint: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._keys = keys
        self._endpoint = endpoint
        url = urlsplit(endpoint)
        self._client = Minio(
            endpoint=url.netloc,
            access_key=keys.access_key if keys else None,
            secret_key=keys.secret_key if keys else None,
            session_token=keys.session_token if keys else None,
            region=keys.region if keys else None,
            secure=url.scheme == "https",
            # one try each: whoever reads tries again where it stopped, and says so
            http_client=_pool(url.scheme),
        )

    def resolve(self) -> Listing:
        """The files of the folder as they are now; the revision is the digest of their names, sizes and ETags."""
        with self._as_ours():
            found = [
                entry
                for entry in self._client.list_objects(self._bucket, prefix=self._prefix, recursive=True)
                if entry.object_name and not entry.object_name.endswith("/")
            ]
            files = tuple(sorted((self._remote_file(entry) for entry in found), key=lambda file: file.path))
        told = "".join(f"{entry.object_name}\0{entry.size}\0{entry.etag}\n" for entry in found)
        return checked(Listing(f"sha256-{hashlib.sha256(told.encode()).hexdigest()}", files))

    @contextmanager
    def read(self, listing: Listing, file: RemoteFile, start: int) -> Iterator[Iterator[bytes]]:
        """The bytes of the object from byte `start` on."""
        del listing  # an object has no history to choose from: its checksum tells whether it is still the same
        with self._as_ours():
            response = self._client.get_object(self._bucket, self._prefix + file.path, offset=start)
            try:
                yield response.stream(_CHUNK_BYTES)
            finally:
                response.close()
                response.release_conn()

    def _remote_file(self, entry: Object) -> RemoteFile:
        name, size = entry.object_name or "", entry.size or 0
        return RemoteFile(name.removeprefix(self._prefix), size, self._checksum(name, size, entry.etag or ""))

    def _checksum(self, name: str, size: int, etag: str) -> Checksum | None:
        """What the object's ETag tells of its bytes: nothing where it is encrypted with a key of the bucket's owner."""
        if re.fullmatch("[0-9a-f]{32}", etag):
            head = self._client.stat_object(self._bucket, name)
            told = {key.lower(): value for key, value in (head.metadata or {}).items()}
            if str(told.get("x-amz-server-side-encryption", "AES256")) == "AES256":
                return Checksum(Kind.MD5, etag)
        if found := re.fullmatch("[0-9a-f]{32}-([0-9]+)", etag):
            first = self._client.stat_object(self._bucket, name, extra_query_params={"partNumber": "1"})
            part_bytes = first.size or 0
            if part_bytes and -(-size // part_bytes) == int(found[1]):
                return Checksum(Kind.MD5_PARTS, etag, part_bytes)
        return None

    @contextmanager
    def _as_ours(self) -> Iterator[None]:
        try:
            yield
        except S3Error as error:
            raise self._refusal(error) from error
        except ServerError as error:
            raise ConnectionLost(f"{self._endpoint} answered {error.status_code}") from error
        except (InvalidResponseError, urllib3.exceptions.HTTPError, OSError) as error:
            if isinstance(error, FetchError):
                raise
            raise ConnectionLost(f"{self._endpoint}: {type(error).__name__} {error}".strip()) from error

    def _refusal(self, error: S3Error) -> FetchError:
        where = f"s3://{self._bucket}/{self._prefix} on {self._endpoint}"
        if error.code in _UNAUTHORIZED:
            cure = (
                "have the keys of spec.model.secretRef the right to list and read it?"
                if self._keys
                else "name keys in spec.model.secretRef"
            )
            return Unauthorized(f"{where}: {error.code} {error.message}; {cure}")
        if error.code in _NOT_FOUND:
            return ModelNotFound(f"{where}: {error.code} {error.message}; see spec.model.uri")
        return ConnectionLost(f"{where}: {error.code} {error.message}")


def _pool(scheme: str) -> urllib3.PoolManager:
    """Connections, through the proxy that HTTPS_PROXY or HTTP_PROXY names for the scheme."""
    timeout = urllib3.Timeout(_TIMEOUT_SECONDS)
    proxy = getproxies_environment().get(scheme)
    if proxy is None:
        return urllib3.PoolManager(maxsize=_CONNECTIONS, timeout=timeout, retries=False)
    return urllib3.ProxyManager(proxy, maxsize=_CONNECTIONS, timeout=timeout, retries=False)
