"""The policy server's OpenAPI description: its protocol for machines."""

from __future__ import annotations

import msgspec

from serving.protocol import Refusal, Waiting


def describe(calls: dict, views: dict) -> dict:
    """The OpenAPI 3.1 description, made from the same table and types that serve."""
    types = [Refusal]
    for _, message, answers in calls.values():
        types += [message, *answers]
    types += [answer for _, answer in views.values()]
    types = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    of = dict(zip(types, schemas))

    def content(schema):
        return {"content": {"application/json": {"schema": schema}}}

    refused = {"description": "Refused; nothing was recorded.", **content(of[Refusal])}
    refusals = {str(status): refused for status in (400, 401, 404, 409, 413, 429, 503)}
    paths = {}
    for name, (_, message, answers) in calls.items():
        responses = {
            "202" if answer is Waiting else "200": {
                "description": (answer.__doc__ or answer.__name__).split("\n\n")[0],
                **content(of[answer]),
            }
            for answer in answers
        }
        paths[f"/{name}"] = {
            "post": {
                "operationId": name,
                "summary": (message.__doc__ or name).split("\n\n")[0],
                "requestBody": {"required": True, **content(of[message])},
                "responses": responses | refusals,
            }
        }
    for name, (_, answer) in views.items():
        parameters = []
        if "{" in name:
            parameters = [
                {"name": "episode_id", "in": "path", "required": True, "schema": {"type": "string"}}
            ]
        elif name == "episodes":
            parameters = [{"name": "last", "in": "query", "schema": {"type": "integer"}}]
        summary = (answer.__doc__ or name).split("\n\n")[0]
        paths[f"/{name}"] = {
            "get": {
                "operationId": name.split("/")[0] + ("_one" if "{" in name else ""),
                "summary": summary,
                "parameters": parameters,
                "responses": {
                    "200": {"description": summary, **content(of[answer])},
                    "400": refused,
                    "401": refused,
                    "404": refused,
                },
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Policy server",
            "version": "1.0.0",
            "description": "Acts on observations and learns from the episodes it serves.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }
