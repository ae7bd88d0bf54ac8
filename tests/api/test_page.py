"""The page for people, in a real browser, on the real API and real sound."""

from __future__ import annotations

import io
import math
import os
import shutil
import struct
import wave
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from stt_core.services import Services
from tests.api.conftest import REPOSITORY, claim, publish, upload
from tests.conftest import wait_until

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = REPOSITORY / "node_modules" / "axe-core" / "axe.min.js"
#: What a file name may hold where somebody means harm.
HOSTILE = '<img src=x onerror="document.title=1">\u202e.wav'

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")


def tone(seconds: float) -> bytes:
    """Return a WAV file that can be heard."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        samples = (int(8000 * math.sin(n / 10)) for n in range(int(16_000 * seconds)))
        writer.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    arguments = ["--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"]
    arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, client: httpx.Client) -> Iterator[Page]:
    """The page, opened; whatever its scripts complain of fails the test."""
    page = browser.new_page(base_url=str(client.base_url), locale="en-US", viewport={"width": 1000, "height": 700})
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if "Content Security Policy" in line.text else None)
    page.goto("/")
    yield page
    page.close()
    assert complaints == []


@pytest.fixture
def transcribed(client: httpx.Client, services: Services) -> str:
    """A job with a transcript and its sound."""
    job_id = str(upload(client, tone(2.5), "morning.wav").json()["job_id"])
    publish(services, job_id)
    return job_id


def wait_for_position(page: Page, seconds: float) -> None:
    """Wait until the sound is there; Playwright's own way to wait is refused by the policy of the page."""
    wait_until(lambda: float(page.locator(".seek").input_value()) >= seconds, f"the sound at {seconds} s")


def test_page_when_a_recording_is_chosen_then_it_is_sent_and_listed(page: Page, services: Services) -> None:
    page.set_input_files("input[type=file]", {"name": "talk.wav", "mimeType": "audio/wav", "buffer": tone(0.5)})
    row = page.locator(".jobs li").first
    expect(row.get_by_role("link")).to_have_text("talk.wav")
    expect(row).to_contain_text("place")
    assert services.jobs.list_jobs(limit=1).jobs[0].filename == "talk.wav"


def test_page_when_a_recording_is_dropped_anywhere_then_it_is_sent(page: Page) -> None:
    data = page.evaluate_handle(
        """() => { const data = new DataTransfer(); data.items.add(new File(["RIFF"], "dropped.wav")); return data; }"""
    )
    page.locator("main").dispatch_event("dragover", {"dataTransfer": data})
    expect(page.locator(".overlay")).to_be_visible()
    page.locator("main").dispatch_event("drop", {"dataTransfer": data})
    expect(page.locator(".uploads li")).to_contain_text("dropped.wav")
    expect(page.locator(".uploads .refused")).to_contain_text("Remove")  # four bytes are no recording, and it says so


def test_page_when_a_job_is_worked_at_then_its_stage_shows_without_a_reload(
    page: Page, client: httpx.Client, services: Services
) -> None:
    job_id = str(upload(client, tone(0.5), "live.wav").json()["job_id"])
    page.goto(f"/#/jobs/{job_id}")
    expect(page.locator(".facts .state")).to_contain_text("waiting")
    claim(services, job_id)
    expect(page.locator(".facts .state")).to_contain_text("decoding")


def test_page_when_a_job_ends_while_it_is_open_then_its_transcript_comes(
    page: Page, client: httpx.Client, services: Services
) -> None:
    job_id = str(upload(client, tone(2.5), "live.wav").json()["job_id"])
    page.goto(f"/#/jobs/{job_id}")
    expect(page.locator(".live")).to_be_attached()
    publish(services, job_id)
    expect(page.locator(".said")).to_have_text("Guten Morgen.")


def test_page_when_a_word_is_clicked_then_the_sound_plays_from_there(page: Page, transcribed: str) -> None:
    page.goto(f"/#/jobs/{transcribed}")
    said = page.locator(".said")
    box = said.bounding_box()
    assert box
    said.click(position={"x": 100, "y": box["height"] / 2})  # "Morgen.", from 0.75 s
    wait_for_position(page, 0.8)
    expect(page.locator(".spoken")).to_contain_text("Guten Morgen.")
    marked = page.evaluate("[...CSS.highlights.get('word')].map((one) => one.startOffset)")
    assert marked == [len("Guten ")]


def test_page_when_only_keys_are_used_then_the_sound_can_be_played_and_moved(page: Page, transcribed: str) -> None:
    page.goto(f"/#/jobs/{transcribed}")
    expect(page.locator(".said")).to_be_visible()
    page.keyboard.press("ArrowDown")
    wait_for_position(page, 0.25)
    page.keyboard.press(" ")
    wait_for_position(page, 0.5)
    page.keyboard.press("k")
    expect(page.locator(".play")).to_have_attribute("aria-label", "Play")


def test_page_when_taken_away_then_the_file_has_the_recording_s_name(
    page: Page, transcribed: str, tmp_path: Path
) -> None:
    page.goto(f"/#/jobs/{transcribed}")
    with page.expect_download() as download:
        page.get_by_role("link", name="srt").click()
    assert download.value.suggested_filename == "morning.srt"
    download.value.save_as(tmp_path / "morning.srt")
    assert "Guten Morgen." in (tmp_path / "morning.srt").read_text()


def test_page_when_a_job_is_deleted_then_asked_first(page: Page, transcribed: str, client: httpx.Client) -> None:
    page.goto(f"/#/jobs/{transcribed}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep it").click()
    assert client.get(f"/api/v1/tasks/{transcribed}").status_code == 200
    page.get_by_role("button", name="Delete").first.click()
    page.locator("dialog .danger").click()
    expect(page.locator(".library")).to_be_visible()
    assert client.get(f"/api/v1/tasks/{transcribed}").status_code == 410


def test_page_when_a_job_is_deleted_elsewhere_then_the_open_page_says_so(
    page: Page, transcribed: str, client: httpx.Client
) -> None:
    client.delete(f"/api/v1/tasks/{transcribed}")
    page.goto(f"/#/jobs/{transcribed}")
    expect(page.get_by_role("alert")).to_contain_text("no such recording")


def test_page_when_a_name_means_harm_then_it_is_text(page: Page, client: httpx.Client, services: Services) -> None:
    job_id = str(upload(client, tone(0.5), HOSTILE).json()["job_id"])
    publish(services, job_id)
    page.goto(f"/#/jobs/{job_id}")
    expect(page.locator(".said")).to_be_visible()
    assert page.locator("main img").count() == 0
    assert page.title() != "1"
    assert "onerror" in page.locator("h1").inner_text()


def test_page_when_the_browser_speaks_german_then_so_does_the_page(browser: Browser, client: httpx.Client) -> None:
    page = browser.new_page(base_url=str(client.base_url), locale="de-DE")
    page.goto("/")
    expect(page.get_by_role("button", name="Dateien wählen")).to_be_visible()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_when_audited_then_nothing_serious_is_found(page: Page, transcribed: str, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: `make lint` does")
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for address, shown in (("/", ".jobs li"), (f"/#/jobs/{transcribed}", ".said")):
        page.goto(address)
        expect(page.locator(shown).first).to_be_visible()
        page.evaluate(AXE.read_text())  # the policy of the page lets no script tag in
        found = page.evaluate("axe.run()")["violations"]
        assert [(one["id"], one["help"]) for one in found if one["impact"] in ("serious", "critical")] == []


def test_page_when_a_program_asks_then_it_is_no_page(client: httpx.Client) -> None:
    assert client.get("/").status_code == 404
    answer = client.get("/", headers={"Accept": "text/html"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_page_when_measured_then_it_weighs_little() -> None:
    parts = [path for path in (REPOSITORY / "api" / "web").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in parts) < 150_000
