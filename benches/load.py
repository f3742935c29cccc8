#!/usr/bin/env python3
"""What the gateway costs beside plain proxying, as CPU per request.

Three targets in turn, in one run, so that a machine that slows down slows all of them: the proxy library with nothing
on top (examples/plain_proxy.rs), the gateway on a public route, the gateway on a signed-in route. The figure is
requests per second of CPU that the target itself used (/proc/PID/stat), not per second on the clock; the ratios of
each round are computed within the round, and the median of the rounds is printed.

    benches/load.py [--rounds 15] [--seconds 3] [--connections 32]

Needs wrk and nginx (Debian: wrk, nginx-light) and the release build of the gateway and of the examples plain_proxy and
demo_provider (`make load` builds them and starts this). Traffic stays on loopback.
"""

import argparse
import html
import http.cookiejar
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from harness.processes import free_port

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")
TICK = os.sysconf("SC_CLK_TCK")


def wait_for(address, seconds=20):
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            socket.create_connection(address, 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"nothing listens on {address}")


def cpu_seconds(pid):
    """User and system time of a process in seconds; nanoseconds where the kernel tells them."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        except (OSError, IndexError, ValueError):
            pass
    if total:
        return total / 1e9
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def session_cookie(base):
    """Signs in at the demo provider as a browser would, and returns the Cookie header of the session."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar), NoRedirect)

    def go(url, data=None):
        try:
            answer = opener.open(urllib.request.Request(url, data, {"Accept": "text/html"}))
        except urllib.error.HTTPError as refused:
            answer = refused
        return answer, answer.read().decode()

    answer, page = go(base + "/")
    for _ in range(10):
        location = answer.headers.get("location")
        if location:
            answer, page = go(urllib.parse.urljoin(answer.url, location))
        elif 'name="password"' in page:
            fields = {k: html.unescape(v) for k, v in re.findall(r'name="([^"]+)"[^>]*value="([^"]*)"', page)}
            fields |= {"user": "ada", "password": "lovelace"}
            action = re.search(r'action="([^"]*)"', page)
            url = urllib.parse.urljoin(answer.url, html.unescape(action.group(1)) if action else "")
            answer, page = go(url, urllib.parse.urlencode(fields).encode())
        else:
            break
    cookies = [f"{c.name}={c.value}" for c in jar if c.name == "doorward"]
    if not cookies:
        sys.exit(f"the sign-in for the measurement failed: {answer.status} {answer.url}")
    return cookies[0]


def wrk(url, seconds, connections, cookie=None):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", "User-Agent: load"]
    if cookie:
        command += ["-H", f"Cookie: {cookie}"]
    out = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"requests failed while measuring {url}:\n{out}")
    return int(re.search(r"(\d+) requests in", out).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    wish = parser.parse_args()
    running = []

    def start(*command, **options):
        running.append(subprocess.Popen(command, **options))
        return running[-1]

    with tempfile.TemporaryDirectory() as folder:
        try:
            measure(wish, folder, start)
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait(10)


def measure(wish, folder, start):
    app, plain, admin = (free_port() for _ in range(3))
    # The demo provider knows one gateway, at the demo's address: a running demo has to be stopped first.
    gate, provider = 8080, 8081
    for address in [("127.0.0.1", gate), ("127.0.0.2", provider)]:
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                sys.exit(f"{address[0]}:{address[1]} is taken; stop what runs there (`make demo`?) and start again")
    secret = os.urandom(24).hex()
    for name, text in {
        "client": secret,
        "seal": os.urandom(24).hex(),
        "nginx.conf": f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;
            events {{ worker_connections 1024; }}
            http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; proxy_temp_path {folder};
                fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
                server {{ listen 127.0.0.1:{app}; location / {{ default_type text/plain; return 200 "{'x' * 512}"; }} }} }}""",
        "gateway.toml": f"""public_url = "http://127.0.0.1:{gate}"
            secret_file = "{folder}/seal"
            listen.address = "127.0.0.1:{gate}"
            listen.threads = 1
            admin.address = "127.0.0.1:{admin}"
            [[provider]]
            issuer = "http://127.0.0.2:{provider}"
            client_id = "doorward-demo"
            client_secret_file = "{folder}/client"
            [[upstream]]
            url = "http://127.0.0.1:{app}"
            [[route]]
            [[route]]
            path = "/public"
            access = "public"
            """,
    }.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    start("nginx", "-c", f"{folder}/nginx.conf", **quiet)
    start(f"{TARGET}/examples/demo_provider", f"{folder}/client", **quiet)
    yardstick = start(f"{TARGET}/examples/plain_proxy", f"127.0.0.1:{plain}", f"127.0.0.1:{app}", "1", **quiet)
    # The access log is on and goes to a file, as it would anywhere.
    with open(os.path.join(folder, "log"), "w") as log:
        gateway = start(f"{TARGET}/doorward", "run", "--config", f"{folder}/gateway.toml", stdout=log, stderr=log)
    for address in [("127.0.0.1", app), ("127.0.0.1", plain), ("127.0.0.1", gate), ("127.0.0.2", provider)]:
        wait_for(address)
    base = f"http://127.0.0.1:{gate}"
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz")
            break
        except urllib.error.URLError:
            time.sleep(0.1)
    cookie = session_cookie(base)
    targets = {
        "plain proxy": (yardstick.pid, f"http://127.0.0.1:{plain}/", None),
        "gateway, public route": (gateway.pid, base + "/public", None),
        "gateway, signed-in route": (gateway.pid, base + "/", cookie),
    }
    for pid, url, session in targets.values():
        wrk(url, 1, wish.connections, session)
    rates = {name: [] for name in targets}
    for _ in range(wish.rounds):
        for name, (pid, url, session) in targets.items():
            before = cpu_seconds(pid)
            requests = wrk(url, wish.seconds, wish.connections, session)
            rates[name].append(requests / (cpu_seconds(pid) - before))
    print(f"{wish.rounds} rounds of {wish.seconds} s, {wish.connections} connections, one worker thread each, session cookie of {len(cookie)} bytes")
    print("| target | requests per CPU second, median | ratio to plain: median (min–max) |\n|---|---|---|")
    for name, own in rates.items():
        ratios = [mine / base for mine, base in zip(own, rates["plain proxy"])]
        print(f"| {name} | {statistics.median(own):,.0f} | {statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f}) |")
    with open(f"/proc/{gateway.pid}/status") as f:
        print("resident memory of the gateway afterwards:", re.search(r"VmRSS:\s+(.*)", f.read()).group(1))


if __name__ == "__main__":
    main()
