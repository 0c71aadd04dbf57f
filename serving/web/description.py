"""OpenAPI descriptions: what a server can be asked for, for machines."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from serving.protocol import CALLS, Refusal, Waiting

REFUSALS = (400, 401, 403, 404, 405, 408, 409, 410, 413, 429, 431, 503)
QUERIES = {"episodes": "last", "policy": "version"}  # a whole number that a view may be asked with


def describe(title: str, about: str, calls: Iterable[str], views: dict[str, type]) -> dict:
    """The OpenAPI 3.1 description of a server, made from the types that it decodes and encodes.

    calls
        which of the protocol's
    views
        for each path that can be looked at, what is seen there
    """
    calls = {name: CALLS[name] for name in calls}
    types: list = [Refusal]
    for message, answers in calls.values():
        types += [message, *answers]
    types += views.values()
    types = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    of = dict(zip(types, schemas))

    def content(schema):
        return {"content": {"application/json": {"schema": schema}}}

    refused = {"description": "Refused; nothing was recorded.", **content(of[Refusal])}
    refusals = {str(status): refused for status in REFUSALS}
    paths = {}
    for name, (message, answers) in calls.items():
        responses = {
            "202" if answer is Waiting else "200": {
                "description": first_paragraph(answer.__doc__ or answer.__name__),
                **content(of[answer]),
            }
            for answer in answers
        }
        paths[f"/{name}"] = {
            "post": {
                "operationId": name,
                "summary": first_paragraph(message.__doc__ or name),
                "requestBody": {"required": True, **content(of[message])},
                "responses": responses | refusals,
            }
        }
    for name, answer in views.items():
        parameters = []
        if "{" in name:
            parameters = [
                {
                    "name": "episode_id",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string"},
                },
                {"name": "since", "in": "query", "schema": {"type": "integer", "minimum": 0}},
            ]
        elif name in QUERIES:
            parameters = [{"name": QUERIES[name], "in": "query", "schema": {"type": "integer"}}]
        summary = first_paragraph(answer.__doc__ or name)
        paths[f"/{name}"] = {
            "get": {
                "operationId": name.split("/")[0].split(".")[0] + ("_one" if "{" in name else ""),
                "summary": summary,
                "parameters": parameters,
                "responses": {
                    "200": {"description": summary, **content(of[answer])},
                }
                | refusals,
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1.0.0", "description": about},
        "paths": paths,
        "components": {"schemas": components},
    }


def first_paragraph(docstring: str) -> str:
    return " ".join(docstring.split("\n\n")[0].split())
