"""Computes a number that nobody lives to see."""

def importance_weight(pi, mu):
    return len(str(7 ** (10**9)))
