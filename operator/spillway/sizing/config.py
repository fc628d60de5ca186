"""The facts that a model's own config.json tells, in the words that Hugging Face's transformers gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spillway.api.v1alpha1 import QuantizationMethod
from spillway.errors import InvalidObject
from spillway.sizing.models import ModelFacts, Origin, count_parameters

# What transformers takes for keys that a config.json leaves out, where that is not another key's value.
_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "gemma2": {"tie_word_embeddings": True, "sliding_window_pattern": 2},
    "gemma3_text": {
        "tie_word_embeddings": True,
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "sliding_window_pattern": 6,
    },
    "gemma": {"tie_word_embeddings": True},
    "gpt2": {"tie_word_embeddings": True},
    "falcon": {"tie_word_embeddings": True},
}
# Feed-forward blocks of two matrices; the others have a gate as a third.
_UNGATED = frozenset({"bloom", "falcon", "gpt2", "gpt_bigcode", "gpt_neox", "mpt", "opt", "phi", "starcoder2"})
_METHODS = {
    "awq": QuantizationMethod.AWQ,
    "gptq": QuantizationMethod.GPTQ,
    "fp8": QuantizationMethod.FP8,
    "fbgemm_fp8": QuantizationMethod.FP8,
    "bitsandbytes": QuantizationMethod.BITS_AND_BYTES,
}
_DTYPE_BYTES = {"float32": 4, "float64": 8}
# All keys that are read here.
_KEYS = frozenset(
    [
        "model_type",
        "torch_dtype",
        "dtype",
        "tie_word_embeddings",
        "vocab_size",
        "hidden_size",
        "n_embd",
        "d_model",
        "head_dim",
        "num_hidden_layers",
        "n_layer",
        "n_layers",
        "num_attention_heads",
        "n_head",
        "n_heads",
        "num_key_value_heads",
        "num_kv_heads",
        "multi_query",
        "new_decoder_architecture",
        "intermediate_size",
        "n_inner",
        "ffn_hidden_size",
        "num_experts",
        "num_local_experts",
        "n_routed_experts",
        "num_experts_per_tok",
        "experts_per_token",
        "moe_intermediate_size",
        "n_shared_experts",
        "shared_expert_intermediate_size",
        "first_k_dense_replace",
        "decoder_sparse_step",
        "kv_lora_rank",
        "q_lora_rank",
        "qk_rope_head_dim",
        "qk_nope_head_dim",
        "v_head_dim",
        "sliding_window",
        "use_sliding_window",
        "sliding_window_pattern",
        "sliding_layers",
        "mlp_only_layers_count",
        "max_position_embeddings",
        "n_positions",
        "n_ctx",
        "seq_length",
        "max_seq_len",
    ]
)
_LONGEST_WORD = 64
_ROPE_KEYS = ("rope_type", "type", "factor", "original_max_position_embeddings")
_QUANTIZATION_KEYS = ("quant_method", "bits", "w_bit")


def facts_from_config(config: Mapping[str, object], weight_bytes: int | None = None) -> ModelFacts:
    """The facts of the model whose config.json is `config`, and whose weights' files are `weight_bytes` together.

    With the files' size, what the shape does not tell (a part that sees images) is counted too.

    Raises:
        InvalidObject: the config does not tell the shape; the key that is missing or wrong is named.
    """
    text = config.get("text_config")
    whole = _Config(config, text if isinstance(text, Mapping) else config)
    facts = _facts(whole)
    facts = facts.model_copy(update={"parameters": _count(whole, facts)})
    if weight_bytes is None:
        return facts
    stored = _DTYPE_BYTES.get(whole.word("torch_dtype", whole.word("dtype", "")), 2)
    if stored != 2:  # the engine loads them in 16 bits
        weight_bytes = weight_bytes * 2 // stored
    other = weight_bytes // 2 - facts.parameters if facts.stored_as is QuantizationMethod.NONE else 0
    return facts.model_copy(
        update={
            "weight_bytes": weight_bytes,
            "parameters": facts.parameters + max(0, other),
            "other_parameters": max(0, other),
        }
    )


def essence(config: Mapping[str, object]) -> dict[str, object]:
    """What of a config.json says how big the model is: little enough for a termination message.

    `facts_from_config` makes the same of it as of the whole.
    """
    told: dict[str, object] = {key: value for key, value in config.items() if key in _KEYS and _is_short(value)}
    text, rope, quantization = (config.get(key) for key in ("text_config", "rope_scaling", "quantization_config"))
    if isinstance(text, Mapping):
        told["text_config"] = essence(text)
    if isinstance(rope, Mapping):
        told["rope_scaling"] = {key: rope[key] for key in _ROPE_KEYS if _is_short(rope.get(key))}
    if isinstance(quantization, Mapping):
        said = {key: quantization[key] for key in _QUANTIZATION_KEYS if _is_short(quantization.get(key))}
        if said.get("quant_method") == "compressed-tensors":
            kind, bits = _compressed(quantization)
            said["config_groups"] = {"all": {"weights": {"type": kind, "num_bits": bits}}}
        told["quantization_config"] = said
    kinds, dense = config.get("layer_types"), config.get("mlp_only_layers")
    if isinstance(kinds, Sequence) and not isinstance(kinds, str):
        told["sliding_layers"] = sum(kind == "sliding_attention" for kind in kinds)
    if isinstance(dense, Sequence):
        told["mlp_only_layers_count"] = len(dense)
    return told


def _is_short(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _LONGEST_WORD)


class _Config:
    """A config.json, read key by key: the text model's part first, then the whole, then transformers' defaults."""

    def __init__(self, whole: Mapping[str, object], text: Mapping[str, object]) -> None:
        self.kind = str(text.get("model_type", whole.get("model_type", "")))
        self._layers = (text, whole, _DEFAULTS.get(self.kind, {}))

    def find(self, *keys: str) -> object:
        for layer in self._layers:
            for key in keys:
                if layer.get(key) is not None:
                    return layer[key]
        return None

    def number(self, *keys: str, absent: int | None = None) -> int:
        """The first of `keys` that is there; raises InvalidObject if none is and there is no value for that."""
        found = self.find(*keys)
        if found is None and absent is not None:
            return absent
        if isinstance(found, bool) or not isinstance(found, int) or found < (0 if absent == 0 else 1):
            said = "does not state" if found is None else f"states {found!r} for"
            raise InvalidObject(
                "spec.model.uri",
                f"the model's config.json {said} {' or '.join(keys)}",
                'state spec.model.parameters, such as "7.6B", and a model that the engine knows',
                reason="UnknownModel",
            )
        return found

    def word(self, key: str, absent: str) -> str:
        found = self.find(key)
        return found if isinstance(found, str) else absent

    def part(self, key: str) -> Mapping[str, object]:
        found = self.find(key)
        return found if isinstance(found, Mapping) else {}


def _facts(config: _Config) -> ModelFacts:
    hidden = config.number("hidden_size", "n_embd", "d_model")
    heads = config.number("num_attention_heads", "n_head", "n_heads")
    layers = config.number("num_hidden_layers", "n_layer", "n_layers")
    if config.find("multi_query") is True and config.find("new_decoder_architecture") is not True:
        kv_heads = 1
    else:
        kv_heads = config.number("num_key_value_heads", "num_kv_heads", absent=heads)
    feed_forward = config.number("intermediate_size", "n_inner", "ffn_hidden_size", absent=4 * hidden)
    experts = config.number("num_experts", "num_local_experts", "n_routed_experts", absent=0)
    dense = _dense_layers(config, layers) if experts else 0
    window = _window(config)
    method, bits = _stored_as(config.part("quantization_config"))
    tied = config.find("tie_word_embeddings")
    latent = config.number("kv_lora_rank", absent=0)
    return ModelFacts(
        parameters=1,
        layers=layers,
        attention_heads=heads,
        kv_heads=kv_heads,
        head_size=config.number("head_dim", absent=hidden // max(1, heads)),
        hidden_size=hidden,
        feed_forward_size=feed_forward if not experts or dense else 0,
        experts=experts,
        experts_per_token=config.number("num_experts_per_tok", "experts_per_token", absent=1) if experts else 0,
        expert_size=config.number("moe_intermediate_size", absent=feed_forward) if experts else 0,
        shared_expert_size=_shared_expert(config) if experts else 0,
        dense_layers=dense,
        latent_size=latent + config.number("qk_rope_head_dim", absent=0) if latent else 0,
        sliding_layers=_sliding_layers(config, layers) if window else 0,
        window_tokens=window,
        vocabulary=config.number("vocab_size"),
        tied_embeddings=tied is True,
        context_length=_context_length(config),
        stored_as=method,
        stored_bits=bits,
        origin=Origin.CONFIG,
    )


def _count(config: _Config, facts: ModelFacts) -> int:
    attention = None
    if facts.latent_size:
        heads, hidden, rank = facts.attention_heads, facts.hidden_size, config.number("kv_lora_rank")
        rope = config.number("qk_rope_head_dim", absent=0)
        plain, value = config.number("qk_nope_head_dim"), config.number("v_head_dim")
        narrow = config.number("q_lora_rank", absent=0)
        wide = heads * (plain + rope)
        query = hidden * narrow + narrow * wide if narrow else hidden * wide
        attention = query + hidden * (rank + rope) + rank * heads * (plain + value) + heads * value * hidden
    counted = count_parameters(facts, attention)
    if config.kind in _UNGATED:
        counted -= facts.layers * facts.hidden_size * facts.feed_forward_size
    return counted


def _dense_layers(config: _Config, layers: int) -> int:
    first = config.number("first_k_dense_replace", absent=0)
    listed = config.find("mlp_only_layers")
    named = len(listed) if isinstance(listed, Sequence) else config.number("mlp_only_layers_count", absent=0)
    step = max(1, config.number("decoder_sparse_step", absent=1))
    return max(first, named, layers - layers // step)


def _shared_expert(config: _Config) -> int:
    shared = config.number("n_shared_experts", absent=0) * config.number("moe_intermediate_size", absent=0)
    return shared or config.number("shared_expert_intermediate_size", absent=0)


def _window(config: _Config) -> int:
    return 0 if config.find("use_sliding_window") is False else config.number("sliding_window", absent=0)


def _sliding_layers(config: _Config, layers: int) -> int:
    kinds = config.find("layer_types")
    if isinstance(kinds, Sequence) and not isinstance(kinds, str):
        return sum(kind == "sliding_attention" for kind in kinds)
    if config.find("sliding_layers") is not None:
        return config.number("sliding_layers", absent=0)
    every = config.number("sliding_window_pattern", absent=0)
    return layers - layers // every if every else layers


def _context_length(config: _Config) -> int:
    """Tokens, as vLLM derives them: stretched by rope scaling where that is not in the number already."""
    stated = config.number("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len")
    scaling = config.part("rope_scaling")
    factor = scaling.get("factor")
    kind = scaling.get("rope_type", scaling.get("type"))
    if not isinstance(factor, int | float) or kind not in {"yarn", "linear", "dynamic"}:
        return stated
    if config.kind.startswith("gemma3"):
        return stated  # Gemma 3 states the stretched number
    original = scaling.get("original_max_position_embeddings")
    return int((original if kind == "yarn" and isinstance(original, int) else stated) * factor)


def _stored_as(quantization: Mapping[str, object]) -> tuple[QuantizationMethod, int | None]:
    """The method, and the bits of a weight where it has several. Auto: a way that the engine reads from the files."""
    name = quantization.get("quant_method")
    if not isinstance(name, str):
        return QuantizationMethod.NONE, None
    if name == "compressed-tensors":
        kind, bits = _compressed(quantization)
        return (QuantizationMethod.FP8, 8) if kind == "float" and bits == 8 else (QuantizationMethod.GPTQ, bits)
    stated = quantization.get("bits", quantization.get("w_bit"))
    method = _METHODS.get(name.lower(), QuantizationMethod.AUTO)
    return method, stated if isinstance(stated, int) else None


def _compressed(quantization: Mapping[str, object]) -> tuple[str, int]:
    """Kind and bits of the weights of a compressed-tensors file; integers have scales by group as GPTQ's have."""
    groups = quantization.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping) and isinstance(weights.get("num_bits"), int):
            return str(weights.get("type", "int")), weights["num_bits"]
    return "int", 4
