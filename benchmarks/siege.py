"""The demo under siege: many clients at once, including slow, broken and oversized uploads.

    python benchmarks/siege.py --clients 64 --seconds 120

Starts `demo/app.py` itself. Good requests must get right answers and slow uploads must succeed; broken pictures must
get an error event, oversized ones status 413. The server's memory, measured once under load and again at the end, may
grow by at most 100 MB. Otherwise the exit status is 1.
"""

import argparse
import http.client
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving import DEMO, FORM, ask, make_form, run_demo

from digitjax.predict import Recognizer

NAME = "squared_paper.jpg"
MAX_GROWTH = 100_000_000

# How long the server is under load before its memory is first measured.
WARM_UP_SECONDS = 20

# A slow client sends its picture in pieces, with this pause between them.
PIECES, PAUSE_SECONDS = 10, 0.3

# What the clients do, in turn.
ROLES = ("good", "good", "slow", "good", "broken", "good", "oversized", "good")

HEADERS = {"Content-Type": FORM}


def upload_slowly(host: str, picture: bytes) -> int:
    """Uploads a picture piece by piece, and returns the status."""
    body = make_form(picture)
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.putrequest("POST", "/gradio_api/upload")
    for name, value in {**HEADERS, "Content-Length": str(len(body))}.items():
        connection.putheader(name, value)
    connection.endheaders()
    size = -(-len(body) // PIECES)
    for start in range(0, len(body), size):
        connection.send(body[start : start + size])
        time.sleep(PAUSE_SECONDS)
    status = connection.getresponse().status
    connection.close()
    return status


def upload_too_much(host: str) -> int:
    """Uploads eleven megabytes, and returns the status."""
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request("POST", "/gradio_api/upload", make_form(bytes(11_000_000)), HEADERS)
        return connection.getresponse().status
    finally:
        connection.close()


def predict_broken(address: str) -> str:
    """Asks for the digit of a file that isn't a picture; returns "refused" or what else was answered."""
    try:
        answer = ask(address, b"\xff\xd8\xff no JPEG after all")
    except (KeyError, TypeError):  # an error event has no list of answers
        return "refused"
    return f"answered {answer}"


def besiege(address: str, role: str, picture: bytes, truth: int | None) -> str:
    """Makes one request in a role; returns "as it should" or what was wrong."""
    host = address.removeprefix("http://")
    try:
        match role:
            case "good":
                outcome = "as it should" if (digit := ask(address, picture)) == truth else f"read {digit}"
            case "slow":
                outcome = "as it should" if (status := upload_slowly(host, picture)) == 200 else f"status {status}"
            case "oversized":
                outcome = "as it should" if (status := upload_too_much(host)) == 413 else f"status {status}"
            case _:
                outcome = "as it should" if (answer := predict_broken(address)) == "refused" else answer
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except OSError as error:
        return type(error).__name__
    return outcome


def read_memory(pid: int) -> int:
    """Returns the memory of a process, in bytes (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--port", type=int, default=7862)
    args = parser.parse_args()
    picture = (DEMO / "examples" / NAME).read_bytes()
    truth = Recognizer.load().predict_digit(picture).digit
    outcomes: dict[str, Counter[str]] = {role: Counter() for role in dict.fromkeys(ROLES)}
    lock, memory = threading.Lock(), list[int]()
    with run_demo(args.port) as pid:
        address, end = f"http://127.0.0.1:{args.port}", time.monotonic() + args.seconds

        def run_client(client: int) -> None:
            role = ROLES[client % len(ROLES)]
            while time.monotonic() < end:
                outcome = besiege(address, role, picture, truth)
                with lock:
                    outcomes[role][outcome] += 1
                    if not memory and time.monotonic() > end - args.seconds + WARM_UP_SECONDS:
                        memory.append(read_memory(pid))

        with ThreadPoolExecutor(args.clients) as executor:
            list(executor.map(run_client, range(args.clients)))
        memory.append(read_memory(pid))
    for role, counts in outcomes.items():
        print(f"{role:<10} " + ", ".join(f"{number:,} {outcome}" for outcome, number in counts.most_common()))
    growth = memory[-1] - memory[0]
    print(f"memory {memory[0] / 1e6:.0f} MB under load, {growth / 1e6:+.0f} MB at the end")
    is_clean = all(set(counts) == {"as it should"} for counts in outcomes.values())
    return 0 if is_clean and growth <= MAX_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
