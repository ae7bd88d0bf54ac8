#!/usr/bin/env python3
"""Upload a recording, poll until it is transcribed, print the transcript: the REST API with the standard library alone.

    python scripts/test_upload.py recording.mp3 [--model base] [--language en] [--priority high] [--url http://...]

The file is held in memory here for the sake of a short example; `stt transcribe` streams it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.5


def main() -> int:
    """Run the example; return the exit status."""
    parser = argparse.ArgumentParser(description="Upload a recording and print its transcript.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--language")
    parser.add_argument("--priority", choices=["high", "normal", "low"])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the API")
    arguments = parser.parse_args()
    tasks = f"{arguments.url.rstrip('/')}/api/v1/tasks"
    fields = {name: getattr(arguments, name) for name in ("model", "language", "priority")}
    try:
        job = upload(f"{tasks}/upload", arguments.file, {name: value for name, value in fields.items() if value})
        print(f"job {job['job_id']}", file=sys.stderr)
        while job["status"] in ("pending", "queued", "processing"):
            time.sleep(POLL_SECONDS)
            job = ask(f"{tasks}/{job['job_id']}")
            print(f"{job['status']} {job['stage'] or ''} {job['progress']}", file=sys.stderr)
        if job["status"] != "completed":
            print(f"{job['status']}: {job['error']}", file=sys.stderr)
            return 1
        for segment in ask(f"{tasks}/{job['job_id']}/result")["segments"]:
            print(f"{segment['start']:8.2f} {segment['end']:8.2f}  {segment['text']}")
    except urllib.error.HTTPError as error:
        problem = json.load(error)  # RFC 9457: what is wrong, and how to mend it
        print(f"error {error.code}: {problem['detail']} {problem.get('mend', '')}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def upload(url: str, file: Path, fields: dict[str, str]) -> dict[str, Any]:
    """Send the recording as a form (multipart/form-data) and return the job."""
    boundary = uuid.uuid4().hex
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    name = file.name.replace('"', "%22").replace("\n", " ").replace("\r", " ")
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n')
    body = "".join(parts).encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return ask(urllib.request.Request(url, data=body, headers=headers))


def ask(request: str | urllib.request.Request) -> dict[str, Any]:
    """Return the JSON that a request is answered with."""
    with urllib.request.urlopen(request) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


if __name__ == "__main__":
    sys.exit(main())
