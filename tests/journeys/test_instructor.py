"""An instructor's hour: README's chapter, line by line in a fresh clone, with a class of six; and the
formgrader in a real browser."""

from __future__ import annotations

import csv
import os
import re
import subprocess
from pathlib import Path

import nbformat
import pytest
from grading import ROOT, reference_answers
from kit import clone
from lab_page import BROKEN_WORDS, PATIENCE, JupyterLab, press
from playwright.sync_api import FrameLocator, expect

pytestmark = pytest.mark.slow

LESSON = "01-serve-and-learn"
SECONDS_FOR_THE_CLASS = 1800  # on a busy machine
MISTAKE = (
    "log_returns(episode_id, reward)",
    "log_returns(episode_id, 1.0)",
)  # CartPole does not mind


def chapter(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)^## ", (ROOT / "README.md").read_text(), re.S | re.M)
    assert found, f"README has no chapter {title!r}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


@pytest.fixture(scope="module")
def a_fresh_clone(tmp_path_factory) -> Path:
    """What git would hand out of this folder as it is now, with the installed packages borrowed."""
    kit = clone(tmp_path_factory.mktemp("instructor") / "kit")
    subprocess.run(["git", "init", "-q"], cwd=kit, check=True, timeout=30)
    subprocess.run(["git", "add", "-A"], cwd=kit, check=True, timeout=60)
    (kit / ".git" / "info" / "exclude").write_text("/.venv\n")  # a folder in a real clone
    return kit


def hand_in(kit: Path, *students: str) -> None:
    """Right, untouched, a typical mistake, broken, and a graded cell deleted."""

    def lesson(answers: dict[str, str], without: str = "") -> str:
        notebook = nbformat.read(kit / "lessons" / LESSON / f"{LESSON}.ipynb", as_version=4)
        for cell in list(notebook.cells):
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
            if grade_id and grade_id == without:
                notebook.cells.remove(cell)
            cell.source = answers.get(grade_id, cell.source)
        return nbformat.writes(notebook)

    right = reference_answers(LESSON)
    mistake = {**right, "run_one_episode": right["run_one_episode"].replace(*MISTAKE)}
    assert mistake != right
    texts = {
        "ada": lesson(right),
        "ben": lesson({}),
        "cem": lesson(mistake),
        "dora": lesson(right)[:5000],
        "eve": lesson(right, without="test_evaluate"),
    }
    for student in students or texts:
        path = kit / "submitted" / student / LESSON / f"{LESSON}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(texts[student])


# -- README ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def the_recipe(a_fresh_clone) -> list[tuple[str, str]]:
    """The chapter's commands, in a shell each, and what each said."""
    text = chapter("For instructors")
    (students,) = blocks(text, "csv")
    (a_fresh_clone / "students.csv").write_text(students + "nemo,,,\n")
    hand_in(a_fresh_clone)
    # As in a terminal of one's own: nothing of this environment is on the path.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHONPATH", "VIRTUAL_ENV", "JUPYTER_", "LEARNER_"))
    }
    environment["PATH"] = os.pathsep.join(
        folder for folder in os.environ["PATH"].split(os.pathsep) if "venv" not in folder
    )
    said, before = [], ""
    for line in "".join(blocks(text, "sh")).splitlines():
        done = subprocess.run(
            ["bash", "-c", f"{before}{line}"], cwd=a_fresh_clone, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS_FOR_THE_CLASS,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        said.append((line, done.stdout))
        if line.startswith("source "):
            before += f"{line}; "
    return said


@pytest.mark.timeout(SECONDS_FOR_THE_CLASS)
def test_every_line_works_and_none_of_them_shouts(the_recipe):
    """Do all commands of the chapter end well, without a traceback or a false alarm?"""
    assert {line.split()[1] for line, _ in the_recipe if line.startswith("nbgrader")} == {
        *("db", "autograde", "generate_feedback", "export")
    }
    for line, said in the_recipe:
        for noise in ("Traceback", "has changed!", "not recognized", "SAWarning", "No assignment"):
            assert noise not in said, f"{line}\n{said}"
    autograded = next(said for line, said in the_recipe if "autograde" in line)
    warnings = [line for line in autograded.splitlines() if "AutogradeApp | WARNING" in line]
    assert len(warnings) == 2, warnings
    assert "dora" in warnings[0] and "not graded" in warnings[0]
    assert "eve" in warnings[1] and "`test_evaluate` was missing" in warnings[1]


@pytest.mark.timeout(SECONDS_FOR_THE_CLASS)
def test_the_table_tells_not_graded_from_zero(the_recipe, a_fresh_clone):
    """Does everybody stand in grades.csv with the points that they have earned, or the reason why
    there are none?"""
    with open(a_fresh_clone / "grades.csv", newline="") as file:
        lines = {line["student_id"]: line for line in csv.DictReader(file)}
    assert {student: (line["status"], line["score"]) for student, line in lines.items()} == {
        "ada": ("graded", "22.0"),
        "ben": ("graded", "0.0"),
        "cem": ("graded", lines["cem"]["score"]),
        "dora": ("not graded", ""),
        "eve": ("graded", "19.0"),
        "nemo": ("nothing handed in", ""),
    }
    assert 0 < float(lines["cem"]["score"]) < 22
    assert lines["ada"]["last_name"] == "Lovelace"
    assert "no notebook" in lines["dora"]["remark"]
    assert "`test_evaluate` was missing" in lines["eve"]["remark"]


@pytest.mark.timeout(SECONDS_FOR_THE_CLASS)
def test_feedback_has_sentences_pictures_and_no_hidden_test(the_recipe, a_fresh_clone):
    """Can each student read what was wrong, and nothing of how it was tested?"""
    pages = {}
    for student in ("ada", "ben", "cem", "dora", "eve"):
        path = a_fresh_clone / "feedback" / student / LESSON / f"{LESSON}.html"
        pages[student] = path.read_text()
    plain = {student: re.sub(r"<[^>]*>", "", page) for student, page in pages.items()}
    for student, page in plain.items():
        for secret in ("HIDDEN TESTS", "exam.require", "examiner"):
            assert secret not in page, f"{student}'s feedback shows {secret!r}"
        pictures = re.findall(r'<img[^>]*src="([^"]{0,40})', pages[student])
        formulas = [address for address in pictures if address.startswith("data:image/svg+xml;")]
        drawn = [address for address in pictures if address.startswith("data:image/png;base64,")]
        assert (len(drawn), len(formulas)) == ((0, 0) if student == "dora" else (3, 9))
        assert len(pictures) == len(drawn) + len(formulas), "they come with the page"
    assert "run_one_episode raised NotImplementedError" in plain["ben"]
    assert "and the server was told" in plain["cem"]
    assert "not graded" in plain["dora"] and "Score:" not in plain["dora"]
    assert "test_evaluate was missing" in plain["eve"]


@pytest.mark.timeout(SECONDS_FOR_THE_CLASS)
def test_git_sees_nothing_of_it(the_recipe, a_fresh_clone):
    """Is what grading leaves behind no change of the kit?"""
    changed = subprocess.run(
        ["git", "ls-files", "--others", "--modified", "--exclude-standard"],
        cwd=a_fresh_clone, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert changed.stdout == ""


# -- the formgrader --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def an_instructors_lab(open_lab) -> JupyterLab:
    lab = open_lab(variables=("INSTRUCTOR=1",))
    hand_in(lab.running.kit, "ben", "dora")
    lab.open()
    return lab


def table_row(formgrader: FrameLocator, student: str):
    return formgrader.locator(f'tr:has(td.student-id:text-is("{student}"))')


@pytest.mark.timeout(SECONDS_FOR_THE_CLASS)
def test_the_formgrader_grades_comments_and_writes_feedback(an_instructors_lab):
    """By mouse: autograde, read points and sentences, see the pictures, give a point, comment, and
    write the feedback: does it hold all that, and no line of a hidden test?"""
    lab = an_instructors_lab
    lab.menu("Nbgrader", "Formgrader")
    formgrader = lab.page.frame_locator("iframe:visible")
    formgrader.locator("tr", has_text=LESSON).locator("td.num-submissions a").click()

    assert "Successfully autograded" in press(formgrader, table_row(formgrader, "ben"), "autograde")
    assert (
        "could"
        not in press(formgrader, table_row(formgrader, "dora"), "autograde").split("Log Output")[0]
    )
    expect(table_row(formgrader, "ben")).to_contain_text("0 / 22")
    expect(table_row(formgrader, "ben")).to_contain_text("graded")
    expect(table_row(formgrader, "dora")).to_contain_text("needs manual grading")
    lab.photograph("formgrader-submissions")

    table_row(formgrader, "ben").locator("td.student-name a").click()
    formgrader.locator("tr", has_text=LESSON).locator("a").first.click()
    sentence = formgrader.get_by_text("run_one_episode raised NotImplementedError").first
    expect(sentence).to_be_visible(timeout=PATIENCE)
    box, width = sentence.bounding_box(), lab.page.viewport_size["width"]
    assert box["x"] + box["width"] <= width, "the sentence is cut off at the page's edge"
    sentence.scroll_into_view_if_needed()
    lab.photograph("formgrader-sentence")
    pictures = formgrader.locator("#notebook img").evaluate_all(
        "images => images.map(image => [image.naturalWidth, image.getBoundingClientRect().right])"
    )
    assert len(pictures) >= 3
    assert all(natural and right <= width for natural, right in pictures), pictures

    formgrader.locator("#test_result").fill("0.5")
    formgrader.locator("#run_one_episode-comment").fill("Begin with env.reset().")
    formgrader.locator("#solved-comment").click()  # what is left is saved
    expect(formgrader.locator(".comment-saved").first).to_be_attached()
    lab.page.wait_for_timeout(2000)

    formgrader.locator("a", has_text="Manual Grading").first.click()
    formgrader.locator("a", has_text="Manage Assignments").first.click()
    formgrader.locator("tr", has_text=LESSON).locator("td.num-submissions a").click()
    expect(table_row(formgrader, "ben")).to_contain_text("0.5 / 22")
    assert "Success" in press(formgrader, table_row(formgrader, "ben"), "generate-feedback")

    page = lab.page.context.new_page()
    page.goto(f"file://{lab.running.kit}/feedback/ben/{LESSON}/{LESSON}.html")
    text = page.locator("body").inner_text()
    assert "Score: 0.5 / 22.0" in text and "Begin with env.reset()." in text
    assert "run_one_episode raised NotImplementedError" in text
    for secret in ("HIDDEN TESTS", "exam.require"):
        assert secret not in text
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "lines are cut off"
    page.set_viewport_size({"width": 500, "height": 900})
    assert page.locator(".output_area pre").evaluate_all(BROKEN_WORDS) == []
    page.close()

    # After all this: the warnings that used to bury what matters stay away.
    assert "dora" in lab.running.said
    for noise in ("has changed!", "not recognized", "not serializable", "Traceback"):
        assert noise not in lab.running.said
