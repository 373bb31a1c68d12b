"""Beams with a name."""
