"""What kopf would keep of each object between events, left out: nothing is compared, nothing is written.

Kopf copies every object of every event twice to find what its change handlers are to be told. There are none here
(handlers.py).
"""

# ruff: noqa: ARG002 - the arguments are kopf's

from __future__ import annotations

import kopf


class NothingToCompare(kopf.DiffBaseStorage):
    """No essence of any object."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        """Nothing."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Nothing."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""


class NoProgress(kopf.ProgressStorage):
    """No handler's progress: handlers of events have none."""

    def fetch(self, *, key: object, body: kopf.Body) -> None:
        """Nothing."""

    def store(self, *, key: object, record: object, body: kopf.Body, patch: kopf.Patch) -> None:
        """Keep nothing."""

    def purge(self, *, key: object, body: kopf.Body, patch: kopf.Patch) -> None:
        """Nothing is there."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Write nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """As it is."""
        return essence
