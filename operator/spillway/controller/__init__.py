"""The operator: watches LLMDeployments and makes of each what it declares. Its edges: kopf, and the API server."""
