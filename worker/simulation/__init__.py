"""Simulated bridge nodes, the load that they make, and the proof that the database came out right."""
