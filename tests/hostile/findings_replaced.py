"""Lets findings be forgotten as they are found."""

from serving.exercises import learn_from_logs, serve_and_learn

serve_and_learn.Findings.add = lambda self, topic, sentence: None
serve_and_learn.Findings.of = lambda self, *topics: []
learn_from_logs.watch_replay = lambda *args: serve_and_learn.Findings()
learn_from_logs.compare = lambda *args, **kwargs: None
