"""Dagster's own pages in a real browser: the graph, and an asset page with its plots and pictures."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets.conftest import TINY
from tests.assets.test_cli import BIN, ROOT

CHROMIUM = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The web server over an instance in which the version `tiny` has been built."""
    place = tmp_path_factory.mktemp("ui")
    (place / "versions").mkdir()
    (place / "versions" / "tiny.yaml").write_text(TINY)
    shutil.copy(ROOT / "dagster.yaml", place)
    environment = {
        **os.environ,
        "DRAWLOOP_VERSIONS": str(place / "versions"),
        "DRAWLOOP_DATA": str(place / "data"),
        "DAGSTER_HOME": str(place),
    }
    subprocess.run(
        [BIN / "drawloop", "build", "tiny"],
        env=environment,
        check=True,
        capture_output=True,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [BIN / "dagster-webserver", "-w", ROOT / "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise TimeoutError(f"nothing answers at {address}")


def test_the_asset_pages_show_counts_plots_checks_and_the_contact_sheet(
    server: str, tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1500, "height": 1100})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))

        page.goto(f"{server}/asset-groups")
        for group in ("problems", "cold", "reflective", "rl", "models", "exports", "gallery"):
            page.get_by_text(group, exact=True).first.wait_for(timeout=60_000)

        page.goto(f"{server}/assets/cold_set?view=partitions&partition=tiny")
        for shown in ("rows in", "dropped by reason", "reflection and drawing", "contact sheet"):
            page.get_by_text(shown, exact=True).first.wait_for(timeout=60_000)
        assert page.get_by_text("█").count() >= 2  # plots in place, without a click
        page.get_by_text("[Show Markdown]").click()
        picture = page.locator("img[src^='data:image/webp']")
        picture.wait_for(timeout=30_000)
        size = picture.evaluate("image => [image.naturalWidth, image.naturalHeight]")
        assert size[0] >= 600
        assert size[1] >= 200
        page.screenshot(path=tmp_path / "sheet.png")

        page.goto(f"{server}/assets/problems?view=checks")
        page.get_by_text("gold_scores_full").first.wait_for(timeout=60_000)

        page.goto(f"{server}/assets/cold_set?view=overview")
        for shown in ("Made of", "Promises", "nothing_lost"):
            page.get_by_text(shown).first.wait_for(timeout=60_000)

        page.goto(f"{server}/assets/gallery?view=partitions&partition=tiny")
        for shown in ("page", "trajectories by stage", "files"):
            page.get_by_text(shown, exact=True).first.wait_for(timeout=60_000)
        page.get_by_text("index.html").first.wait_for(timeout=60_000)
        browser.close()
    assert errors == []


def test_a_click_on_the_page_of_the_gallery_gives_an_address_that_a_browser_opens(
    server: str,
) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        context = browser.new_context(viewport={"width": 1500, "height": 1100})
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server)
        page = context.new_page()
        page.goto(f"{server}/assets/gallery?view=partitions&partition=tiny")
        path = page.get_by_text("/index.html").first
        path.wait_for(timeout=60_000)
        path.click()
        address = page.evaluate("navigator.clipboard.readText()")
        assert address.startswith("file:///")
        refused: list[str] = []
        page.on("console", lambda said: refused.append(said.text))
        page.evaluate("""address => {
            const link = document.createElement("a");
            Object.assign(link, { href: address, target: "_blank" });
            document.body.append(link);
            link.click();
        }""", address)  # fmt: skip
        page.wait_for_timeout(1000)
        assert len(context.pages) == 1  # why it is no link
        assert any("Not allowed to load local resource" in said for said in refused)
        opened = context.new_page()
        opened.goto(address)
        opened.locator(".trajectory").first.wait_for()
        browser.close()
