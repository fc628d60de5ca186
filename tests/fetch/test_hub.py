"""`spillway fetch` from a local hub that speaks as the Hugging Face Hub does, over real sockets, onto a real disk."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import signal
import sys

import pytest

from spillway.fetch import download as downloading
from spillway.fetch.report import MESSAGE_BYTES
from spillway.fetch.start import FetchSettings, run
from spillway.simulator.hub import Hub, Repository, made_up_model

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "torch_dtype": "float16",
    "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "modules_to_not_convert": ["x"] * 99},
    "transformers_version": "4.41.1",
}
MIB = 1 << 20
FILES = made_up_model(4 * MIB, CONFIG)
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
NAME = "acme/model"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloading, "_LONGEST_PAUSE_SECONDS", 0.01)


@pytest.fixture
async def hub():
    async with Hub({NAME: Repository(FILES)}) as hub:
        yield hub


@pytest.fixture
def fetch(hub, tmp_path):
    """Run a fetch in this process; its exit code, and its last word."""

    async def fetch(uri=f"hf://{NAME}", **changes):
        last = tmp_path / "termination-log"
        defaults = {"directory": tmp_path / "model", "hub_endpoint": hub.url, "termination_message": last}
        code = await asyncio.to_thread(run, FetchSettings(uri=uri, **defaults | changes))
        return code, json.loads(last.read_text())

    return fetch


def on_disk(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".spillway" not in path.parts
    }


def ranges(hub, shard):
    """The ranges that were asked of a shard, in order."""
    return [asked.range for asked in hub.asked if asked.path == shard]


async def test_a_model_is_downloaded_verified_and_told_of(hub, fetch, tmp_path, capsys):
    code, told = await fetch()
    assert code == 0
    assert on_disk(tmp_path / "model") == FILES
    assert told["revision"] == hub.repositories[NAME].commit
    assert told["bytes"] == sum(map(len, FILES.values()))
    assert (told["percent"], told["files"], told["unverified"], told["weight_bytes"]) == (100, 4, 0, 4 * MIB)
    assert told["config"]["num_hidden_layers"] == 28
    assert told["config"]["quantization_config"] == {"quant_method": "awq", "bits": 4}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines[:-1]] == ["resolved", *["file"] * 4]
    assert lines[-1] == told


async def test_what_is_complete_is_not_asked_for_again(hub, fetch):
    first = await fetch()
    asked, hub.asked, hub.resolved = hub.asked, [], 0
    assert asked
    assert await fetch() == first
    assert (hub.asked, hub.resolved) == ([], 0)


async def test_a_complete_model_needs_no_hub(hub, fetch):
    first = await fetch()
    assert await fetch(hub_endpoint="http://127.0.0.1:1") == first


async def test_a_file_that_has_gone_is_fetched_again_alone(hub, fetch, tmp_path):
    await fetch()
    hub.asked = []
    (tmp_path / "model" / FIRST).unlink()
    assert (await fetch())[0] == 0
    assert on_disk(tmp_path / "model") == FILES
    assert {asked.path for asked in hub.asked if not asked.path.startswith("/cdn")} == {FIRST}


async def test_a_cut_connection_is_resumed_where_it_stopped(hub, fetch, tmp_path):
    hub.faults.cut_after_bytes = 700_000
    code, _ = await fetch()
    assert code == 0
    assert on_disk(tmp_path / "model") == FILES
    starts = [int(asked.removeprefix("bytes=").removesuffix("-") or 0) for asked in ranges(hub, FIRST)]
    # each begins where the one before was cut, at most a buffer earlier
    assert starts == sorted(starts)
    assert starts[0] == 0
    assert len(starts) == 3
    assert all(0 < after - before <= 700_000 for before, after in itertools.pairwise(starts))


async def test_a_hub_without_ranges_is_read_from_the_start(hub, fetch, tmp_path):
    hub.faults.cut_after_bytes, hub.faults.cuts, hub.faults.ignore_ranges = 1_500_000, 2, True
    assert (await fetch())[0] == 0
    assert on_disk(tmp_path / "model") == FILES


async def test_a_hub_that_is_down_is_given_up_and_nothing_is_lost(hub, fetch):
    assert (await fetch(until_percent=30))[0] == 0
    hub.faults.is_down = True
    code, told = await fetch()
    assert (code, told["reason"]) == (14, "ConnectionLost")
    assert "answered 503" in told["message"]
    hub.faults.is_down, hub.asked = False, []
    assert (await fetch())[0] == 0
    assert hub.resolved == 1, "what was resolved holds for the next attempt"
    assert any(ranges(hub, FIRST) + ranges(hub, SECOND)), "what had arrived is not asked for again"


async def test_a_hub_that_is_not_there_is_a_lost_connection(hub, fetch):
    code, told = await fetch(hub_endpoint="http://127.0.0.1:1")
    assert (code, told["reason"]) == (14, "ConnectionLost")
    assert "http://127.0.0.1:1" in told["message"]


async def test_a_step_ends_at_its_percentage_and_the_next_goes_on(hub, fetch, tmp_path):
    reached = []
    for percent in (25, 50, 75):
        code, told = await fetch(until_percent=percent)
        assert code == 0
        reached.append(told["percent"])
        assert told["totalBytes"] == sum(map(len, FILES.values()))
    assert reached == sorted(reached)
    assert all(percent <= got for percent, got in zip((25, 50, 75), reached, strict=True))
    assert reached[0] < 100
    code, told = await fetch()
    assert (code, told["percent"], hub.resolved) == (0, 100, 1)
    assert on_disk(tmp_path / "model") == FILES


async def test_bytes_that_are_not_the_published_ones_never_become_the_model(hub, fetch, tmp_path):
    hub.faults.corrupt = True
    code, told = await fetch()
    assert (code, told["reason"]) == (15, "ChecksumMismatch")
    assert "safetensors should be sha256" in told["message"]
    assert not {FIRST, SECOND} & on_disk(tmp_path / "model").keys()
    hub.faults.corrupt = False
    assert (await fetch())[0] == 0
    assert on_disk(tmp_path / "model") == FILES


# Tokens


@pytest.fixture
def token_file(tmp_path):
    def write(token):
        path = tmp_path / "secrets" / "hub-token" / "token"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(token)
        return path

    return write


async def test_a_token_opens_a_private_model_and_stays_with_the_hub(hub, fetch, token_file, tmp_path):
    hub.repositories[NAME] = Repository(FILES, token="hf_right")
    code, _ = await fetch(secret_file=token_file("hf_right\n"))
    assert code == 0
    assert on_disk(tmp_path / "model") == FILES
    for asked in hub.asked:
        assert asked.authorization == ("" if asked.path.startswith("/cdn") else "Bearer hf_right"), asked.path


@pytest.mark.parametrize(("token", "cure"), [("hf_wrong", "has the token"), (None, "name a token in")])
async def test_a_wrong_token_or_none_is_said_so(hub, fetch, token_file, token, cure):
    hub.repositories[NAME] = Repository(FILES, token="hf_right")
    code, told = await fetch(secret_file=token_file(token) if token else None)
    assert (code, told["reason"]) == (10, "Unauthorized")
    assert NAME in told["message"]
    assert cure in told["message"]
    assert "hf_wrong" not in told["message"]


@pytest.mark.parametrize("content", [None, "", " \n"], ids=["no file", "empty", "blank"])
async def test_a_secret_that_is_not_there_is_named(hub, fetch, tmp_path, token_file, content):
    path = tmp_path / "secrets" / "hub-token" / "token" if content is None else token_file(content)
    code, told = await fetch(secret_file=path)
    assert (code, told["reason"]) == (12, "SecretNotFound")
    assert "'hub-token'" in told["message"]
    assert hub.resolved == 0


@pytest.mark.parametrize(
    ("uri", "revision", "says"),
    [("hf://acme/other", "", "acme/other"), (f"hf://{NAME}", "v9", "no revision 'v9'")],
)
async def test_what_does_not_exist_is_said_so(hub, fetch, token_file, uri, revision, says):
    code, told = await fetch(uri, revision=revision, secret_file=token_file("hf_any"))
    assert (code, told["reason"]) == (11, "NotFound")
    assert says in told["message"]


async def test_a_pinned_commit_is_what_is_downloaded(hub, fetch, tmp_path):
    commit = hub.repositories[NAME].commit
    code, told = await fetch(revision=commit)
    assert (code, told["revision"]) == (0, commit)


async def test_a_file_name_cannot_lead_out_of_the_folder(hub, fetch, tmp_path):
    for name in ("../escaped", "/etc/escaped", "a/../../escaped", ".spillway/complete.json"):
        hub.repositories[NAME] = Repository({name: b"x", "config.json": b"{}"})
        code, told = await fetch()
        assert (code, told["reason"]) == (11, "NotFound"), name
        assert "cannot be that of a model" in told["message"]
    assert not list(tmp_path.rglob("escaped"))


async def test_weights_in_other_formats_are_left_where_they_are(hub, fetch, tmp_path):
    others = {"pytorch_model.bin": b"p", "onnx/model.onnx": b"o", "original/consolidated.00.pth": b"c", "x.gguf": b"g"}
    hub.repositories[NAME] = Repository({**FILES, **others})
    await fetch()
    assert on_disk(tmp_path / "model").keys() == FILES.keys()


async def test_the_last_word_fits_into_what_the_kubelet_keeps(hub, fetch, tmp_path):
    big = CONFIG | {"rope_scaling": {"long_factor": [1.5] * 5000}, "architectures": ["A" * 250]}
    hub.repositories[NAME] = Repository(made_up_model(MIB, big | {"text_config": big, "model_type": "x" * 255}))
    _, told = await fetch()
    assert len((tmp_path / "termination-log").read_bytes()) <= MESSAGE_BYTES
    assert told["config"]["num_hidden_layers"] == 28
    assert told["config"]["rope_scaling"] == {}


# As a process


async def fetch_process(hub, directory, *options, limit=None):
    """Start `spillway fetch`; with `limit` no file of its may grow beyond that many bytes."""

    def small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spillway", "fetch", f"hf://{NAME}", "--directory", str(directory), *options),
        env={**os.environ, "HF_ENDPOINT": hub.url},
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=small_disk if limit else None,
    )


async def test_a_full_disk_is_said_so_and_what_has_arrived_is_kept(hub, tmp_path):
    process = await fetch_process(hub, tmp_path / "model", limit=1_500_000)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    told = json.loads(out.splitlines()[-1])
    assert (process.returncode, told["reason"]) == (13, "DiskFull")
    assert "make spec.cache.size larger" in told["message"]
    process = await fetch_process(hub, tmp_path / "model")
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert on_disk(tmp_path / "model") == FILES
    # whichever of the two came to the limit first stopped both
    assert "bytes=1500000-" in {ranges(hub, FIRST)[-1], ranges(hub, SECOND)[-1]}


async def test_a_model_that_cannot_fit_is_refused_before_the_first_byte(hub, fetch, monkeypatch):
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: type("Usage", (), {"free": MIB}))
    code, told = await fetch()
    assert (code, told["reason"]) == (13, "DiskFull")
    assert "0.0 GiB are missing" in told["message"]
    assert not hub.asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
async def test_a_process_that_is_ended_goes_on_where_it_was(hub, tmp_path, number):
    hub.faults.bytes_per_second = 1_000_000
    process = await fetch_process(hub, tmp_path / "model")
    parts = tmp_path / "model" / ".spillway" / "parts"
    async with asyncio.timeout(60):
        while not sum(path.stat().st_size for path in parts.glob("*")) > 500_000:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.02)
    process.send_signal(number)
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode in {143, -number}
    assert not {FIRST, SECOND} & on_disk(tmp_path / "model").keys()
    hub.faults.bytes_per_second, hub.asked = 0, []
    process = await fetch_process(hub, tmp_path / "model")
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert on_disk(tmp_path / "model") == FILES
    assert any(ranges(hub, shard) and ranges(hub, shard)[0] for shard in (FIRST, SECOND))


async def test_two_that_download_into_one_folder_take_turns(hub, tmp_path):
    hub.faults.bytes_per_second = 4_000_000
    both = [await fetch_process(hub, tmp_path / "model") for _ in range(2)]
    told = [(await asyncio.wait_for(process.communicate(), 60))[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert told[0][-1] == told[1][-1]
    assert len([asked for asked in hub.asked if asked.path == FIRST]) == 1
    assert on_disk(tmp_path / "model") == FILES


def test_help_shows_an_example():
    from typer.testing import CliRunner

    from spillway.cli import app

    answer = CliRunner().invoke(app, ["fetch", "--help"])
    assert answer.exit_code == 0
    assert "Example: spillway fetch hf://" in answer.output
