"""A client process of the endurance run: connections that send tokens and hold each answer against what it has to be."""

import asyncio
import collections
import random
import time

from harness.processes import leave_signals_to_parent

#: Around the expiry of a token, how long nothing is asked of it: the gateway's leeway, and the way there.
UNSURE_BEFORE, UNSURE_AFTER = 2, 5


def request(token):
    return f"GET /api HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


class Client:
    """What all connections of the process share: the tokens, and what was seen."""

    def __init__(self, port, seed):
        self.port = port
        self.random = random.Random(seed)
        self.good = {}
        self.bad = {}
        self.brief = []
        self.counts = collections.Counter()
        self.wrong = []
        #: Seconds, and what was sent.
        self.slowest = (0.0, "")
        #: Answers by the power of two of their microseconds.
        self.latencies = collections.Counter()

    def choose(self):
        """Kind, request, statuses that are right, and the body that is right with 200."""
        dice = self.random.random()
        if dice < 0.02 and self.brief:
            bytes_, user, expires = self.random.choice(self.brief)
            now = time.time()
            if now < expires - UNSURE_BEFORE:
                return "about to expire", bytes_, (200,), user
            if now > expires + UNSURE_AFTER:
                return "expired since", bytes_, (401,), None
        elif dice < 0.17 and self.bad:
            (kind, _), pool = self.random.choice(list(self.bad.items()))
            # Whether an unknown key is one is not to be decided while the key server is down.
            return kind, self.random.choice(pool), (401, 503) if kind == "unknown key" else (401,), None
        bytes_, user = self.random.choice(self.random.choice(list(self.good.values())))
        return "good", bytes_, (200,), user

    def saw(self, kind, status, expected, user, body, took):
        self.counts[kind, status] += 1
        self.latencies[int(took * 1e6).bit_length()] += 1
        self.slowest = max(self.slowest, (took, kind))
        if status not in expected or (user is not None and body != user):
            self.counts["wrong verdicts", kind] += 1
            if len(self.wrong) < 20:
                self.wrong.append(f"{time.strftime('%T')} {kind}: {status} {body[:300]!r}, expected {expected} {user}")

    def take(self, message):
        what, *rest = message
        if what == "good":
            number, pool = rest
            self.good[number] = [(request(token), user.encode()) for token, user in pool]
        elif what == "bad":
            kind, number, pool = rest
            self.bad[kind, number] = [request(token) for token in pool]
        elif what == "brief":
            pool, expires = rest
            self.brief = self.brief[-200:] + [(request(token), user.encode(), expires) for token, user in pool]


class Connection(asyncio.Protocol):
    def __init__(self, client, stopping):
        self.client, self.stopping = client, stopping
        self.buffer = b""
        self.asked = None
        self.closing = False

    def connection_made(self, transport):
        self.transport = transport
        self.send()

    def send(self):
        if self.stopping.is_set():
            self.transport.close()
            return
        self.asked = (*self.client.choose(), time.perf_counter())
        self.transport.write(self.asked[1])

    def data_received(self, data):
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        head = head.lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        kind, _, expected, user, since = self.asked
        self.asked, self.buffer = None, b""
        self.client.saw(kind, int(head[9:12]), expected, user, rest, time.perf_counter() - since)
        if b"\r\nconnection: close" in head:
            self.transport.close()
        else:
            self.send()

    def connection_lost(self, _):
        if self.asked:
            kind, _, expected, user, since = self.asked
            self.client.saw(kind, 0, expected, user, b"connection lost", time.perf_counter() - since)
        if not self.stopping.is_set():
            asyncio.get_running_loop().create_task(connect(self.client, self.stopping))


async def connect(client, stopping):
    try:
        await asyncio.get_running_loop().create_connection(lambda: Connection(client, stopping), "127.0.0.1", client.port)
    except OSError as refused:
        client.saw("good", 0, (200,), None, str(refused).encode(), 0)
        await asyncio.sleep(0.2)
        if not stopping.is_set():
            asyncio.get_running_loop().create_task(connect(client, stopping))


async def serve(pipe, port, connections, seed):
    client, stopping, loop = Client(port, seed), asyncio.Event(), asyncio.get_running_loop()
    done, started = asyncio.Event(), False

    def report():
        return client.counts, client.wrong, client.latencies, client.slowest

    def message():
        nonlocal started
        try:
            number, what = pipe.recv()
        except EOFError:
            done.set()
            return
        if what[0] == "start":
            if not started:
                started = True
                for _ in range(connections):
                    loop.create_task(connect(client, stopping))
            pipe.send((number, None))
        elif what[0] == "report":
            pipe.send((number, report()))
        elif what[0] == "stop":
            stopping.set()
            # Requests under way come to their end.
            loop.call_later(2, lambda: (pipe.send((number, report())), done.set()))
        else:
            client.take(what)
            # Said to be done when no request with the tokens of before is under way.
            loop.call_later(1, pipe.send, (number, None))

    loop.add_reader(pipe.fileno(), message)
    await done.wait()


def run(pipe, port, connections, seed):
    leave_signals_to_parent()
    asyncio.run(serve(pipe, port, connections, seed))
