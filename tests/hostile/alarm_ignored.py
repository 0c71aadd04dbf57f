"""Ignores the alarm that would end it."""

import signal


def importance_weight(pi, mu):
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    while True:
        pass
