"""The catalogue, counted again from its shapes, and what the name of a model tells."""

from __future__ import annotations

import datetime as dt

import pytest

from spillway.sizing.catalogue import CatalogueEntry, catalogue, entries, find_model
from spillway.sizing.models import ModelFacts, count_parameters
from spillway.sizing.names import marked_quantization


def latent_attention(facts: ModelFacts, query_rank: int, rank: int, rope: int, plain: int, value: int) -> int:
    """Parameters of one layer's latent attention (DeepSeek-V2, https://arxiv.org/abs/2405.04434, 2.1)."""
    heads, hidden = facts.attention_heads, facts.hidden_size
    query = hidden * query_rank + query_rank * heads * (plain + rope)
    return query + hidden * (rank + rope) + rank * heads * (plain + value) + heads * value * hidden


@pytest.mark.parametrize("facts", entries(), ids=lambda facts: facts.names[0])
def test_the_parameters_of_the_catalogue_follow_from_its_shapes(facts: CatalogueEntry):
    """What is left to the stated number are norms and biases."""
    attention = latent_attention(facts, 1536, 512, 64, 128, 128) if facts.latent_size else None
    counted = count_parameters(facts, attention)
    assert facts.parameters == pytest.approx(counted, rel=0.0005)
    assert facts.parameters >= counted


def test_the_catalogue_names_its_sources():
    assert len(entries()) >= 40
    assert sum(entry.experts > 0 for entry in entries()) >= 7
    for entry in entries():
        assert entry.source.startswith("https://huggingface.co/")
        assert dt.date.fromisoformat(entry.date)


def test_no_two_models_of_the_catalogue_share_a_name():
    names = [name for entry in entries() for name in entry.names]
    assert sorted(names) == sorted(set(names)) == sorted(catalogue())


# What the name tells


@pytest.mark.parametrize(
    ("repository", "method"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "None"),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", "AWQ"),
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "AWQ"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "GPTQ"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", "GPTQ"),
        ("neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "FP8"),
        ("unsloth/llama-3-8b-Instruct-bnb-4bit", "BitsAndBytes"),
        ("bartowski/Qwen2.5-7B-Instruct-GGUF", "GGUF"),
        ("someone/hawq-7b", "None"),
    ],
)
def test_the_method_is_read_from_the_name(repository: str, method: str):
    assert marked_quantization(repository) == method


@pytest.mark.parametrize(
    ("repository", "parameters"),
    [
        ("someone/Foo-7B", 7_000_000_000),
        ("someone/foo-1.5b-chat", 1_500_000_000),
        ("someone/foo-8x7b", 56_000_000_000),
        ("someone/SmolThing-360M-Instruct", 360_000_000),
        ("someone/Foo-13B-AWQ", 13_000_000_000),
        ("models/fine-tuned/foo-3b", 3_000_000_000),
    ],
)
def test_the_size_of_an_unknown_model_is_read_from_its_name(repository: str, parameters: int):
    facts = find_model(repository)
    assert facts is not None
    assert (facts.parameters, facts.estimated) == (parameters, True)


@pytest.mark.parametrize("repository", ["someone/foo", "someone/foo-v2b", "someone/abc123b4", "someone/foo-0b"])
def test_a_name_without_a_size_tells_nothing(repository: str):
    assert find_model(repository) is None


@pytest.mark.parametrize("name", ["Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct", "Llama-3.1-8B-Instruct-AWQ"])
def test_a_known_model_is_known_whoever_copied_it(name: str):
    facts = find_model(f"someone/{name}")
    assert facts is not None
    assert (facts.parameters, facts.estimated) == (8_030_261_248, False)
