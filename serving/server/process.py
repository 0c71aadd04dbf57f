"""The policy server process, from its options to its exit code.

It listens before anything heavy is loaded, starts the learner, tells what is going on, and stops
in an orderly way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import socket
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np

from serving import checkpoints
from serving.checkpoints import CheckpointError
from serving.command_line import StartError, listen
from serving.link import Configure
from serving.logs import EpisodeLog, LogError
from serving.policy import Policy, untrained
from serving.protocol import PolicyNotKept
from serving.server.calls import PolicyServer
from serving.server.console import Console
from serving.server.episode import Episode
from serving.server.episodes import EpisodeBook
from serving.server.http_api import make_app
from serving.server.policy_history import PolicyHistory
from serving.server.policy_shelf import PolicyShelf
from serving.server.supervisor import LearnerSupervisor, NoLearner
from serving.settings import settings_from
from serving.web.access import Access, access_for
from serving.web.http_server import HttpServer, runner
from serving.web.peers import is_loopback


def run(options: argparse.Namespace) -> int:
    """Serves as the options of `simple_policy_server.py` say; the exit code."""
    # Until the server has its own handlers: an end that cleans up behind itself.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    try:
        return serve(options, console)
    except (StartError, CheckpointError, LogError) as error:
        console.flush()
        print(f"simple_policy_server: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        console.flush()


def check(options: argparse.Namespace) -> None:
    """Raises StartError for what can be known before anything is started."""
    for name in ("observation_size", "action_size"):
        if not 1 <= getattr(options, name) <= 100_000:
            flag = "--" + name.replace("_", "-")
            raise StartError(f"{flag}={getattr(options, name)}: expected a number from 1 to 100000")
    if not 0 < options.abandon_after:
        raise StartError(f"--abandon-after={options.abandon_after}: expected more than 0 seconds")
    for package in () if options.no_learner else ("ray", "torch"):
        if importlib.util.find_spec(package) is None:
            raise StartError(
                f"the package '{package}' is not installed in {sys.prefix}; "
                "`make lab` sets up an environment that has everything, and a wheel of the kit asks "
                "for it with the extra [learner]; --no-learner does without"
            )


def line(server: PolicyServer) -> str:
    """One iteration, for people."""
    status = server.status()
    mean = "   -  " if status.mean_return is None else f"{status.mean_return:6.1f}"
    state = f"  [{status.state}{status.why and ': '}{status.why}]"
    if status.state == "learning" and not status.why:
        state = ""
    if status.run == "DQN":
        its_own = f"exploration {status.exploration:.2f}"
    else:
        its_own = f"too old {status.outdated_steps:,}"
        if status.unlearnable_steps:
            its_own += f"  logged in vain {status.unlearnable_steps:,}"
    return (
        f"{status.uptime:5.0f} s  steps {status.env_steps:7,}  episodes {status.episodes:5,}  "
        f"mean return {mean}  {its_own}  "
        f"updates {status.updates:7,} ({status.updates_per_second:3.0f}/s)  "
        f"policy v{status.policy_version}{state}"
    )


async def report(server: PolicyServer, say: Callable[[str], None]) -> None:
    """Prints a line per iteration, as long as there is something new to say."""
    said, warned = None, False
    before = server.status().unlearnable_steps  # of a checkpoint: said when they came
    while True:
        await asyncio.sleep(1.0)
        status = server.status()
        if status.unlearnable_steps > before and not warned:
            say(
                f"logged steps teach --run={status.run} nothing: it learns only from actions that "
                "its own policy chose. --run=DQN learns from everybody's."
            )
            warned = True
        news = (
            status.env_steps, status.updates, status.state, status.learner_restarts,
            bool(status.why),
        )  # fmt: skip
        if news != said:
            say(line(server))
            said = news


def write_down(episode: Episode, log: EpisodeLog) -> None:
    """Copies what the log needs: it is written in a thread, and the episode may be forgotten."""
    steps = len(episode.actions)
    rows = np.array(episode.observations).reshape(-1, episode.size)[:steps]
    log.write(rows, np.array(episode.actions), np.array(episode.rewards),
              truncated=episode.ending != "terminated")  # fmt: skip


async def watch(log: EpisodeLog, say: Callable[[str], None]) -> None:
    """Says it once if served episodes cannot be written any more."""
    while not (log.error or log.dropped):
        await asyncio.sleep(1.0)
    say(f"served episodes are lost to the log: {log.error or 'the disk is too slow'}")


async def tidy(book: EpisodeBook) -> None:
    """Ends abandoned episodes, so that what they taught is learned from."""
    while True:
        await asyncio.sleep(min(5.0, book.abandon_after / 4))
        book.end_abandoned()


def serve(options: argparse.Namespace, console: Console) -> int:
    """Serves until Ctrl-C, SIGTERM, or until learning has become impossible; the exit code."""
    check(options)
    settings, access = settings_from(options), access_for(options)
    listener = listen(options.host, options.port, "is a policy server running there already")
    scratch = episode_log = None
    if options.checkpoint_file is None:
        scratch = tempfile.mkdtemp(prefix="policy-server-")
        options.checkpoint_file = f"{scratch}/policy"
    checkpoint_file = Path(options.checkpoint_file).absolute()
    log_dir = str(Path(options.log_dir or f"{checkpoint_file}.logs").absolute())
    try:
        checkpoint_lock = checkpoints.lock(checkpoint_file)
        book = EpisodeBook(options.observation_size, options.action_size, options.abandon_after)
        if options.write_logs:
            episode_log = EpisodeLog(options.write_logs)
            book.on_ended = functools.partial(write_down, log=episode_log)
        policy = untrained(
            options.observation_size, options.action_size, settings.hidden, settings.seed,
            "action_values" if options.run == "DQN" else "action_logits",
        )  # fmt: skip
        allowed = settings.first_allowance
        restore = checkpoints.newest(checkpoint_file)
        if restore:
            meta, policy = checkpoints.read(restore)
            checkpoints.check_fits(
                meta, restore, options.run,
                options.observation_size, options.action_size, settings.hidden,
            )  # fmt: skip
            counters = meta.counters
            book.env_steps, book.episodes = counters.env_steps, counters.episodes
            book.logged_steps, allowed = counters.logged_steps, settings.allowance
        learner = (NoLearner if options.no_learner else LearnerSupervisor)(
            Configure(
                session=uuid.uuid4().hex,
                run=options.run,
                observation_size=options.observation_size,
                action_size=options.action_size,
                options={name: getattr(settings, name) for name in settings.__struct_fields__},
                checkpoint_file=str(checkpoint_file),
                restore=restore,
                log_dir=log_dir,
                first_policy=policy.pack(),
            ),
            book,
            policy,
            allowed,
            inherit=[checkpoint_lock],
        )
        if restore:
            learner.counters = counters
        history, shelf = PolicyHistory(), None
        if scratch is None:
            shelf = shelf_of(
                options, history, book, checkpoint_file, policy, starts_anew=not restore
            )
            learner.highest_version = history.highest_version
        learner.start()
        server = PolicyServer(book, learner, settings.seed, history, shelf)
        go_back(options.serve_version, history)
        keeps = scratch is None and not options.no_learner
        version = policy.version if restore else None
        with access.left_for_own_programs(listener.getsockname()[1]), runner() as loop:
            greet(options, access, listener, version, log_dir, keeps, console.say)
            if history.acting:
                console.say(
                    f"policy v{history.acting.version} acts, and none that is newer "
                    "(--serve-version=newest undoes it)"
                )
            return loop.run(
                _serve(options, access, server, listener, episode_log, keeps, console.say)
            )
    finally:
        listener.close()
        if episode_log:
            episode_log.close()
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)


def shelf_of(
    options,
    history: PolicyHistory,
    book: EpisodeBook,
    checkpoint_file: Path,
    policy: Policy,
    starts_anew: bool,
) -> PolicyShelf:
    """The shelf beside a checkpoint, from which the histories are filled. Raises StartError if it
    cannot be used."""

    def is_fit(kept: Policy) -> bool:
        sizes = kept.observation_size, kept.action_size
        return kept.kind == policy.kind and sizes == (options.observation_size, options.action_size)

    try:
        shelf = PolicyShelf(history, book.history, checkpoint_file, starts_anew)
        shelf.load(is_fit, book.env_steps)
    except OSError as error:
        raise StartError(f"the policies of {checkpoint_file}: {error.strerror}") from None
    return shelf


def go_back(to: str | None, history: PolicyHistory) -> None:
    """What --serve-version says; raises StartError if there is no such policy."""
    if to is None:
        return
    version = None if to == "newest" else history.names.get(to, to)
    try:
        history.serve(None if version is None else int(version))
    except (PolicyNotKept, ValueError) as error:
        names = f"; names are {', '.join(history.names)}" if history.names else ""
        said = error if isinstance(error, PolicyNotKept) else f"expected a version{names}"
        raise StartError(f"--serve-version={to}: {said}") from None


def greet(
    options, access: Access, listener, restored_version, log_dir: str, keeps: bool, say
) -> None:
    host, port = listener.getsockname()[:2]
    host = options.host if is_loopback(options.host) else host
    host = f"[{host}]" if ":" in host else host
    say(f"policy server listens at http://{host}:{port}")
    if access.token:
        say(f"clients need the token {access.token}")
        say(f"watch it in a browser: http://{host}:{port}/?token={access.token}")
    if restored_version is not None:
        say(f"goes on from {options.checkpoint_file} (policy v{restored_version})")
    elif keeps:
        say(f"saves to {options.checkpoint_file} every few seconds")
    if options.write_logs:
        say(f"writes served episodes to {options.write_logs}")
    if keeps or options.log_dir:
        say(f"watch it learn with: tensorboard --logdir {log_dir}")
    say("stop it with Ctrl-C")


def _on_input(stop) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin)
        stop()


async def _serve(
    options,
    access: Access,
    server: PolicyServer,
    listener: socket.socket,
    episode_log: EpisodeLog | None,
    keeps: bool,
    say: Callable[[str], None],
) -> int:
    book, learner = server.book, server.learner
    app = make_app(server, access.token, access.hosts)
    http_server = HttpServer(app, "policy server", access.only_ours)

    def stop() -> None:
        if http_server.should_exit:
            learner.kill()  # asked twice: do not wait for the last checkpoint
        http_server.should_exit = True

    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
        signals.append(signal.SIGHUP)  # the terminal was closed
    for name in signals:
        asyncio.get_running_loop().add_signal_handler(name, stop)
    if options.stop_with_stdin:
        asyncio.get_running_loop().add_reader(sys.stdin, _on_input, stop)
    background = {
        asyncio.create_task(learner.run(), name="supervising the learner"),
        asyncio.create_task(tidy(book), name="closing abandoned episodes"),
    }
    if server.shelf:
        background.add(asyncio.create_task(server.shelf.save_now_and_then(), name="shelving"))
    if episode_log:
        background.add(asyncio.create_task(watch(episode_log, say), name="watching the log"))
    if not options.quiet:
        background.add(asyncio.create_task(report(server, say), name="reporting"))
    serving = asyncio.create_task(http_server.serve(sockets=[listener]), name="serving")
    failed = None
    try:
        while not serving.done():
            await asyncio.wait([serving, *background], timeout=0.2, return_when="FIRST_COMPLETED")
            failed = failed or first_failure(background)
            if learner.fatal or failed:
                http_server.should_exit = True
            if http_server.should_exit:
                server.live.close()  # or uvicorn would wait for the streams of its page
            background = {task for task in background if not task.done()}
    finally:
        http_server.should_exit = True
        if keeps:
            if not options.quiet:
                say("stopping: the learner saves ... (Ctrl-C again does not wait for it)")
            await learner.stop()
        learner.kill()
        for task in background:
            task.cancel()
        await asyncio.gather(serving, *background, return_exceptions=True)
        if server.shelf:
            with contextlib.suppress(OSError):  # the policies in between are not what was asked for
                server.shelf.save()
    failed = failed or first_failure({serving, *background})
    return say_farewell(options, learner, keeps, failed, say)


def first_failure(tasks: set[asyncio.Task]) -> str | None:
    """What went wrong in one of the tasks, in a sentence and with its traceback; None if nothing."""
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception():
            trace = "".join(traceback.format_exception(task.exception()))
            return f"{trace}{task.get_name()} failed: {task.exception()!r}; this is a bug of ours"
    return None


def say_farewell(options, learner: LearnerSupervisor, keeps: bool, failed: str | None, say) -> int:
    """The exit code: 0 if everything went well, and everything is saved."""
    lost = learner.unsaved_steps if keeps else 0
    loss = f"{lost:,} steps were not saved" if lost else ""
    if failed or learner.fatal:
        reason = failed or learner.fatal
        raise StartError(f"{reason}; {loss}" if loss else reason)
    if loss:
        raise StartError(f"{loss}: {learner.why or 'the learner was not given the time'}")
    if not options.quiet:
        say("stopped")
    return 0
