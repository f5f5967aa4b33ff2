"""How fast the demo is: from start to listening, for one visitor, and for many visitors at once.

    python benchmarks/serving.py --clients 30 --requests 20

Starts `demo/app.py` itself. Each client uploads the demo's examples and asks for their digits, one request after
another; every answer is compared with the library's.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from digitjax.predict import Recognizer

DEMO = Path(__file__).parent.parent / "demo"

NAMES = ("squared_paper.jpg", "blackboard.jpg", "letter.jpg")


@contextlib.contextmanager
def run_demo(port: int) -> Iterator[int]:
    """Runs the demo in its own process, and yields the process's id once it listens."""
    command = [sys.executable, "-u", str(DEMO / "app.py"), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        next(line for line in process.stdout or () if "Running on local URL" in line)
        try:
            yield process.pid
        finally:
            process.terminate()


def post(url: str, body: bytes, content_type: str) -> list[str]:
    """Sends a request and returns the JSON of the answer."""
    request = urllib.request.Request(url, body, {"Content-Type": content_type})  # noqa: S310 - this machine's
    with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
        return json.load(response)


FORM = "multipart/form-data; boundary=x"


def make_form(picture: bytes) -> bytes:
    """Returns the body of a form of type `FORM` that uploads a picture."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="x.jpg"\r\n\r\n'
    return head + picture + b"\r\n--x--\r\n"


def ask(address: str, picture: bytes) -> int | None:
    """Uploads a picture and returns its digit."""
    (path,) = post(f"{address}/gradio_api/upload", make_form(picture), FORM)
    body = json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}).encode()
    # Through the queue, like the page: an event, then its answer.
    event = post(f"{address}/gradio_api/call/predict_upload", body, "application/json")["event_id"]
    with urllib.request.urlopen(f"{address}/gradio_api/call/predict_upload/{event}", timeout=120) as stream:  # noqa: S310
        (line,) = [line for line in stream.read().decode().splitlines() if line.startswith("data: ")]
    return json.loads(line.removeprefix("data: "))[0]["digit"]


def measure_clients(address: str, num_clients: int, num_requests: int) -> None:
    """Lets all clients ask at once; prints how many answers are right, how long they took, and how many per second."""
    pictures = [(DEMO / "examples" / name).read_bytes() for name in NAMES]
    recognizer = Recognizer.load()
    truths = [recognizer.predict_digit(picture).digit for picture in pictures]

    def run_client(client: int) -> list[tuple[bool, float]]:
        answers = []
        for i in range(num_requests):
            k = (client + i) % len(pictures)
            begin = time.perf_counter()
            digit = ask(address, pictures[k])
            answers.append((digit == truths[k], time.perf_counter() - begin))
        return answers

    begin = time.perf_counter()
    with ThreadPoolExecutor(num_clients) as executor:
        answers = [answer for client in executor.map(run_client, range(num_clients)) for answer in client]
    seconds = time.perf_counter() - begin
    right, latencies = zip(*answers, strict=True)
    p50, p95 = 1e3 * np.quantile(latencies, [0.5, 0.95])
    print(
        f"{num_clients:>3} clients: {sum(right)} of {len(right)} right, p50 {p50:.0f} ms, p95 {p95:.0f} ms, "
        f"{len(right) / seconds:.0f} a second"
    )


def measure_sketch(num_sketches: int = 100) -> None:
    """Prints how long the server takes for a sketch from the sketchpad, with all that the page shows for it."""
    sys.path.insert(0, str(DEMO))
    from service import Service

    service = Service(Recognizer.load())
    service.warm_up()
    sketch = np.full((560, 560), 255, np.uint8)
    cv2.polylines(sketch, [np.array([(170, 120), (390, 120), (250, 450)])], isClosed=False, color=0, thickness=34)
    latencies = []
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/sketch.png"
        cv2.imwrite(path, sketch)
        for _ in range(num_sketches):
            begin = time.perf_counter()
            view = service.show_sketch(path)
            latencies.append(time.perf_counter() - begin)
    p50, p95 = 1e3 * np.quantile(latencies, [0.5, 0.95])
    print(f"a sketch, read as {view['headline']}: p50 {p50:.0f} ms, p95 {p95:.0f} ms on the server's side")


def main() -> None:
    """Prints all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=30)
    parser.add_argument("--requests", type=int, default=20, help="requests of each client")
    parser.add_argument("--port", type=int, default=7861)
    args = parser.parse_args()
    measure_sketch()
    begin = time.perf_counter()
    with run_demo(args.port):
        print(f"listens after {time.perf_counter() - begin:.1f} s")
        measure_clients(f"http://127.0.0.1:{args.port}", 1, args.requests)
        measure_clients(f"http://127.0.0.1:{args.port}", args.clients, args.requests)


if __name__ == "__main__":
    main()
