"""Requests, faults, restarts and changes against real gateways, and the books that must still be right afterwards."""
