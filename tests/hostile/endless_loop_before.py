"""Loops without an end before any question, and catches everything."""

while True:
    try:
        while True:
            pass
    except BaseException:
        pass
