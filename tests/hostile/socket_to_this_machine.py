"""Talks to servers on the grader's machine."""

import socket

for port in [22, 80, 631, 3000, 5432, 6379, 8265, 8888, 8900, *range(30_000, 30_200)]:
    try:
        print("reached" "-4c1d", socket.create_connection(("127.0.0.1", port), timeout=0.2))
    except OSError:
        pass
