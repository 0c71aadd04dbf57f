"""Announces a message of 4 GB, and sends some of it."""

from serving.examiner import candidate


def send(self, *message):
    self._connection.sendall(b"\xff\xff\xff\xff" + b"x" * 100_000)


candidate.Line.send = send
