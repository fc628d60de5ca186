"""When to self-host, when to use an API, when both: costs, latency, hardware and a reasoned answer. Pure."""
