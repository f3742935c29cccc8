"""wrk as the client, with tokens read from a file."""

import os
import re
import subprocess
import sys

WALK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "walk.lua")


def wrk(url, seconds, connections, tokens=None, once=False, refused=False):
    """Requests that were answered. `tokens` is a file with one token a line, sent in turn; with `once` the client stops
    at its end instead of beginning again. With `refused` every answer has to be a refusal, else none may be."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-H", "User-Agent: load"]
    command += ["-s", WALK, url, "--", tokens, "once" if once else "again"] if tokens else [url]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    answered = int(re.search(r"(\d+) requests in", out).group(1))
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    expected = answered if refused else 0
    if "Socket errors" in out or answered == 0 or int(wrong.group(1) if wrong else 0) != expected:
        sys.exit(f"answers other than expected while measuring {url}:\n{out}")
    return answered
