"""A recording cloud: an OpenAI-compatible API over TLS that keeps every byte it is sent and bills every request."""

from spillway.simulator.cloud.bill import Bill, BillLine, Price
from spillway.simulator.cloud.faults import Faults
from spillway.simulator.cloud.recorder import Record
from spillway.simulator.cloud.server import RecordingCloud

__all__ = ["Bill", "BillLine", "Faults", "Price", "Record", "RecordingCloud"]
