"""What every program under measurement has in common."""

import http.client
import os
import sys
import time

from harness.processes import cpu_seconds, free_port, resident_bytes, tail


class Gate:
    """A proxy in front of the app. `lab` knows the folder, the processes, the app's port, the issuer and its key."""

    name = "?"
    path = "/api"
    #: Answers that count as a refusal; some say 403 for a token of another audience.
    refusals = (401, 403)

    def __init__(self, lab):
        self.lab = lab
        self.process = None
        self.port = None

    def command(self):
        """Writes the configuration for `self.port`, and returns the command line."""
        raise NotImplementedError

    def write(self, suffix, text):
        path = os.path.join(self.lab.folder, f"{self.file_name()}-{suffix}")
        with open(path, "w") as f:
            f.write(text)
        return path

    def file_name(self):
        return "".join(c if c.isalnum() else "-" for c in self.name)

    def start(self):
        self.port = free_port()
        command = self.command()
        self.process = self.lab.processes.start(self.file_name(), *command, port=self.port)
        # A listener may answer before what is behind it is ready.
        for _ in range(100):
            if self.ready():
                return
            time.sleep(0.05)
        sys.exit(f"{self.name} does not answer as it should; the end of its output:\n{tail(self.process.log)}")

    def stop(self):
        self.lab.processes.stop(self.process)
        self.process = None

    def ready(self):
        try:
            return self.ask(self.lab.good[0])[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def ask(self, token, path=None):
        """Status and body of one request with the token (or with none)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path or self.path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def verify(self):
        """A program that lets a bad token through is not compared: it ends the run."""
        for token in self.lab.good:
            status, body = self.ask(token)
            if (status, body) != (200, "ok"):
                sys.exit(f"{self.name} answers {status} to a good token: {body[:200]}")
        for what, token in self.lab.bad.items():
            status, _ = self.ask(token)
            if status not in self.refusals or (what != "another audience" and status != 401):
                sys.exit(f"{self.name} answers {status} to a bad token: {what}")

    def url(self):
        return f"http://127.0.0.1:{self.port}{self.path}"

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def resident_bytes(self):
        return resident_bytes(self.process.pid)

    def cut_log(self):
        """An access log of every round would fill the disk."""
        os.truncate(self.process.log, 0)
