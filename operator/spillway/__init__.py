"""Spillway: self-hosted LLMs on Kubernetes that spill to cloud APIs, within a budget and never what is sensitive."""

__version__ = "0.1.0"
