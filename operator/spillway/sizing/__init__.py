"""Sizing: facts of a model and of an accelerator to a plan of GPUs, memory and context. Pure."""
