"""The learner process: RLlib, fed by the policy server that started it.

Not for people to start: `python -m serving.learner.process FD` talks over the socket it inherits.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from serving import checkpoints, link
from serving.link import Configure, Fatal, NewPolicy, NotSaved, Progress, Ready, Report, Saved, Stop
from serving.policy import Policy
from serving.settings import settings_for
from serving.state_file import StateError

SAVE_EVERY = 5.0  # seconds, if there is anything new
SHARE_OF_TIME_SAVING = 0.05
SIGN_EVERY = 10.0  # seconds
MOST_PATIENCE = 3600.0  # seconds; a disk that takes longer will not come back
NICENESS = 10  # an answer to a player goes before an update


class Gone:
    """The policy server is gone: nothing will come any more, nobody hears us."""


class Server:
    """The policy server at the other end. Telling it something never fails: if it is gone, the
    inbox says so."""

    def __init__(self, connection: socket.socket):
        self._stream = connection.makefile("rwb")
        self._lock = threading.Lock()
        self.inbox: queue.SimpleQueue = queue.SimpleQueue()
        self.is_served = False  # whether there may be something to save
        self.is_stopping = False

    def tell(self, message) -> None:
        with self._lock:
            try:
                self._stream.write(link.frame(message))
                self._stream.flush()
            except OSError:
                pass

    def listen(self) -> None:
        """Moves what comes into `inbox` until the server stops or dies."""
        while True:
            try:
                message = link.receive(self._stream)
            except OSError:
                message = None
            if message is None and not self.is_served:
                os._exit(1)  # nobody waits for what is still being built
            self.inbox.put(message or Gone())
            if message is None or isinstance(message, Stop):
                self.is_stopping = True
                return


def import_rllib() -> None:
    """What takes most of a start. Collects no garbage from here on: `build` lets it go on."""
    gc.disable()  # half a million objects come now, and stay: none is to be looked through again
    from serving.learner import light_start  # noqa: F401 - before torch and Ray

    # isort: split
    import torch

    torch.set_num_threads(1)  # the matrices are small: threads would only wait for each other
    from serving.learner import algorithms, events  # noqa: F401


def build(server: Server, configure: Configure):
    """The algorithm, restored and connected to the server."""
    settings = settings_for(configure.run, **configure.options)
    server.tell(Progress("importing RLlib"))
    os.nice(NICENESS)
    import_rllib()
    from serving.learner.algorithms import config_for

    server.tell(Progress(f"building {configure.run}"))
    algorithm = config_for(
        configure.run, settings, configure.observation_size, configure.action_size
    ).build_algo()
    gc.freeze()
    gc.enable()
    algorithm.env_runner.connect(
        server.inbox,
        lambda state, version: server.tell(NewPolicy(algorithm.policy(state, version).pack())),
    )
    if configure.restore:
        server.tell(Progress(f"restoring {configure.restore}"))
        with signs_of_life(server, f"restoring {configure.restore}"):
            meta, _ = checkpoints.read(configure.restore)
            algorithm.load(Path(configure.restore) / checkpoints.LEARNER)
        if meta.session != configure.session:
            algorithm.begin_session()
        algorithm.env_runner.consumed = algorithm.counters.consumed
    elif configure.first_policy:
        algorithm.adopt(Policy.unpack(configure.first_policy))
    algorithm.env_runner.weights_seq_no = max(
        algorithm.env_runner.weights_seq_no, configure.newest_version
    )
    return algorithm


def learn(server: Server, configure: Configure, algorithm) -> None:
    """Learns until the server stops or dies; saves every few seconds, and at last."""
    from serving.learner.events import Events

    def report() -> None:
        server.tell(
            Report(
                algorithm.counters,
                algorithm.allowed,
                algorithm.owed,
                algorithm.updates_per_second,
                algorithm.loss,
            )
        )

    algorithm.on_round = report
    algorithm.is_stopping = lambda: server.is_stopping
    algorithm.publish()
    server.is_served = True
    server.tell(Ready(algorithm.counters))
    report()
    events = Events(configure.log_dir)
    next_save, saved = time.monotonic() + SAVE_EVERY, _progress(algorithm)
    while not algorithm.env_runner.ended:
        algorithm.train()
        report()
        write_events(events, algorithm)
        if time.monotonic() >= next_save and _progress(algorithm) != saved:
            started = time.monotonic()
            if save(server, configure, algorithm):
                saved = _progress(algorithm)
            duration = time.monotonic() - started
            next_save = time.monotonic() + max(SAVE_EVERY, duration / SHARE_OF_TIME_SAVING)
    if _progress(algorithm) != saved:
        save(server, configure, algorithm)
    events.close()


def save(server: Server, configure: Configure, algorithm) -> bool:
    """Writes a checkpoint; tells the server, and returns, whether it could."""
    try:
        with signs_of_life(server, f"saving to {configure.checkpoint_file}"):
            write_checkpoint(configure, algorithm)
    except OSError as error:  # a full disk is no reason to stop learning
        server.tell(NotSaved(f"cannot save to {configure.checkpoint_file}: {error.strerror}"))
        return False
    server.tell(Saved(algorithm.counters.consumed))
    return True


@contextlib.contextmanager
def signs_of_life(server: Server, doing: str) -> Iterator[None]:
    """Says every few seconds what takes so long, for MOST_PATIENCE at most: a large replay on a slow
    disk is no reason to be taken for hung."""
    done, until = threading.Event(), time.monotonic() + MOST_PATIENCE

    def say() -> None:
        while not done.wait(SIGN_EVERY) and time.monotonic() < until:
            server.tell(Progress(doing))

    threading.Thread(target=say, daemon=True, name="signs-of-life").start()
    try:
        yield
    finally:
        done.set()


def write_checkpoint(configure: Configure, algorithm) -> None:
    """Writes all that learning goes on from, and that a policy server acts from."""
    import msgspec

    weights = algorithm.learner_group.get_weights()["default_policy"]
    policy = algorithm.policy(weights, algorithm.env_runner.weights_seq_no)
    checkpoints.write(
        configure.checkpoint_file,
        {
            checkpoints.LEARNER: algorithm.save,
            checkpoints.POLICY: lambda path: path.write_bytes(
                msgspec.msgpack.encode(policy.pack())
            ),
        },
        run=configure.run,
        observation_size=configure.observation_size,
        action_size=configure.action_size,
        hidden=list(algorithm.settings.hidden),
        session=configure.session,
        counters=algorithm.counters,
    )


def write_events(events, algorithm) -> None:
    """What TensorBoard shows, over env steps."""
    counters, step = algorithm.counters, algorithm.counters.env_steps
    for episode_return, episode_steps in algorithm.env_runner.take_endings():
        events.add_scalar("episode/return", episode_return, step)
        events.add_scalar("episode/steps", episode_steps, step)
    for batch in algorithm.take_batches():
        for name, value in batch.items():
            events.add_scalar(f"batch/{name}", value, batch["env_steps"])
    if algorithm.loss is None or not counters.updates:
        return
    values = {
        "learning/loss": algorithm.loss,
        **algorithm.figures(),
        "learning/updates": counters.updates,
        "learning/updates_per_second": algorithm.updates_per_second,
        "learning/steps_owed": algorithm.owed,
        "policy/version": algorithm.env_runner.weights_seq_no,
    }
    for name, value in values.items():
        if value is not None:
            events.add_scalar(name, value, step)


def _progress(algorithm) -> tuple:
    counters = algorithm.counters
    return counters.consumed, counters.updates, counters.env_steps


def main(descriptor: int) -> int:
    # Ctrl-C reaches the whole process group: the server decides what it means, and says so.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    server = Server(socket.socket(fileno=descriptor))
    threading.Thread(target=server.listen, daemon=True, name="listen").start()
    configure = server.inbox.get()
    if not isinstance(configure, Configure):
        return 0
    try:
        learn(server, configure, build(server, configure))
    except (checkpoints.CheckpointError, StateError) as error:
        server.tell(Fatal(str(error)))
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def run(descriptor: int) -> NoReturn:
    """The whole life of this process, with the policy server at `descriptor`'s other end."""
    code = main(descriptor)
    sys.stdout.flush()
    sys.stderr.flush()
    # RLlib leaves threads behind that would keep a dying interpreter for seconds.
    os._exit(code)


if __name__ == "__main__":
    run(int(sys.argv[1]))
