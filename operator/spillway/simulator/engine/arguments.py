"""vLLM's command line: every flag it has is taken, one that it has not ends with exit code 2, as there.

The names come from a data file; what each flag means is modelled for the few in `Arguments` only.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

# Read as a file: the package that keeps it is about templates, which an engine does not need.
_FLAGS_FILE: Final = Path(__file__).parents[2] / "render" / "vllm-0.32.0-flags.txt"
_ARITY: Final[Mapping[str, str | None]] = {"one": None, "optional": "?", "many": "+"}
_SUFFIXES: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}


_MODEL: Final = "Qwen/Qwen3-0.6B"
_PORT: Final = 8000
_UTILIZATION: Final = 0.92


@dataclass(frozen=True, slots=True)
class Arguments:
    """The flags that the simulator gives a meaning."""

    model: str = _MODEL
    served_names: tuple[str, ...] = ()
    host: str | None = None
    port: int = _PORT
    max_model_len: int | None = None
    """None: not given; -1: `auto`."""
    quantization: str | None = None
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    gpu_memory_utilization: float = _UTILIZATION
    kv_cache_memory_bytes: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_num_queued_reqs: int | None = None
    shutdown_timeout_seconds: float = 0.0
    api_keys: tuple[str, ...] = ()
    force_include_usage: bool = False
    server_load_tracking: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names that clients may call the model by; the first is the one that answers carry."""
        return self.served_names or (self.model,)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"usage: vllm serve [model_tag] [options]\nvllm serve: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    # Python's prefix matching is off: a flag that is cut short is a mistake in whatever rendered it.
    parser = _Parser(allow_abbrev=False, usage=argparse.SUPPRESS)
    parser.add_argument("model_tag", nargs="?")
    for line in _FLAGS_FILE.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        arity, *names = line.split()
        target = names[0].removeprefix("--").replace("-", "_")
        if arity != "none":
            parser.add_argument(*names, dest=target, nargs=_ARITY[arity])
            continue
        negative = [name for name in names if name.startswith("--no-") and name != names[0]]
        parser.add_argument(*[name for name in names if name not in negative], dest=target, action="store_true")
        for name in negative:
            parser.add_argument(name, dest=target, action="store_false")
    return parser


def _with_dashes(word: str) -> str:
    """`--max_model_len` is `--max-model-len`, and `--config.key=1` a key of a JSON flag, as vLLM reads them."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    name = name.replace("_", "-")
    if "." in name:
        name = name.partition(".")[0]
    return f"{name}{equals}{value}"


def _number(parser: argparse.ArgumentParser, flag: str, text: str | None) -> int | None:
    """An integer as vLLM takes it: `8192`, `8k` (thousands), `8K` (of 1024); None when the flag was not given."""
    if text is None:
        return None
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?)([kmgKMG]?)", text)
    if match is None:
        parser.error(f"argument {flag}: invalid int value: {text!r}")
    return int(float(match.group(1)) * _SUFFIXES.get(match.group(2), 1))


def _share(parser: argparse.ArgumentParser, flag: str, text: str | None, default: float) -> float:
    try:
        return default if text is None else float(text)
    except ValueError:
        parser.error(f"argument {flag}: invalid float value: {text!r}")


def parse(argv: Sequence[str], environment: Mapping[str, str]) -> Arguments:
    """Read a command line of `vllm serve`, without those two words.

    Raises SystemExit(2) with a message on stderr for a flag that vLLM 0.32.0 does not have or a value it cannot read.
    """
    parser = _parser()
    given: dict[str, str | list[str] | bool | None] = vars(parser.parse_args([_with_dashes(word) for word in argv]))

    def text(name: str) -> str | None:
        value = given[name]
        return value if isinstance(value, str) else None

    def words(name: str) -> tuple[str, ...]:
        value = given[name]
        return tuple(value) if isinstance(value, list) else ()

    def number(name: str) -> int | None:
        return _number(parser, f"--{name.replace('_', '-')}", text(name))

    length = "-1" if text("max_model_len") == "auto" else text("max_model_len")
    key_of_environment = environment.get("VLLM_API_KEY")
    return Arguments(
        model=text("model_tag") or text("model") or _MODEL,
        served_names=words("served_model_name"),
        host=text("host"),
        port=number("port") or _PORT,
        max_model_len=_number(parser, "--max-model-len", length),
        quantization=text("quantization"),
        tensor_parallel_size=number("tensor_parallel_size") or 1,
        pipeline_parallel_size=number("pipeline_parallel_size") or 1,
        gpu_memory_utilization=_share(parser, "--gpu-memory-utilization", text("gpu_memory_utilization"), _UTILIZATION),
        kv_cache_memory_bytes=number("kv_cache_memory_bytes"),
        max_num_seqs=number("max_num_seqs"),
        max_num_batched_tokens=number("max_num_batched_tokens"),
        max_num_queued_reqs=number("max_num_queued_reqs"),
        shutdown_timeout_seconds=float(number("shutdown_timeout") or 0),
        api_keys=words("api_key") or ((key_of_environment,) if key_of_environment else ()),
        force_include_usage=given["enable_force_include_usage"] is True,
        server_load_tracking=given["enable_server_load_tracking"] is True,
    )
