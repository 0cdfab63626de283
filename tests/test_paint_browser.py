"""What a user does on the page of `psal paint`, in Chromium."""

import json

import numpy as np
import pytest
from PIL import Image

from psal_cli.image import read_picture
from psal_cli.image.painting import region
from psal_cli.image.strokes import read_strokes

from . import browsing
from .browsing import TIMES, texture, use_patches

# isort: split
# Only now: what is imported above skips all tests here where selenium is not installed.
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, pytest.mark.subprocess]
SIXTEEN = (4896, 3264)

driver, browser, serve, photo = browsing.driver, browsing.browser, browsing.serve, browsing.photo


def test_a_photograph_of_16_megapixels_from_painting_to_the_saved_file(serve, browser, tmp_path):
    pixels = texture(SIXTEEN)
    pixels[1510:1520, 2095:2105] = 0  # what is painted over
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a wall", 1
    Image.fromarray(pixels).save(tmp_path / "wall.tif", exif=exif, compression="raw")
    server = serve(tmp_path / "wall.tif")
    browser.open(server.address)
    assert browser.text("facts").split() == ["4896", TIMES, "3264"] and browser.text("name") == "wall.tif"
    use_patches(browser)
    assert not browser.find("run").is_enabled()

    browser.drag((2000, 1500), (2100, 1520), (2200, 1500))
    assert browser.painted(2100, 1515)[3] > 100 and browser.painted(2100, 1900)[3] < 30
    browser.drag((3000, 2000), (3100, 2100))
    browser.chord(Keys.CONTROL, "z")
    assert browser.painted(3050, 2050)[3] < 30
    browser.chord(Keys.CONTROL, Keys.SHIFT, "z")
    assert browser.painted(3050, 2050)[3] > 100
    browser.chord(Keys.CONTROL, "z")
    browser.press("e")
    browser.drag((2200, 1400), (2200, 1600))
    assert browser.painted(2200, 1500)[3] < 60 < browser.painted(2100, 1515)[3]

    browser.settled()
    browser.run()
    assert [row.text.split("\n")[0] for row in browser.find("history").find_elements("tag name", "button")] == [
        "Original",
        "1 Removed",
    ]
    assert browser.painted(2100, 1515)[3] < 30  # what is painted next is for the next step

    browser.press("c")
    assert browser.find("divider").is_displayed()
    browser.press("c")
    assert not browser.find("divider").is_displayed()

    browser.chord(Keys.CONTROL, "s")
    browser.click("save-strokes")
    browser.click("save-ok")
    browser.until(lambda: "Saved" in browser.text("message"), "saved file")
    saved, strokes = read_picture(tmp_path / "wall_inpainted.tif"), read_strokes(tmp_path / "wall_strokes.json", SIXTEEN)
    mask = region(strokes.strokes, "mask", SIXTEEN)
    assert mask[1515, 2100] and not mask[1500, 2200] and not mask[2050, 3050]
    assert (saved.pixels[~mask] == pixels[~mask]).all() and (saved.pixels[mask] != pixels[mask]).any()
    with Image.open(tmp_path / "wall_inpainted.tif") as image:
        assert image.getexif()[0x010E] == "a wall"
    assert browser.errors() == []
    assert server.stop() == 0


def test_all_tools_and_the_keyboard(serve, browser, photo, tmp_path):
    browser.open(serve(photo).address)
    browser.press("r")
    browser.drag((100, 100), (200, 180))
    assert browser.painted(150, 140)[3] > 100 and browser.painted(220, 140)[3] < 30
    browser.press("l")
    browser.drag((300, 100), (400, 100), (400, 200), (300, 200))
    assert browser.painted(350, 150)[3] > 100
    browser.press("e")
    browser.drag((350, 150), (352, 150))
    assert browser.painted(350, 150)[3] < 60
    browser.press("f")  # the place that was erased is enclosed
    browser.settled()
    browser.until(lambda: browser.painted(350, 150)[3] > 100, "filled place")
    browser.press("g")
    browser.find("pixels").clear()
    browser.find("pixels").send_keys("10", Keys.ENTER)
    browser.until(lambda: browser.painted(208, 140)[3] > 100 and browser.painted(215, 140)[3] < 30, "grown mask")
    browser.press("h")
    assert browser.painted(150, 140)[3] < 30
    browser.press("h", "x", "b")
    browser.drag((500, 300), (540, 320))
    red, green, _, opacity = browser.painted(520, 310)
    assert green > red and opacity > 100
    browser.press(Keys.DELETE)  # of what may be copied only
    assert browser.painted(520, 310)[3] < 30 and browser.painted(150, 140)[3] > 100
    before = browser.text("size-text")
    browser.press("]", "]")
    assert float(browser.text("size-text").split()[0]) > float(before.split()[0])
    browser.press("x")
    browser.drag((100, 400), (102, 400))
    browser.press("p")  # painting without a mouse
    for _ in range(6):
        browser.chord(Keys.SHIFT, Keys.ARROW_RIGHT)
    browser.press("p")
    assert browser.painted(110, 400)[3] > 100
    browser.press("1")
    browser.until(lambda: browser.text("zoom") == "100 %", "full size")
    browser.press("8")
    browser.until(lambda: browser.text("zoom") == "800 %", "800 %")
    browser.press("0")
    assert browser.errors() == []


def test_several_results_and_another_one(serve, browser, photo):
    browser.open(serve(photo).address)
    use_patches(browser)
    browser.driver.execute_script("document.getElementById('results').value = '2'")
    browser.drag((300, 200), (330, 210))
    browser.run()
    cards = lambda: browser.find("cards").find_elements("tag name", "button")  # noqa: E731
    chosen = lambda: [card.get_attribute("aria-pressed") for card in cards()]  # noqa: E731
    browser.until(lambda: chosen() == ["true", "false"], "first result")
    browser.chord(Keys.CONTROL, "2")
    browser.until(lambda: chosen() == ["false", "true"], "second result")
    browser.click("another")
    browser.until(lambda: chosen() == ["false", "false", "true"], "third result")
    browser.until(lambda: all(card.find_element("tag name", "img").size["width"] > 30 for card in cards()), "pictures")
    browser.chord(Keys.CONTROL, "z")  # back to what was painted
    browser.until(lambda: not browser.find("choices").is_displayed(), "state before the run")
    assert browser.painted(315, 205)[3] > 100
    browser.chord(Keys.CONTROL, Keys.SHIFT, "z")
    browser.until(lambda: chosen() == ["false", "false", "true"], "state after the run")


def test_painting_goes_on_during_a_run(serve, browser, photo):
    address = serve(photo).address
    browser.open(address)
    use_patches(browser)
    browser.driver.execute_script("document.getElementById('results').value = '4'")
    browser.drag((300, 100), (330, 110))
    browser.settled()
    browser.click("run")
    places = [(100 + 40 * number, 300) for number in range(8)]  # before it ends, about then, and after
    for x, y in places:
        browser.drag((x, y), (x + 6, y))
    browser.until(lambda: browser.find("choices").is_displayed(), "result")
    browser.settled()
    browser.until(lambda: all(browser.painted(x + 3, y)[3] > 100 for x, y in places), "strokes that were painted meanwhile")
    browser.open(address)
    assert all(browser.painted(x + 3, y)[3] > 100 for x, y in places)
    assert browser.painted(315, 105)[3] < 30


def test_the_tiles_that_changed_are_drawn_anew(serve, browser, tmp_path):
    pixels = np.full((480, 640, 3), 40, np.uint8)
    pixels[200:240, 300:340] = 250
    Image.fromarray(pixels).save(tmp_path / "spot.png")
    browser.open(serve(tmp_path / "spot.png").address)
    use_patches(browser)
    grey = """
        const canvas = document.querySelector("#viewer canvas"), data = document.getElementById("overlay").dataset;
        const at = [Number(data.left) + 320 * data.scale, Number(data.top) + 220 * data.scale].map(Math.round);
        return canvas.getContext("2d").getImageData(...at, 1, 1).data[0];
    """
    shows = lambda low, high: lambda: low < browser.driver.execute_script(grey) < high  # noqa: E731
    browser.until(shows(240, 256), "white spot")
    browser.press("r")
    browser.drag((290, 190), (350, 250))
    browser.run()
    browser.until(shows(30, 50), "filled spot")
    browser.driver.execute_script("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'o'}))")
    browser.until(shows(240, 256), "original")
    browser.driver.execute_script("document.dispatchEvent(new KeyboardEvent('keyup', {key: 'o'}))")
    browser.until(shows(30, 50), "result again")
    browser.press("c")
    for place, low, high, what in ((0.9, 240, 256, "original at the left"), (0.1, 30, 50, "result at the right")):
        width = browser.find("overlay").size["width"]
        left, *_ = browser.place(320, 220)
        chain = ActionChains(browser.driver, duration=20).move_to_element(browser.find("divider")).click_and_hold()
        chain.move_to_element_with_offset(browser.find("overlay"), round((place - 0.5) * width), 40).release().perform()
        assert (place - 0.5) * width != left
        browser.until(shows(low, high), what)
    browser.press("c")
    browser.chord(Keys.CONTROL, "z")
    browser.until(shows(240, 256), "white spot again")


def test_a_pen_paints_by_its_pressure_and_two_fingers_zoom(serve, browser, photo, tmp_path):
    browser.open(serve(photo).address)
    overlay = browser.find("overlay")
    pen = ActionBuilder(browser.driver, mouse=PointerInput("pen", "pen"))
    (left, top), (right, bottom) = browser.place(200, 200), browser.place(260, 200)
    middle = overlay.rect["x"] + overlay.size["width"] / 2, overlay.rect["y"] + overlay.size["height"] / 2
    pen.pointer_action.move_to_location(int(middle[0] + left), int(middle[1] + top))
    pen.pointer_action.pointer_down(pressure=0.25)
    pen.pointer_action.move_to_location(int(middle[0] + right), int(middle[1] + bottom))
    pen.pointer_action.pointer_up()
    pen.perform()
    browser.settled()
    journal = next((tmp_path / "state").rglob("journal.jsonl")).read_text().splitlines()
    radius = float(browser.text("size-text").split()[0]) / 2
    assert json.loads(journal[0])["strokes"][0]["points"][2] < 0.7 * radius

    before = float(overlay.get_attribute("data-scale"))
    touches = lambda apart: [{"x": middle[0] + side * apart, "y": middle[1], "id": number} for number, side in enumerate((-1, 1))]  # noqa: E731
    for kind, apart in (("touchStart", 60), ("touchMove", 80), ("touchMove", 120), ("touchEnd", None)):
        points = [] if apart is None else touches(apart)
        browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    browser.until(lambda: float(overlay.get_attribute("data-scale")) > 1.4 * before, "larger picture")
    assert len(next((tmp_path / "state").rglob("journal.jsonl")).read_text().splitlines()) == 1  # and nothing is painted


def test_a_folder_with_a_warning_of_what_is_unsaved(serve, browser, tmp_path):
    for name in ("a", "b", "c"):
        Image.fromarray(texture((320, 240), ord(name))).save(tmp_path / f"{name}.png")
    browser.open(serve(tmp_path).address)
    use_patches(browser)
    assert browser.text("facts").startswith("1 of 3 ")
    browser.press(Keys.PAGE_DOWN)
    browser.opened(1)
    browser.drag((100, 100), (120, 110))
    browser.press(Keys.PAGE_DOWN)  # strokes are kept, there is nothing to warn of
    browser.opened(2)
    browser.press(Keys.PAGE_UP)
    browser.opened(1)
    assert browser.painted(110, 105)[3] > 100
    browser.run()
    browser.press(Keys.PAGE_DOWN)
    browser.until(lambda: browser.find("leave-dialog").is_displayed(), "warning")
    browser.find("leave-dialog").find_element("css selector", "button[value=stay]").click()
    assert browser.text("name") == "b.png"
    browser.chord(Keys.CONTROL, "s")
    browser.click("save-ok")
    browser.until(lambda: (tmp_path / "b_inpainted.png").exists() and "Saved" in browser.text("message"), "saved file")
    browser.press(Keys.PAGE_DOWN)
    browser.opened(2)


def test_saving_asks_before_it_overwrites(serve, browser, photo, tmp_path):
    (tmp_path / "photo_inpainted.png").write_bytes(b"mine")
    browser.open(serve(photo).address)
    use_patches(browser)
    browser.drag((300, 200), (330, 210))
    browser.run()
    browser.click("save")
    browser.click("save-ok")
    browser.until(lambda: browser.text("save-ok") == "Overwrite", "question")
    assert (tmp_path / "photo_inpainted.png").read_bytes() == b"mine" and "exists" in browser.text("save-error")
    browser.click("save-ok")
    browser.until(lambda: (tmp_path / "photo_inpainted.png").read_bytes() != b"mine", "overwritten file")


def test_a_crash_of_server_or_browser_loses_no_stroke(serve, browser, photo):
    server = serve(photo)
    browser.open(server.address)
    browser.drag((100, 100), (140, 110))
    browser.drag((200, 100), (240, 110))
    browser.settled()
    server.stop(9)
    browser.drag((300, 100), (340, 110))
    browser.until(lambda: "does not answer" in browser.text("message"), "word that the server is gone")
    assert browser.painted(320, 105)[3] > 100  # the page goes on
    browser.open(serve(photo).address)
    assert browser.painted(120, 105)[3] > 100 and browser.painted(220, 105)[3] > 100
    assert "left off" in browser.text("message")


def test_two_tabs_show_the_same(serve, browser, photo):
    address = serve(photo).address
    browser.open(address)
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.open(address)
    browser.drag((100, 100), (140, 110))
    browser.settled()
    browser.close_page()
    browser.driver.close()
    browser.driver.switch_to.window(first)
    browser.drag((300, 200), (340, 210))
    browser.until(lambda: "another tab" in browser.text("message"), "word of the other tab")
    browser.until(lambda: browser.painted(120, 105)[3] > 100, "stroke of the other tab")
    assert browser.painted(320, 205)[3] > 100  # and the one that came too late
    browser.settled()
    assert all(browser.painted(x, y)[3] > 100 for x, y in ((120, 105), (320, 205)))


def test_a_wrong_token_is_told_in_words(serve, browser, photo):
    address = serve(photo).address
    browser.driver.get(address.partition("#")[0] + "#token=wrong")
    browser.until(lambda: "printed" in browser.text("opening"), "word of the token")


def test_two_hundred_strokes_are_drawn_at_once(serve, browser, photo, tmp_path):
    """From the release of a stroke to the frame that shows it, with many before it."""
    server = serve(photo)
    browser.open(server.address)
    browser.drag((20, 20), (30, 25))
    browser.settled()
    strokes = [{"tool": "brush", "layer": "mask", "points": [10 + n % 60 * 10, 20 + n, 4, 40 + n, 60 + n, 4]} for n in range(200)]
    browser.driver.execute_script(
        """
        const token = new URLSearchParams(location.hash.slice(1)).get("token");
        const headers = { "X-Psal-Token": token, "Content-Type": "application/json" };
        return fetch("/api/pictures/0/strokes", { method: "POST", headers, body: arguments[0] });
        """,
        json.dumps({"revision": 1, "at": 1, "strokes": strokes}),
    )
    browser.open(server.address)
    browser.drag((300, 400), (340, 410))
    browser.settled()
    assert browser.painted(320, 405)[3] > 100
    journal = next((tmp_path / "state").rglob("journal.jsonl")).read_text().splitlines()
    assert len(journal) == 3 and len(json.loads(journal[1])["strokes"]) == 200
