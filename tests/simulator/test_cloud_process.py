from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from spillway.simulator.cloud import recorder


def test_as_a_process_it_leaves_its_books_in_the_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spillway.simulator.cloud", "--directory", str(tmp_path), "--price", "m=0.15,0.60"]
    process = subprocess.Popen(command, env=os.environ | {"SPILLWAY_SIMULATED_API_KEY": "k"}, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["simulator"] is True
        context = ssl.create_default_context(cafile=tmp_path / "ca.crt")

        def post(body: bytes, key: str) -> int:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            request = urllib.request.Request(f"{ready['base_url']}/chat/completions", body, headers)
            try:
                with urllib.request.urlopen(request, context=context, timeout=10) as response:
                    return response.status
            except urllib.error.HTTPError as refused:
                with refused:
                    return refused.code

        paid = b'{"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": "pay \\u0040 once"}]}'
        assert post(paid, "k") == 200
        assert post(b"unpaid", "wrong") == 401
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stdout is not None
        process.stdout.close()

    bill = json.loads((tmp_path / "bill.json").read_bytes())
    assert bill == {
        "simulator": True, "requests": 1, "prompt_tokens": 7, "completion_tokens": 2, "micros": 3, "usd": "0.000003",
    }  # fmt: skip
    first, second = recorder.read_records(tmp_path)
    assert (first.method, first.path, first.body) == ("POST", "/v1/chat/completions", paid)
    assert (second.body, second.header("authorization")) == (b"unpaid", "Bearer wrong")
    assert recorder.contains(tmp_path, b"pay @ once")
    assert recorder.contains(tmp_path, b"unpaid")
    assert not recorder.contains(tmp_path, b"never sent")


def test_without_a_key_it_does_not_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spillway.simulator.cloud", "--directory", str(tmp_path), "--price", "m=1,2"]
    environment = {name: value for name, value in os.environ.items() if name != "SPILLWAY_SIMULATED_API_KEY"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)

    assert ended.returncode == 2
    assert "SPILLWAY_SIMULATED_API_KEY" in ended.stderr


@pytest.mark.parametrize("price", ["m=1", "m=a,b"])
def test_a_price_that_is_none_is_refused(price: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spillway.simulator.cloud", "--directory", str(tmp_path), "--price", price]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    assert ended.returncode == 2
    assert "dollars per million tokens" in ended.stderr
