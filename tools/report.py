#!/usr/bin/env python
"""Writes one page about a lesson for the instructor, and on request one for the class.

    python tools/report.py 01-serve-and-learn            (or: make report LESSON=01-serve-and-learn)
    python tools/report.py 01-serve-and-learn --leaderboard

A page is one HTML file that needs no server. It says who stands where, what the class got wrong most,
and how the policies of all submissions learned; what a person should look at comes first. With
--leaderboard the frozen policies play once more, on seeds that nobody has seen, and a second page
for the class has their places, under pseudonyms unless --names is given.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import secrets
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.class_results import ClassResults, Result, Topic  # noqa: E402
from tools.course import Course, evidence_file, notes_of, with_overrides  # noqa: E402
from tools.leaderboard import EPISODES, PLAYED, Place, leaderboard, pseudonyms  # noqa: E402

STYLE = """
:root { color-scheme: light dark; background: Canvas; --line: #8884; --soft: #8882; --bad: #c33; --good: #2a7; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; } .soft { opacity: .7; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top;
  padding: .35rem .6rem; border-bottom: 1px solid var(--line); } .number { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar { background: var(--soft); border-radius: .3rem; height: .7rem; min-width: 7rem;
  margin-top: .4rem; } .bar i { display: block; height: 100%; border-radius: .3rem;
  background: var(--good); } .bar.bad i { background: var(--bad); }
.flag { border-left: .3rem solid var(--bad); padding: .2rem 1rem; margin: 1rem 0; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; border-radius: .4rem;
  font-size: .85rem; } img { max-width: 100%; background: white; border-radius: .4rem; }
summary { cursor: pointer; } .wide { overflow-x: auto; } code { overflow-wrap: anywhere; }
"""


def page(title: str, subtitle: str, *sections: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{esc(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>\n'
        f'<h1>{esc(title)}</h1><p class="soft">{esc(subtitle)}</p>\n' + "\n".join(sections) + "\n"
    )


def esc(text: object) -> str:
    return html.escape(str(text))


def bar(share: float, bad: bool = False) -> str:
    return f'<div class="bar{" bad" * bad}"><i style="width:{100 * share:.0f}%"></i></div>'


def table(head: list[str], rows: list[list[str]]) -> str:
    """Cells are HTML; a heading that begins with # is of a column of numbers."""
    kinds = [' class="number"' if name.startswith("#") else "" for name in head]
    lines = [
        "<tr>" + "".join(f"<{tag}{k}>{cell}</{tag}>" for k, cell in zip(kinds, row)) + "</tr>"
        for tag, row in [("th", [esc(n.lstrip("#")) for n in head]), *(("td", r) for r in rows)]
    ]
    return f'<div class="wide" tabindex="0"><table>{"".join(lines)}</table></div>'


# -- what the instructor reads ---------------------------------------------------------------------


def instructors_page(results: ClassResults) -> str:
    graded = results.graded()
    about = f"{len(results.results)} students, {len(graded)} graded, {time.strftime('%Y-%m-%d')}"
    return page(
        results.lesson,
        about,
        flagged(results),
        topics(results),
        curves(results),
        standings(results),
    )


def flagged(results: ClassResults) -> str:
    found = results.flagged()
    if not found:
        return (
            "<h2>To look at</h2><p>Nothing: no submission was stopped, altered or unreadable.</p>"
        )
    return "<h2>To look at</h2>" + "".join(flag(results, result) for result in found)


def flag(results: ClassResults, result: Result) -> str:
    evidence = result.evidence
    kept = ""
    if evidence:
        file = evidence_file(results.course, result.student)
        kept = f'<p class="soft">graded {esc(evidence["graded"])}, kept in {esc(file)}</p>'
    said = "".join(f"<li>{esc(sentence)}</li>" for sentence in result.flags)
    return (
        f'<div class="flag" id="flag-{esc(result.student)}"><b>{esc(name_of(result))}</b>'
        f"<ul>{said}</ul>{sentences(result)}{kept}</div>"
    )


def sentences(result: Result) -> str:
    if not result.sentences:
        return ""
    said = "".join(
        f"<li><code>{esc(question)}</code> {esc(sentence)}</li>"
        for question, sentence in result.sentences.items()
    )
    return f"<details><summary>what was lost, and why</summary><ul>{said}</ul></details>"


def topics(results: ClassResults) -> str:
    ordered = sorted(results.topics.values(), key=lambda t: -share_wrong(t))
    return "<h2>What the class got wrong, most first</h2>" + "".join(
        topic_section(topic, results.results) for topic in ordered if topic.right or topic.wrong
    )


def share_wrong(topic: Topic) -> float:
    return len(topic.wrong) / max(1, len(topic.wrong) + len(topic.right))


def topic_section(topic: Topic, results: dict[str, Result]) -> str:
    of, untouched = len(topic.wrong) + len(topic.right), len(topic.not_begun(results))
    points = "1 point" if topic.points == 1 else f"{topic.points:g} points"
    begun = f", {untouched} of whom have not begun" if untouched else ""
    head = (
        f"<h3>{esc(topic.meaning or topic.grade_id)}</h3><p><code>{esc(topic.grade_id)}</code>, "
        f"{points}: not by {len(topic.wrong)} of {of}{begun}</p>{bar(share_wrong(topic), True)}"
    )
    sentence, student, times = topic.commonest(results)
    if not sentence:
        return head
    cell = results[student].answers.get(topic.grade_id, "")
    shown = f'<pre tabindex="0">{esc(cell)}</pre>' if cell else ""  # scrolls by keyboard, too
    return (
        f"{head}<p>Said most ({times} of {len(topic.wrong) - untouched}): {esc(sentence)}</p>"
        f"<details><summary>a typical cell, {esc(student)}'s</summary>{shown}</details>"
    )


def curves(results: ClassResults) -> str:
    learned = [result for result in results.graded() if len(result.curve) > 1]
    if not learned:
        return ""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 4.2), layout="constrained")
    for result in learned:
        steps, measured = zip(*result.curve)
        bad = bool(result.flags)
        axes.plot(
            steps, measured, marker=".", alpha=0.9 if bad else 0.5,
            color="C3" if bad else "C0", linewidth=1.6 if bad else 1.1,
        )  # fmt: skip
        if bad or len(learned) <= 12:
            axes.annotate(result.student, (steps[-1], measured[-1]), fontsize=8)
    axes.set(xlabel="env steps", ylabel="the frozen policy, greedy, at the examiner's looks")
    axes.grid(alpha=0.3)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg")
    plt.close(figure)
    source = base64.b64encode(drawn.getvalue()).decode()
    return (
        f"<h2>How the policies learned</h2><p>{len(learned)} submissions; red are those to look at.</p>"
        f'<img alt="learning curves of all submissions" src="data:image/svg+xml;base64,{source}">'
    )


def standings(results: ClassResults) -> str:
    rows = []
    for result in results.results.values():
        line = result.line
        score = line.get("score")
        rows.append([
            f"{esc(name_of(result))}{sentences(result)}", esc(line["status"]),
            "" if score is None else f"{score:g}",
            "" if score is None else bar(score / max(1.0, results.max_score)),
        ])  # fmt: skip
    head = ["student", "status", f"#of {results.max_score:g}", ""]
    return f"<h2>Who stands where</h2>{table(head, rows)}"


def name_of(result: Result) -> str:
    names = [result.line.get("first_name"), result.line.get("last_name")]
    name = " ".join(filter(None, names))
    return f"{name} ({result.student})" if name else result.student


# -- what the class reads --------------------------------------------------------------------------


def class_page(lesson: str, places: list[Place], names: dict[str, str]) -> str:
    best = max((place.mean for place in places), default=0.0)
    least = min(0.0, *(place.mean for place in places)) if places else 0.0
    rows = [
        [str(number), esc(names.get(place.student, place.student)), f"{place.mean:.1f}",
         f"± {place.spread:.1f}", bar((place.mean - least) / max(1e-9, best - least))]
        for number, place in enumerate(places, 1)
    ]  # fmt: skip
    _, played = PLAYED[lesson]
    about = (
        f"Mean return and standard deviation of {EPISODES} episodes each of {played}. Every policy was "
        "frozen when it was graded, and plays greedily, on seeds that nobody has seen before."
    )
    return page(
        f"{lesson}: leaderboard",
        about,
        table(["#place", "policy", "#mean return", "#spread", ""], rows),
    )


def salt_of(course: Course) -> str:
    """Drawn once for a course: pseudonyms stay the same, and nobody can work them out."""
    path = notes_of(course) / "pseudonyms.salt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(16))
    return path.read_text()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lesson", help="such as 01-serve-and-learn")
    parser.add_argument("--out", type=Path, help="default: grading/LESSON.html")
    parser.add_argument(
        "--leaderboard", action="store_true", help="also a page for the class: LESSON-class.html"
    )
    parser.add_argument("--names", action="store_true", help="of students there, no pseudonyms")
    return with_overrides(parser, *parser.parse_known_args(arguments))


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    from nbgrader.api import MissingEntry

    course = Course(options.lesson, options.overrides)
    try:
        results = ClassResults(course)
    except MissingEntry:
        print(f"The gradebook knows nothing of {options.lesson}: grade it first, with make grade "
              f"LESSON={options.lesson}")  # fmt: skip
        return 1
    out = options.out or notes_of(course) / f"{options.lesson}.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(instructors_page(results), encoding="utf-8")
    print(f"For you: {out}")
    if options.leaderboard:
        return write_leaderboard(results, out, options.names)
    return 0


def write_leaderboard(results: ClassResults, out: Path, with_names: bool) -> int:
    lesson, graded = results.lesson, results.graded()
    if lesson not in PLAYED:
        print(f"No leaderboard: in {lesson} not everybody's policy plays the same game.")
        return 1
    places = leaderboard(lesson, graded)
    if not places:
        print("No leaderboard: no policy was kept; grade again, with make grade ARGS=--regrade.")
        return 1
    names = {} if with_names else pseudonyms([r.student for r in graded], salt_of(results.course))
    path = out.with_name(f"{out.stem}-class.html")
    path.write_text(class_page(lesson, places, names), encoding="utf-8")
    print(f"For the class: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
