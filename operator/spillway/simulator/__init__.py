"""What Spillway is shown and tested on: a real control plane, and simulated GPUs, engines and cloud."""
