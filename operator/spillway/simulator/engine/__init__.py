"""A vLLM-compatible inference engine without a model: vLLM's flags, HTTP surface, metrics and pace, made-up words."""
