"""Prints more than anybody can keep."""

for _ in range(3_000):
    print("x" * 10_000)
