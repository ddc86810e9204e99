"""Measurements of the whole fleet on this machine; `make bench` runs them. They say what was seen, and never fail."""
