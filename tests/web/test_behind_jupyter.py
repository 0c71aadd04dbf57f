"""Behind Jupyter, under a name that nobody here knows: the tile's page, and one from a terminal."""

from __future__ import annotations

import httpx
import pytest
from web_server import WebServer

pytestmark = pytest.mark.slow

HUB = {"Host": "hub.example.org", "Origin": "https://hub.example.org"}
FOREIGN = {"Host": "hub.example.org", "Origin": "https://evil.example"}


@pytest.fixture
def a_web_server(a_free_port, request):
    server = WebServer(
        f"http://localhost:{a_free_port}", *request.param[0], environment=request.param[1]
    )
    try:
        yield server
    finally:
        server.stop()


def port_of(server: WebServer) -> str:
    return server.address.split("?")[0].strip("/").rpartition(":")[2]


def test_the_policy_servers_tile_works_under_any_name(a_jupyter_server):
    """Is the page there whether or not a policy server runs, for users of this Jupyter only, and
    does it ask for what the server says by what works through Jupyter?"""
    page = f"{a_jupyter_server}/policy-server/"
    shown = httpx.get(page, headers={**HUB, "Accept": "text/html"}, timeout=60)
    assert shown.status_code == 200 and "<h1>Policy server" in shown.text
    assert httpx.get(page + "page/main.js", headers=HUB).status_code == 200
    # One may run on this machine, of which nobody here knows anything.
    status = httpx.get(page + "status", headers=HUB)
    assert status.status_code in (200, 403, 503)
    if status.status_code == 503:
        assert "no policy server answers at" in status.json()["error"]
    assert httpx.get(page + "status", headers=FOREIGN).json()["error"].startswith("a page of")


def test_my_lessons_tile_works_under_any_name(a_jupyter_server):
    """Is the page there for users of this Jupyter, with the lessons in it, and do other sites' pages
    get it neither to show nor to do anything?"""
    page = f"{a_jupyter_server}/my-lessons/"
    shown = httpx.get(page, headers=HUB, timeout=60)
    assert shown.status_code == 200 and "<h1>My lessons" in shown.text
    assert httpx.get(page + "look/look.css", headers=HUB).status_code == 200
    lessons = httpx.get(page + "state", headers=HUB, timeout=60).json()["lessons"]
    assert [lesson["name"][:2] for lesson in lessons] == ["01", "02", "03", "04", "05"]
    assert httpx.get(page + "state", headers=FOREIGN).status_code == 403
    assert httpx.post(page + "stop", json={}, headers=FOREIGN).status_code == 403


def test_the_tile_works_under_any_name(a_jupyter_server):
    """Does Jupyter let its users to the page whatever it is called, and other sites' pages not?"""
    page = f"{a_jupyter_server}/pong/"
    live = httpx.get(page + "live", headers=HUB, timeout=60)
    assert live.status_code == 200, live.text
    assert httpx.get(page, headers=HUB).status_code == 200
    assert httpx.get(page + "live", headers=FOREIGN).status_code == 403
    assert httpx.post(page + "start_episode", json={}, headers=FOREIGN).status_code == 403


@pytest.mark.parametrize(
    "a_web_server", [([], {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"})], indirect=True
)
def test_in_a_hub_the_address_holds_a_token(a_web_server, a_jupyter_server):
    """Started in a hub's terminal: is the page shown under the hub's name, and does it play with
    the token of the address, and only so?"""
    line = a_web_server.says("behind Jupyter")
    token = line.rpartition("?token=")[2]
    assert line.endswith(f"/user/ada/proxy/{port_of(a_web_server)}/?token={token}") and token
    page = f"{a_jupyter_server}/proxy/{port_of(a_web_server)}/"
    assert httpx.get(page, headers=HUB).status_code == 200
    assert httpx.get(page + "live", headers=HUB).status_code == 401
    shown = {"Authorization": f"Bearer {token}"}
    assert httpx.get(page + "live", headers={**HUB, **shown}).status_code == 200
    assert httpx.get(page + "live", headers={**FOREIGN, **shown}).status_code == 403


@pytest.mark.parametrize("a_web_server", [(["--allowed-host=hub.example.org"], {})], indirect=True)
def test_a_name_can_be_allowed(a_web_server, a_jupyter_server):
    """Does --allowed-host do without a token, for this name and no other?"""
    page = f"{a_jupyter_server}/proxy/{port_of(a_web_server)}/"
    assert httpx.get(page + "live", headers=HUB).status_code == 200
    assert httpx.get(page + "live", headers={"Host": "evil.example"}).status_code == 403
    assert httpx.get(page, headers={"Host": "evil.example"}).status_code == 403
