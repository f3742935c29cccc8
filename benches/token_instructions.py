#!/usr/bin/env python3
"""What judging a token costs, in user instructions, beside the bare check of its signature.

Each case of the example token_costs runs alone under callgrind, a few times in one run and more often in a second one; the
difference of the totals, divided by the difference of the counts, is what one costs, without the start. callgrind gives
nearly the same figure on any machine and under any load.

    benches/token_instructions.py [--few 20] [--many 120] [--only NAME …] [--json] [--check benches/limits.toml]

Needs valgrind and `cargo build --profile profiling --example token_costs`. `--check` compares with the tables
`token-ratio` and `token-instructions` of the limits, and ends with status 1 where one is exceeded.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
PROGRAM = os.path.join(TARGET, "profiling", "examples", "token_costs")
# Nothing runs longer than this, in seconds.
RUN = 300


def beside(name):
    """The case that one is compared with; `None` where there is none."""
    kind, _, algorithm = name.partition("-")
    if kind in ("whole", "peer", "gateway") and algorithm != "HS256":
        return f"bare-{algorithm}"
    return "whole-RS256" if name.startswith("refused-") else None


# Cases that take less than their start does, which is not quite the same each time: they are done more often.
SHORT = {"hit": 100, "hit-judged": 100, "miss": 100, "headers": 10, "observe": 100, "refused-form": 10}


def total(folder, name, count):
    """User instructions of a whole run."""
    out = os.path.join(folder, f"{name}.{count}")
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", PROGRAM, name, str(count)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=RUN)
    if ran.returncode != 0:
        sys.exit(f"{name}: {ran.stderr.strip().splitlines()[-1:]}")
    with open(out) as counts:
        found = re.search(r"^(?:summary|totals): (\d+)", counts.read(), re.M)
    return int(found.group(1)) if found else sys.exit(f"callgrind left no total for {name}")


def measure(wish, names):
    """Instructions of each case, and its ratio to the one it is beside."""
    with tempfile.TemporaryDirectory() as folder:
        # Every run reads the same keys and tokens; they are gone afterwards.
        os.environ["TOKEN_COSTS_FILE"] = os.path.join(folder, "tokens.json")
        with open(os.environ["TOKEN_COSTS_FILE"], "w") as file:
            subprocess.run([PROGRAM, "make"], stdout=file, check=True, timeout=RUN)
        costs = {}
        for name in names:
            few, many = wish.few, wish.many * SHORT.get(name, 1)
            costs[name] = (total(folder, name, many) - total(folder, name, few)) / (many - few)
    ratio = {name: costs[name] / costs[beside(name)] for name in names if beside(name) in costs}
    return costs, ratio


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--many", type=int, default=120)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these and what they are beside")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", metavar="LIMITS")
    wish = parser.parse_args()
    if not os.path.exists(PROGRAM):
        sys.exit("cargo build --profile profiling --example token_costs")
    names = subprocess.run([PROGRAM, "list"], capture_output=True, text=True, check=True).stdout.split()
    if wish.only:
        wanted = set(wish.only) | {beside(name) for name in wish.only}
        names = [name for name in names if name in wanted]
    costs, ratio = measure(wish, names)
    if wish.json:
        print(json.dumps({"instructions": costs, "ratio": ratio}, indent=2))
    else:
        print(f"{'case':20} {'instructions':>14} {'ratio':>7}  beside")
        for name in names:
            shown = f"{ratio[name]:7.3f}  {beside(name)}" if name in ratio else ""
            print(f"{name:20} {costs[name]:14,.0f} {shown}")
    if wish.check:
        with open(wish.check, "rb") as file:
            limits = tomllib.load(file)
        over = [
            f"{name}: {got[name]:,.3f} is more than {most:,} ({table})"
            for table, got in (("token-ratio", ratio), ("token-instructions", costs))
            for name, most in limits.get(table, {}).items()
            if name in got and got[name] > most
        ]
        print("\n".join(over) or "all within the limits", file=sys.stderr)
        sys.exit(bool(over))


if __name__ == "__main__":
    main()
