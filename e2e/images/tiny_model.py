"""A GGUF file of the architecture llama with random weights: 2 MB that Ollama loads like any other model.

What it says is nonsense made of letters and syllables, and it never ends by itself: an answer is as long as max_tokens.
The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

from e2e.shell import CACHE

HIDDEN, LAYERS, HEADS, KEY_HEADS, FORWARD, CONTEXT = 128, 3, 4, 2, 256, 8192
SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
UNKNOWN, BEGIN, END_OF_TURN = 0, 1, 4
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Types of tokens, of values and of tensors, as the format numbers them.
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_ALIGNMENT = 32


def make() -> Path:
    """The file, from the cache or written into it."""
    path = CACHE / "tiny-1.gguf"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(content(random.Random(1)))
        part.replace(path)
    return path


def content(rng: random.Random) -> bytes:
    """The bytes of the file."""
    tokens, types, scores = vocabulary()
    tensors = list(_tensors(rng, len(tokens)))
    out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 21))
    for key, kind, value in (
        ("general.architecture", _STRING, "llama"),
        ("general.name", _STRING, "tiny-random-llama"),
        ("general.file_type", _UINT32, 0),
        ("llama.context_length", _UINT32, CONTEXT),
        ("llama.embedding_length", _UINT32, HIDDEN),
        ("llama.block_count", _UINT32, LAYERS),
        ("llama.feed_forward_length", _UINT32, FORWARD),
        ("llama.attention.head_count", _UINT32, HEADS),
        ("llama.attention.head_count_kv", _UINT32, KEY_HEADS),
        ("llama.rope.dimension_count", _UINT32, HIDDEN // HEADS),
        ("llama.attention.layer_norm_rms_epsilon", _FLOAT32, 1e-5),
        ("llama.vocab_size", _UINT32, len(tokens)),
        ("tokenizer.ggml.model", _STRING, "llama"),
        ("tokenizer.ggml.bos_token_id", _UINT32, BEGIN),
        ("tokenizer.ggml.eos_token_id", _UINT32, END_OF_TURN),
        ("tokenizer.ggml.unknown_token_id", _UINT32, UNKNOWN),
        ("tokenizer.ggml.add_bos_token", _BOOL, True),
        ("tokenizer.chat_template", _STRING, CHAT_TEMPLATE),
    ):
        out += _string(key) + struct.pack("<I", kind) + _value(kind, value)
    for key, kind, values in (
        ("tokenizer.ggml.tokens", _STRING, tokens),
        ("tokenizer.ggml.scores", _FLOAT32, scores),
        ("tokenizer.ggml.token_type", _INT32, types),
    ):
        out += _string(key) + struct.pack("<IIQ", _ARRAY, kind, len(values))
        out += b"".join(_value(kind, value) for value in values)
    offset = 0
    for name, shape, _ in tensors:
        out += _string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape) + struct.pack("<IQ", 0, offset)
        size = 4
        for extent in shape:
            size *= extent
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    out += bytes(-len(out) % _ALIGNMENT)
    for _, _, weights in tensors:
        out += weights.tobytes()
        out += bytes(-len(out) % _ALIGNMENT)
    return bytes(out)


def vocabulary() -> tuple[list[str], list[int], list[float]]:
    """(tokens, their types, their scores), as SentencePiece has them: special ones, bytes, letters, syllables."""
    plain = ["\u2581", *(chr(code) for code in range(33, 127))]
    syllables = [consonant + vowel for consonant in "bcdfghjklmnpqrstvwxyz" for vowel in "aeiou"]
    # A piece is merged from two earlier ones, so what is shorter comes first.
    plain += syllables + ["\u2581" + syllable for syllable in syllables]
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *plain]
    types = [_UNKNOWN, *[_CONTROL] * (len(SPECIAL) - 1), *[_BYTE] * 256, *[_NORMAL] * len(plain)]
    scores = [0.0] * (len(SPECIAL) + 256) + [-float(rank) for rank in range(len(plain))]
    return tokens, types, scores


def _tensors(rng: random.Random, vocabulary_size: int) -> Iterator[tuple[str, tuple[int, ...], array[float]]]:
    """(name, shape with the innermost extent first, weights).

    Channel 0 carries a constant through every layer, and the output takes from it a logit so low for what is special or
    a byte that none of them is ever drawn.
    """

    def drawn(inner: int, outer: int, scale: float = 1.0) -> array[float]:
        spread = scale / inner**0.5
        return array("f", (rng.gauss(0.0, spread) for _ in range(inner * outer)))

    def ones() -> array[float]:
        return array("f", [1.0]) * HIDDEN

    keys = HIDDEN // HEADS * KEY_HEADS
    embedding = drawn(HIDDEN, vocabulary_size, HIDDEN**0.5)
    for token in range(vocabulary_size):
        embedding[token * HIDDEN] = 4.0
    yield "token_embd.weight", (HIDDEN, vocabulary_size), embedding
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", (HIDDEN,), ones()
        yield block + "attn_q.weight", (HIDDEN, HIDDEN), drawn(HIDDEN, HIDDEN)
        yield block + "attn_k.weight", (HIDDEN, keys), drawn(HIDDEN, keys)
        yield block + "attn_v.weight", (HIDDEN, keys), drawn(HIDDEN, keys)
        for name, inner in (("attn_output", HIDDEN), ("ffn_down", FORWARD)):
            weights = drawn(inner, HIDDEN, 0.5)
            weights[:inner] = array("f", bytes(4 * inner))  # the constant channel takes nothing on
            yield f"{block}{name}.weight", (inner, HIDDEN), weights
        yield block + "ffn_norm.weight", (HIDDEN,), ones()
        yield block + "ffn_gate.weight", (HIDDEN, FORWARD), drawn(HIDDEN, FORWARD)
        yield block + "ffn_up.weight", (HIDDEN, FORWARD), drawn(HIDDEN, FORWARD)
    yield "output_norm.weight", (HIDDEN,), ones()
    output = drawn(HIDDEN, vocabulary_size)
    for token in range(vocabulary_size):
        silent = token < len(SPECIAL) + 256
        if silent:
            output[token * HIDDEN : (token + 1) * HIDDEN] = array("f", bytes(4 * HIDDEN))
        output[token * HIDDEN] = -30.0 if silent else 0.0
    yield "output.weight", (HIDDEN, vocabulary_size), output


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _value(kind: int, value: object) -> bytes:
    if isinstance(value, str):
        return _string(value)
    return struct.pack({_UINT32: "<I", _INT32: "<i", _FLOAT32: "<f", _BOOL: "<?"}[kind], value)
