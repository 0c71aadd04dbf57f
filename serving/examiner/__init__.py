"""Grading from outside the notebook: the examiner asks, and keeps the ledger."""
