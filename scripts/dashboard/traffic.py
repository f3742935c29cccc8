"""A little of everything for the dashboard to show: people and programs, good and bad, and an app that is down."""

import http.client
import http.server
import inspect
import json
import os
import sys
import threading
import time
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "benches"))

from harness import tokens  # noqa: E402
from load import session_cookie  # noqa: E402

GATE = ("127.0.0.1", 8080)
AUDIENCE = "api"


class IssuerServer:
    """The keys of one issuer, and what it says of opaque tokens (RFC 7662)."""

    def __init__(self, key):
        outer = self
        self.key = key

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer({"keys": [outer.key.jwk()]})

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                token = form["token"][0]
                said = tokens.claims("https://opaque.example", AUDIENCE, 7)
                self.answer({"active": True, **said} if token.startswith("opaque-good") else {"active": False})

            def answer(self, value):
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Cache-Control", "max-age=5")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Traffic:
    """Threads that ask the gateway, each at its own pace, until they are stopped."""

    def __init__(self, rsa, ec, api_key):
        self.rsa, self.ec, self.api_key = rsa, ec, api_key
        self.stopping = threading.Event()
        self.problems = []
        self.cookie = session_cookie("http://127.0.0.1:8080")
        self.number = 0
        self.connections = threading.local()

    def start(self):
        once = [self.token(self.rsa, "https://ci.example") for _ in range(4)] + [self.token(self.ec, "https://idp.example")]
        said = tokens.claims("https://ci.example", AUDIENCE, 1)
        good = once[0]
        wrong = [
            tokens.garbage(good),
            tokens.altered(good),
            tokens.unsigned(said),
            self.rsa.token({**said, "exp": int(time.time()) - 600}),
            self.rsa.token({**said, "aud": "other"}),
            self.rsa.token({**said, "iss": "https://other.example"}),
        ]
        mistyped = self.api_key[:-1] + ("A" if self.api_key[-1] != "A" else "B")
        person = {"Cookie": self.cookie}
        self.every(0.02, lambda i: self.ask("/public"), 200)
        self.every(0.05, lambda i: self.ask("/", person), 200)
        self.every(0.5, lambda i: self.ask("/down"), 502)
        self.every(0.4, lambda i: self.ask("/", {"Accept": "application/json"}), 401)
        self.every(1.0, lambda i: self.ask("/oidc/callback?state=unknown&code=x"), 400)
        self.every(3.0, lambda i: self.sign_in_and_out(), 200)
        self.every(0.01, lambda i: self.bearer(once[i % len(once)]), 200)
        self.every(0.05, lambda i: self.bearer(self.token(self.rsa, "https://ci.example")), 200)
        self.every(0.1, lambda i: self.bearer(wrong[i % len(wrong)]), 401)
        self.every(0.2, lambda i: self.bearer(f"opaque-good-{i // 10}"), 200)
        self.every(1.0, lambda i: self.bearer(f"opaque-bad-{i}"), 401)
        self.every(0.5, lambda i: self.exchange(self.token(self.rsa, "https://ci.example", aud=[AUDIENCE, "exchange"])), 200)
        self.every(2.0, lambda i: self.exchange("no assertion"), 400)
        self.every(0.1, lambda i: self.bearer(self.api_key), 200)
        self.every(0.7, lambda i: self.bearer(mistyped), 401)

    def token(self, key, issuer, **more):
        self.number += 1
        return key.token({**tokens.claims(issuer, AUDIENCE, self.number), **more})

    def every(self, pause, act, expected):
        """Acts at this pace; an answer other than the expected one is a problem of the whole check."""

        def go():
            number = 0
            while not self.stopping.wait(pause):
                try:
                    seen = act(number)
                except (OSError, http.client.HTTPException) as failed:
                    seen = repr(failed)
                if expected is not None and seen != expected and len(self.problems) < 10:
                    self.problems.append(f"expected {expected}, got {seen} ({inspect.getsource(act).strip()})")
                number += 1

        threading.Thread(target=go, daemon=True).start()

    def ask(self, path, headers=None, data=None):
        # One connection a thread, as programs have; http.client opens it again where the gateway closed it.
        connection = self.connections.__dict__.setdefault("own", http.client.HTTPConnection(*GATE, timeout=60))
        try:
            connection.request("POST" if data else "GET", path, data, headers or {})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            connection.close()
            raise

    def sign_in_and_out(self):
        cookie = session_cookie("http://127.0.0.1:8080")
        status = self.ask("/", {"Cookie": cookie})
        self.ask("/logout", {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"})
        return status

    def bearer(self, token):
        return self.ask("/api", {"Authorization": f"Bearer {token}"})

    def exchange(self, assertion):
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        return self.ask("/oidc/token", {"Content-Type": "application/x-www-form-urlencoded"}, urllib.parse.urlencode(form))
