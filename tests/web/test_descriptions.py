"""Both servers against their own OpenAPI descriptions: whatever is sent, the answer is a described one.

`CASES=20000` makes the long form (`make long-test`).
"""

from __future__ import annotations

import asyncio
import json
import os
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import Served

from serving.pong import web_server
from serving.server.http_api import make_app

CASES = int(os.environ.get("CASES", 300))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
IDS = st.sampled_from(["a", "b", "é/ü", ""]) | st.text(max_size=130)


class App:
    """An ASGI app asked without a socket, and what it says of itself."""

    def __init__(self, app, served: Served, loop: asyncio.AbstractEventLoop):
        self.served, self.loop = served, loop
        transport = httpx.ASGITransport(app)  # an exception in the app is one here
        self.client = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        self.description = self.ask("GET", "/openapi.json").json()

    def ask(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
        return self.loop.run_until_complete(self.client.request(method, path, content=content))


@pytest.fixture(scope="module")
def policy_server():
    loop, served = asyncio.new_event_loop(), Served(0)
    app = App(make_app(served.server), served, loop)
    yield app
    loop.run_until_complete(app.client.aclose())
    loop.close()


@pytest.fixture(scope="module")
def pong_web_server(policy_server):
    """The Pong web server, with a link that asks the policy server here instead of by a socket."""
    link = web_server.PolicyServerLink("http://localhost:1", None)
    link.problem = None

    async def exchange(method, path, body=None, patience=0.0):
        answer = await policy_server.client.request(method, f"/{path}", content=body)
        return answer.status_code, answer.content

    link.exchange = exchange
    app = App(web_server.make_app(link), policy_server.served, policy_server.loop)
    yield app
    app.loop.run_until_complete(app.client.aclose())


def messages(schema: dict, components: dict) -> st.SearchStrategy:
    """JSON of this schema, and now and then something else in its place."""
    return st.one_of(*[_of(schema, components)] * 9, JSON)


def _of(schema: dict, components: dict) -> st.SearchStrategy:
    if "$ref" in schema:
        return _of(components[schema["$ref"].rpartition("/")[2]], components)
    if "anyOf" in schema:
        return st.one_of(*[_of(one, components) for one in schema["anyOf"]])
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        parts = {
            name: IDS if name == "episode_id" else messages(part, components)
            for name, part in schema["properties"].items()
        }
        required = {name: parts.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(required, optional=parts)
    if kind == "array":
        items = messages(schema.get("items", {}), components)
        return st.lists(items, max_size=4) | st.lists(items, min_size=3, max_size=3)
    if kind == "number":
        return st.integers(-3, 3) | st.floats(-10, 10) | st.floats()
    simple = {
        "integer": st.integers(),
        "boolean": st.booleans(),
        "null": st.none(),
        "string": st.text(max_size=10),
    }
    return simple.get(kind, JSON)


def requests_of(description: dict) -> st.SearchStrategy:
    """(method, template, path, body) of what the description describes, and of its neighbours."""
    components = description["components"]["schemas"]
    of = []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            body = st.none()
            if content:
                schema = content["application/json"]["schema"]
                # Python's JSON writes NaN and Infinity, which is one more thing to refuse.
                body = messages(schema, components).map(_without_patience).map(json.dumps)
                body = body.map(str.encode) | st.binary(max_size=40)
            address = st.just(path)
            if "{" in path:
                # A client would leave out "." and "..": they are steps of a path.
                address = IDS.filter(lambda id_: id_.strip(".")).map(
                    lambda id_, p=path: p.replace("{episode_id}", quote(id_, ""))
                )
            elif operation.get("parameters"):
                query = operation["parameters"][0]["name"]
                number = st.integers(-3, 300).map(str) | st.just("0") | st.text(max_size=12)
                address = number.map(lambda n, p=path, q=query: f"{p}?{q}={quote(n)}")
            verb = st.sampled_from([method.upper()] * 9 + ["PUT" if content else "DELETE"])
            of.append(st.tuples(verb, st.just((path, method)), address, body))
    return st.one_of(of)


def _without_patience(message):
    """Nobody learns here, so that whoever waits waits for nothing."""
    if isinstance(message, dict) and isinstance(message.get("patience"), (int, float)):
        message["patience"] = min(message["patience"], 0.01)
    return message


@pytest.mark.parametrize("name", ["policy_server", "pong_web_server"])
def test_every_answer_is_a_described_one(name, request):
    """Does nothing that is sent make an answer that the description does not know, and does the
    server go on acting?"""
    app = request.getfixturevalue(name)
    statuses = set()

    @settings(
        max_examples=CASES, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(requests_of(app.description))
    def ask(case):
        method, (path, documented), address, body = case
        answer = app.ask(method, address, body)
        statuses.add(answer.status_code)
        operation = app.description["paths"][path][documented]
        described = operation["responses"].get(str(answer.status_code))
        assert described, (
            f"{method} {address} is answered {answer.status_code}: {answer.text[:200]}"
        )
        assert answer.headers["content-type"] == "application/json"
        schema = described["content"]["application/json"]["schema"]
        document = {**schema, "components": app.description["components"]}
        jsonschema.validate(answer.json(), document)

    ask()
    assert {200, 400} <= statuses and max(statuses) < 500
    episode = app.ask("POST", "/start_episode", b"{}").json()["episode_id"]
    message = {"episode_id": episode, "observation": [0.0] * app.served.size}
    assert app.ask("POST", "/get_action", json.dumps(message).encode()).status_code == 200
