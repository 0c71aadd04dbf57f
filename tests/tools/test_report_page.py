"""The pages of `make report` in a real browser, as axe-core sees them. https://github.com/dequelabs/axe-core"""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import NEEDS_CHROMIUM, chromium
from test_report import result

from serving.policy import untrained
from tools.class_results import ClassResults, Topic
from tools.course import Course
from tools.leaderboard import Place
from tools.report import class_page, instructors_page

pytestmark = NEEDS_CHROMIUM

LESSON = "01-serve-and-learn"
LONG = "    return " + " + ".join(f"what_this_line_adds_{number}" for number in range(40))


def a_class() -> ClassResults:
    """As from a gradebook: one has all points, one a long wrong line and a remark, one nothing."""
    results = ClassResults.__new__(ClassResults)
    results.course, results.lesson, results.max_score = Course(LESSON, []), LESSON, 22.0
    ada = result("ada", untrained(4, 2, [8], 1))
    ben = result("ben", None, "step 3: expected 0.5, came 0.25")
    for one in (ada, ben):
        one.evidence["graded"] = "2030-01-02 10:00"
        one.evidence["verdicts"][0]["curve"] = [[100, 20.0], [2000, 150.0]]
    ben.evidence["remarks"] = ["the notebook's kernel was stopped: it took 300 s"]
    ben.answers["test_learning"] = f"def solved(returns):\n{LONG}"
    cem = result("cem", None)
    cem.line, cem.evidence = {"status": "not graded yet", "remark": ""}, {}
    results.results = {one.student: one for one in (ada, ben, cem)}
    topic = Topic("test_learning", "a fresh server learns CartPole", 5.0, ["ada"], ["ben"])
    results.topics = {topic.grade_id: topic}
    return results


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.slow
def test_axe_finds_nothing_serious(tmp_path, scheme):
    """Is there nothing that keeps somebody from reading the instructor's page and the class's, with
    all that can be unfolded unfolded, in either colour scheme?"""
    places = [Place("ada", 180.0, 10.0), Place("ben", 20.0, 3.0)]
    written = {"instructor": instructors_page(a_class()),
               "class": class_page(LESSON, places, {"ada": "a calm otter", "ben": "a fast heron"})}  # fmt: skip
    with chromium() as browser:
        for name, text in written.items():
            file = tmp_path / f"{name}.html"
            file.write_text(text)
            page = browser.new_page(color_scheme=scheme, viewport={"width": 390, "height": 844})
            page.goto(file.as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            found = Axe().run(page).response["violations"]
            serious = {
                one["id"]: [node["html"][:120] for node in one["nodes"]]
                for one in found
                if one["impact"] in ("serious", "critical")
            }
            assert serious == {}, name
            wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], name
