"""A GPU node without GPUs: it runs a pod's containers as processes of this machine, and says that it is simulated."""

from spillway.simulator.node.gpunode import GpuNode
from spillway.simulator.node.images import Image, Images, Invocation, Program, default_images

__all__ = ["GpuNode", "Image", "Images", "Invocation", "Program", "default_images"]
