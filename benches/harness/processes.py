"""Starting the programs of a measurement, reading what they cost, and ending every one of them whatever happens."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")
VENV = os.path.join(ROOT, "benches", "venv", "bin")


def free_port():
    """A port nobody listens on, below those that the kernel gives to outgoing connections: it is still free a moment later."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        first_outgoing = int(f.read().split()[0])
    for _ in range(1000):
        port = random.randrange(12_000, max(first_outgoing, 15_000))
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    sys.exit("no port is free")


def end_on_signals():
    """SIGTERM and SIGHUP end the script as Ctrl-C does: through `finally`, which ends what it started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(f"ended by signal {number}"))


def leave_signals_to_parent():
    """For the helpers that a script forks: they end when it says so, and do not clean up what is its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Processes:
    """The programs that were started; leaving the `with` ends them, and what they started themselves."""

    def __init__(self, folder):
        self.folder = folder
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in list(self.running):
            self.stop(process)

    def start(self, name, *command, port, address="127.0.0.1", seconds=120):
        """Starts a program that will listen on `port` of `address`, with its output in a file `NAME.log`, and waits for it."""
        log = os.path.join(self.folder, f"{name}.log")
        # Opened for appending, so that the file can be cut while the program writes.
        with open(log, "ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A group of its own, so that workers end with their parent, and Ctrl-C is ours to pass on.
                start_new_session=True,
            )
        process.log = log
        self.running.append(process)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection((address, port), 1).close()
                return process
            time.sleep(0.02)
        sys.exit(f"{name} does not listen on port {port}; the end of its output:\n{tail(log)}")

    def stop(self, process):
        for number, patience in ((signal.SIGTERM, 2), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        self.running.remove(process)


def tail(path, lines=15):
    with open(path, errors="replace") as f:
        return "".join(f.readlines()[-lines:])


def family(pid):
    """The process and all below it: masters leave the work to workers."""
    members = [pid]
    for member in members:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{member}/task"):
                with open(f"/proc/{member}/task/{task}/children") as f:
                    members += [int(child) for child in f.read().split()]
    return members


def cpu_seconds(pid):
    """CPU that the process and its workers used so far, user and system, every thread, to the nanosecond."""
    total = 0
    for member in family(pid):
        for task in os.listdir(f"/proc/{member}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{member}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
    return total / 1e9


def resident_bytes(pid):
    total = 0
    for member in family(pid):
        with contextlib.suppress(OSError), open(f"/proc/{member}/status") as f:
            found = re.search(r"VmRSS:\s+(\d+) kB", f.read())
            total += int(found.group(1)) * 1024 if found else 0
    return total
