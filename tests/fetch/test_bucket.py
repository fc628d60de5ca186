"""`spillway fetch` from a bucket: a local server that lists, serves ranges and checks signatures as S3 does."""

from __future__ import annotations

import asyncio
import json

import pytest

from fetch.bucket_server import Bucket, Stored
from spillway.fetch import download as downloading
from spillway.fetch.start import FetchSettings, run
from spillway.simulator.hub import made_up_model

MIB = 1 << 20
FILES = made_up_model(4 * MIB, {"model_type": "llama", "num_hidden_layers": 32})
FIRST = "llama/8b/model-00001-of-00002.safetensors"
KEYS = "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s%cret/1\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloading, "_LONGEST_PAUSE_SECONDS", 0.01)


@pytest.fixture
async def bucket():
    objects = {f"llama/8b/{path}": Stored(content) for path, content in FILES.items()}
    objects[FIRST].part_bytes = 700_000
    objects["llama/8b-old/config.json"] = Stored(b"{}")
    objects["llama/8b/"] = Stored(b"")
    async with Bucket(objects) as bucket:
        yield bucket


@pytest.fixture
def fetch(bucket, tmp_path):
    async def fetch(uri="s3://models/llama/8b", keys="", **changes):
        secret = None
        if keys:
            secret = tmp_path / "secrets" / "bucket" / "credentials"
            secret.parent.mkdir(parents=True, exist_ok=True)
            secret.write_text(keys)
        last = tmp_path / "termination-log"
        settings = {"directory": tmp_path / "model", "s3_endpoint": bucket.url, "termination_message": last}
        code = await asyncio.to_thread(run, FetchSettings(uri=uri, secret_file=secret, **settings | changes))
        return code, json.loads(last.read_text())

    return fetch


def on_disk(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".spillway" not in path.parts
    }


async def test_a_folder_of_a_public_bucket_is_downloaded_and_verified(fetch, tmp_path):
    code, told = await fetch()
    assert code == 0
    assert on_disk(tmp_path / "model") == FILES
    assert told["revision"].startswith("sha256-")
    assert (told["files"], told["unverified"], told["config"]) == (
        4,
        0,
        {"model_type": "llama", "num_hidden_layers": 32},
    )


async def test_what_is_complete_is_not_asked_for_again(bucket, fetch):
    first = await fetch()
    bucket.asked = []
    assert await fetch() == first
    assert not bucket.asked


async def test_a_cut_connection_is_resumed_where_it_stopped(bucket, fetch, tmp_path):
    bucket.cut_after_bytes = 800_000
    assert (await fetch())[0] == 0
    assert on_disk(tmp_path / "model") == FILES
    starts = [int(asked[6:-1] or 0) for method, key, asked in bucket.asked if (method, key) == ("GET", FIRST)]
    assert starts == sorted(set(starts))
    assert len(starts) == 3


async def test_keys_open_a_private_bucket(bucket, fetch, tmp_path):
    bucket.keys = ("AKIA1", "s%cret/1")
    assert (await fetch(keys=KEYS))[0] == 0
    assert on_disk(tmp_path / "model") == FILES


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("", "AccessDenied"),
        (KEYS.replace("AKIA1", "AKIA2"), "InvalidAccessKeyId"),
        (KEYS.replace("s%cret/1", "wrong"), "SignatureDoesNotMatch"),
    ],
    ids=["no keys", "an unknown key", "a wrong secret"],
)
async def test_wrong_keys_or_none_are_said_so(bucket, fetch, keys, says):
    bucket.keys = ("AKIA1", "s%cret/1")
    code, told = await fetch(keys=keys)
    assert (code, told["reason"]) == (10, "Unauthorized")
    assert says in told["message"]
    assert "wrong" not in told["message"]


@pytest.mark.parametrize("keys", ["AKIA1:s3cret", "[default]\naws_access_key_id = AKIA1\n"])
async def test_a_secret_in_another_shape_is_explained_and_not_repeated(fetch, keys):
    code, told = await fetch(keys=keys)
    assert (code, told["reason"]) == (12, "SecretNotFound")
    assert "AWS credentials file" in told["message"]
    assert "AKIA1" not in told["message"]


@pytest.mark.parametrize("uri", ["s3://other/llama/8b", "s3://models/llama/9b"])
async def test_what_does_not_exist_is_said_so(fetch, uri):
    code, told = await fetch(uri)
    assert (code, told["reason"]) == (11, "NotFound")


async def test_bytes_that_are_not_the_stored_ones_never_become_the_model(bucket, fetch, tmp_path):
    bucket.corrupt = True
    code, told = await fetch()
    assert (code, told["reason"]) == (15, "ChecksumMismatch")
    assert not on_disk(tmp_path / "model").keys() & {"model-00001-of-00002.safetensors"}
    bucket.corrupt = False
    assert (await fetch())[0] == 0
    assert on_disk(tmp_path / "model") == FILES


async def test_what_nobody_published_a_checksum_of_is_counted(bucket, fetch):
    bucket.objects[FIRST].part_bytes, bucket.objects[FIRST].kms = 0, True
    code, told = await fetch()
    assert (code, told["unverified"]) == (0, 1)


async def test_a_bucket_that_changed_has_another_revision(bucket, fetch, tmp_path):
    _, before = await fetch()
    bucket.objects["llama/8b/added.json"] = Stored(b"{}")
    _, after = await fetch(directory=tmp_path / "again")
    assert before["revision"] != after["revision"]
