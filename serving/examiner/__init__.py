"""Grading: what hidden tests call."""
