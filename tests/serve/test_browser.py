"""The page in a real browser: it opens, drives, goes back, keeps what it drove, and comes back after the server did."""

import io
import shutil
import time

import av
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright
from servers import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_S = 60

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Tab:
    """A page of the player, and what its console says."""

    def __init__(self, browser, server, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE_S)
        self.errors = []
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(server.address, wait_until="commit")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    @property
    def now(self):
        """Header of the frame that is shown, or None."""
        return self.page.evaluate("window.worldsimPlayer ? worldsimPlayer.now : null")

    def wait(self, is_there):
        """Return the first header of which something is true."""
        until = time.monotonic() + PATIENCE_S
        while not ((now := self.now) and is_there(now)):
            assert time.monotonic() < until, f"{now}; {self.page.inner_text('.status')}"
            time.sleep(0.03)
        return now

    def wait_for_text(self, selector, text):
        until = time.monotonic() + PATIENCE_S
        while text not in (shown := self.page.inner_text(selector)):
            assert time.monotonic() < until, shown
            time.sleep(0.03)

    def pause(self):
        self.page.keyboard.press("Space")
        return self.wait(lambda now: now["paused"])["t"]

    def step(self, num):
        """Step while paused and return both pictures."""
        for _ in range(num):
            t = self.now["t"]
            self.page.keyboard.press(".")
            self.wait(lambda now, t=t: now["t"] == t + 1)
        return self.pictures()

    def pictures(self):
        return [
            self.page.evaluate(f"document.querySelector('.{world} canvas').toDataURL()")
            for world in ("true", "imagined")
        ]


@pytest.fixture
def tab(browser, server):
    with Tab(browser, server, viewport={"width": 1100, "height": 900}) as tab:
        tab.wait(lambda now: now["t"] >= 1)
        yield tab
        assert tab.errors == []


def test_keys_move_both_worlds_and_a_kept_moment_is_come_back_to(tab):
    start = tab.pause()
    before = tab.pictures()
    tab.page.keyboard.press("b")
    tab.page.wait_for_selector(".film canvas")
    straight = tab.step(4)
    tab.page.keyboard.press("n")
    tab.wait(lambda now: now["t"] == start)
    assert tab.pictures() == before, "the kept moment looks as it did"
    tab.page.keyboard.down("a")
    time.sleep(0.5)  # the wheel turns while the key is down
    left = tab.step(4)
    tab.page.keyboard.up("a")
    assert tab.now["action"] == [0.5, 0]
    assert left[0] != straight[0] and left[1] != straight[1]
    tab.page.click(".film .go")
    tab.wait(lambda now: now["t"] == start)
    assert tab.step(4) == straight, "and goes on as it did"
    tab.page.click(".film .drop")
    tab.wait_for_text(".film", "None yet")


def test_rewind_restores_the_frame_of_a_second_ago(tab):
    t = tab.pause()
    before = tab.pictures()
    assert tab.step(10) != before
    tab.page.keyboard.press("z")
    tab.wait(lambda now: now["t"] == t)
    assert tab.pictures() == before


def test_a_prompt_in_mid_drive_changes_the_imagined_world(tab):
    start = tab.pause()
    tab.page.keyboard.press("b")
    plain = tab.step(3)
    tab.page.keyboard.press("n")
    tab.wait(lambda now: now["t"] == start)
    tab.page.keyboard.press("p")
    tab.page.keyboard.type("雨天黄昏")
    tab.page.keyboard.press("Enter")
    tab.wait_for_text(".answer", "understood")
    asked = tab.step(3)
    assert asked[1] != plain[1]
    assert tab.now["prompt"] == "雨天黄昏"


def test_a_doubtful_frame_has_a_red_border(tab):
    tab.wait(lambda now: now["uncertainty"] == 1)
    tab.page.wait_for_selector(".imagined.doubtful")
    assert "0.95" in tab.page.inner_text(".unsure")


def test_a_drive_is_downloaded_and_plays_back(tab, browser, tmp_path):
    tab.wait(lambda now: now["t"] >= 3)
    t = tab.pause()
    with tab.page.expect_download() as download:
        tab.page.click(".downloads .gif")
    gif = Image.open(io.BytesIO(download.value.path().read_bytes()))
    assert gif.n_frames == t + 1
    with tab.page.expect_download() as download:
        tab.page.click(".downloads .html")
    assert "imagined" in download.value.suggested_filename
    with tab.page.expect_download() as film:
        tab.page.click(".downloads .mp4")
    with av.open(str(film.value.path())) as opened:
        assert (opened.streams.video[0].frames, opened.streams.video[0].average_rate) == (t + 1, 10)
    download.value.save_as(tmp_path / "drive.html")
    page = browser.new_page()
    page.goto((tmp_path / "drive.html").as_uri())
    page.keyboard.press("End")
    assert f"step {t} of {t}" in page.inner_text(".clock")
    page.close()


def test_the_truth_is_seen_from_another_camera_and_the_imagined_world_stays(tab):
    start = tab.pause()
    true, imagined = tab.pictures()
    tab.page.select_option(".camera", "chase")
    tab.wait(lambda now: now["camera"] == "chase")
    assert tab.pictures()[0] != true and tab.pictures()[1] == imagined
    assert tab.page.is_hidden(".difference canvas") and tab.now["divergence"] is not None
    chased = tab.step(3)[0]
    tab.page.keyboard.press("z")
    tab.wait(lambda now: now["t"] < start + 3)
    assert tab.pictures()[0] != chased
    tab.page.select_option(".camera", "front")
    tab.wait(lambda now: now["camera"] == "front")
    tab.page.keyboard.press("z")
    assert tab.page.is_visible(".difference canvas")


def test_guidance_makes_a_prompt_act_more_strongly(tab):
    tab.page.fill(".prompt input", "night")
    tab.page.keyboard.press("Enter")
    tab.wait_for_text(".answer", "understood")
    start = tab.pause()
    tab.page.keyboard.press("b")
    learned = tab.step(2)[1]
    tab.page.keyboard.press("n")
    tab.wait(lambda now: now["t"] == start)
    tab.page.locator(".guidance").fill("4")
    tab.wait(lambda now: now["guidance"] == 4)
    tab.page.locator(".guidance").blur()
    assert tab.step(2)[1] != learned


def test_a_gamepad_drives(tab):
    tab.page.evaluate("""() => {
        const buttons = [...Array(8)].map((_, i) => ({ value: i === 7 ? 1 : 0 }));
        navigator.getGamepads = () => [null, { axes: [-0.6, 0, 0, 0], buttons }];
    }""")
    tab.wait(lambda now: now["action"] == [0.6, 1])


def test_the_gallery_begins_a_drive_in_the_scene_that_it_shows(tab):
    brightness = """() => {
        const canvas = document.querySelector(".true canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.reduce((sum, value, i) => sum + (i % 4 === 3 ? 0 : value), 0) / (0.75 * data.length);
    }"""
    shown = {}
    for scene in ("day, clear", "night, clear"):
        seed = tab.now["seed"]
        tab.page.locator(".gallery .scene", has_text=scene).click()
        tab.wait(lambda now, seed=seed: now["seed"] > seed and now["t"] >= 1)
        shown[scene] = tab.page.evaluate(brightness)
    assert shown["day, clear"] > shown["night, clear"] + 30


def test_a_second_tab_waits_with_a_message_and_then_drives(tab, browser, server):
    with Tab(browser, server) as second:
        second.wait_for_text(".status", "Another page is driving; 1 in front")
        tab.page.goto("about:blank")
        second.wait(lambda now: now["t"] >= 1)
        assert second.errors == []


def test_a_phone_shows_it_without_sideways_scrolling_and_its_buttons_drive(browser, server):
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    with Tab(browser, server, **phone) as tab:
        tab.wait(lambda now: now["t"] >= 1)
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 360
        button = tab.page.locator(".pad button[aria-label='throttle high']")
        button.dispatch_event("pointerdown")
        tab.wait(lambda now: (now["action"] or [0, 0])[1] == 1)
        button.dispatch_event("pointerup")
        tab.wait(lambda now: now["action"][1] == 0)
        assert tab.errors == []


def test_the_page_comes_back_after_the_server_did(browser, checkpoint, tmp_path):
    server = Server(checkpoint, tmp_path)
    try:
        with Tab(browser, server) as tab:
            first = tab.wait(lambda now: now["t"] >= 1)
            tab.page.wait_for_selector(".gallery .scene")  # an answer cut off is an error too
            server.stop()
            tab.wait_for_text(".status", "trying to reach it again")
            server = Server(checkpoint, tmp_path, port=server.port)
            assert tab.wait(lambda now: now["t"] >= 1)["seed"] == first["seed"]
            assert all("ERR_CONNECTION_REFUSED" in error for error in tab.errors), tab.errors
    finally:
        server.stop()


def test_the_gallery_leads_to_another_world(browser, checkpoint, tmp_path):
    server = Server(checkpoint, tmp_path)
    try:
        with Tab(browser, server) as tab:
            tab.wait(lambda now: now["t"] >= 1)
            tab.page.locator(".gallery .world", has_text="city-64").click()
            tab.wait_for_text(".model-name", "city-64")
            tab.wait(lambda now: now["t"] >= 2)
            assert tab.page.evaluate("document.querySelector('.imagined canvas').width") == 64
            assert tab.errors == []
    finally:
        server.stop()
