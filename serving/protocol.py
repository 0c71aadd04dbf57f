"""What a player and a policy server say to each other, and the errors both of them raise.

Every message is one HTTP request with a JSON body; every answer is JSON.

| request               | message      | answer           | meaning                                |
|-----------------------|--------------|------------------|----------------------------------------|
| POST /start_episode   | StartEpisode | EpisodeStarted   | a new episode begins                   |
| POST /get_action      | GetAction    | Action, Waiting  | the policy acts on an observation      |
| POST /log_action      | LogAction    | Recorded         | somebody else acted                    |
| POST /log_steps       | LogSteps     | Recorded, Waiting| a block of steps somebody else took    |
| POST /log_returns     | LogReturns   | Recorded         | reward for the latest action           |
| POST /end_episode     | EndEpisode   | Recorded, Waiting| the last observation; no more actions  |
| POST /keep_policy     | KeepPolicy   | KeptPolicy       | a version gets a name, and stays       |
| POST /serve_policy    | ServePolicy  | KeptPolicies     | which version acts from now on         |
| GET  /status          |              | Status           | how serving and learning are going     |
| GET  /policy          |              | PolicySnapshot   | the weights that evaluations meet      |
| GET  /policies        |              | KeptPolicies     | which versions can be gone back to     |
| GET  /episodes        |              | Transcripts      | what the latest episodes said and heard|
| GET  /openapi.json    |              |                  | this table for machines                |
| GET  /events          |              |                  | what the page at / shows, live         |

Steps cost one round trip or less: `GetAction`, `LogSteps` and `EndEpisode` carry in `reward` and
`steps` what happened since the previous request. `reward` belongs to the latest action; `steps`
come after it, in order. An answer with status 202 (`Waiting`) means that nothing of the message
was recorded yet: send the same message again.

An answer may get lost on its way, and then nobody knows what was recorded. So the messages of an
episode may say in `step` how many of its steps the server holds already. The very same message, byte
for byte, is then answered with the same answer and recorded once, however often it comes; and one
that does not follow what was recorded is refused (409). A `key` does the same for `StartEpisode`.
Whoever closes the connection while the server still waits has not said anything.

The server keeps policies along the way, some dozens of them: `StartEpisode.policy_version` evaluates
one, `GET /policy?version=N` shows its weights, `ServePolicy` lets it act again.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec

from serving.own_line import own_frame

POLICY_SERVER_PORT = 8900
WEB_SERVER_PORT = 3000

# Numbers beyond this are almost always a bug of the player's (an uninitialised array, a sum that
# ran away), and float32 arithmetic on them would turn the policy into NaN for everybody.
LARGEST_NUMBER = 1e6
LARGEST_BODY = 4 * 2**20  # bytes

Step = Annotated[int, msgspec.Meta(ge=0)]
Version = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
EpisodeId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class PolicyServerError(Exception):
    """Root of all errors of the policy server and its client.

    PolicyServerError
    ├── InvalidMessage       400  a number, size or field is not what it should be
    ├── Unauthorized         401  the token is missing or wrong
    ├── Forbidden            403  not for this user, this site, or under this name
    ├── EpisodeNotFound      404  no episode of this id
    ├── Late                 408  the request has not come in time
    ├── EpisodeConflict      409  the episode exists, but not in a state that allows this call
    ├── PolicyNotKept        410  the server keeps no policy of this version (any more)
    ├── MessageTooLarge      413
    ├── TooManyEpisodes      429
    ├── HeadTooLarge         431
    └── ServerUnreachable    503  nobody answers at the address, or not in time
    """

    status = 500

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the sentence, and the line of the reader's own that led to it."""
        said = [f"{type(self).__name__}: {self}"]
        own = own_frame(self)
        if own and own.line:
            place = f"line {own.lineno}"
            if own.name.isidentifier():
                place = f"{own.name}(), {place}"
            said.append(f"    in {place}: {own.line}")
        return said


class InvalidMessage(PolicyServerError, ValueError):
    status = 400


class Disconnected(InvalidMessage):
    """Nobody is there any more to be refused anything; a browser that leaves a page does that."""


class Unauthorized(PolicyServerError):
    status = 401


class Forbidden(PolicyServerError):
    status = 403


class EpisodeNotFound(PolicyServerError, LookupError):
    status = 404

    __str__ = Exception.__str__


class Late(PolicyServerError):
    status = 408


class EpisodeConflict(PolicyServerError):
    status = 409


class PolicyNotKept(PolicyServerError, LookupError):
    status = 410

    __str__ = Exception.__str__


class MessageTooLarge(PolicyServerError):
    status = 413


class TooManyEpisodes(PolicyServerError):
    status = 429


class HeadTooLarge(PolicyServerError):
    status = 431


class ServerUnreachable(PolicyServerError, ConnectionError):
    status = 503


ERRORS = {error.status: error for error in PolicyServerError.__subclasses__()}


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """Base of the requests: an unknown field is a typing mistake, so it is refused."""


class StartEpisode(Message):
    """`training_enabled=False`: nothing of the episode reaches the learner; actions are greedy.

    With DQN they are those of the average of its latest weights, which is steadier than the newest.
    A message with the `key` of an earlier one is that one, sent again: it starts nothing.
    `policy_version`: a version of `KeptPolicies` acts, to the episode's end; for evaluations only.
    """

    episode_id: EpisodeId | None = None
    training_enabled: bool = True
    policy_version: Version | None = None
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class KeepPolicy(Message):
    """Gives a version of `KeptPolicies` a name: it is kept for good, with the checkpoint. A name that
    another version has moves over."""

    version: Version
    name: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_.-]{1,64}$")]


class ServePolicy(Message):
    """Rolls back: from now on, and after a restart, a version of `KeptPolicies` acts; null: the
    newest again, which is learned meanwhile. On-policy algorithms learn nothing from what another
    than their newest one does."""

    version: Version | None = None


class KeptPolicy(msgspec.Struct):
    """A version that can be gone back to. `env_steps` and `mean_return` (over 20 training episodes,
    null before the first) are the run's, when the policy was new."""

    version: int
    env_steps: int
    mean_return: float | None
    names: list[str]


class KeptPolicies(msgspec.Struct):
    """In order: the first and the newest, what has a name, and a bounded number in between, which
    lie the closer the nearer either end is. `acting` is the version that answers."""

    policies: list[KeptPolicy]
    acting: int
    newest: int


class EpisodeStarted(msgspec.Struct):
    episode_id: str


class LoggedStep(Message):
    """One step somebody else took: what they saw, did, and were paid for it."""

    observation: list[float]
    action: float  # integral; logs often hold 1.0 for 1
    reward: float = 0.0


class GetAction(Message):
    """Asks for the policy's action on `observation` (a flat list of numbers).

    `reward` and `steps` are what happened since the previous request. After `patience` seconds of
    waiting for the learner the server answers `Waiting` instead of an action. `explain=True`
    asks for the policy's action values too.
    """

    episode_id: EpisodeId
    observation: list[float]
    reward: float | None = None
    steps: list[LoggedStep] = []
    patience: Annotated[float, msgspec.Meta(ge=0, le=60)] = 30.0
    explain: bool = False
    step: Step | None = None


class Action(msgspec.Struct, omit_defaults=True):
    """`greedy` is false when the action was explored; `values` holds one number an action."""

    action: int
    policy_version: int
    values: list[float] | None = None
    greedy: bool = True


class Waiting(msgspec.Struct):
    """Status 202: nothing was recorded yet; send the same message again."""

    waiting_for: str


class LogAction(Message):
    episode_id: EpisodeId
    observation: list[float]
    action: float
    step: Step | None = None


class LogSteps(Message):
    episode_id: EpisodeId
    reward: float | None = None
    steps: list[LoggedStep] = []
    patience: Annotated[float, msgspec.Meta(ge=0, le=60)] = 30.0
    step: Step | None = None


class LogReturns(Message):
    """`info` is for people reading the traffic; nothing learns from it. With a `step`, a second
    reward that equals the first counts as the first one, sent again: add them up, or leave it out.
    """

    episode_id: EpisodeId
    reward: float
    info: dict[str, Any] | None = None
    step: Step | None = None


class EndEpisode(Message):
    """`truncated=True`: the episode was cut short (a time limit), it did not terminate.

    The difference matters to a learner: a terminated episode is worth nothing from here on, a
    truncated one would have gone on earning. An episode that terminates in the very step where its
    time is up may be reported as either; the server takes what it is told.
    """

    episode_id: EpisodeId
    observation: list[float]
    reward: float | None = None
    steps: list[LoggedStep] = []
    truncated: bool = False
    patience: Annotated[float, msgspec.Meta(ge=0, le=60)] = 30.0
    step: Step | None = None


class Recorded(msgspec.Struct):
    """How many steps of the episode the server holds now."""

    steps: int


class Refusal(msgspec.Struct, omit_defaults=True):
    """The body of every 4xx: what was wrong, and in which call of the player's."""

    error: str
    call: str
    step: int | None = None


class Transcript(msgspec.Struct):
    """What the server saw of one episode. `observations` has one row more than `actions` once
    the episode has ended; `sources` says for each action who chose it: `policy` or `log`;
    `ending` is `terminated`, `truncated`, `abandoned`, or null while the episode is open.
    `dropped_steps` came before the first one here: of a very long episode, or of one that was asked
    for with `?since=` a step."""

    episode_id: str
    training_enabled: bool
    observations: list[list[float]]
    actions: list[int]
    rewards: list[float]
    sources: list[str]
    policy_versions: list[int]
    seconds: list[float]
    ending: str | None
    dropped_steps: int = 0


class Rejection(msgspec.Struct):
    """A request the server refused."""

    call: str
    episode_id: str | None
    status: int
    error: str


class Transcripts(msgspec.Struct):
    episodes: list[Transcript]
    rejected: list[Rejection]


class Status(msgspec.Struct):
    """Answer of `GET /status`. Returns are means over the latest 20 training episodes (null before
    the first); `steps_waiting` counts complete steps that were not learned from yet: a learner for
    which there are none is idle. On-policy algorithms (`run` PG, PPO) learn nothing from
    `unlearnable_steps`, which were logged, nor from `outdated_steps`, whose actions an older policy
    chose."""

    state: str  # starting | learning | idle | restarting | failed
    why: str
    run: str
    observation_size: int
    action_size: int
    env_steps: int
    logged_steps: int
    unlearnable_steps: int
    outdated_steps: int
    evaluation_steps: int
    episodes: int
    open_episodes: int
    mean_return: float | None
    returns: list[float]
    updates: int
    updates_per_second: float
    steps_waiting: int
    exploration: float
    policy_version: int
    waiting_clients: int
    learner_pid: int | None
    learner_restarts: int
    learner_cpus: float
    uptime: float
    checkpoint_file: str | None
    checkpoint_age: float | None
    log_dir: str
    tensorboard: str


class Curve(msgspec.Struct):
    """Answer of `GET /curve`: points (env steps, mean return over the latest 20 training episodes)
    since the policy was begun, at most 240 of them; the older ones lie farther apart."""

    points: list[tuple[int, float]]


# The calls of the table above: what is sent, and what may be answered.
CALLS: dict[str, tuple[type[Message], tuple[type, ...]]] = {
    "start_episode": (StartEpisode, (EpisodeStarted,)),
    "get_action": (GetAction, (Action, Waiting)),
    "log_action": (LogAction, (Recorded, Waiting)),
    "log_steps": (LogSteps, (Recorded, Waiting)),
    "log_returns": (LogReturns, (Recorded,)),
    "end_episode": (EndEpisode, (Recorded, Waiting)),
    "keep_policy": (KeepPolicy, (KeptPolicy,)),
    "serve_policy": (ServePolicy, (KeptPolicies,)),
}


def check_number(value: float, name: str) -> None:
    """Raises InvalidMessage unless `value` is finite and within ±LARGEST_NUMBER."""
    # One comparison catches NaN and infinity as well.
    if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise InvalidMessage(
            f"{name} is {value}: expected a finite number between "
            f"-{LARGEST_NUMBER:.0e} and {LARGEST_NUMBER:.0e}"
        )


def check_observation(observation: list[float], size: int) -> None:
    """Raises InvalidMessage unless `observation` is `size` finite numbers."""
    if len(observation) != size:
        raise InvalidMessage(
            f"observation has {len(observation)} numbers: expected {size} "
            f"(the server was started with --observation-size={size})"
        )
    for i, value in enumerate(observation):
        if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            check_number(value, f"observation[{i}]")


def check_action(action: float, size: int) -> int:
    """The action as an int; raises InvalidMessage unless it is a whole number below `size`."""
    if not (math.isfinite(action) and action == int(action) and 0 <= action < size):
        raise InvalidMessage(
            f"action is {action}: expected a whole number from 0 to {size - 1} "
            f"(the server was started with --action-size={size})"
        )
    return int(action)
