"""As much of S3 as a download needs, with signatures reckoned here by the specification and compared.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import quote
from xml.sax.saxutils import escape

from aiohttp import web


@dataclass
class Stored:
    """One object; `part_bytes`: it was uploaded in parts of that size. `kms`: its ETag tells nothing."""

    content: bytes
    part_bytes: int = 0
    kms: bool = False

    @property
    def etag(self) -> str:
        if self.kms:
            return hashlib.md5(b"something else").hexdigest()
        if not self.part_bytes:
            return hashlib.md5(self.content).hexdigest()
        parts = [self.content[at : at + self.part_bytes] for at in range(0, len(self.content), self.part_bytes)]
        whole = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts))
        return f"{whole.hexdigest()}-{len(parts)}"


@dataclass
class Bucket:
    """A server with one bucket; without `keys` anybody may read it."""

    objects: dict[str, Stored]
    name: str = "models"
    keys: tuple[str, str] | None = None
    cut_after_bytes: int = 0
    corrupt: bool = False
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    async def __aenter__(self):
        app = web.Application()
        app.router.add_route("*", "/{bucket}", self._bucket)
        app.router.add_route("*", "/{bucket}/", self._bucket)
        app.router.add_route("*", "/{bucket}/{key:.+}", self._object)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _bucket(self, request):
        if refusal := self._refusal(request):
            return refusal
        if "location" in request.query:
            return _xml('<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>')
        prefix = request.query.get("prefix", "")
        # two a page, so that pages are followed
        names = sorted(name for name in self.objects if name.startswith(prefix))
        names = [name for name in names if name > request.query.get("continuation-token", "")]
        page, rest = names[:2], names[2:]
        entries = "".join(
            f"<Contents><Key>{quote(escape(name))}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f'<ETag>"{self.objects[name].etag}"</ETag><Size>{len(self.objects[name].content)}</Size></Contents>'
            for name in page
        )
        more = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if rest else ""
        return _xml(
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{self.name}</Name><Prefix>{prefix}</Prefix><EncodingType>url</EncodingType>"
            f"<IsTruncated>{'true' if rest else 'false'}</IsTruncated>{more}{entries}</ListBucketResult>"
        )

    async def _object(self, request):
        key = request.match_info["key"]
        self.asked.append((request.method, key, request.headers.get("Range", "")))
        if refusal := self._refusal(request):
            return refusal
        if key not in self.objects:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        stored = self.objects[key]
        headers = {"ETag": f'"{stored.etag}"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if stored.kms:
            headers["x-amz-server-side-encryption"] = "aws:kms"
        content = stored.content
        if request.method == "HEAD":
            size = stored.part_bytes if request.query.get("partNumber") == "1" and stored.part_bytes else len(content)
            return web.Response(headers=headers | {"Content-Length": str(size)})
        if self.corrupt:
            content = bytes([content[0] ^ 1]) + content[1:]
        start = request.http_range.start or 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        content = content[start:]
        response.content_length = len(content)
        await response.prepare(request)
        if self.cut_after_bytes and self.cut_after_bytes < len(content):
            await response.write(content[: self.cut_after_bytes])
            request.transport.close()
            return response
        await response.write(content)
        return response

    def _refusal(self, request):
        if request.match_info["bucket"] != self.name:
            return _error(404, "NoSuchBucket", "The specified bucket does not exist")
        if self.keys is None:
            return None
        given = request.headers.get("Authorization", "")
        if not given:
            return _error(403, "AccessDenied", "Access Denied")
        parts = dict(part.strip().split("=", 1) for part in given.removeprefix("AWS4-HMAC-SHA256 ").split(","))
        access_key, *scope = parts["Credential"].split("/")
        if access_key != self.keys[0]:
            return _error(403, "InvalidAccessKeyId", "The key Id you provided does not exist in our records.")
        if parts["Signature"] != self._signature(request, parts["SignedHeaders"], scope):
            return _error(403, "SignatureDoesNotMatch", "The signature we calculated does not match.")
        return None

    def _signature(self, request, signed_headers, scope):
        query = "&".join(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(request.query.items())
        )
        headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in signed_headers.split(";"))
        path = quote(request.path, safe="/-_.~")
        body = request.headers["x-amz-content-sha256"]
        canonical = f"{request.method}\n{path}\n{query}\n{headers}\n{signed_headers}\n{body}"
        told = "\n".join(
            (
                "AWS4-HMAC-SHA256",
                request.headers["x-amz-date"],
                "/".join(scope),
                hashlib.sha256(canonical.encode()).hexdigest(),
            )
        )
        key = f"AWS4{self.keys[1]}".encode()
        for part in scope:
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, told.encode(), hashlib.sha256).hexdigest()


def _xml(text):
    return web.Response(body=f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode(), content_type="application/xml")


def _error(status, code, message):
    text = f"<Error><Code>{code}</Code><Message>{message}</Message><Resource>/</Resource></Error>"
    return web.Response(
        status=status,
        body=f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode(),
        content_type="application/xml",
        headers={"x-amz-request-id": "1"},
    )
