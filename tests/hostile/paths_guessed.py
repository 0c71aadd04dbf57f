"""Asks the examiner for pages that are no policy server's."""

def replay(episodes):
    for method, path in (("POST", "/shutdown"), ("GET", "/../../etc/passwd"), ("DELETE", "/episodes"),
                         ("GET", "http://example.org/"), ("GET", "/episodes/../policy")):
        try:
            client._line.request(method, path, None, True)
        except Exception:
            pass
    return -1
