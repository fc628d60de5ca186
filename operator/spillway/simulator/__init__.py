"""Simulated surroundings: a control plane on this machine, a GPU node without GPUs, an engine without a model, a recording cloud."""
