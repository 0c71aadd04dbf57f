"""The guard: which names, pages and tokens are let in."""

from __future__ import annotations

import pytest

from serving.protocol import Forbidden, InvalidMessage, PolicyServerError, Unauthorized
from serving.web.guard import Guard


def refused(guard: Guard, *headers: tuple[str, str], path: str = "/status") -> type | None:
    """The kind of error that these headers meet; None if they are let in."""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    try:
        guard.check({"type": "http", "path": path, "headers": raw})
    except PolicyServerError as error:
        return type(error)
    return None


@pytest.fixture
def a_guard() -> Guard:
    return Guard(None, ["lab-3"], None, "policy server")


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8900", "LOCALHOST:1", "localhost.", "127.0.0.1:8900", "[::1]:8900",
     "[::1]", "lab-3", "Lab-3:443"],
)  # fmt: skip
def test_names_that_are_meant_are_let_in(a_guard, host):
    """Is whoever asks for loopback, or for what --host says, let in by any port?"""
    assert refused(a_guard, ("Host", host)) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8900", "localhost.evil.example", "notlocalhost", "127.0.0.1.nip.io",
     "169.254.169.254", "[::2]:8900", "lab-3.evil.example"],
)  # fmt: skip
def test_names_that_were_pointed_here_are_kept_out(a_guard, host):
    """Is a name refused that somebody has made to resolve to this machine, also without an Origin,
    and with one that equals it?"""
    assert refused(a_guard, ("Host", host)) is Forbidden
    same = ("Host", host), ("Origin", f"http://{host}"), ("Sec-Fetch-Site", "same-origin")
    assert refused(a_guard, *same) is Forbidden


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Host", "")],
        [("Host", "a b")],
        [("Host", "localhost/x")],
        [("Host", "localhost:port")],
        [("Host", "localhost:999999")],
        [("Host", "user@localhost")],
        [("Host", "[::1")],
        [("Host", "lÃ¶calhost")],
        [("Host", "localhost"), ("Host", "localhost")],
        [("Host", "localhost"), ("Host", "evil.example")],
        [("Host", "localhost"), ("Origin", "http://localhost"), ("Origin", "null")],
        [("Host", "localhost"), ("Authorization", "x"), ("Authorization", "Bearer y")],
    ],
)
def test_malformed_headers_are_refused(a_guard, headers):
    """Is what a server and a proxy might read differently refused as malformed?"""
    assert refused(a_guard, *headers) is InvalidMessage


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, None),
        ({"Sec-Fetch-Site": "same-origin"}, None),
        ({"Sec-Fetch-Site": "none"}, None),
        ({"Sec-Fetch-Site": "cross-site"}, Forbidden),
        ({"Sec-Fetch-Site": "same-site"}, Forbidden),
        ({"Sec-Fetch-Site": "", "Origin": "http://evil.example"}, Forbidden),
        ({"Origin": "http://localhost:8900"}, None),
        ({"Origin": "http://localhost:8901"}, Forbidden),
        ({"Origin": "null"}, Forbidden),
        ({"Origin": ""}, Forbidden),
        ({"Origin": "http://["}, Forbidden),
    ],
)
def test_only_pages_of_the_same_origin_are_let_in(a_guard, headers, kind):
    """Is a page of another site told from the server's own, and from a program?"""
    assert refused(a_guard, ("Host", "localhost:8900"), *headers.items()) is kind


@pytest.mark.parametrize(
    ("authorization", "kind"),
    [
        ("Bearer open sesame", None),
        ("bearer open sesame", None),
        ("Bearer open", Unauthorized),
        ("Bearer ", Unauthorized),
        ("Basic open sesame", Unauthorized),
        ("open sesame", Unauthorized),
        ("Bearer Ã©", Unauthorized),
        (None, Unauthorized),
    ],
)
def test_a_token_is_needed_and_vouches_for_any_name(authorization, kind):
    """Behind a proxy whose name nobody knows here: is the token needed, and enough?"""
    guard = Guard(None, [], "open sesame", "page", lambda scope: scope["path"] == "/")
    headers = [("Host", "hub.example.org"), ("Origin", "https://hub.example.org")]
    if authorization is not None:
        headers.append(("Authorization", authorization))
    assert refused(guard, *headers) is kind
    assert refused(guard, *headers, path="/") is None  # the page itself
    assert refused(guard, *headers, ("Sec-Fetch-Site", "cross-site")) is (kind or Forbidden)


def test_an_allowed_host_is_said_in_the_refusal(a_guard):
    """Does the refusal name the option that would help?"""
    with pytest.raises(Forbidden, match="--allowed-host=hub.example.org"):
        a_guard.check({"path": "/", "headers": [(b"host", b"hub.example.org:443")]})
    guard = Guard(None, ["hub.example.org"], None, "page")
    assert refused(guard, ("Host", "hub.example.org:443")) is None
