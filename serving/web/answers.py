"""Bodies in, JSON out: how both servers read a message, answer it, and refuse it."""

from __future__ import annotations

import re

import msgspec
from starlette.responses import Response

from serving.protocol import (
    Disconnected,
    InvalidMessage,
    MessageTooLarge,
    PolicyServerError,
    Refusal,
)

NOT_A_NUMBER = re.compile(rb"[:,\[]\s*-?(NaN|Infinity|nan|inf)\b")

encode = msgspec.json.encode


async def read_body(receive, largest: int) -> bytes:
    """The request's whole body; raises MessageTooLarge before more than `largest` bytes of it are
    in memory, and Disconnected if its sender is gone."""
    body = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Disconnected("the connection closed in the middle of the message")
        body += event.get("body", b"")
        if len(body) > largest:
            raise MessageTooLarge(f"the message is larger than {largest} bytes; send it in parts")
        if not event.get("more_body"):
            return body


def decode(decoder: msgspec.json.Decoder, body: bytes):
    """The message in the body; raises InvalidMessage, which says what is wrong with it and where."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        # "Expected `float`, got `str` - at `$.observation[0]`"
        said = f"{error}".replace("`$.", "`").replace("`", "")
        raise InvalidMessage(
            said.replace("Number out of range", "Expected a finite number, got a larger one")
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if NOT_A_NUMBER.search(body):
            raise InvalidMessage(
                "the message is not JSON: expected finite numbers, and came NaN or Infinity"
            ) from None
        raise InvalidMessage(f"the message is not JSON: {error}") from None
    except RecursionError:
        raise InvalidMessage("the message is nested too deeply") from None


def json_answer(answer, status: int = 200, headers: dict | None = None) -> Response:
    return Response(encode(answer), status, headers, media_type="application/json")


def refusal(error: PolicyServerError, call: str, headers: dict | None = None) -> Response:
    """What a player gets to see of an error."""
    answer = Refusal(str(error), getattr(error, "call", call), getattr(error, "step", None))
    return json_answer(answer, error.status, headers)
