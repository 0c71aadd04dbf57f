"""PolicyClient: a player's end of the line.

    client = PolicyClient("http://localhost:8900")
    episode_id = client.start_episode()
    action = client.get_action(episode_id, observation)
    client.log_returns(episode_id, reward)
    client.end_episode(episode_id, observation)

The plain loop is the fast loop: rewards and logged steps are kept here until the next request of
their episode, so a step costs one round trip or less.
"""

from __future__ import annotations

import math
import uuid
from array import array
from urllib.parse import quote

import msgspec
import numpy as np

from serving.connection import Connection
from serving.policy import PolicySnapshot
from serving.protocol import (
    ERRORS,
    LARGEST_NUMBER,
    POLICY_SERVER_PORT,
    Action,
    EndEpisode,
    EpisodeConflict,
    EpisodeNotFound,
    EpisodeStarted,
    GetAction,
    InvalidMessage,
    KeepPolicy,
    KeptPolicies,
    KeptPolicy,
    LogAction,
    LoggedStep,
    LogReturns,
    LogSteps,
    PolicyServerError,
    Refusal,
    ServePolicy,
    ServerUnreachable,
    StartEpisode,
    Status,
    Transcript,
    Transcripts,
    Waiting,
    check_number,
)

PATIENCE = 1.0  # seconds until a waiting server says what it waits for
TIMEOUT = 60.0  # seconds until a silent server counts as unreachable
BLOCK_NUMBERS = 20_000  # observation numbers in a block of logged steps
BLOCK_STEPS = 500

REPEATABLE = {"/start_episode", "/keep_policy", "/serve_policy"}  # once or twice is the same

_encode = msgspec.json.encode
_decoders = {
    type_: msgspec.json.Decoder(type_)
    for type_ in (
        Action,
        EpisodeStarted,
        KeptPolicies,
        KeptPolicy,
        PolicySnapshot,
        Refusal,
        Status,
        Transcript,
        Transcripts,
        Waiting,
    )
}


class _Pending:
    """What happened in an open episode since its last request."""

    __slots__ = ("acted", "known", "reward", "room", "steps")

    def __init__(self):
        self.acted = False  # whether there is an action that a reward could belong to
        self.known = 0  # steps of the episode that the server holds
        self.reward: float | None = None
        self.steps: list[LoggedStep] = []
        self.room = BLOCK_NUMBERS  # observation numbers that still fit into the block

    def add(self, step: LoggedStep) -> None:
        self.steps.append(step)
        self.room -= len(step.observation)
        self.acted = True

    @property
    def is_full(self) -> bool:
        return self.room <= 0 or len(self.steps) >= BLOCK_STEPS

    def arrived(self, acted: bool) -> None:
        """The server has recorded all of it, and one more step if it has `acted`."""
        self.known += len(self.steps) + acted
        self.reward, self.steps, self.room = None, [], BLOCK_NUMBERS


class PolicyClient:
    """Plays episodes against a policy server. May be shared by threads.

    address
        such as "http://localhost:8900"
    token
        for a server that listens beyond loopback; the environment variable
        POLICY_SERVER_TOKEN is asked otherwise
    quiet
        do not print what a wait of over a second waits for

    Every call raises a `PolicyServerError` if the server refuses it: `InvalidMessage` (also a
    ValueError), `EpisodeNotFound` (a LookupError), `EpisodeConflict`, ..., and `ServerUnreachable`
    (a ConnectionError) if nobody answers. Nothing of a refused call was recorded. After
    ServerUnreachable, or Ctrl-C, the same call may be made again: what it says is recorded once.
    """

    def __init__(
        self,
        address: str = f"http://localhost:{POLICY_SERVER_PORT}",
        token: str | None = None,
        quiet: bool = False,
        timeout: float = TIMEOUT,
    ):
        self._line = Connection(address, token, timeout)
        self._quiet = quiet
        self._open: dict[str, _Pending] = {}
        self._keys: dict[str, str] = {}  # of starts that were not answered
        self._said = ""

    @property
    def address(self) -> str:
        return self._line.address

    @property
    def start_with(self) -> str:
        """What errors tell people to type where nobody answers."""
        return self._line.start_with

    @start_with.setter
    def start_with(self, command: str) -> None:
        self._line.start_with = command

    def __repr__(self) -> str:
        return f"PolicyClient({self.address!r})"

    # -- playing ------------------------------------------------------------------------------

    def start_episode(
        self,
        episode_id: str | None = None,
        training_enabled: bool = True,
        policy_version: int | None = None,
    ) -> str:
        """Starts an episode and returns its id.

        `training_enabled=False`: nothing of it reaches the learner, and actions are greedy, which
        is how a policy is evaluated. Then a `policy_version` of `policies()` can be asked to act;
        raises PolicyNotKept if there is none of that number.
        """
        key = self._keys.pop(episode_id, None) if isinstance(episode_id, str) else None
        key = key or uuid.uuid4().hex
        message = StartEpisode(episode_id, training_enabled, policy_version, key)
        try:
            started = self._post("/start_episode", message, "start_episode()", EpisodeStarted)
        except (ServerUnreachable, KeyboardInterrupt):
            if episode_id:
                self._keys[episode_id] = message.key  # the next try is the same one to the server
            raise
        episode_id = started.episode_id
        self._open[episode_id] = _Pending()
        return episode_id

    def get_action(self, episode_id: str, observation) -> int:
        """The policy's action on `observation` (an array or list of numbers)."""
        numbers = _numbers(observation, "get_action")
        message = GetAction(episode_id, numbers, patience=PATIENCE)
        answer = self._post_with_pending("/get_action", message, "get_action", Action)
        return answer.action

    def log_action(self, episode_id: str, observation, action) -> None:
        """Tells the server which action somebody else took on `observation`.

        Logged steps travel in blocks of some hundred. If the server refuses one of them, the error
        comes with its block, and names the step; the episode cannot go on without it.
        """
        numbers = _numbers(observation, "log_action")
        try:
            step = LoggedStep(numbers, float(int(action)))
            if step.action != action:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise InvalidMessage(
                f"log_action(): action is {action!r}: expected a whole number"
            ) from None
        pending = self._open.get(episode_id)
        if pending is None:
            self._post("/log_action", LogAction(episode_id, numbers, step.action), "log_action")
            return
        if pending.is_full:  # before this step is added: a block that is refused stays as it is
            message = LogSteps(episode_id, patience=PATIENCE)
            self._post_with_pending("/log_steps", message, "log_action")
        pending.add(step)

    def log_returns(self, episode_id: str, reward: float, info: dict | None = None) -> None:
        """Tells the server the reward for the latest action.

        Several calls between two actions add up; none counts 0. `info` is taken for compatibility
        with RLlib's client and not sent: nothing learns from it.
        """
        try:
            reward = float(reward)
            if not -LARGEST_NUMBER <= reward <= LARGEST_NUMBER:
                check_number(reward, "reward")
        except InvalidMessage as error:
            raise InvalidMessage(f"log_returns(): {error}") from None
        except (TypeError, ValueError, OverflowError):
            raise InvalidMessage(
                f"log_returns(): reward is {reward!r}: expected a number"
            ) from None
        pending = self._open.get(episode_id)
        if pending is None:  # started by another client, or ended: the server knows
            self._post("/log_returns", LogReturns(episode_id, reward), "log_returns")
        elif not pending.acted:
            raise EpisodeConflict(
                f"log_returns(): episode {episode_id!r} has no action yet that a reward could "
                "belong to; call get_action() or log_action() first"
            )
        elif pending.steps:
            pending.steps[-1].reward += reward
        else:
            pending.reward = reward + (pending.reward or 0.0)

    def end_episode(self, episode_id: str, observation, truncated: bool = False) -> None:
        """Ends the episode with the observation after its last action.

        `truncated=True` says that it was only cut short, by a time limit for example: the learner
        then counts on rewards that would have come.
        """
        numbers = _numbers(observation, "end_episode")
        message = EndEpisode(episode_id, numbers, truncated=bool(truncated), patience=PATIENCE)
        self._post_with_pending("/end_episode", message, "end_episode")
        self._open.pop(episode_id, None)

    # -- looking ------------------------------------------------------------------------------

    def status(self) -> Status:
        """How serving and learning are going."""
        return self._get("/status", Status)

    def episodes(self, last: int = 20) -> Transcripts:
        """What the server saw of the latest episodes, and the requests it refused."""
        return self._get(f"/episodes?last={int(last)}", Transcripts)

    def episode(self, episode_id: str) -> Transcript:
        """What the server saw of one episode."""
        return self._get(f"/episodes/{quote(episode_id, safe='')}", Transcript)

    def policy(self, version: int | None = None) -> PolicySnapshot:
        """The policy as evaluations meet it, as a copy that learns no more: the one that acts, or a
        version of `policies()`."""
        query = "" if version is None else f"?version={int(version)}"
        return self._get(f"/policy{query}", PolicySnapshot)

    def policies(self) -> KeptPolicies:
        """Which versions the server has kept along the way."""
        return self._get("/policies", KeptPolicies)

    # -- going back ---------------------------------------------------------------------------

    def keep_policy(self, version: int, name: str) -> KeptPolicy:
        """Gives a version of `policies()` a name, under which it is kept for good."""
        return self._post("/keep_policy", KeepPolicy(version, name), "keep_policy", KeptPolicy)

    def serve_policy(self, version: int | None = None) -> KeptPolicies:
        """Lets a version of `policies()` act from now on, also after a restart; None: the newest."""
        return self._post("/serve_policy", ServePolicy(version), "serve_policy", KeptPolicies)

    def close(self) -> None:
        """Closes this thread's connection; the next call opens a new one."""
        self._line.close()

    # -- the line -----------------------------------------------------------------------------

    def _post_with_pending(self, path: str, message, call: str, answer_type=None):
        """Sends along what is pending of the message's episode, and says which step that continues.

        It stays pending until the server has answered that it is recorded. So a call that failed
        can be made again: it is the same message then, which the server records once.
        """
        pending = self._open.get(message.episode_id)
        if pending is None:
            return self._post(path, message, call, answer_type)
        message.reward, message.steps, message.step = pending.reward, pending.steps, pending.known
        try:
            answer = self._post(path, message, call, answer_type)
        except (EpisodeNotFound, EpisodeConflict):
            self._open.pop(message.episode_id, None)  # the server has closed it, or was restarted
            raise
        pending.arrived(answer_type is Action)
        pending.acted |= answer_type is Action
        return answer

    def _get(self, path: str, answer_type):
        status, body = self._line.request("GET", path, None, may_repeat=True)
        if status != 200:
            raise _error(status, body, path.strip("/"))
        return self._decode(answer_type, body)

    def _post(self, path: str, message, call: str, answer_type=None):
        try:
            body = _encode(message)
        except (TypeError, msgspec.ValidationError) as error:
            raise InvalidMessage(f"{call}: {error}") from None
        # Not so the messages of an episode that somebody else started: their step is not known.
        may_repeat = path in REPEATABLE or message.step is not None
        status, answer = self._line.request("POST", path, body, may_repeat)
        while status == 202:
            self._say(self._decode(Waiting, answer).waiting_for)
            status, answer = self._line.request("POST", path, body, may_repeat)
        if self._said:
            self._say("")
        if status != 200:
            raise _error(status, answer, call, getattr(message, "episode_id", None))
        return self._decode(answer_type, answer) if answer_type else None

    def _decode(self, answer_type, answer: bytes):
        try:
            return _decoders[answer_type].decode(answer)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ServerUnreachable(
                f"what answers at {self.address} is no policy server, or one of another version"
            ) from None

    def _say(self, waiting_for: str) -> None:
        """Says once what a wait is about: to standard output, as a wait is no error."""
        about = waiting_for.split(":")[0]
        if about and about != self._said and not self._quiet:
            print(f"waiting for {waiting_for}", flush=True)
        self._said = about


def _numbers(observation, call: str) -> list[float]:
    """The observation as a flat list of finite numbers."""
    numbers = _usual(observation)
    # The length of the vector is too large if one number is, and NaN compares false.
    if numbers is not None and math.hypot(*numbers) <= LARGEST_NUMBER:
        return numbers
    try:
        array = np.asarray(observation, dtype=np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        hint = ""
        if isinstance(observation, tuple) and len(observation) == 2:
            hint = "; env.reset() returns (observation, info): pass on the observation alone"
        raise InvalidMessage(
            f"{call}(): observation is a {type(observation).__name__}: expected numbers{hint}"
        ) from None
    numbers = array.tolist()
    for i, number in enumerate(numbers):
        if not -LARGEST_NUMBER <= number <= LARGEST_NUMBER:
            try:
                check_number(number, f"observation[{i}]")
            except InvalidMessage as error:
                raise InvalidMessage(f"{call}(): {error}") from None
    return numbers


def _usual(observation) -> list[float] | None:
    """What most observations are, a vector or a list of floats, as a list; None for others."""
    if type(observation) is np.ndarray:
        usual = observation.ndim == 1 and observation.dtype.char in "efd"
        return observation.tolist() if usual else None
    if type(observation) is list and observation and type(observation[0]) is float:
        try:
            return array("d", observation).tolist()
        except (TypeError, OverflowError):
            pass
    return None


def _error(status: int, body: bytes, call: str, episode_id=None) -> PolicyServerError:
    try:
        refusal = _decoders[Refusal].decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        said = body[:200].decode("utf-8", "replace")
        refusal = Refusal(f"status {status}, which a policy server never answers: {said}", call)
    kind = ERRORS.get(status, PolicyServerError)
    # Steps travel in blocks, and no call of a player's is named like that.
    name = (call if refusal.call == "log_steps" else refusal.call or call).removesuffix("()")
    where = ""
    if refusal.step is not None:
        where = f" of step {refusal.step} of episode {episode_id!r}"
    return kind(f"{name}(){where}: {refusal.error}")
