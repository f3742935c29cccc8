#!/usr/bin/env python3
"""The gateway beside other gateways that verify bearer tokens, as CPU per request.

One interleaved run, so that a machine that slows down slows all of them: in each round every row of the table is
measured once. The figure is requests per second of CPU that the program itself used (all its processes and threads,
/proc/PID/task/*/schedstat), not per second on the clock; ratios to plain pingora are taken within the round, and the
median of the rounds is printed with the least and the greatest.

All programs have one worker, the same app behind them (nginx, "ok"), the same RS256 key of 2048 bits and the same
tokens of about 1.1 KB, check signature, issuer, audience and expiry, keep the token from the app and hand it the
subject instead. Each is asked with
good and bad tokens before it is measured and after each round; one that answers wrongly ends the run. For rows with a
new token each request the program is started afresh in each round, so that no token was ever seen by it.

    scripts/install-peers
    benches/venv/bin/python benches/peers.py [--rounds 9] [--seconds 3] [--connections 32] [--tokens 60000] [--only REGEX]

`make peers` builds, installs and starts this. Traffic stays on loopback.
"""

import argparse
import dataclasses
import json
import os
import re
import statistics
import sys
import tempfile

from gates.apache import Apache
from gates.doorward import Doorward, PlainPingora
from gates.envoy import Envoy
from gates.gate import Gate
from gates.haproxy import HAProxy
from harness import tokens
from harness.app import start_app
from harness.processes import Processes, end_on_signals
from harness.wrk import wrk

ISSUER, AUDIENCE = "https://ci.example", "api"
# Room for the 2,000 tokens in turn, in the caches of all who have one.
ENVOY_CACHE = 10_000


class Lab:
    """What the programs under measurement share: a folder, the app, the key, and tokens good and bad."""

    def __init__(self, processes, count):
        self.processes, self.folder = processes, processes.folder
        self.issuer, self.audience = ISSUER, AUDIENCE
        self.key = tokens.Key("RS256", "peers-1")
        self.jwks = self.file("jwks.json", [json.dumps({"keys": [self.key.jwk()]})])
        self.pem = self.file("key.pem", [self.key.public_pem().decode()])
        self.app = start_app(processes, "ok")
        print(f"signing {count + 4000} tokens…", file=sys.stderr)
        turn = tokens.many(self.key, ISSUER, AUDIENCE, 2000, first=1_000_000)
        spoilt = tokens.many(self.key, ISSUER, AUDIENCE, 2000, first=2_000_000)
        self.good = turn[:3]
        self.bad = self.bad_tokens()
        self.files = {
            "one": self.file("one", turn[:1]),
            "turn": self.file("turn", turn),
            "new": self.file("new", tokens.many(self.key, ISSUER, AUDIENCE, count)),
            "wrong form": self.file("form", [tokens.garbage(token) for token in spoilt]),
            "wrong signature": self.file("signature", [tokens.altered(token) for token in spoilt]),
        }

    def file(self, name, lines):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write("".join(f"{line}\n" for line in lines))
        return path

    def bad_tokens(self):
        said = tokens.claims(ISSUER, AUDIENCE, 1)
        good = self.key.token(said)
        stranger = tokens.Key("RS256", self.key.kid)
        return {
            "none at all": None,
            "no form of a token": tokens.garbage(good),
            "an altered signature": tokens.altered(good),
            "another's key": stranger.token(said),
            "expired": self.key.token(tokens.claims(ISSUER, AUDIENCE, 1, seconds=-3600)),
            "another issuer": self.key.token({**said, "iss": "https://other.example"}),
            "another audience": self.key.token({**said, "aud": "other"}),
            "alg none": tokens.unsigned(said),
            "HS256 with the public key": tokens.confused(self.key, said),
        }


@dataclasses.dataclass
class Row:
    """One line of the table: what is sent to whom."""

    name: str
    gate: Gate
    tokens: str | None = "one"
    path: str = "/api"
    #: A new token each request, to a program that has just been started.
    new: bool = False
    refused: bool = False
    rates: list = dataclasses.field(default_factory=list)
    memory: list = dataclasses.field(default_factory=list)

    def warm_up(self, lab, connections):
        """What only the first requests cost: a cache that has to see a token twice has seen it twice after this."""
        if not self.new:
            self.gate.path = self.path
            wrk(self.gate.url(), 1, connections, lab.files[self.tokens] if self.tokens else None, refused=self.refused)
            self.gate.path = "/api"

    def measure(self, lab, seconds, connections):
        gate = self.gate
        if self.new:
            gate.start()
        try:
            gate.verify()
            gate.path = self.path
            if self.new:
                # What the first requests of a process cost (pages, connections to the app) is not what is asked.
                wrk(gate.url(), 1, connections, lab.files["one"])
            file = lab.files[self.tokens] if self.tokens else None
            before = gate.cpu_seconds()
            answered = wrk(gate.url(), seconds, connections, file, once=self.new, refused=self.refused)
            used = gate.cpu_seconds() - before
            self.rates.append(answered / used)
            self.memory.append(gate.resident_bytes())
            gate.path = "/api"
            gate.verify()
            gate.cut_log()
        finally:
            if self.new:
                gate.stop()


def rows_of(lab):
    plain, doorward = PlainPingora(lab), Doorward(lab)
    no_log = Doorward(lab, "doorward without access log", access_log=False)
    haproxy, apache = HAProxy(lab), Apache(lab)
    cached, uncached = Envoy(lab, ENVOY_CACHE), Envoy(lab, 0)
    fresh, fresh_off = Doorward(lab, "doorward afresh"), Doorward(lab, "doorward afresh cache off", cache="0")
    fresh_no_log = Doorward(lab, "doorward afresh without access log", access_log=False)
    return [
        Row("plain pingora", plain, None),
        Row("plain pingora, token along", plain),
        Row("doorward, public route", doorward, None, "/public"),
        Row("doorward, one token", doorward),
        Row("doorward, one token, access log off", no_log),
        Row("doorward, 2,000 tokens in turn", doorward, "turn"),
        Row("doorward, every token new", fresh, "new", new=True),
        Row("doorward, every token new, access log off", fresh_no_log, "new", new=True),
        Row("doorward, every token new, cache off", fresh_off, "new", new=True),
        Row("doorward, flood of wrong form", doorward, "wrong form", refused=True),
        Row("doorward, flood of wrong signatures", doorward, "wrong signature", refused=True),
        Row("HAProxy jwt_verify, one token", haproxy),
        Row("HAProxy jwt_verify, 2,000 tokens in turn", haproxy, "turn"),
        Row("HAProxy jwt_verify, every token new", HAProxy(lab), "new", new=True),
        Row("HAProxy jwt_verify, flood of wrong signatures", haproxy, "wrong signature", refused=True),
        Row("Envoy with its cache, one token", cached),
        Row("Envoy with its cache, 2,000 tokens in turn", cached, "turn"),
        Row("Envoy with its cache, every token new", Envoy(lab, ENVOY_CACHE), "new", new=True),
        Row("Envoy with its cache, flood of wrong signatures", cached, "wrong signature", refused=True),
        Row("Envoy without a cache, one token", uncached),
        Row("Envoy without a cache, every token new", Envoy(lab, 0), "new", new=True),
        Row("Apache mod_auth_openidc, one token", apache),
        Row("Apache mod_auth_openidc, every token new", Apache(lab), "new", new=True),
        Row("Apache mod_auth_openidc, flood of wrong signatures", apache, "wrong signature", refused=True),
    ]


def ratios(row, yardstick):
    return [mine / theirs for mine, theirs in zip(row.rates, yardstick.rates)]


def spread(values):
    return f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def show(rows):
    by_name = {row.name: row for row in rows}
    bare, along = by_name["plain pingora"], by_name["plain pingora, token along"]
    print("| | requests per CPU second, median | beside plain pingora | beside plain pingora, token along | resident memory |")
    print("|---|---|---|---|---|")
    for row in rows:
        memory = f"{max(row.memory) / 2**20:.0f} MiB"
        print(f"| {row.name} | {statistics.median(row.rates):,.0f} | {spread(ratios(row, bare))} | {spread(ratios(row, along))} | {memory} |")
    # What was aimed at, as ratio of two rows: mine, theirs, at least.
    aims = [
        ("doorward, one token", "plain pingora, token along", 0.95),
        ("doorward, one token", "plain pingora", 0.95),
        ("doorward, one token", "Envoy with its cache, one token", 1.8),
        ("doorward, 2,000 tokens in turn", "Envoy with its cache, 2,000 tokens in turn", 1.8),
        ("doorward, one token", "HAProxy jwt_verify, one token", 2.0),
        ("doorward, 2,000 tokens in turn", "HAProxy jwt_verify, 2,000 tokens in turn", 2.0),
        ("doorward, every token new", "HAProxy jwt_verify, every token new", 1.0),
        ("doorward, every token new", "Envoy with its cache, every token new", 1.0),
        ("doorward, every token new", "Envoy without a cache, every token new", 1.0),
        ("doorward, every token new", "Apache mod_auth_openidc, every token new", 1.0),
        ("doorward, every token new", "doorward, every token new, cache off", 0.95),
        ("doorward, flood of wrong signatures", "doorward, every token new", 1.0),
        ("doorward, flood of wrong form", "doorward, flood of wrong signatures", 1.0),
    ]
    print("\n| aim | at least | seen: median (min–max) | |\n|---|---|---|---|")
    for mine, theirs, least in aims:
        if mine in by_name and theirs in by_name:
            seen = ratios(by_name[mine], by_name[theirs])
            met = "met" if statistics.median(seen) >= least else "**not met**"
            print(f"| {mine} ÷ {theirs} | {least} | {spread(seen)} | {met} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=60_000, help="tokens for the rows with a new one each request")
    parser.add_argument("--only", default="", help="rows whose name matches; plain pingora is always measured")
    wish = parser.parse_args()
    end_on_signals()
    with tempfile.TemporaryDirectory() as folder, Processes(folder) as processes:
        # Apache's worker would leave root behind if it were root; the folder has to be open to it then.
        os.chmod(folder, 0o755)
        lab = Lab(processes, wish.tokens)
        rows = [row for row in rows_of(lab) if row.name.startswith("plain") or re.search(wish.only, row.name)]
        for row in rows:
            if not row.new and row.gate.process is None:
                row.gate.start()
            row.warm_up(lab, wish.connections)
        for number in range(wish.rounds):
            for row in rows:
                row.measure(lab, wish.seconds, wish.connections)
            print(f"round {number + 1} of {wish.rounds} done", file=sys.stderr)
        length = len(lab.good[0])
        print(
            f"{wish.rounds} rounds of {wish.seconds} s, {wish.connections} connections, one worker each, "
            f"RS256 tokens of {length} bytes, {wish.tokens:,} of them where each is new:\n"
        )
        show(rows)


if __name__ == "__main__":
    main()
