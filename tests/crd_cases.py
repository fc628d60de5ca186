"""Objects that the CRDs take or refuse, as one table: `unit/test_crd.py` holds the Python models to it,
`cluster/test_crd_rules.py` the real API server.

A case changes a valid object: `change` maps a dotted path to its new value (REMOVED takes the field away), `refused` is
a part of the API server's message, empty where the object is to be accepted.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REMOVED = object()

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "spillway.dev/v1alpha1",
    "kind": "LLMDeployment",
    "metadata": {"name": "chat"},
    "spec": {
        "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
        "accelerator": {"profile": "l4-24gb"},
        "dataPolicy": {"defaultClass": "Internal", "mayLeave": ["Internal", "Public"], "detectors": ["PII"]},
        "fallback": {
            "mode": "Enabled",
            "targets": [
                {
                    "name": "openai",
                    "provider": "OpenAI",
                    "model": "gpt-4o",
                    "secretRef": {"name": "openai", "key": "api-key"},
                    "price": {"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10.00"},
                }
            ],
        },
        "budget": {"limit": "50.00", "window": "Month"},
        "access": {"mode": "None"},
    },
}

LEDGER: dict[str, Any] = {
    "apiVersion": "spillway.dev/v1alpha1",
    "kind": "LLMLedger",
    "metadata": {"name": "chat"},
    "spec": {"limit": "50.00", "window": "Month", "timeZone": "Etc/UTC"},
}

MINIMAL_SPEC = {"model": {"uri": "hf://a/b"}, "accelerator": {"profile": "l4-24gb"}}
OLLAMA_SPEC: dict[str, Any] = {
    "model": {"uri": "ollama://llama3.2:1b"},
    "engine": {"type": "Ollama"},
    "accelerator": {"profile": "cpu"},
}


@dataclass(frozen=True)
class Case:
    """One change of a valid object and what the API server says to it."""

    title: str
    change: Mapping[str, Any]
    refused: str = ""


def changed(valid: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `valid` with each dotted path of `change` set; a number in a path is a list's index."""
    made = copy.deepcopy(dict(valid))
    for path, value in change.items():
        *parents, last = path.split(".")
        here: Any = made
        for part in parents:
            here = here[int(part)] if isinstance(here, list) else here.setdefault(part, {})
        if value is REMOVED:
            del here[last]
        else:
            here[int(last) if isinstance(here, list) else last] = copy.deepcopy(value)
    return made


T = "spec.fallback.targets.0"
NAME = "metadata.name must be at most 40 lower-case letters, digits and '-', beginning with a letter"
URI = "model.uri must be hf://organisation/name"
BASE_URL = "baseURL must begin with https:// and hold a host"
LIMIT = "budget.limit must be dollars, above zero, as a quoted decimal with at most six places"
AZURE = {f"{T}.provider": "AzureOpenAI"}
COMPATIBLE = {f"{T}.provider": "OpenAICompatible", f"{T}.baseURL": "https://llm.example.com/v1"}

CLAIMED = {"mode": "PersistentVolume"}
SHARED = {"mode": "ExistingClaim", "claimName": "models"}
RWX = "ReadWriteMany"
SIZE = "cache.size must be a whole quantity in Mi, Gi or Ti, such as 50Gi"

DEPLOYMENT_CASES = (
    Case("the full object", {}),
    Case("the least object", {"spec": MINIMAL_SPEC}),
    Case("no model", {"spec.model": REMOVED}, "spec.model: Required value"),
    Case("no accelerator", {"spec.accelerator": REMOVED}, "spec.accelerator: Required value"),
    Case("no spec", {"spec": REMOVED}, "spec: Required value"),
    # metadata.name
    Case("a name of 40 letters", {"metadata.name": "a" * 40}),
    Case("a name of 41 letters", {"metadata.name": "a" * 41}, NAME),
    Case("a name that begins with a digit", {"metadata.name": "7b"}, NAME),
    Case("a name with a dot", {"metadata.name": "a.b"}, NAME),
    Case("a name of one letter", {"metadata.name": "a"}),
    Case("a name like an engine's Service", {"metadata.name": "chat-engine"}, "must not end with -engine"),
    Case("a name with engine inside", {"metadata.name": "chat-engine-2"}),
    Case("the gateway's name", {"metadata.name": "spillway-gateway"}, "must not be spillway-gateway"),
    # model
    Case("a model of a claim", {"spec.model.uri": "pvc://models/llama/3.1-8b"}),
    Case("a whole claim", {"spec.model.uri": "pvc://models"}),
    Case("a claim's path that goes up", {"spec.model.uri": "pvc://models/../etc"}, URI),
    Case("a model without scheme", {"spec.model.uri": "Qwen/Qwen2.5-7B"}, URI),
    Case("a model without organisation", {"spec.model.uri": "hf://gpt2"}, URI),
    Case("a model's name with a space", {"spec.model.uri": "hf://a/b --trust-remote-code"}, URI),
    Case("a model's name with a line break", {"spec.model.uri": "hf://a/b\n"}, URI),
    Case("a model's name that is too long", {"spec.model.uri": "hf://a/" + "b" * 506}, "Too long"),
    Case("a revision", {"spec.model.revision": "refs/pr/7"}),
    Case("a revision like a flag", {"spec.model.revision": "-x"}, "spec.model.revision"),
    Case("an empty revision", {"spec.model.revision": ""}, "spec.model.revision"),
    Case("a served name", {"spec.model.servedName": "Qwen/Qwen2.5:7b"}),
    Case("a served name with a variable", {"spec.model.servedName": "$(HF_TOKEN)"}, "spec.model.servedName"),
    Case("a hub token", {"spec.model.secretRef": {"name": "hub", "key": "token"}}),
    Case(
        "a hub token without key", {"spec.model.secretRef": {"name": "hub"}}, "spec.model.secretRef.key: Required value"
    ),
    Case(
        "a Secret's name with a slash",
        {"spec.model.secretRef": {"name": "a/b", "key": "k"}},
        "name must be an object's name",
    ),
    Case("a key that is a path", {"spec.model.secretRef": {"name": "a", "key": "../k"}}, "key must be letters"),
    Case("a key that begins with a dot", {"spec.model.secretRef": {"name": "a", "key": "..k"}}, "key must be letters"),
    Case("a stated size", {"spec.model.parameters": "7.6B"}),
    Case("a size below a billion", {"spec.model.parameters": "0.5B"}),
    Case("a size in millions", {"spec.model.parameters": "500M"}),
    Case("a size of nothing", {"spec.model.parameters": "0.0B"}, "model.parameters must be millions or billions"),
    Case("a size without a unit", {"spec.model.parameters": "7000000000"}, "model.parameters must be millions"),
    Case("a size as a number", {"spec.model.parameters": 7}, 'must be of type string: "integer"'),
    Case("a model of a bucket", {"spec.model.uri": "s3://acme-models/llama/8b", "spec.cache": CLAIMED}),
    Case("a bucket in capitals", {"spec.model.uri": "s3://Acme/llama", "spec.cache": CLAIMED}, URI),
    Case("a bucket's folder with a way out", {"spec.model.uri": "s3://acme/../x", "spec.cache": CLAIMED}, URI),
    Case(
        "a model of a bucket without a cache",
        {"spec.model.uri": "s3://acme-models/llama", "spec.cache": {"mode": "Ephemeral"}},
        "cache.mode must be PersistentVolume or ExistingClaim for a model.uri of s3://",
    ),
    # cache
    Case("a cache", {"spec.cache": CLAIMED | {"size": "200Gi", "storageClassName": "fast", "accessMode": RWX}}),
    Case("a cache that goes with the object", {"spec.cache": CLAIMED | {"retentionPolicy": "Delete"}}),
    Case("a claim of one's own", {"spec.cache": SHARED}),
    Case("no cache", {"spec.cache": {"mode": "Ephemeral"}}),
    Case("an unknown cache mode", {"spec.cache": {"mode": "HostPath"}}, 'Unsupported value: "HostPath"'),
    Case("an unknown access mode", {"spec.cache": CLAIMED | {"accessMode": "RWX"}}, 'Unsupported value: "RWX"'),
    Case("an unknown retention", {"spec.cache": CLAIMED | {"retentionPolicy": "Keep"}}, 'Unsupported value: "Keep"'),
    Case("a claim of one's own without a name", {"spec.cache": {"mode": "ExistingClaim"}}, "claimName must be set"),
    Case(
        "a claim's name where one is made",
        {"spec.cache": CLAIMED | {"claimName": "models"}},
        "cache.claimName must be set for mode ExistingClaim, and for no other mode",
    ),
    Case(
        "a storage class where no claim is made",
        {"spec.cache": SHARED | {"storageClassName": "fast"}},
        "cache.storageClassName is for mode PersistentVolume",
    ),
    Case("a size of nothing", {"spec.cache": CLAIMED | {"size": "0Gi"}}, SIZE),
    Case("a size without a unit", {"spec.cache": CLAIMED | {"size": "50"}}, SIZE),
    Case(
        "a cache on Ollama",
        {"spec.engine": {"type": "Ollama"}, "spec.model.uri": "ollama://qwen2.5:7b", "spec.cache": CLAIMED},
    ),
    Case("a storage class of the cache by default", {"spec.cache": {"storageClassName": "fast"}}),
    Case("a bucket in the cache by default", {"spec.model.uri": "s3://acme-models/llama"}),
    Case(
        "not even a cache of nothing for what is on a claim",
        {"spec.model.uri": "pvc://models/llama", "spec.cache": {"mode": "Ephemeral"}},
        "cache must be left out for a model.uri of pvc://",
    ),
    Case(
        "a cache of what is on a claim",
        {"spec.model.uri": "pvc://models/llama", "spec.cache": CLAIMED},
        "cache must be left out for a model.uri of pvc://",
    ),
    # engine
    Case("an engine", {"spec.engine": {"type": "VLLM", "image": "registry:5000/vllm/vllm-openai:v0.32.0@sha256:ab"}}),
    Case("another engine", {"spec.engine": {"type": "TGI"}}, 'Unsupported value: "TGI"'),
    Case("an image with a space", {"spec.engine": {"image": "a b"}}, "spec.engine.image"),
    # sizes
    Case("a context", {"spec.contextLength": 32768}),
    Case("a context of nothing", {"spec.contextLength": 127}, "should be greater than or equal to 128"),
    Case("a context beyond all models", {"spec.contextLength": 16777217}, "should be less than or equal to 16777216"),
    Case("a context in words", {"spec.contextLength": "8k"}, 'must be of type integer: "string"'),
    Case("quantisation", {"spec.quantization": {"method": "GPTQ", "kvCacheDType": "FP8"}}),
    Case("an unknown quantisation", {"spec.quantization": {"method": "awq"}}, 'Unsupported value: "awq"'),
    Case("an unknown cache type", {"spec.quantization": {"kvCacheDType": "INT4"}}, 'Unsupported value: "INT4"'),
    Case("no memory check", {"spec.memoryCheck": "Disabled"}),
    Case("a memory check that refuses", {"spec.memoryCheck": "Enforce"}),
    Case("an unknown memory check", {"spec.memoryCheck": "Strict"}, 'Unsupported value: "Strict"'),
    Case("accelerators", {"spec.accelerator.count": 64}),
    Case("too many accelerators", {"spec.accelerator.count": 65}, "should be less than or equal to 64"),
    Case("fewer accelerators than none", {"spec.accelerator.count": -1}, "should be greater than or equal to 0"),
    Case("a profile in capitals", {"spec.accelerator.profile": "L4"}, "spec.accelerator.profile"),
    Case("an empty profile", {"spec.accelerator.profile": ""}, "spec.accelerator.profile"),
    Case("no replicas", {"spec.replicas": 0}),
    Case("fewer replicas than none", {"spec.replicas": -1}, "should be greater than or equal to 0"),
    Case("replicas in words", {"spec.replicas": "2"}, 'must be of type integer: "string"'),
    # slo, queue
    Case("an SLO", {"spec.slo": {"timeToFirstTokenMilliseconds": 10, "timePerOutputTokenMilliseconds": 1}}),
    Case(
        "an SLO of nothing", {"spec.slo": {"timeToFirstTokenMilliseconds": 9}}, "should be greater than or equal to 10"
    ),
    Case("a token time of nothing", {"spec.slo": {"timePerOutputTokenMilliseconds": 0}}, "greater than or equal to 1"),
    Case("a queue", {"spec.queue": {"maxRequests": 0, "maxWaitSeconds": 3600}}),
    Case(
        "a queue of an hour and more", {"spec.queue": {"maxWaitSeconds": 3601}}, "should be less than or equal to 3600"
    ),
    Case("a queue without end", {"spec.queue": {"maxRequests": 100001}}, "should be less than or equal to 100000"),
    # data policy
    Case("sensitive by default", {"spec.dataPolicy": {"defaultClass": "Sensitive", "mayLeave": []}}),
    Case(
        "what is sensitive may leave", {"spec.dataPolicy.mayLeave": ["Public", "Sensitive"]}, "must not name Sensitive"
    ),
    Case("a class twice", {"spec.dataPolicy.mayLeave": ["Public", "Public"]}, "Duplicate value"),
    Case("an unknown class", {"spec.dataPolicy.defaultClass": "Secret"}, 'Unsupported value: "Secret"'),
    Case("no detectors", {"spec.dataPolicy.detectors": []}),
    Case("both detectors", {"spec.dataPolicy.detectors": ["PII", "Secrets"]}),
    Case("an unknown detector", {"spec.dataPolicy.detectors": ["Names"]}, 'Unsupported value: "Names"'),
    # fallback
    Case("fallback without targets", {"spec.fallback.targets": []}, "fallback.targets must name at least one target"),
    Case("fallback without a word of targets", {"spec.fallback.targets": REMOVED}, "must name at least one target"),
    Case("no fallback without targets", {"spec.fallback": {"mode": "Disabled"}}),
    Case("fallback without a budget", {"spec.budget": REMOVED}, "budget must be set while fallback.mode is Enabled"),
    Case(
        "fallback without access", {"spec.access": REMOVED}, "access.mode must be stated while fallback.mode is Enabled"
    ),
    Case("no fallback, no budget", {"spec.fallback.mode": "Disabled", "spec.budget": REMOVED, "spec.access": REMOVED}),
    Case("fallback without a price", {f"{T}.price": REMOVED}, "every target must state its price"),
    Case("no fallback, no price", {"spec.fallback.mode": "Disabled", f"{T}.price": REMOVED}),
    Case(
        "a shadow needs no budget and nobody's access",
        {"spec.fallback.mode": "Shadow", "spec.budget": REMOVED, "spec.access": REMOVED},
    ),
    Case(
        "a shadow without targets",
        {"spec.fallback.mode": "Shadow", "spec.fallback.targets": []},
        "fallback.targets must name at least one target while fallback.mode is Enabled or Shadow",
    ),
    Case(
        "a shadow without a price",
        {"spec.fallback.mode": "Shadow", f"{T}.price": REMOVED},
        "every target must state its price while fallback.mode is Enabled or Shadow",
    ),
    Case("reasons", {"spec.fallback.reasons": ["Saturated", "Loading"]}),
    Case("an unknown reason", {"spec.fallback.reasons": ["Bored"]}, 'Unsupported value: "Bored"'),
    Case("a reason twice", {"spec.fallback.reasons": ["Loading", "Loading"]}, "Duplicate value"),
    Case(
        "two targets",
        {"spec.fallback.targets": [DEPLOYMENT["spec"]["fallback"]["targets"][0] | {"name": n} for n in "ab"]},
    ),
    Case(
        "two targets of one name",
        {"spec.fallback.targets": [DEPLOYMENT["spec"]["fallback"]["targets"][0]] * 2},
        'Duplicate value: {"name":"openai"}',
    ),
    Case(
        "seventeen targets",
        {
            "spec.fallback.targets": [
                DEPLOYMENT["spec"]["fallback"]["targets"][0] | {"name": f"t{n}"} for n in range(17)
            ]
        },
        "must have at most 16 items",
    ),
    # targets
    Case("a compatible target", COMPATIBLE),
    Case("a compatible target without a key", COMPATIBLE | {f"{T}.secretRef": REMOVED}),
    Case(
        "a compatible target without an address",
        {f"{T}.provider": "OpenAICompatible"},
        "baseURL must be set for provider",
    ),
    Case("OpenAI without a key", {f"{T}.secretRef": REMOVED}, "secretRef must be set for every provider but"),
    Case("Gemini without a key", {f"{T}.provider": "Gemini", f"{T}.secretRef": REMOVED}, "secretRef must be set for"),
    Case("Gemini", {f"{T}.provider": "Gemini"}),
    Case("Anthropic", {f"{T}.provider": "Anthropic"}),
    Case("a provider of later", {f"{T}.provider": "Mistral"}, 'Unsupported value: "Mistral"'),
    Case("Azure's v1 surface", AZURE | {f"{T}.baseURL": "https://chat.openai.azure.com/openai/v1"}),
    Case("Azure's v1 surface with a slash", AZURE | {f"{T}.baseURL": "https://chat.openai.azure.com/openai/v1/"}),
    Case("Azure without an address", AZURE, "baseURL must be the v1 surface of your resource"),
    Case(
        "Azure's address of a deployment",
        AZURE | {f"{T}.baseURL": "https://chat.openai.azure.com/openai/deployments/gpt-4o"},
        "baseURL must be the v1 surface of your resource",
    ),
    Case("an address with a port", {f"{T}.baseURL": "https://10.0.0.1:8443/v1"}),
    Case("an address in the clear", {f"{T}.baseURL": "http://llm.example.com/v1"}, BASE_URL),
    Case("an address with a password", {f"{T}.baseURL": "https://u:p@llm.example.com/v1"}, BASE_URL),
    Case("an address with a query", {f"{T}.baseURL": "https://llm.example.com/v1?key=1"}, BASE_URL),
    Case("an address without a host", {f"{T}.baseURL": "https:///v1"}, BASE_URL),
    Case("a target's name in capitals", {f"{T}.name": "OpenAI"}, "targets[0].name"),
    Case("a target without a model", {f"{T}.model": REMOVED}, "targets[0].model: Required value"),
    Case("a target's model with a space", {f"{T}.model": "gpt 4"}, "targets[0].model"),
    Case("a private CA", COMPATIBLE | {f"{T}.caBundleRef": {"name": "ca", "key": "ca.crt"}}),
    Case("a timeout of nothing", {f"{T}.timeoutSeconds": 0}, "should be greater than or equal to 1"),
    Case("an hour's timeout", {f"{T}.timeoutSeconds": 3600}),
    Case("no concurrency", {f"{T}.maxConcurrentRequests": 0}, "should be greater than or equal to 1"),
    # engine and what it is given
    Case("a Secret to pull the image with", {"spec.engine.imagePullSecrets": [{"name": "registry"}]}),
    Case(
        "a Secret to pull with twice",
        {"spec.engine.imagePullSecrets": [{"name": "r"}, {"name": "r"}]},
        "Duplicate value",
    ),
    Case("flags of the engine", {"spec.engine.args": ["--enable-expert-parallel", '--hf-overrides={"a": 1}']}),
    Case("no flags", {"spec.engine.args": []}),
    Case("a flag and its value apart", {"spec.engine.args": ["--dtype", "half"]}, "must hold one flag an item"),
    Case("a short flag", {"spec.engine.args": ["-tp=2"]}, "must hold one flag an item"),
    Case("a flag with underscores", {"spec.engine.args": ["--max_model_len=8"]}, "must hold one flag an item"),
    Case("another model by flag", {"spec.engine.args": ["--model=a/b"]}, "must not set the model and its name"),
    Case("the context by flag", {"spec.engine.args": ["--max-model-len=8"]}, "must not set --max-model-len"),
    Case("the method by flag", {"spec.engine.args": ["--quantization=awq"]}, "must not set --quantization"),
    Case("a flag that begins like ours", {"spec.engine.args": ['--quantization-config={"a": 1}']}),
    Case("the cache's type by flag", {"spec.engine.args": ["--kv-cache-dtype=fp8"]}, "must not set --kv-cache-dtype"),
    Case("sharing by flag", {"spec.engine.args": ["--tensor-parallel-size=2"]}, "must not set how the model is shared"),
    Case(
        "memory by flag", {"spec.engine.args": ["--gpu-memory-utilization=1"]}, "must not set what the plan counts on"
    ),
    Case("the queue by flag", {"spec.engine.args": ["--max-num-queued-reqs=1"]}, "must not set how many may wait"),
    Case("the port by flag", {"spec.engine.args": ["--seed=1", "--port=1"]}, "how the gateway reaches and drains it"),
    Case("a file of flags", {"spec.engine.args": ["--config=/a"]}, "must not set --config: state each flag"),
    Case(
        "variables",
        {"spec.engine.env": [{"name": "A_B", "value": ""}, {"name": "C", "secretRef": {"name": "s", "key": "k"}}]},
    ),
    Case(
        "a variable twice",
        {"spec.engine.env": [{"name": "A", "value": ""}, {"name": "A", "value": "1"}]},
        "Duplicate value",
    ),
    Case("a variable without value", {"spec.engine.env": [{"name": "A"}]}, "must have either value or secretRef"),
    Case(
        "a variable with two values",
        {"spec.engine.env": [{"name": "A", "value": "1", "secretRef": {"name": "s", "key": "k"}}]},
        "must have either value or secretRef",
    ),
    Case(
        "a variable with a dash", {"spec.engine.env": [{"name": "A-B", "value": ""}]}, "name must be a variable's name"
    ),
    Case(
        "the hub's token by variable",
        {"spec.engine.env": [{"name": "HF_TOKEN", "value": "x"}]},
        "state model.secretRef",
    ),
    Case(
        "a variable of ours",
        {"spec.engine.env": [{"name": "OLLAMA_NO_CLOUD", "value": "0"}]},
        "engine.env must not set what Spillway sets itself",
    ),
    Case("cores and memory", {"spec.resources": {"cpu": "4", "memory": "32Gi"}}),
    Case("half a core", {"spec.resources": {"cpu": "500m", "memory": "1.5G"}}),
    Case("cores as a number", {"spec.resources": {"cpu": 4}}, 'must be of type string: "integer"'),
    Case("cores in words", {"spec.resources": {"cpu": "four"}}, "resources.cpu must be cores"),
    Case("memory in words", {"spec.resources": {"memory": "32GB"}}, "resources.memory must be bytes"),
    Case("accelerators as a resource", {"spec.resources": {"nvidia.com/gpu": "1"}}, "unknown field"),
    Case("a long start", {"spec.startupTimeoutSeconds": 7200}),
    Case("no time to start", {"spec.startupTimeoutSeconds": 1}, "should be greater than or equal to 30"),
    Case("a suspended object", {"spec.suspend": True}),
    Case("a suspended object in words", {"spec.suspend": "yes"}, 'must be of type boolean: "string"'),
    # engines and what they run
    Case("a model of Ollama", {"spec": OLLAMA_SPEC}),
    Case(
        "a model of another registry", {"spec": OLLAMA_SPEC, "spec.model.uri": "ollama://r.corp:5000/team/m:7b-q4_K_M"}
    ),
    Case("a model of Ollama without tag", {"spec": OLLAMA_SPEC, "spec.model.uri": "ollama://llama3.2"}),
    Case("a tag with a space", {"spec": OLLAMA_SPEC, "spec.model.uri": "ollama://llama3.2:1b x"}, URI),
    Case(
        "GGUF files of the hub",
        {
            "spec": OLLAMA_SPEC,
            "spec.model.uri": "hf://a/b-GGUF",
            "spec.quantization": {"method": "GGUF", "variant": "Q8_0"},
        },
    ),
    Case("a GGUF file of a claim", {"spec": OLLAMA_SPEC, "spec.model.uri": "pvc://models/b.Q4_K_M.gguf"}),
    Case(
        "a folder of a claim for Ollama",
        {"spec": OLLAMA_SPEC, "spec.model.uri": "pvc://models/b"},
        "model.uri must end with .gguf on a claim",
    ),
    Case(
        "a cloud model",
        {"spec": OLLAMA_SPEC, "spec.model.uri": "ollama://gpt-oss:120b-cloud"},
        "must not name a cloud model",
    ),
    Case(
        "a cloud tag", {"spec": OLLAMA_SPEC, "spec.model.uri": "ollama://glm-4.6:cloud"}, "must not name a cloud model"
    ),
    Case("a model of Ollama for vLLM", {"spec.model.uri": "ollama://llama3.2:1b"}, "engine.type must be Ollama"),
    Case(
        "flags for Ollama",
        {"spec": OLLAMA_SPEC, "spec.engine.args": ["--seed=1"]},
        "engine.args must be empty with engine.type Ollama",
    ),
    Case(
        "AWQ on Ollama",
        {"spec": OLLAMA_SPEC, "spec.quantization": {"method": "AWQ"}},
        "must be Auto or GGUF with engine.type Ollama",
    ),
    Case(
        "GPTQ on Ollama",
        {"spec": OLLAMA_SPEC, "spec.quantization": {"method": "GPTQ"}},
        "must be Auto or GGUF with engine.type Ollama",
    ),
    Case(
        "FP8 on Ollama",
        {"spec": OLLAMA_SPEC, "spec.quantization": {"method": "FP8"}},
        "must be Auto or GGUF with engine.type Ollama",
    ),
    Case(
        "BitsAndBytes on Ollama",
        {"spec": OLLAMA_SPEC, "spec.quantization": {"method": "BitsAndBytes"}},
        "must be Auto or GGUF with engine.type Ollama",
    ),
    Case(
        "BitsAndBytes on vLLM",
        {"spec.quantization": {"method": "BitsAndBytes"}},
        "must not be GGUF or BitsAndBytes with engine.type VLLM",
    ),
    Case(
        "GGUF on vLLM",
        {"spec.engine.type": "VLLM", "spec.quantization": {"method": "GGUF"}},
        "must not be GGUF or BitsAndBytes with engine.type VLLM",
    ),
    Case(
        "a variant on vLLM",
        {"spec.quantization": {"variant": "Q4_K_M"}},
        "variant must be left out with engine.type VLLM",
    ),
    Case(
        "a variant beside a tag",
        {"spec": OLLAMA_SPEC, "spec.quantization": {"variant": "Q4_K_M"}},
        "left out unless model.uri is hf://",
    ),
    Case(
        "an unknown variant", {"spec": OLLAMA_SPEC, "spec.quantization": {"variant": "Q9"}}, 'Unsupported value: "Q9"'
    ),
    Case(
        "a revision on Ollama",
        {"spec": OLLAMA_SPEC, "spec.model.revision": "v1"},
        "must be left out with engine.type Ollama",
    ),
    Case("a served name on Ollama", {"spec": OLLAMA_SPEC, "spec.model.servedName": "team/llama:1b"}),
    Case(
        "a served name that Ollama has not",
        {"spec": OLLAMA_SPEC, "spec.model.servedName": "a:b:c"},
        "servedName must be a name of Ollama's",
    ),
    # money
    Case("a price of nothing", {f"{T}.price.inputPerMillionTokens": "0"}),
    Case(
        "a price below nothing",
        {f"{T}.price.inputPerMillionTokens": "-1"},
        "price.inputPerMillionTokens must be dollars",
    ),
    Case("a price as a number", {f"{T}.price.outputPerMillionTokens": 10}, 'must be of type string: "integer"'),
    Case(
        "a price of output alone",
        {f"{T}.price.inputPerMillionTokens": REMOVED},
        "inputPerMillionTokens: Required value",
    ),
    Case(
        "a price of output in words",
        {f"{T}.price.outputPerMillionTokens": "ten"},
        "price.outputPerMillionTokens must be",
    ),
    Case("a price of what is cached", {f"{T}.price.cachedInputPerMillionTokens": "1.25"}),
    Case(
        "a price with an exponent",
        {f"{T}.price.cachedInputPerMillionTokens": "1e3"},
        "cachedInputPerMillionTokens must",
    ),
    Case("a limit to the last micro-dollar", {"spec.budget.limit": "0.000001"}),
    Case("a limit of nothing", {"spec.budget.limit": "0.00"}, LIMIT),
    Case("a limit below nothing", {"spec.budget.limit": "-5"}, LIMIT),
    Case("a limit with a unit", {"spec.budget.limit": "50k"}, LIMIT),
    Case("a limit finer than micro-dollars", {"spec.budget.limit": "0.0000001"}, LIMIT),
    Case("a limit as a number", {"spec.budget.limit": 50.5}, 'must be of type string: "number"'),
    Case("a budget without a limit", {"spec.budget.limit": REMOVED}, "spec.budget.limit: Required value"),
    Case("a daily window", {"spec.budget.window": "Day"}),
    Case("an unknown window", {"spec.budget.window": "Year"}, 'Unsupported value: "Year"'),
    Case("a time zone", {"spec.budget.timeZone": "Etc/UTC"}),
    Case("a time zone elsewhere", {"spec.budget.timeZone": "America/Argentina/Buenos_Aires"}),
    Case("a time zone that is none", {"spec.budget.timeZone": "Europe/Atlantis"}, "timeZone must be in the IANA"),
    Case("a time zone as abbreviation", {"spec.budget.timeZone": "CET"}, "no abbreviation and no offset"),
    Case("a time zone as offset", {"spec.budget.timeZone": "+01:00"}, "no abbreviation and no offset"),
    Case("alerts", {"spec.budget.alertPercents": [1, 100]}),
    Case("no alerts", {"spec.budget.alertPercents": []}),
    Case("an alert at nothing", {"spec.budget.alertPercents": [0]}, "greater than or equal to 1"),
    Case("an alert past the limit", {"spec.budget.alertPercents": [101]}, "less than or equal to 100"),
    Case("an alert twice", {"spec.budget.alertPercents": [50, 50]}, "Duplicate value"),
    Case("too many alerts", {"spec.budget.alertPercents": list(range(1, 12))}, "must have at most 10 items"),
    Case("what happens at the limit", {"spec.budget.onExhausted": "LocalOnly"}),
    Case("an unknown end of money", {"spec.budget.onExhausted": "Borrow"}, 'Unsupported value: "Borrow"'),
    # access
    Case("an unknown access", {"spec.access.mode": "Everyone"}, 'Unsupported value: "Everyone"'),
    Case("an access without a mode", {"spec.access": {}}, "spec.access.mode: Required value"),
    # what is not in the schema; kubectl asks for strict validation
    Case("an unknown field", {"spec.modle": {}}, 'unknown field "spec.modle"'),
    Case("an unknown field further down", {"spec.fallback.target": []}, 'unknown field "spec.fallback.target"'),
    Case("a field in snake case", {"spec.data_policy": {}}, 'unknown field "spec.data_policy"'),
)

LEDGER_CASES = (
    Case("a ledger", {}),
    Case("a ledger without a budget", {"spec.limit": "0"}),
    Case("a ledger without a limit", {"spec.limit": REMOVED}, "spec.limit: Required value"),
    Case("a ledger's limit in words", {"spec.limit": "much"}, "limit must be dollars"),
    Case("a ledger without a window", {"spec.window": REMOVED}, "spec.window: Required value"),
    Case("a ledger of another window", {"spec.window": "Year"}, 'Unsupported value: "Year"'),
    Case("a ledger of another time zone", {"spec.timeZone": "Europe/Rome"}),
    Case("a ledger of no time zone", {"spec.timeZone": "Europe/Atlantis"}, "timeZone must be in the IANA"),
)


@dataclass(frozen=True)
class Change:
    """A valid object that somebody changes, and what the API server says to it."""

    title: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    refused: str = ""


CURE = "make another LLMDeployment with the cache that you want, and delete this one when it is ready"
DEPLOYMENT_CHANGES = (
    Change("a larger cache", {"spec.cache": CLAIMED | {"size": "50Gi"}}, {"spec.cache.size": "1Ti"}),
    Change("the size as it is by default", {"spec.cache": CLAIMED}, {"spec.cache.size": "50Gi"}),
    Change("the cache as it is by default", {}, {"spec.cache": {"mode": "PersistentVolume"}}),
    Change("what becomes of the claim", {"spec.cache": CLAIMED}, {"spec.cache.retentionPolicy": "Delete"}),
    Change("the model in a cache", {"spec.cache": CLAIMED}, {"spec.model.uri": "hf://Qwen/Qwen3-8B"}),
    Change(
        "a smaller cache",
        {"spec.cache": CLAIMED},
        {"spec.cache.size": "49Gi"},
        f"cache.size can only be made larger, as claims can; for a smaller one {CURE}",
    ),
    Change(
        "a cache later",
        {"spec.cache": {"mode": "Ephemeral"}},
        {"spec.cache": CLAIMED},
        f"cache.mode cannot be changed: {CURE}",
    ),
    Change(
        "the cache of each pod taken away",
        {"spec.cache": {"mode": "Ephemeral"}},
        {"spec.cache": REMOVED},
        "cache.mode cannot be changed",
    ),
    Change(
        "another access mode",
        {"spec.cache": CLAIMED},
        {"spec.cache.accessMode": RWX},
        f"cache.accessMode cannot be changed: {CURE}",
    ),
    Change(
        "another claim",
        {"spec.cache": SHARED},
        {"spec.cache.claimName": "others"},
        f"cache.claimName cannot be changed: {CURE}",
    ),
    Change(
        "another storage class",
        {"spec.cache": CLAIMED},
        {"spec.cache.storageClassName": "fast"},
        f"cache.storageClassName cannot be changed: {CURE}",
    ),
)
