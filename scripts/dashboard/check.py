"""See scripts/check-dashboard, which starts this."""

import argparse
import json
import math
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from traffic import AUDIENCE, ROOT, IssuerServer, Traffic, tokens
from picture import draw

from harness.app import start_app
from harness.processes import Processes, end_on_signals, free_port, tail

DASHBOARD = os.path.join(ROOT, "deploy", "grafana", "doorward.json")
INTERVAL = 15


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def queries(dashboard):
    """Every query: panel, legend, expression, with variables put in as Grafana does when "All" is chosen."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", f"{INTERVAL}s")
            for variable in dashboard["templating"]["list"]:
                expression = expression.replace(f"${variable['name']}", variable.get("allValue", ""))
            if "$" in expression:
                sys.exit(f"{panel['title']}: a variable that the dashboard does not have: {expression}")
            yield panel, target["legendFormat"], expression


def check_form(dashboard):
    """What Grafana would put up with, and an operator would stumble over."""
    panels = dashboard["panels"]
    if len({panel["id"] for panel in panels}) != len(panels):
        sys.exit("two panels have the same id")
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        if cells & taken or at["x"] + at["w"] > 24:
            sys.exit(f"the panel {panel['title']} lies over another, or over the edge")
        taken |= cells


class Prometheus:
    def __init__(self, processes, admin):
        self.base = f"http://127.0.0.1:{(port := free_port())}"
        folder = processes.folder
        with open(f"{folder}/prometheus.yml", "w") as f:
            f.write(f"""
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: doorward
    static_configs: [{{ targets: ["127.0.0.1:{admin}"] }}]
""")
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/series"]
        self.process = processes.start("prometheus", *command, f"--web.listen-address=127.0.0.1:{port}", port=port)

    def ask(self, path, **parameters):
        """`data` of its answer; an answer that says no is raised with the server's own words."""
        try:
            answer = json.loads(get(f"{self.base}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"))
        except urllib.error.HTTPError as refused:
            raise ValueError(json.loads(refused.read())["error"]) from None
        return answer["data"]

    def series(self, expression, start, end, legend):
        """`(legend, [(time, value)])` of each series that has a number anywhere in this time."""
        out = []
        for series in self.ask("query_range", query=expression, start=start, end=end, step=1)["result"]:
            points = [(t, float(v)) for t, v in series["values"] if not math.isnan(float(v))]
            labels = series["metric"]
            name = re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found.group(1), ""), legend)
            name = name.strip() or " ".join(value for key, value in sorted(labels.items()) if key != "__name__")
            if points:
                out.append((name, points))
        return sorted(out)


def configuration(folder, admin, app, down, issuer):
    return f"""
public_url = "http://127.0.0.1:8080"
secrets = ["{secrets.token_hex(24)}"]
listen.address = "127.0.0.1:8080"
admin.address = "127.0.0.1:{admin}"
[[provider]]
name = "login"
issuer = "http://127.0.0.2:8081"
client_id = "doorward-demo"
client_secret_file = "{folder}/client"
[[upstream]]
name = "app"
url = "http://127.0.0.1:{app}"
[[upstream]]
name = "down"
url = "http://127.0.0.1:{down}"
[[route]]
name = "app"
[[route]]
name = "public"
path = "/public"
access = "public"
[[route]]
name = "down"
path = "/down"
access = "public"
upstream = "down"
[[route]]
name = "api"
path = "/api"
access = "bearer"
[[issuer]]
name = "ci"
issuer = "https://ci.example"
jwks_uri = "http://127.0.0.1:{issuer.port}/jwks"
audiences = ["{AUDIENCE}"]
[[issuer]]
name = "idp"
issuer = "https://idp.example"
jwks_file = "{folder}/jwks.json"
audiences = ["{AUDIENCE}"]
[[issuer]]
name = "opaque"
issuer = "https://opaque.example"
jwks_uri = "http://127.0.0.1:{issuer.port}/jwks"
audiences = ["{AUDIENCE}"]
introspection = true
introspection_endpoint = "http://127.0.0.1:{issuer.port}/introspect"
introspection_cache = "1s"
client_id = "doorward"
client_secret_file = "{folder}/client"
[federation]
issuers = ["ci"]
audiences = ["exchange"]
subject_claim = "email"
allow.email_domains = ["example.com"]
[[service_account]]
name = "ci-runner"
"""


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write(text)
    return path


def start(processes, binaries):
    """Starts the app, the provider and the gateway. Returns the admin port and the traffic, not yet running."""
    for address in [("127.0.0.1", 8080), ("127.0.0.2", 8081)]:
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                sys.exit(f"{address[0]}:{address[1]} is taken; stop what runs there (`make demo`?) and start again")
    folder, admin = processes.folder, free_port()
    rsa, ec = tokens.Key("RS256", "ci-1"), tokens.Key("ES256", "idp-1")
    issuer = IssuerServer(rsa)
    write(folder, "jwks.json", json.dumps({"keys": [ec.jwk()]}))
    client = write(folder, "client", secrets.token_hex(24))
    app = start_app(processes, "ok")
    # It listens on another loopback address than the gateway, for the sake of cookies.
    processes.start("provider", f"{binaries}/examples/demo_provider", client, port=8081, address="127.0.0.2")
    path = write(folder, "gateway.toml", configuration(folder, admin, app, free_port(), issuer))
    key = subprocess.run(
        [f"{binaries}/doorward", "service-account", "new-key", "ci-runner", "--config", path],
        check=True, capture_output=True, text=True, timeout=30,
    ).stdout.strip()
    gateway = processes.start("doorward", f"{binaries}/doorward", "run", "--config", path, port=8080)
    for _ in range(1200):
        try:
            get(f"http://127.0.0.1:{admin}/readyz")
            return admin, Traffic(rsa, ec, key)
        except OSError:
            time.sleep(0.1)
    sys.exit(f"the gateway is not ready; the end of its output:\n{tail(gateway.log)}")


def check(dashboard, prometheus, start_, end):
    """Asks everything. Returns the series by panel, and what was wrong."""
    answers, wrong = {}, []
    for panel, legend, expression in queries(dashboard):
        try:
            series = prometheus.series(expression, start_, end, legend)
        except ValueError as refused:
            wrong.append(f"{panel['title']}: {refused}\n    {expression}")
            continue
        answers.setdefault(panel["id"], []).extend(series)
        if not series:
            wrong.append(f"{panel['title']}: nothing to show\n    {expression}")
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            selector = found.group(1).replace("$instance", ".*")
            if not prometheus.ask(f"label/{found.group(2)}/values", **{"match[]": selector}):
                wrong.append(f"the variable {variable['name']} has no values")
    return answers, wrong


def not_shown(dashboard, text):
    """Metrics of the gateway that no panel asks for."""
    asked = " ".join(expression for _, _, expression in queries(dashboard))
    families = re.findall(r"^# TYPE (doorward_\w+) ", text, re.M)
    return [family for family in families if family not in asked]


def main():
    parser = argparse.ArgumentParser(prog="check-dashboard")
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    parser.add_argument("--binaries", default=os.path.join(target, "debug"), help="folder of doorward and examples/demo_provider")
    parser.add_argument("--seconds", type=int, default=60, help="how long the gateway is under load")
    parser.add_argument("--picture", help="PNG file to draw the dashboard into")
    wish = parser.parse_args()
    end_on_signals()
    with open(DASHBOARD) as f:
        dashboard = json.load(f)
    check_form(dashboard)
    with tempfile.TemporaryDirectory() as folder, Processes(folder) as processes:
        admin, traffic = start(processes, wish.binaries)
        prometheus = Prometheus(processes, admin)
        traffic.start()
        begun = time.time()
        time.sleep(wish.seconds)
        # Before that, rates are taken over a time in which there was nothing.
        answers, wrong = check(dashboard, prometheus, begun + INTERVAL, time.time())
        wrong += [f"no panel shows {family}" for family in not_shown(dashboard, get(f"http://127.0.0.1:{admin}/metrics"))]
        wrong += [f"under load: {problem}" for problem in traffic.problems]
        traffic.stopping.set()
        if wish.picture:
            draw(dashboard, {panel["id"]: answers.get(panel["id"], []) for panel in dashboard["panels"]}, wish.picture)
    count = sum(1 for _ in queries(dashboard))
    for problem in wrong:
        print(f"check-dashboard: {problem}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"{count} queries asked of Prometheus, each with something to show")


if __name__ == "__main__":
    main()
