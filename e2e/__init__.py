"""Spillway on a real kind cluster: what brings it up (`python -m e2e`), and the stories that are told on it."""
