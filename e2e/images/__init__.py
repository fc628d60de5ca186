"""The images that the stories run: Spillway's own, the simulators', and a real Ollama's."""
