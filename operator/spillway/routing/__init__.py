"""The decision core: where a request may go, when it spills, what it may cost. Pure: no I/O, clocks passed in."""
