"""A real Kubernetes control plane on this machine, without Docker or root: shared by the demo and the tests."""

from spillway.simulator.controlplane.cluster import ControlPlane, running

__all__ = ["ControlPlane", "running"]
