#!/usr/bin/env python3
"""Ten thousand tokens of ten issuers, while their keys rotate and their key servers go down and up again.

Fifty connections send good tokens (RS256, PS256, ES256, EdDSA) and, for every sixth request, wrong ones of ten kinds.
The app answers with the user it was told, so that a token answered with another's identity shows as well. Meanwhile each
issuer in turn publishes a new key, signs all its tokens anew, goes down (nobody listens, 503, a page instead of keys, or
no answer at all), comes back, and withdraws the old key, after which tokens signed with it have to be refused although
they were accepted before. Some issuers publish the new key one lifetime of the key set ahead; three rotate from one
moment to the next, as after a leak. Tokens that live for seconds are sent before and after their expiry.

It fails when a verdict was wrong, when a good request failed, when a withdrawn key stayed good, or when the resident
memory of the gateway grew from the middle third of the run to the last.

    scripts/install-peers
    benches/venv/bin/python benches/endurance.py [--minutes 5] [--connections 50] [--tokens 10000] [--max-age 10]

`make endurance` builds, installs and starts this. Traffic stays on loopback.
"""

import argparse
import collections
import concurrent.futures
import http.client
import itertools
import multiprocessing
import os
import re
import secrets
import statistics
import sys
import tempfile
import threading
import time
import urllib.request

from harness import client, issuers, tokens
from harness.app import start_app
from harness.processes import TARGET, Processes, end_on_signals, free_port, leave_signals_to_parent, resident_bytes, tail

AUDIENCE = "api"
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
ISSUERS, ABRUPT, CLIENTS = 10, 3, 2
#: Seconds that a withdrawn key may stay good: the lifetime of the key set is added.
WITHDRAWAL = 60


class Worker:
    """A client process, and the way to talk to it from several threads."""

    def __init__(self, port, connections, seed):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=client.run, args=(theirs, port, connections, seed), daemon=True)
        self.process.start()
        theirs.close()
        self.numbers, self.lock, self.waiting = itertools.count(), threading.Lock(), {}

    def listen(self):
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            try:
                number, answer = self.pipe.recv()
            except (EOFError, OSError):
                return
            self.waiting.pop(number).set_result(answer)

    def tell(self, *message):
        """Sends it; the future is done when the process has acted on it."""
        future = concurrent.futures.Future()
        with self.lock:
            number = next(self.numbers)
            self.waiting[number] = future
            self.pipe.send((number, message))
        return future


class Run:
    """The whole run: what was started, and what was seen."""

    def __init__(self, wish, processes, workers, signer, port):
        self.wish, self.processes, self.workers, self.signer, self.port = wish, processes, workers, signer, port
        self.stopping = threading.Event()
        self.rotations = collections.Counter()
        self.problems = []
        self.after_publishing = []
        self.memory = []
        each = wish.tokens // ISSUERS
        self.issuers = [
            issuers.Issuer(n, ALGORITHMS[n % 4], free_port(), wish.max_age, AUDIENCE, each, n >= ISSUERS - ABRUPT)
            for n in range(ISSUERS)
        ]

    def tell(self, *message):
        """Tells all client processes, and waits until no request with the tokens of before is under way."""
        for future in [worker.tell(*message) for worker in self.workers]:
            future.result(30)

    def send_tokens(self, issuer):
        """Signs everything with the issuer's key of now. Returns the good ones."""
        work = (issuer.key, issuer.url, AUDIENCE, issuer.number * 10_000, issuer.count, 3600)
        pool = self.signer.submit(issuers.sign_pool, work).result(120)
        self.tell("good", issuer.number, pool)
        stranger = tokens.Key(issuer.algorithm, "stranger")
        for kind, wrong in issuers.wrong_tokens(issuer, stranger).items():
            for worker in self.workers:
                worker.tell("bad", kind, issuer.number, wrong)
        return pool

    def send_brief(self, issuer):
        work = (issuer.key, issuer.url, AUDIENCE, issuer.number * 10_000 + 8_000, 20, 12)
        pool = self.signer.submit(issuers.sign_pool, work).result(30)
        # What the tokens say: they were signed when there was time for it.
        expires = max(tokens.claims_of(token)["exp"] for token, _ in pool)
        for worker in self.workers:
            worker.tell("brief", pool, expires)

    def start_gateway(self):
        app = start_app(self.processes, "$http_x_forwarded_user")
        self.admin = free_port()
        path = os.path.join(self.processes.folder, "gateway.toml")
        with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
            f.write(f"""
public_url = "http://127.0.0.1:{self.port}"
secrets = ["{secrets.token_hex(24)}"]
listen.address = "127.0.0.1:{self.port}"
listen.threads = 2
admin.address = "127.0.0.1:{self.admin}"
log.access = false
log.audit = false
[[upstream]]
url = "http://127.0.0.1:{app}"
[[route]]
path = "/api"
access = "bearer"
{"".join(issuer.configuration() for issuer in self.issuers)}
""")
        self.gateway = self.processes.start("doorward", f"{TARGET}/doorward", "run", "--config", path, port=self.port)

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def wait_ready(self):
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"the gateway is not ready; the end of its output:\n{tail(self.gateway.log)}")

    def ask(self, token):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/api", headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def live(self, issuer):
        """The life of an issuer, until the run ends."""
        try:
            self.stopping.wait(3 * issuer.number)
            for number in itertools.count():
                if self.stopping.is_set():
                    return
                self.rotate(issuer, issuers.FAILURES[(issuer.number + number) % 4])
        except Exception as failed:
            self.problems.append(f"issuer {issuer.number}: the script itself failed: {failed!r}")

    def rotate(self, issuer, failure):
        pause, server = self.stopping.wait, issuer.server
        old, old_pool = issuer.key, issuer.pool
        new = issuer.new_key()
        server.keys = [old, new]
        if not issuer.abrupt:
            published = time.monotonic()
            pause(self.wish.max_age + 5)
            seen = [when for when, kids in server.served if new.kid in kids]
            self.after_publishing.append(seen[0] - published if seen else None)
        issuer.key = new
        issuer.pool = self.send_tokens(issuer)
        self.send_brief(issuer)
        self.rotations["keys"] += 1
        if pause(3):
            return
        # The new key is known by now; all of its tokens have to go on while nobody answers for it.
        server.fail(failure)
        self.rotations[failure] += 1
        pause(15)
        server.recover()
        if pause(3):
            return
        server.keys = [new]
        waited = server.wait_served(lambda kids: old.kid not in kids, WITHDRAWAL)
        if self.stopping.is_set():
            return
        if waited is None:
            self.problems.append(f"issuer {issuer.number}: keys not fetched in {WITHDRAWAL} s after {failure}")
            return
        # The answer has been sent; a moment for the gateway to take it in.
        pause(2)
        answers = [self.ask(token) for token, _ in old_pool[:5]]
        self.rotations["tokens of a withdrawn key"] += len(answers)
        if set(answers) != {401}:
            self.problems.append(f"issuer {issuer.number}: {answers} to tokens of the withdrawn key {old.kid}")
        # The gateway looks for a key it does not know at most once in five seconds, and it just did: a token of a key that
        # was withdrawn and one of a key that is published in the next moment are the same to it.
        pause(8)

    def watch(self):
        """Prints where the run is, every ten seconds, until its time is over."""
        start, before = time.monotonic(), 0
        while (elapsed := time.monotonic() - start) < self.wish.minutes * 60:
            time.sleep(min(10, self.wish.minutes * 60 - elapsed + 0.01))
            seen = merge([worker.tell("report").result(30) for worker in self.workers])
            total = sum(count for (what, _), count in seen.counts.items() if what != "wrong verdicts")
            resident = resident_bytes(self.gateway.pid)
            self.memory.append(resident)
            down = [f"{i.number} {i.server.mode}" for i in self.issuers if i.server.mode != "up"]
            print(
                f"{time.monotonic() - start:4.0f} s · {total:,} requests ({(total - before) / 10:,.0f}/s) · "
                f"{seen.wrong_verdicts()} wrong · {resident / 2**20:.1f} MiB · {self.rotations['keys']} rotations · "
                f"down: {', '.join(down) or 'none'}",
                flush=True,
            )
            before = total
            if self.gateway.poll() is not None:
                self.problems.append(f"the gateway ended with {self.gateway.returncode}")
                return


class Seen:
    """What all client processes saw."""

    def __init__(self):
        self.counts, self.latencies = collections.Counter(), collections.Counter()
        self.wrong, self.slowest = [], (0.0, "")

    def wrong_verdicts(self):
        return sum(count for (what, _), count in self.counts.items() if what == "wrong verdicts")

    def quantile(self, share):
        """Upper bound in milliseconds, from powers of two."""
        left = share * sum(self.latencies.values())
        for bits, count in sorted(self.latencies.items()):
            left -= count
            if left <= 0:
                return 2**bits / 1000
        return 0.0


def merge(reports):
    seen = Seen()
    for counts, wrong, latencies, slowest in reports:
        seen.counts.update(counts)
        seen.latencies.update(latencies)
        seen.wrong += wrong
        seen.slowest = max(seen.slowest, slowest)
    return seen


def growth(memory):
    """Median of the last third over the median of the middle third."""
    third = max(1, len(memory) // 3)
    return statistics.median(memory[-third:]) / statistics.median(memory[-2 * third : -third] or memory[:1])


def summary(run, seen):
    """Prints the figures as Markdown; returns what failed."""
    wish, failures = run.wish, list(run.problems)
    if wrong := seen.wrong_verdicts():
        failures.append(f"{wrong} wrong verdicts, the first of them:\n  " + "\n  ".join(seen.wrong[:10]))
    failed = sum(n for (kind, status), n in seen.counts.items() if kind in ("good", "about to expire") and status != 200)
    if failed:
        failures.append(f"{failed} good requests failed")
    grown = growth(run.memory)
    # Pages come and go by the megabyte; a leak of a few bytes a request would be far more.
    if grown > 1.05:
        failures.append(f"resident memory grew by {(grown - 1) * 100:.1f} % from the middle third to the last")
    total = sum(count for (what, _), count in seen.counts.items() if what != "wrong verdicts")
    late = [seconds for seconds in run.after_publishing if seconds is not None]
    mebibytes = [resident / 2**20 for resident in run.memory]
    print(f"""
{wish.minutes:g} minutes, {wish.connections} connections, {wish.tokens:,} tokens of {ISSUERS} issuers ({", ".join(ALGORITHMS)}), key sets of {wish.max_age} s:

| | |
|---|---|
| requests | {total:,} |
| wrong verdicts | {wrong} |
| good requests that failed | {failed} |
| keys rotated | {run.rotations["keys"]} |
| key servers down | {sum(run.rotations[how] for how in issuers.FAILURES)} times ({", ".join(f"{how} {run.rotations[how]}" for how in issuers.FAILURES)}) |
| tokens of a withdrawn key tried | {run.rotations["tokens of a withdrawn key"]} |
| a published key fetched after | {f"{max(late):.1f} s at most" if late else "—"}{f", {len(run.after_publishing) - len(late)} not in time" if len(late) < len(run.after_publishing) else ""} |
| answers in | half ≤ {seen.quantile(0.5):.1f} ms, 99 % ≤ {seen.quantile(0.99):.1f} ms, slowest {seen.slowest[0] * 1000:.0f} ms ({seen.slowest[1]}) |
| resident memory | {mebibytes[0]:.1f} MiB after 10 s, {max(mebibytes):.1f} at most, {mebibytes[-1]:.1f} at the end; last third ÷ middle third {grown:.3f} |

| sent | answered |
|---|---|""")
    for kind in sorted({what for what, _ in seen.counts} - {"wrong verdicts"}):
        answers = {status: n for (what, status), n in seen.counts.items() if what == kind}
        print(f"| {kind} | {', '.join(f'{status}: {n:,}' for status, n in sorted(answers.items()))} |")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--max-age", type=int, default=10, help="seconds that the key sets may be kept for")
    wish = parser.parse_args()
    end_on_signals()
    port = free_port()
    # Before any thread is there: a process that is forked beside threads may inherit a lock that nobody gives back.
    workers = [Worker(port, wish.connections // CLIENTS, seed) for seed in range(CLIENTS)]
    signer = concurrent.futures.ProcessPoolExecutor(1, initializer=leave_signals_to_parent)
    signer.submit(os.getpid).result(30)
    try:
        with tempfile.TemporaryDirectory() as folder, Processes(folder) as processes:
            run = Run(wish, processes, workers, signer, port)
            run.start_gateway()
            run.wait_ready()
            for worker in workers:
                worker.listen()
            for issuer in run.issuers:
                issuer.pool = run.send_tokens(issuer)
            run.tell("start")
            for issuer in run.issuers:
                threading.Thread(target=run.live, args=(issuer,), daemon=True).start()
            run.watch()
            run.stopping.set()
            seen = merge([future.result(30) for future in [worker.tell("stop") for worker in workers]])
            failures = summary(run, seen)
            if run.gateway.poll() is None:
                wanted = re.compile(r"^(doorward_token_cache\S*|doorward_issuer\S*) .*$", re.M)
                print("\nthe gateway's own figures:\n" + "\n".join(m.group(0) for m in wanted.finditer(run.metrics())))
    finally:
        for worker in workers:
            worker.process.kill()
        signer.shutdown(wait=False, cancel_futures=True)
    for failure in failures:
        print(f"FAILED: {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
