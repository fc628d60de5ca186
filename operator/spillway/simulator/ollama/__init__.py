"""A server that answers as Ollama 0.17.4 was seen to, without a model; and the commands that talk to one."""
