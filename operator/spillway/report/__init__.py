"""Advice on a terminal: what is read and asked, and what is printed of `spillway.advisor`."""
