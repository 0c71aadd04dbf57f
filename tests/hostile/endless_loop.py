"""Loops without an end, and catches everything."""

def importance_weight(pi, mu):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
