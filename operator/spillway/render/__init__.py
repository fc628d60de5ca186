"""Rendering: an object and its plan to the manifests of everything that runs for it. Pure.

`render_deployment` for one LLMDeployment, `render_namespace` for the gateway that those of a namespace share.
"""

from spillway.render.deployment import render_deployment
from spillway.render.namespace import render_namespace
from spillway.render.network import ApiServer
from spillway.render.settings import RenderSettings
from spillway.render.template import Manifest

__all__ = ["ApiServer", "Manifest", "RenderSettings", "render_deployment", "render_namespace"]
