#!/usr/bin/env python3
"""What a request costs the gateway, in user instructions, beside plain proxying.

Each target runs alone under callgrind, which counts what the processor is told to do and so gives nearly the same figure
on any machine and under any load. One keep-alive connection sends a few requests in one run and many in a second one;
the difference of the totals, divided by the difference of the requests, is what one request costs, without the start.
Only the target is counted; the app behind it is a few lines of this script.

    benches/instructions.py [--few 200] [--many 1200] [--only NAME …] [--json] [--check benches/limits.toml] [--keep FOLDER]

Needs valgrind, and the gateway and the examples plain_proxy and demo_provider built with `--profile profiling` (`make
instructions` builds them and starts this). `--check` compares with limits and ends with status 1 where one is exceeded;
`--keep` leaves callgrind's files, two a target, for `callgrind_annotate`. Traffic stays on loopback.
"""

import argparse
import base64
import contextlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

from load import ROOT, free_port, session_cookie

BUILT = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "profiling")
# The demo provider knows one gateway, at the demo's address.
GATE, PROVIDER = ("127.0.0.1", 8080), ("127.0.0.2", 8081)
# Nothing waits longer than this, in seconds: a start under valgrind takes two, a run ten.
START, ANSWER, STOP = 300, 60, 120


@dataclass
class Target:
    """One row of the table: what runs under callgrind, and what it is asked."""

    name: str
    # What the ratio is computed against: the name of another target.
    beside: str = "plain"
    path: str = "/"
    # Headers beside Host, User-Agent and Accept, made when the provider is up and somebody is signed in.
    headers: Callable[["Bench"], dict[str, str]] = lambda bench: {}
    # Further lines of the gateway's configuration; `None` for the plain proxy.
    config: str | None = field(default="", repr=False)


def routes(count):
    """`count` public routes of which each request asks for the last but one."""
    return "".join(f'[[route]]\npath = "/app/{n:05}"\naccess = "public"\n' for n in range(count))


SECRET = os.urandom(24).hex()


def issuers(count):
    """A route for programs, and `count` issuers, of which the last but one issued the token."""
    entries = "".join(
        f'[[issuer]]\nname = "i{n}"\nissuer = "https://ci-{n}.example"\naudiences = ["api"]\nsecret = "{SECRET}"\n'
        for n in range(count)
    )
    return entries + '[[route]]\npath = "/api"\naccess = "bearer"\n'


def encode(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def token(issuer):
    """Headers with a token of about 1.1 KB. How it is signed says nothing about what it costs to find it again."""
    now = int(time.time())
    claims = {
        "iss": f"https://ci-{issuer}.example", "aud": "api", "sub": "robot-7", "exp": now + 86400, "iat": now,
        "email": "robot@example.com", "groups": ["ci", "nightly", "research"], "ref": "x" * 540,
    }
    signed = b".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "at+jwt"}, claims))
    signature = encode(hmac.digest(SECRET.encode(), signed, "sha256"))
    return {"Authorization": f"Bearer {(signed + b'.' + signature).decode()}"}


PUBLIC = '[[route]]\n[[route]]\npath = "/public"\naccess = "public"\n'

TARGETS = [
    Target("plain", config=None),
    Target("public", path="/public", config=PUBLIC),
    Target("session", config=PUBLIC, headers=lambda bench: {"Cookie": bench.cookie()}),
    # The same with a token along, which the library reads and sends on as it does any header.
    Target("plain-token", config=None, headers=lambda bench: token(0)),
    Target("bearer", path="/api", config=issuers(1), headers=lambda bench: token(0)),
    Target("issuers-100", beside="bearer", path="/api", config=issuers(100), headers=lambda bench: token(98)),
    Target("routes-10", path="/app/00008/page", config=routes(10)),
    Target("routes-10000", beside="routes-10", path="/app/09998/page", config=routes(10_000)),
]


class App(threading.Thread):
    """The app: answers every request alike, as fast as Python can, on connections that stay open."""

    ANSWER = b"HTTP/1.1 200 OK\r\nServer: app\r\nContent-Type: text/plain\r\nContent-Length: 512\r\nConnection: keep-alive\r\n\r\n" + b"x" * 512

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.start()

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            while part := connection.recv(65536):
                # One request at a time, each without a body: its head ends what came.
                if part.endswith(b"\r\n\r\n"):
                    connection.sendall(self.ANSWER)


class Bench:
    """What all targets share: the app, the provider, the gateway's secrets, and somebody who is signed in."""

    def __init__(self, folder):
        self.folder = folder
        self.app = App()
        self.running = []
        self.cookie_header = None
        for name in ("client", "seal"):
            with open(os.path.join(folder, name), "w") as f:
                f.write(os.urandom(24).hex())

    def start(self, *command, log="log"):
        with open(os.path.join(self.folder, log), "a") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        self.running.append(process)
        return process

    def gateway(self, config, listen, admin):
        """The command of a gateway; its public URL is the demo's wherever it listens, and so one session fits all."""
        path = os.path.join(self.folder, f"{listen}.toml")
        with open(path, "w") as f:
            f.write(f"""public_url = "http://{GATE[0]}:{GATE[1]}"
                secret_file = "{self.folder}/seal"
                listen.address = "127.0.0.1:{listen}"
                listen.threads = 1
                admin.address = "127.0.0.1:{admin}"
                [[provider]]
                issuer = "http://{PROVIDER[0]}:{PROVIDER[1]}"
                client_id = "doorward-demo"
                client_secret_file = "{self.folder}/client"
                [[upstream]]
                url = "http://127.0.0.1:{self.app.address[1]}"
                {config}""")
        return [f"{BUILT}/doorward", "run", "--config", path]

    def provider(self):
        """Starts the provider on first use."""
        if not any(PROVIDER_NAME in process.args[0] for process in self.running):
            for address in (GATE, PROVIDER):
                with socket.socket() as probe:
                    if probe.connect_ex(address) == 0:
                        sys.exit(f"{address[0]}:{address[1]} is taken; stop what runs there (`make demo`?) and start again")
            self.wait_for(PROVIDER, self.start(f"{BUILT}/examples/{PROVIDER_NAME}", f"{self.folder}/client"))

    def cookie(self):
        """The Cookie header of a session; the sign-in goes through a gateway that nobody measures."""
        if not self.cookie_header:
            admin = free_port()
            process = self.start(*self.gateway("[[route]]\n", GATE[1], admin))
            self.wait_for(GATE, process)
            self.wait_ready(admin, process)
            self.cookie_header = session_cookie(f"http://{GATE[0]}:{GATE[1]}")
            self.stop(process)
        return self.cookie_header

    def wait_for(self, address, process):
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                return socket.create_connection(address, 1).close()
            if process.poll() is not None:
                break
            time.sleep(0.05)
        self.give_up(f"nothing listens on {address[0]}:{address[1]}")

    def wait_ready(self, admin, process):
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, OSError):
                return urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=ANSWER).close()
            if process.poll() is not None:
                break
            time.sleep(0.05)
        self.give_up("the gateway does not become ready")

    def come_to_rest(self, process):
        """What a start does beside serving (keys, the doctor's quick checks) is not to be counted to the requests."""
        deadline, before, quiet = time.monotonic() + START, None, 0
        while time.monotonic() < deadline:
            with open(f"/proc/{process.pid}/stat") as f:
                now = sum(int(ticks) for ticks in f.read().rsplit(")", 1)[1].split()[11:13])
            # More than once: on a busy machine it may merely have had no turn.
            quiet = quiet + 1 if before is not None and now - before <= 2 else 0
            if quiet == 3:
                return
            before = now
            time.sleep(0.5)
        self.give_up("the gateway does not come to rest")

    def stop(self, process):
        self.running.remove(process)
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.give_up("a target did not stop")

    def stop_all(self):
        for process in self.running:
            process.kill()
            process.wait()
        self.running.clear()

    def give_up(self, what):
        with open(os.path.join(self.folder, "log"), errors="replace") as f:
            sys.exit(f"{what}; the last it said:\n{f.read()[-2000:]}")

    def total(self, target, requests, keep=None, at_least=0):
        """Instructions of a whole run of `target` with that many requests, and how long it was asked, in seconds. It runs on
        for `at_least` so long: what a gateway does once a second is then in either run as often, on a slow machine, too."""
        listen, admin = free_port(), free_port()
        counts = os.path.join(self.folder, f"{target.name}.{requests}.callgrind")
        if target.config is None:
            command = [f"{BUILT}/examples/plain_proxy", f"127.0.0.1:{listen}", "127.0.0.1:%d" % self.app.address[1], "1"]
        else:
            self.provider()
            command = self.gateway(target.config, listen, admin)
        headers = target.headers(self)
        process = self.start("valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", *command)
        self.wait_for(("127.0.0.1", listen), process)
        if target.config is not None:
            self.wait_ready(admin, process)
            self.come_to_rest(process)
        began = time.monotonic()
        self.ask(listen, target.path, headers, requests)
        took = time.monotonic() - began
        time.sleep(max(0, at_least - took))
        self.stop(process)
        if keep:
            shutil.copy(counts, keep)
        with open(counts) as f:
            found = re.search(r"^(?:totals|summary): (\d+)", f.read(), re.MULTILINE)
        if not found:
            self.give_up(f"callgrind left no total for {target.name}")
        return int(found.group(1)), took

    def ask(self, port, path, headers, requests):
        lines = {"Host": "%s:%d" % GATE, "User-Agent": "instructions", "Accept": "*/*"} | headers
        head = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        with socket.create_connection(("127.0.0.1", port), ANSWER) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(requests):
                connection.sendall(head.encode())
                answer = b""
                while not answer.endswith(b"x" * 512):
                    part = connection.recv(65536)
                    answer += part
                    if not part or not answer.startswith(b"HTTP/1.1 200"[: len(answer)]):
                        self.give_up(f"{path} was answered with {answer[:300]!r}")


PROVIDER_NAME = "demo_provider"


def medians(names, first, *others):
    """`first` with the result in the middle for each of `names`: a run that something else of the process fell into is none
    of them."""
    middle = lambda name: sorted((one[name] for one in (first, *others)), key=lambda own: own["ratio"])[len(others) // 2]
    return first | {name: middle(name) for name in names}


def measure(wish, targets):
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder)
        try:
            for target in targets:
                many, took = bench.total(target, wish.many, wish.keep)
                few, _ = bench.total(target, wish.few, wish.keep, took)
                results[target.name] = {"instructions": (many - few) / (wish.many - wish.few)}
        finally:
            bench.stop_all()
    for target in targets:
        if target.beside in results:
            own = results[target.name]
            own["beside"] = target.beside
            own["ratio"] = own["instructions"] / results[target.beside]["instructions"]
    return results


def exceeded(results, limits):
    """Targets whose limits do not hold, with a sentence; a limit for what was not measured says nothing."""
    for name, most in limits["ratio"].items():
        own = results.get(name, {})
        if own.get("ratio", 0) > most:
            yield name, f"{name}: {own['ratio']:.3f} times {own['beside']}, and the limit is {most}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--few", type=int, default=200, metavar="N", help="requests of the first run")
    parser.add_argument("--many", type=int, default=1200, metavar="N", help="requests of the second run")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[t.name for t in TARGETS], help="these targets")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--check", metavar="FILE", help="end with status 1 where a limit of FILE is exceeded")
    parser.add_argument("--keep", metavar="FOLDER", help="leave callgrind's files there")
    wish = parser.parse_args()
    for tool in ("valgrind", f"{BUILT}/doorward", f"{BUILT}/examples/plain_proxy", f"{BUILT}/examples/{PROVIDER_NAME}"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing; `make instructions` builds what is built here, the rest is Debian's `valgrind`")
    if wish.keep:
        os.makedirs(wish.keep, exist_ok=True)
    results = measure(wish, [t for t in TARGETS if not wish.only or t.name in wish.only])
    limits = {}
    if wish.check:
        with open(wish.check, "rb") as f:
            limits = tomllib.load(f)
        over = {name for name, _ in exceeded(results, limits)}
        if over:
            print(f"over the limit, and so measured twice more for the median: {', '.join(sorted(over))}", flush=True)
            again = [t for t in TARGETS if t.name in over | {results[name]["beside"] for name in over}]
            results = medians(over, results, measure(wish, again), measure(wish, again))
    if wish.json:
        print(json.dumps(results, indent=2))
    else:
        print(f"User instructions per request, from runs of {wish.few} and {wish.many} requests")
        print("| target | instructions | ratio |\n|---|---|---|")
        for name, own in results.items():
            ratio = f"{own['ratio']:.3f} × {own['beside']}" if "ratio" in own else ""
            print(f"| {name} | {own['instructions']:,.0f} | {ratio} |")
    if wish.check:
        broken = list(exceeded(results, limits))
        for _, sentence in broken:
            print(sentence, file=sys.stderr)
        sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
