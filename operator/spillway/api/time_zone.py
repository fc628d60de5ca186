"""Time zones of the IANA database by name: https://www.iana.org/time-zones."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from spillway.api.common import Matches, text

UTC_NAME: Final = "Etc/UTC"

TimeZone = Annotated[
    str,
    text(64),
    Matches(
        "[A-Z][A-Za-z_]*(/[A-Za-z0-9_+-]+)+",
        "timeZone must be a name such as Europe/Berlin or Etc/UTC, no abbreviation and no offset",
    ),
    Field(description="The time zone in which windows begin and end, as in the IANA database. Absent: Etc/UTC."),
]
ZONE_MESSAGE: Final = "timeZone must be in the IANA time zone database, such as Europe/Berlin or Etc/UTC"
# CEL has no function that asks whether a zone exists, but an hour in one that does not is an error, which refuses too.
ZONE_RULE: Final = "!has(self.timeZone) || timestamp('2026-01-01T00:00:00Z').getHours(self.timeZone) >= 0"


@lru_cache(maxsize=256)
def is_zone(name: str) -> bool:
    """Whether the database of this machine has a zone of that name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
