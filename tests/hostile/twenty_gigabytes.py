"""Takes 20 GB of memory."""

taken = []
for _ in range(20 * 1024):
    taken.append(bytearray(b"x" * 2**20))
