"""BENCHMARKS.md and its pictures, from the figures of one run of the bench.

make bench ARGS="--publish"           # measure, then write them
python -m tools.bench.published       # write them again, from the figures that are kept
python -m tools.bench.published --check
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from serving import ROOT
from tools.bench.bench import Row
from tools.bench.parts import PARTS

FIGURES = ROOT / "tools" / "bench" / "published.json"
PAGE = ROOT / "BENCHMARKS.md"
IMAGES = ROOT / "images"
PACKAGES = ("torch", "ray", "gymnasium", "numpy", "uvicorn", "starlette", "msgspec")

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#5F6C7B"
INTRODUCTION = """\
# Benchmarks

By `make bench ARGS="--publish"` in one run{peers}; nothing here is typed by hand. {machine}

Seconds differ from machine to machine, and ratios much less: where a peer or a ceiling is named, it
was measured in the same run. Where several seeds or runs were measured, the row says so and gives
the median with the worst or the range. "Wanted" is what was promised before it was measured.
"""


def part(name: str):
    """The module of a part: `MEANS`, `plan(bench)`, `rows(figures)`."""
    return importlib.import_module(f"tools.bench.parts.{name.replace('-', '_')}")


def versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def page(found: dict) -> str:
    """BENCHMARKS.md. `found` is what `make bench` writes to --out."""
    figures, about = found["figures"], found["machine"]
    machine = (
        f"{about['date'].split()[0]}, {about['system']}, {about['cpus']} cores, "
        f"{about['memory_gib']:.0f} GiB, Python {about['python']}"
    )
    installed = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    peers = ", peers and all" if any(key.startswith(("ray29", "sb3")) for key in figures) else ""
    lines = [INTRODUCTION.format(peers=peers, machine=f"{machine}; {installed}.")]
    for name in PARTS:
        if not figures.get(name):
            continue
        module = part(name)
        lines += [f"## {title(module)}", "", module.MEANS, ""]
        lines += ["| what | measured | wanted | |", "| --- | --- | --- | --- |"]
        lines += [line(row) for row in module.rows(figures)]
        lines += [""]
        if name in DRAWN:
            lines += [f"![{DRAWN[name][1]}](images/{file_of(name)})", ""]
    return "\n".join(lines)


def title(module) -> str:
    """The first sentence of the part's docstring, up to a colon."""
    sentence = " ".join(module.__doc__.split("\n\n")[0].split())
    return sentence.split(":")[0].split(";")[0].rstrip(".")


def line(row: Row) -> str:
    verdict = {True: "met", False: "**not met**", None: ""}[row.met]
    return f"| {row.what} | {row.measured} | {row.wanted} | {verdict} |"


def file_of(name: str) -> str:
    return f"bench-{name}.png"


# -- pictures ---------------------------------------------------------------------------------------


def solved(figures: dict[str, list]) -> Iterator[tuple[str, list[float], str]]:
    """Seconds to a mean of 195 in CartPole by who learns it."""
    of_run: dict[str, list[float]] = {}
    for run in figures.get("on-policy", []):
        of_run.setdefault(run["run"], []).append(run["seconds"])
    yield "DQN", [run["seconds"] for run in figures["cartpole"]], BLUE
    if of_old := figures.get("cartpole_of_old"):
        yield "DQN, old lesson's loop", [run["seconds"] for run in of_old], GREEN
    for name, seconds in of_run.items():
        yield name, seconds, ORANGE
    if sb3 := figures.get("sb3_cartpole"):
        yield "Stable-Baselines3", [run["seconds"] for run in sb3], GREY
    if ray29 := figures.get("ray29_cartpole"):
        yield "Ray 2.9.3's server", [run["seconds"] for run in ray29], GREY


def draw_cartpole(axes, figures: dict[str, list]) -> None:
    rows = list(solved(figures))
    for y, (_, seconds, colour) in enumerate(rows):
        middle = sorted(seconds)[len(seconds) // 2]
        spread = [y + 0.22 * ((k * 0.618) % 1 - 0.5) for k in range(len(seconds))]
        axes.scatter(seconds, spread, s=22, color=colour, alpha=0.6, linewidths=0)
        axes.plot([middle, middle], [y - 0.25, y + 0.25], color="black", linewidth=1.5)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    ticks = [5, 10, 20, 50, 100, 200]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("seconds from the command to a 20-episode mean of 195, a dot a seed")


def draw_clients(axes, figures: dict[str, list]) -> None:
    for training, name, colour in ((False, "acting", BLUE), (True, "training", VERMILION)):
        found = [run for run in figures["clients"] if run["training"] is training]
        axes.plot(
            [run["clients"] for run in found],
            [sum(run["steps"]) / run["seconds"] for run in found],
            "o-", color=colour, label=name,
        )  # fmt: skip
    axes.set_xscale("log")
    counts = sorted({run["clients"] for run in figures["clients"]})
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("clients at one server")
    axes.set_ylabel("steps a second, of all")
    axes.legend(frameon=False)


def draw_pong(axes, figures: dict[str, list]) -> None:
    for run in figures["pong"]:
        steps, _, shares = zip(*run["curve"])
        axes.plot(steps, [100 * share for share in shares], color=BLUE, alpha=0.6)
    axes.set_ylim(0, 100)
    axes.set_xlabel("env steps, a line a seed")
    axes.set_ylabel("points won greedily, %")


def draw_memory(axes, figures: dict[str, list]) -> None:
    (found,) = figures["memory"]
    axes.plot(*zip(*found["over_time"]), color=BLUE)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds of CartPole")
    axes.set_ylabel("policy server and learner, MB (PSS)")


# By part: the drawing, and what it shows in words.
DRAWN = {
    "cartpole": (draw_cartpole, "Seconds until CartPole is solved, a dot a seed"),
    "clients": (draw_clients, "Steps a second over the number of clients"),
    "pong": (draw_pong, "Points of Pong won over steps"),
    "memory": (draw_memory, "Memory over a sitting"),
}


def draw(name: str, figures: dict[str, list], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 2.9), dpi=110, layout="constrained")
    DRAWN[name][0](axes, figures)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    figure.savefig(folder / file_of(name), metadata={"Software": None})
    plt.close(figure)


# -- the command ------------------------------------------------------------------------------------


def publish(found: dict) -> None:
    """Keeps the figures, and writes the page and the pictures."""
    FIGURES.write_text(json.dumps(shortened(found)) + "\n")
    kept = json.loads(FIGURES.read_text())
    PAGE.write_text(page(kept))
    for name in DRAWN:
        if kept["figures"].get(name):
            draw(name, kept["figures"], IMAGES)


def shortened(value):
    """The same, with five digits of each number."""
    if isinstance(value, dict):
        return {name: shortened(of) for name, of in value.items()}
    if isinstance(value, (list, tuple)):
        return [shortened(of) for of in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="fail if the page has drifted")
    options = parser.parse_args()
    found = json.loads(FIGURES.read_text())
    if not options.check:
        publish(found)
        return 0
    if PAGE.read_text() != page(found):
        print("BENCHMARKS.md is not what its figures say: python -m tools.bench.published")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
