"""Pages for browsers: what all of them share, and what their answers say of themselves."""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).with_name("static")  # colours and shapes, and how an episode is played back

HEADERS = {
    # A page brings everything along; whatever else it might be talked into loading is refused.
    "content-security-policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the address may hold a token
    "cache-control": "no-cache",  # asks each time, so that an update of the kit is seen
}


def with_headers(app):
    """The ASGI app, with HEADERS in all of its answers."""
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def answer(scope, receive, send) -> None:
        async def send_with_headers(event) -> None:
            if event["type"] == "http.response.start":
                event = {**event, "headers": [*event["headers"], *headers]}
            await send(event)

        await app(scope, receive, send_with_headers)

    return answer
