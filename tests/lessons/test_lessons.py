"""The lessons: what students get, what nbgrader makes of their answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import psutil
import pytest
from grading import NEEDS_SANDBOX, ROOT, Course, grade_in_process, reference_answers
from mutants import COMPARE, PONG, SERVE_AND_LEARN

from serving.examiner import evidence

pytestmark = pytest.mark.timeout(900)  # real autogrades, also on a busy machine

MUTANTS = {
    "01-serve-and-learn": SERVE_AND_LEARN,
    "02-pong": PONG,
    "04-compare-algorithms": COMPARE,
}
FULL_MARKS = {
    "01-serve-and-learn": 22,
    "02-pong": 22,
    "03-learn-from-logs": 23,
    "04-compare-algorithms": 17,
    "05-your-own-environment": 20,
}
STUB_SAYS = {
    "01-serve-and-learn": "run_one_episode raised NotImplementedError",
    "02-pong": "play_game raised NotImplementedError",
    "03-learn-from-logs": "replay raised NotImplementedError",
    "04-compare-algorithms": "learning_curve raised NotImplementedError",
    "05-your-own-environment": "MyEnv() raised NotImplementedError",
}
# Tests that wait for a learner: run where a mistake should fail them, and in the long form.
SLOW = {"04-compare-algorithms": {"test_learning"}}
LONG = int(os.environ.get("AUTOGRADES", "1"))
# Each mutant takes seconds: the short form has the examiner ask every third. Lesson 01's are all
# played in tests/exercises/test_serve_and_learn.py, where each takes a fraction of one; what the check
# cells say to each of all lessons', in tests/exercises/test_variants.py.
EVERY = {"01-serve-and-learn": 14}


# Lesson 01 goes the whole way through nbgrader in each run; the others do where all tests are run.
COURSES = [pytest.param(name, marks=[] if i == 0 else pytest.mark.slow) for i, name in enumerate(FULL_MARKS)]


@pytest.fixture(scope="module", params=COURSES)
def a_course(request, tmp_path_factory):
    return Course(tmp_path_factory.mktemp("course"), request.param)


def test_lessons_are_what_solutions_generate():
    """Does lessons/ follow from solutions/, and hold neither answers nor hidden tests?"""
    done = subprocess.run(
        [sys.executable, "tools/make_lessons.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@NEEDS_SANDBOX
@pytest.mark.parametrize("attempt", range(LONG))
def test_the_reference_answer_gets_full_marks(a_course, attempt):
    """Does plain `nbgrader autograde` give a right answer all points, in a minute, and does what is kept
    of it bear them out?"""
    a_course.submit(f"right{attempt}", reference_answers(a_course.assignment))
    graded = a_course.grade(f"right{attempt}")
    print(f"attempt {attempt}: {graded.total} points in {graded.seconds:.0f} s")
    assert graded.total == FULL_MARKS[a_course.assignment], graded.said
    folder = a_course.folder / "grading" / "evidence" / a_course.assignment
    kept = evidence.read(folder / f"right{attempt}{evidence.SUFFIX}")
    assert not evidence.problems_of(kept)


@NEEDS_SANDBOX
def test_the_stub_gets_nothing(a_course):
    """Does an untouched lesson get 0 points, and does its feedback hide the tests?"""
    a_course.submit("stub", {})
    graded = a_course.grade("stub")
    assert graded.total == 0
    page = a_course.feedback("stub")
    feedback = re.sub(r"<[^>]*>", "", page)
    assert STUB_SAYS[a_course.assignment] in feedback
    # Their own cells may show a traceback, a hidden test's must not: grading.py is in each of those.
    for secret in ("HIDDEN TESTS", "Exam(globals()", "Orchard", "Lottery", "grading.py",
                   "exam.require"):  # fmt: skip
        assert secret not in feedback, f"feedback shows {secret!r}"
    contents = re.findall(r'<li><a href="#\w+">(.*?)</a> \(Score', page)
    assert len(set(contents)) == len(contents) > 6 and all(" " in each for each in contents), contents


# Minutes of waiting; in the short form tests/hostile/endless_loop.py is stopped.
@NEEDS_SANDBOX
@pytest.mark.skipif(LONG == 1, reason="AUTOGRADES=30, the long form")
@pytest.mark.parametrize("a_course", ["01-serve-and-learn"], indirect=True)
def test_a_hanging_answer_is_stopped(a_course):
    """Does an endless loop cost its points, and not the grader's evening?"""
    a_course.submit("hangs", {"run_one_episode": "def run_one_episode(env):\n    while True: pass"})
    graded = a_course.grade("hangs", timeout=800)
    assert graded.total == 0
    assert "took longer" in graded.said["test_calls"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "lesson, mutant",
    [
        pytest.param(lesson, mutant, id=f"{lesson}-{mutant.name}")
        for lesson, mutants in MUTANTS.items()
        for mutant in mutants[:: 1 if LONG > 1 else EVERY.get(lesson, 3)]
    ],
)
def test_a_wrong_answer_loses_its_points(lesson, mutant):
    """Does each mistake lose the points it should, and only those?"""
    skip = set() if LONG > 1 else SLOW.get(lesson, {"test_learning"}) - mutant.loses
    answers = mutant.answers(reference_answers(lesson))
    points, said = grade_in_process(lesson, answers, frozenset(skip))
    lost = {grade_id for grade_id, earned in points.items() if not earned}
    assert mutant.loses <= lost <= mutant.loses | mutant.may_lose, said
    assert all(said[grade_id] for grade_id in lost), "a lost point comes with a reason"


def test_a_killed_kernel_leaves_no_server_behind():
    """Does the grader's server end when the kernel that started it is killed?"""
    kernel = subprocess.Popen(
        [sys.executable, "-c",
         "from serving.examiner.exam import Exam; exam = Exam({}, 4, 2); "
         "print(exam.server.process.pid, flush=True); input()"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    server = psutil.Process(int(kernel.stdout.readline()))
    family = [server, *server.children(recursive=True)]
    kernel.kill()
    kernel.wait()
    _, alive = psutil.wait_procs(family, timeout=40)
    assert not alive, f"still running: {alive}"
