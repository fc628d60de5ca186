"""Every error Spillway raises on purpose: one class per meaning, a leaf that imports nothing of ours.

SpillwayError
├── InvalidObject(ValueError)         a field of an object cannot be used; says the field, the value and the cure
├── UnknownProfile(InvalidObject)     spec.accelerator.profile names none of the administrator's profiles
├── DoesNotFit(InvalidObject)         the model does not fit the accelerator
└── SetupError(RuntimeError)          this machine lacks something; says what and how to get it
"""

from __future__ import annotations


class SpillwayError(Exception):
    """The root of all errors that Spillway raises on purpose."""


class InvalidObject(SpillwayError, ValueError):
    """A field of an object cannot be used as it is: names the field, its value and what to write instead."""

    def __init__(self, field: str, problem: str, cure: str, reason: str = "InvalidSpec") -> None:
        """Name the `field` by its path in the object, the `problem` with its value, the `cure` and a CamelCase reason."""
        super().__init__(f"{field}: {problem}; {cure}")
        self.field = field
        self.problem = problem
        self.cure = cure
        self.reason = reason


class UnknownProfile(InvalidObject):
    """spec.accelerator.profile names none of the administrator's profiles."""


class DoesNotFit(InvalidObject):
    """The model, at its context and quantisation, does not fit the accelerator."""


class SetupError(SpillwayError, RuntimeError):
    """This machine lacks something that was needed: the message says what and how to get it."""
