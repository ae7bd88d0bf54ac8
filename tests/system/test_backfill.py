"""A bucket transcribed by people: from the Dagster UI in a browser, and from the terminal."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from playwright.sync_api import Page, expect, sync_playwright

from tests.system.conftest import DATA, Stack, running_stack

BUCKET = "calls"
KEYS = ("2026/first call.ogg", '2026/über "zwei".ogg', "2026/it's three.ogg")
LATER = "2026/from the terminal.ogg"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
#: Milliseconds for anything a page shows by itself: a machine that other tests fill is slow, and nothing waits longer
#: than it must.
PATIENCE = 120_000
#: Seconds for what Dagster's daemon does with a backfill, at which it looks every 30 s.
DAEMON_PATIENCE = 300

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack with a source of backfills, whose bucket is not there yet."""
    with running_stack(tmp_path, BACKFILL_SOURCES='[{"bucket": "calls"}]', MAX_CONCURRENT_BACKFILLS="2") as stack:
        yield stack


@pytest.fixture
def page() -> Iterator[Page]:
    if BROWSER is None:
        pytest.skip("there is no Chromium")
    arguments = ["--disable-dev-shm-usage"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=arguments, timeout=PATIENCE)
        page = browser.new_page(viewport={"width": 1480, "height": 860}, locale="en-US")
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


@pytest.fixture
def put(stack: Stack) -> Callable[[str], None]:
    """Put a recording into the bucket under a key."""
    settings = stack.settings()
    assert settings.minio_secret_key
    store = Minio(
        settings.minio_endpoint,
        settings.minio_access_key,
        settings.minio_secret_key.get_secret_value(),
        secure=settings.minio_secure,
        region=settings.minio_region,
    )
    store.make_bucket(BUCKET)
    recording = (DATA / "sample-08.ogg").read_bytes()

    def put(key: str) -> None:
        store.put_object(BUCKET, key, io.BytesIO(recording), len(recording))

    return put


def states(stack: Stack) -> dict[str, str]:
    return {item["key"]: item["state"] for item in objects(stack)}


def objects(stack: Stack) -> list[dict[str, Any]]:
    answer = stack.client.get("/api/v1/backfill/objects", params={"bucket": BUCKET}).raise_for_status().json()
    found: list[dict[str, Any]] = answer["objects"]
    return found


def test_bucket_when_backfilled_from_the_browser_and_the_terminal_then_its_partitions_turn_green(
    stack: Stack, put: Callable[[str], None], page: Page, wait_until: Callable[..., None], tmp_path: Path
) -> None:
    for key in KEYS:
        put(key)
    wait_until(lambda: states(stack) == dict.fromkeys(KEYS, "missing"), "the objects being discovered", 120)
    page.goto(f"http://127.0.0.1:{stack.environment['STT_DAGSTER_PORT']}/assets/bucket_transcripts?view=partitions")
    expect(page.get_by_text("Missing (3)")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Missing", exact=True).click()
    expect(page.get_by_text("3 partitions", exact=True)).to_be_visible(timeout=PATIENCE)
    launch = page.get_by_role("button", name="Launch backfill")
    launch.click()
    expect(launch).to_be_hidden(timeout=PATIENCE)

    put(LATER)
    wait_until(lambda: LATER in states(stack), "the later object being discovered", 120)
    terminal = subprocess.Popen(
        [sys.executable, "-m", "stt_cli", "backfill", f"{BUCKET}/{LATER}", "--watch"],
        env=stack.environment, cwd=stack.temporary, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip

    try:
        expect(page.get_by_text(re.compile(r"^Materialized \([34]\)$"))).to_be_visible(timeout=1000 * DAEMON_PATIENCE)
        output, said = terminal.communicate(timeout=DAEMON_PATIENCE)
    finally:
        terminal.kill()
    assert terminal.returncode == 0, said
    assert len(output.split()) == 1
    assert "Backfill of 1 object launched: http" in said
    assert "1 object transcribed." in said

    assert states(stack) == dict.fromkeys([*KEYS, LATER], "done")
    assert [len(item["versions"]) for item in objects(stack)] == [1, 1, 1, 1]
    page.get_by_text(KEYS[0]).first.click()
    expect(page.get_by_text("real_time_factor")).to_be_visible(timeout=PATIENCE)
    page.screenshot(path=Path(os.environ.get("SCREENSHOTS", tmp_path)) / "backfill-partitions.png")
