"""Take the pictures of the page that the README shows, of a stack that is running.

python scripts/screenshots.py http://127.0.0.1:8000 JOB_ID docs/images
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright


def main() -> None:
    """Open the page in Chromium and take a picture of each view."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("job_id", help="a job that is completed")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    arguments = ["--disable-dev-shm-usage"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        wide = browser.new_page(viewport={"width": 1000, "height": 560}, locale="en-US")
        phone = browser.new_page(
            viewport={"width": 390, "height": 560}, locale="en-US", color_scheme="dark", device_scale_factor=1.5
        )
        wide.goto(given.url)
        wide.locator(".jobs li").first.wait_for()
        wide.screenshot(path=given.folder / "page-library.png")
        for page, name in ((wide, "transcript"), (phone, "phone")):
            page.goto(f"{given.url}/#/jobs/{given.job_id}")
            page.locator(".at").nth(3).click()
            page.keyboard.press("l")
            page.wait_for_timeout(1000)
            page.screenshot(path=given.folder / f"page-{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
