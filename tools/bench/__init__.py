"""What is promised, measured: each part of `parts/` is one measurement with its rows of the table."""
