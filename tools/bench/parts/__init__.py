"""One measurement a module: `plan(bench)` yields what to measure, `rows(figures)` what came of it."""

PARTS = (
    "start",
    "checks",
    "memory",
    "sitting",
    "cartpole",
    "pong",
    "on-policy",
    "environments",
    "rollouts",
    "page",
    "watched",
    "busy",
    "beside",
    "clients",
    "access",
    "replay",
    "logs",
    "shards",
    "grading",
)
