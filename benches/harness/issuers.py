"""Issuers whose keys rotate and whose key servers fail, with the tokens that follow from it."""

import contextlib
import http.server
import json
import threading
import time

from harness import tokens

#: What a key server does while it is down: nobody listens · 503 · a page instead of keys · no answer at all.
FAILURES = ("refusing", "unavailable", "garbage", "silent")


class KeyServer:
    """Publishes a key set (RFC 7517) at `/jwks` of its port, unless it is told to fail."""

    def __init__(self, port, max_age):
        self.port, self.max_age = port, max_age
        self.keys = []
        self.mode = "up"
        self.back = threading.Event()
        #: When a set was sent in full, and the key ids in it.
        self.served = []
        self.failed = 0
        self.server = None
        self.listen()

    def listen(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with contextlib.suppress(OSError):
                    outer.answer(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, request):
        mode, keys = self.mode, list(self.keys)
        if mode == "silent":
            self.back.wait(60)
        if mode != "up":
            self.failed += 1
        if mode == "silent":
            return
        body = json.dumps({"keys": [key.jwk() for key in keys]}).encode()
        if mode == "garbage":
            body = b"<html>Back soon</html>"
        request.send_response(503 if mode == "unavailable" else 200)
        request.send_header("Content-Type", "application/jwk-set+json")
        request.send_header("Content-Length", str(len(body)))
        request.send_header("Cache-Control", f"public, max-age={self.max_age}")
        request.end_headers()
        request.wfile.write(body)
        if mode == "up":
            self.served.append((time.monotonic(), {key.kid for key in keys}))

    def fail(self, how):
        self.back.clear()
        self.mode = how
        if how == "refusing":
            self.server.shutdown()
            self.server.server_close()

    def recover(self):
        if self.mode == "refusing":
            self.listen()
        self.mode = "up"
        self.back.set()

    def wait_served(self, wanted, seconds):
        """Waits until a set was sent after now that `wanted` is true of; how long that took, or None."""
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            if any(when >= start and wanted(kids) for when, kids in self.served[-5:]):
                return time.monotonic() - start
            time.sleep(0.05)
        return None


class Issuer:
    """One `[[issuer]]`. `abrupt` ones sign with a new key in the moment they publish it, as after a leak; the others
    publish it one lifetime of the key set ahead, as they should."""

    def __init__(self, number, algorithm, port, max_age, audience, count, abrupt):
        self.number, self.algorithm, self.audience, self.count = number, algorithm, audience, count
        self.url = f"https://issuer-{number}.example"
        self.abrupt = abrupt
        self.server = KeyServer(port, max_age)
        self.generation = 0
        self.key = self.new_key()
        self.server.keys = [self.key]

    def new_key(self):
        self.generation += 1
        return tokens.Key(self.algorithm, f"{self.number}-{self.generation}")

    def claims(self, number, seconds=3600, **more):
        return {**tokens.claims(self.url, self.audience, number, seconds), **more}

    def configuration(self):
        return f"""
[[issuer]]
name = "issuer-{self.number}"
issuer = "{self.url}"
jwks_uri = "http://127.0.0.1:{self.server.port}/jwks"
audiences = ["{self.audience}"]
timeout = "2s"
leeway = "2s"
"""


def sign_pool(work):
    """Runs in the signing process: `count` tokens of one issuer with the users that they are of."""
    key, url, audience, first, count, seconds = work
    said = [tokens.claims(url, audience, first + i, seconds) for i in range(count)]
    return [(key.token(each), each["sub"]) for each in said]


def wrong_tokens(issuer, stranger):
    """Tokens that have to be refused whatever the key servers do, by what is wrong with them."""
    key, base = issuer.key, issuer.number * 10_000 + 9_000
    good = [key.token(issuer.claims(base + i)) for i in range(20)]
    other = {"RS256": "PS256", "PS256": "RS256", "ES256": "ES384", "EdDSA": "ES256"}[issuer.algorithm]
    kinds = {
        "no form of a token": [tokens.garbage(token) for token in good],
        "altered signature": [tokens.altered(token) for token in good],
        "another issuer's key": [stranger.token(issuer.claims(base + i), kid=key.kid, alg=key.algorithm) for i in range(20)],
        "expired": [key.token(issuer.claims(base + i, seconds=-60)) for i in range(20)],
        "another audience": [key.token(issuer.claims(base + i, aud="other")) for i in range(20)],
        "unknown issuer": [key.token(issuer.claims(base + i, iss="https://nobody.example")) for i in range(20)],
        "alg none": [tokens.unsigned(issuer.claims(base + i)) for i in range(20)],
        "HS256 with the public key": [tokens.confused(key, issuer.claims(base + i)) for i in range(20)],
        "another algorithm than the key's": [key.token(issuer.claims(base + i), alg=other) for i in range(20)],
    }
    # An unknown key makes the gateway ask for the set again, at most so often. An issuer that rotates abruptly lives by
    # that, and would be starved by these.
    if not issuer.abrupt:
        kinds["unknown key"] = [key.token(issuer.claims(base + i), kid=f"nobody-{i}") for i in range(20)]
    return kinds
