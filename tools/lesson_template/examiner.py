"""Lesson 0: what the examiner asks. A method for each graded cell, by its grade_id."""

from __future__ import annotations

from serving.examiner.examination import Examination
from serving.exercises.lesson_name import CASES, TOPICS, examine_discounted_return


class LessonName(Examination):
    """Functions asked with numbers that no student has seen."""

    def test_values(self) -> None:
        drawn = [
            (
                self.rng.normal(size=steps).round(3).tolist(),
                round(self.rng.uniform(0.1, 1), 3),
            )
            for steps in (1, 2, 7, 100)
        ]
        function = self.function("discounted_return")
        findings = examine_discounted_return(function, [*CASES, *drawn])
        assert not findings.of("values"), f"{TOPICS['values']}: {findings.of('values')[0]}"
