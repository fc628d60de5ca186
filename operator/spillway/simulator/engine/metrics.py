"""The metrics of `vllm serve` 0.32.0 that tell load: its names, labels and buckets.

A series that a simulator has nothing to say about (caches of images, estimated FLOPs, ...) is left out.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from spillway.simulator.engine.batching import Batch, Coefficients

BLOCK_TOKENS: Final = 16

_TTFT_BUCKETS: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
_TOKEN_BUCKETS: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_REQUEST_BUCKETS: Final = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0,
    120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
_FINISHED_REASONS: Final = ("stop", "length", "abort", "error", "repetition")
_REJECTIONS: Final = ("max_num_queued_reqs", "max_num_queued_tokens")


class Metrics:
    """One engine's registry. Gauges are set when it is scraped, counters as things happen."""

    def __init__(self, model_name: str, coefficients: Coefficients, max_model_len: int, utilization: float) -> None:
        self.registry = CollectorRegistry()
        self._kv_tokens = coefficients.kv_tokens
        model = {"engine": "0", "model_name": model_name}
        labels = tuple(model)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, labels, registry=self.registry).labels(**model)

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry).labels(**model)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=self.registry).labels(**model)

        self._running = gauge("vllm:num_requests_running", "Requests in model execution batches.")
        self._waiting = gauge("vllm:num_requests_waiting", "Requests waiting to be processed.")
        by_reason = Gauge(
            "vllm:num_requests_waiting_by_reason",
            "Waiting requests by reason.",
            (*labels, "reason"),
            registry=self.registry,
        )
        self._waiting_for_capacity = by_reason.labels(**model, reason="capacity")
        by_reason.labels(**model, reason="deferred").set(0)
        sleeping = Gauge(
            "vllm:engine_sleep_state", "Engine sleep state.", (*labels, "sleep_state"), registry=self.registry
        )
        for state in ("awake", "weights_offloaded", "discard_all"):
            sleeping.labels(**model, sleep_state=state).set(state == "awake")
        self._kv_usage = gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")
        self.prefix_queries = counter("vllm:prefix_cache_queries", "Prefix cache queries, in tokens.")
        self.prefix_hits = counter("vllm:prefix_cache_hits", "Prefix cache hits, in tokens.")
        self.preemptions = counter("vllm:num_preemptions", "Preemptions from the engine.")
        self.prompt_tokens = counter("vllm:prompt_tokens", "Prefill tokens processed.")
        self.generation_tokens = counter("vllm:generation_tokens", "Generation tokens processed.")
        success = Counter(
            "vllm:request_success", "Requests finished.", (*labels, "finished_reason"), registry=self.registry
        )
        self.success = {reason: success.labels(**model, finished_reason=reason) for reason in _FINISHED_REASONS}
        rejections = Counter(
            "vllm:admission_rejections",
            "Admissions refused by a limit.",
            ("model_name", "reason"),
            registry=self.registry,
        )
        self.rejections = {reason: rejections.labels(model_name=model_name, reason=reason) for reason in _REJECTIONS}
        self.time_to_first_token = histogram(
            "vllm:time_to_first_token_seconds", "Time to first token in seconds.", _TTFT_BUCKETS
        )
        self.inter_token_latency = histogram(
            "vllm:inter_token_latency_seconds", "Inter-token latency in seconds.", _TOKEN_BUCKETS
        )
        self.time_per_output_token = histogram(
            "vllm:request_time_per_output_token_seconds", "Time per output token per request.", _TOKEN_BUCKETS
        )
        self.latency = histogram("vllm:e2e_request_latency_seconds", "End to end latency in seconds.", _REQUEST_BUCKETS)
        self.queue_time = histogram(
            "vllm:request_queue_time_seconds", "Time waiting, observed when the request ends.", _REQUEST_BUCKETS
        )
        _tell_capacity(self.registry, coefficients, max_model_len, utilization)
        self.http = Counter(
            "http_requests", "Total number of requests by method, status and handler.",
            ("handler", "method", "status"), registry=self.registry,
        )  # fmt: skip

    def render(self, batch: Batch) -> bytes:
        """The text of `/metrics` now."""
        self._running.set(batch.running)
        self._waiting.set(batch.waiting)
        self._waiting_for_capacity.set(batch.waiting)
        self._kv_usage.set(batch.reserved_tokens / self._kv_tokens)
        return generate_latest(self.registry)


def _tell_capacity(
    registry: CollectorRegistry, coefficients: Coefficients, max_model_len: int, utilization: float
) -> None:
    blocks = coefficients.kv_tokens // BLOCK_TOKENS
    facts = {
        "block_size": str(BLOCK_TOKENS),
        "cache_dtype": "auto",
        "engine": "0",
        "gpu_memory_utilization": str(utilization),
        "kv_cache_max_concurrency": f"{coefficients.kv_tokens / max_model_len:.2f}",
        "kv_cache_size_tokens": str(blocks * BLOCK_TOKENS),
        "num_gpu_blocks": str(blocks),
    }
    Gauge("vllm:cache_config_info", "Static capacity.", tuple(facts), registry=registry).labels(**facts).set(1)
