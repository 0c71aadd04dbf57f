"""The numbers, sizes and errors that both ends of the line agree on."""

from __future__ import annotations

import inspect
import math

import msgspec
import pytest

from serving import protocol
from serving.protocol import (
    ERRORS,
    LARGEST_NUMBER,
    InvalidMessage,
    PolicyServerError,
    check_action,
    check_number,
    check_observation,
)

NOT_FINITE = [math.nan, math.inf, -math.inf]
REQUESTS = protocol.Message.__subclasses__()


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-300, LARGEST_NUMBER, -LARGEST_NUMBER, 1, True])
def test_finite_numbers_pass(value):
    """Does every finite number up to the limit pass?"""
    check_number(value, "reward")


@pytest.mark.parametrize("value", [*NOT_FINITE, 1.001e6, -1.001e6, 1e308])
def test_a_bad_number_is_named(value):
    """Does the refusal of a number say which field it was, what came and what was expected?"""
    with pytest.raises(InvalidMessage) as refusal:
        check_number(value, "reward")
    said = str(refusal.value)
    assert said.startswith("reward is ")
    assert str(value) in said
    assert "finite number between -1e+06 and 1e+06" in said


def test_an_observation_of_the_right_size_passes():
    """Is an observation accepted exactly when it has as many numbers as the server was told?"""
    for size in (1, 4, 8, 1000):
        check_observation([0.5] * size, size)
        for wrong in {0, size - 1, size + 1, 2 * size} - {size}:
            with pytest.raises(InvalidMessage, match=f"has {wrong} numbers: expected {size}"):
                check_observation([0.5] * wrong, size)


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_bad_number_in_an_observation_is_located(value, at):
    """Does the refusal say at which place of the observation the bad number stands?"""
    observation = [0.0] * 4
    observation[at] = value
    with pytest.raises(InvalidMessage, match=rf"observation\[{at}\] is {value}"):
        check_observation(observation, 4)


@pytest.mark.parametrize("action", [0, 1, 2, 0.0, 2.0, -0.0])
def test_whole_numbers_below_the_size_are_actions(action):
    """Is an integral float as good an action as an integer, and the answer an int?"""
    checked = check_action(action, 3)
    assert type(checked) is int
    assert checked == action


@pytest.mark.parametrize("action", [-1, 3, 1.5, 2.999, 1e18, 1e300, *NOT_FINITE])
def test_other_numbers_are_no_actions(action):
    """Is everything else refused, with the range that would have been right?"""
    with pytest.raises(
        InvalidMessage, match=r"expected a whole number from 0 to 2 .*--action-size=3"
    ):
        check_action(action, 3)


def test_every_error_has_a_status_of_its_own():
    """Can a client tell the errors apart by their HTTP status alone?"""
    kinds = PolicyServerError.__subclasses__()
    assert len(ERRORS) == len(kinds) >= 7
    assert all(ERRORS[kind.status] is kind for kind in kinds)
    assert all(400 <= kind.status < 500 or kind.status == 503 for kind in kinds)


def test_the_error_tree_is_as_documented():
    """Does the tree in the root's docstring name every error with its status?"""
    documented = dict(
        line.split()[1:3] for line in PolicyServerError.__doc__.splitlines() if "──" in line
    )
    assert documented == {
        kind.__name__: str(kind.status) for kind in PolicyServerError.__subclasses__()
    }


def test_errors_are_pythons_own_kinds_too():
    """Does `except ValueError`, `LookupError`, `ConnectionError` catch what it should?"""
    assert issubclass(protocol.InvalidMessage, ValueError)
    assert issubclass(protocol.EpisodeNotFound, LookupError)
    assert issubclass(protocol.ServerUnreachable, ConnectionError)
    assert str(protocol.EpisodeNotFound("no episode 'x'")) == "no episode 'x'"


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: message.__name__)
def test_unknown_fields_are_refused(message):
    """Is a misspelt field an error rather than silently ignored?"""
    with pytest.raises(msgspec.ValidationError, match="unknown field `rewards`"):
        msgspec.convert({"rewards": 1.0}, message)


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: message.__name__)
def test_the_message_table_names_every_request(message):
    """Is every request in the table that opens the module?"""
    table = inspect.getdoc(protocol)
    if message is not protocol.LoggedStep:  # a part of other messages
        assert f"| {message.__name__} " in table


def test_requests_survive_json():
    """Does a message come out of JSON as it went in?"""
    step = protocol.LoggedStep([1.0, -2.5], 1.0, 0.25)
    messages = [
        protocol.StartEpisode("e", False),
        protocol.GetAction("e", [0.1, 0.2], 1.5, [step], 3.0, True),
        protocol.LogSteps("e", -1.0, [step, step]),
        protocol.LogReturns("e", 2.0, {"a": [1, {"b": None}]}),
        protocol.EndEpisode("e", [0.0, 0.0], None, [step], True),
    ]
    for message in messages:
        again = msgspec.json.decode(msgspec.json.encode(message), type=type(message))
        assert again == message


def test_two_messages_share_no_list():
    """Does a default list belong to its message alone?"""
    first, second = protocol.LogSteps("a"), protocol.LogSteps("b")
    first.steps.append(protocol.LoggedStep([0.0], 0.0))
    assert second.steps == []
