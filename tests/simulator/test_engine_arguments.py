from __future__ import annotations

from dataclasses import replace

import pytest

from spillway.simulator.engine import faults
from spillway.simulator.engine.arguments import Arguments, parse

GIVEN = Arguments(model="m")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("m", GIVEN),
        ("--model m", GIVEN),
        ("m --port 8123 --host ::", replace(GIVEN, port=8123, host="::")),
        ("m --served-model-name a b", replace(GIVEN, served_names=("a", "b"))),
        ("m --max-model-len 8192", replace(GIVEN, max_model_len=8192)),
        ("m --max-model-len=8k", replace(GIVEN, max_model_len=8000)),
        ("m --max_model_len 8K", replace(GIVEN, max_model_len=8192)),
        ("m --max-model-len auto", replace(GIVEN, max_model_len=-1)),
        ("m -tp 2 -pp 2 -q awq", replace(GIVEN, tensor_parallel_size=2, pipeline_parallel_size=2, quantization="awq")),
        ("m --gpu-memory-utilization 0.5", replace(GIVEN, gpu_memory_utilization=0.5)),
        ("m --kv-cache-memory-bytes 2M", replace(GIVEN, kv_cache_memory_bytes=2 * 2**20)),
        (
            "m --max-num-seqs 4 --max-num-batched-tokens 256 --max-num-queued-reqs 6",
            replace(GIVEN, max_num_seqs=4, max_num_batched_tokens=256, max_num_queued_reqs=6),
        ),
        ("m --shutdown-timeout 60", replace(GIVEN, shutdown_timeout_seconds=60.0)),
        ("m --api-key k1 k2", replace(GIVEN, api_keys=("k1", "k2"))),
        ("m --enable-force-include-usage", replace(GIVEN, force_include_usage=True)),
        ("m --enable-prefix-caching --dtype auto --kv-cache-dtype fp8 --no-enable-log-requests", GIVEN),
        ("m --attention-config.backend FLASH_ATTN --hf-token", GIVEN),
    ],
)
def test_a_flag_of_vllm_is_taken(words: str, expected: Arguments) -> None:
    assert parse(words.split(), {}) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("m --no-such-flag", "unrecognized arguments: --no-such-flag"),
        ("m --max-model", "unrecognized arguments: --max-model"),
        ("m --port", "expected one argument"),
        ("m --port eighty", "invalid int value: 'eighty'"),
        ("m --gpu-memory-utilization much", "invalid float value: 'much'"),
        ("m --enable-prefix-caching=yes", "ignored explicit argument 'yes'"),
    ],
)
def test_what_vllm_does_not_take_ends_with_exit_code_2(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words.split(), {})

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_key_of_the_environment_counts_only_without_the_flag() -> None:
    assert parse(["m"], {"VLLM_API_KEY": "e"}).api_keys == ("e",)
    assert parse(["m", "--api-key", "f"], {"VLLM_API_KEY": "e"}).api_keys == ("f",)


def test_the_model_answers_to_its_own_name_when_no_other_is_given() -> None:
    assert parse(["m"], {}).names == ("m",)
    assert parse(["m", "--served-model-name", "a", "b"], {}).names == ("a", "b")


def test_faults_are_read_by_name() -> None:
    assert faults.parse("") == faults.Faults()
    assert faults.parse("break-after-tokens=3").break_after_tokens == 3
    with pytest.raises(ValueError, match="no fault"):
        faults.parse("gremlins")
