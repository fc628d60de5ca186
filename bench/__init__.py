"""Benchmarks, each against named peers in the same run."""
