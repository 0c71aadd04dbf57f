"""Calls home."""

import socket

for address in (("1.1.1.1", 53), ("example.org", 80), ("8.8.8.8", 443)):
    try:
        print("reached" "-4c1d", socket.create_connection(address, timeout=3))
    except OSError as error:
        print(address, error)
