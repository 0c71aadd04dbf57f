"""Says what is no message."""

import os
import socket

for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\3\xc1\xc1\xc1", b"\0\0\0\1\x90" * 500):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["EXAMINER"])
    connection.sendall(nonsense)
    connection.close()
