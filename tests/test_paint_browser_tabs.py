"""The tabs Colour and Enlarge of the page of `psal paint`, its advanced options and its keyboard, in Chromium."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from . import browsing
from .pictures import pixels_of

# isort: split
# Only now: what is imported above skips all tests here where selenium is not installed.
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

pytestmark = [pytest.mark.slow, pytest.mark.subprocess]

driver, browser, serve, photo = browsing.driver, browsing.browser, browsing.serve, browsing.photo


@pytest.fixture
def grey(tmp_path):
    """Dark at the left, light at the right."""
    pixels = np.full((240, 320), 60, np.uint8)
    pixels[:, 160:] = 190
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


def swatch(browser, name):
    browser.driver.find_element(By.CSS_SELECTOR, f'#swatches [aria-label="{name}"]').click()


def shown_colour(browser, x, y):
    """Red, green, blue of the picture below what is painted."""
    script = """
        const [x, y] = arguments, canvas = document.querySelector("#viewer canvas");
        const data = document.getElementById("overlay").dataset;
        const at = [Number(data.left) + x * data.scale, Number(data.top) + y * data.scale].map(Math.round);
        return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
    """
    return browser.driver.execute_script(script, x, y)


def steps(browser):
    """The length of the history, without its beginning."""
    return len(browser.driver.find_elements(By.CSS_SELECTOR, "#history button")) - 1


def test_colours_are_painted_run_hidden_and_saved(serve, browser, grey, tmp_path):
    browser.open(serve(grey).address)
    browser.click("mode-colour")
    assert not browser.find("colour").is_enabled()
    swatch(browser, "Red")
    browser.drag((60, 100), (100, 110))
    red, green, blue, opacity = browser.painted(80, 105)
    assert red > 2 * max(green, blue) and opacity > 200
    swatch(browser, "Sky")
    browser.press("r")
    browser.drag((220, 80), (260, 120))
    browser.press("e")  # and takes a part of it away
    browser.drag((250, 100), (258, 100))
    assert browser.painted(230, 100)[3] > 200 and browser.painted(254, 100)[3] < 60
    browser.press("x", "f", "g")  # of the other tab
    assert not browser.find("pixels-dialog").is_displayed()
    browser.settled()
    browser.press(Keys.ENTER)
    browser.until(lambda: steps(browser) == 1, "coloured picture")  # "Done." may be gone already on a busy machine
    assert browser.painted(80, 105)[3] < 60  # what is painted does not hide what came of it
    browser.until(lambda: shown_colour(browser, 40, 200)[0] > shown_colour(browser, 40, 200)[2] + 20, "red at the left")
    red, _, blue = shown_colour(browser, 300, 200)
    assert blue > red + 20
    browser.press("h")
    assert browser.painted(80, 105)[3] > 200

    browser.chord(Keys.CONTROL, "s")
    assert not browser.find("save-strokes").is_enabled()
    browser.click("save-hints")
    browser.click("save-ok")
    browser.until(lambda: "Saved" in browser.text("message"), "saved files")
    hints = Image.open(tmp_path / "grey_hints.png")
    assert hints.getpixel((80, 105)) == (192, 57, 43, 255) and hints.getpixel((254, 100))[3] == 0
    assert pixels_of(tmp_path / "grey_colorized.png").shape == (240, 320, 3)
    assert browser.errors() == []


def test_what_is_undone_is_shown(serve, browser, photo):
    browser.open(serve(photo).address)
    browser.drag((100, 100), (140, 110))
    browser.press("m")
    browser.drag((200, 100), (240, 110))
    assert browser.painted(120, 105)[3] < 30 < browser.painted(220, 105)[3]  # each tab has its own
    browser.press("m")
    browser.chord(Keys.CONTROL, "z")
    assert browser.find("mode-colour").get_attribute("aria-selected") == "true" and browser.painted(220, 105)[3] < 60
    browser.chord(Keys.CONTROL, "z")
    assert browser.find("mode-remove").get_attribute("aria-selected") == "true" and browser.painted(120, 105)[3] < 30
    browser.chord(Keys.CONTROL, Keys.SHIFT, "z")
    assert browser.painted(120, 105)[3] > 100


def test_a_colour_is_taken_from_the_picture_and_by_keys(serve, browser, tmp_path):
    pixels = np.full((240, 320, 3), 200, np.uint8)
    pixels[60:120, 60:120] = (30, 160, 90)
    Image.fromarray(pixels).save(tmp_path / "spot.png")
    browser.open(serve(tmp_path / "spot.png").address)
    browser.press("m")
    ink = lambda: browser.find("ink").get_attribute("value")  # noqa: E731
    first = ink()
    browser.press("k")
    second = ink()
    browser.chord(Keys.SHIFT, "k")
    assert first != second and ink() == first
    browser.click("pick")
    browser.drag((90, 90), (91, 90))
    taken = [int(ink()[at : at + 2], 16) for at in (1, 3, 5)]
    assert np.abs(np.subtract(taken, (30, 160, 90))).max() <= 4
    assert browser.painted(90, 90)[3] < 60  # that press painted nothing
    browser.drag((200, 200), (210, 200))
    assert np.abs(np.subtract(browser.painted(205, 200)[:3], taken)).max() <= 4


def test_all_is_done_by_keys(serve, browser, photo, tmp_path):
    browser.open(serve(photo).address)
    browsing.use_patches(browser)
    browser.driver.execute_script("document.getElementById('overlay').focus()")
    middle = (320, 240)
    browser.press("r", "p")
    for _ in range(4):
        browser.chord(Keys.SHIFT, Keys.ARROW_RIGHT)
        browser.chord(Keys.SHIFT, Keys.ARROW_DOWN)
    browser.press("p")
    scale = float(browser.find("overlay").get_attribute("data-scale"))
    inside, outside = (middle[0] + 20 / scale, middle[1] + 20 / scale), (middle[0] - 8 / scale, middle[1] + 20 / scale)
    assert browser.painted(*inside)[3] > 100 > browser.painted(*outside)[3]
    browser.press("l", "p")
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_LEFT, Keys.ARROW_LEFT):
        browser.chord(Keys.SHIFT, key)
    browser.press(Keys.ESCAPE)  # drops it
    strokes = lambda: next((tmp_path / "state").rglob("journal.jsonl")).read_text().splitlines()  # noqa: E731
    browser.settled()
    assert len(strokes()) == 1
    browser.press("p")
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_LEFT, Keys.ARROW_LEFT):
        browser.chord(Keys.SHIFT, key)
    browser.press("p")
    browser.settled()
    assert json.loads(strokes()[-1])["strokes"][0]["tool"] == "outline"
    browser.press(Keys.ENTER)
    browser.until(lambda: browser.find("choices").is_displayed(), "result")
    browser.press("n")
    browser.until(lambda: len(browser.find("cards").find_elements(By.TAG_NAME, "button")) == 2, "second result")
    browser.chord(Keys.CONTROL, "s")
    browser.press(Keys.ENTER)
    browser.until(lambda: (tmp_path / "photo_inpainted.png").exists(), "saved file")


def test_a_size_is_named_a_part_is_tried_and_all_is_saved(serve, browser, tmp_path):
    Image.fromarray(browsing.texture((96, 64))).save(tmp_path / "small.png")
    browser.open(serve(tmp_path / "small.png").address)
    browser.click("mode-enlarge")
    assert browser.text("becomes") == f"It becomes 192 {browsing.TIMES} 128 pixels." and not browser.find("try").is_enabled()
    Select(browser.find("scale")).select_by_value("fit")
    for name, value in (("measure-1", "120"), ("measure-2", "120")):
        browser.find(name).send_keys(Keys.CONTROL + "a" + Keys.NULL + value)
    assert browser.text("becomes") == f"It becomes 120 {browsing.TIMES} 80 pixels."
    browser.find("measure-1").send_keys(Keys.CONTROL + "a" + Keys.NULL + Keys.BACKSPACE)
    assert not browser.find("enlarge").is_enabled()
    browser.find("measure-1").send_keys("120")
    Select(browser.find("model")).select_by_value("between")
    assert browser.find("cleaning").is_displayed()
    browser.driver.execute_script("document.getElementById('overlay').focus()")
    browser.press("p", "y")
    browser.until(lambda: browser.find("part-dialog").is_displayed(), "enlarged part")
    browser.press(Keys.ESCAPE)
    browser.driver.execute_script("document.getElementById('overlay').focus()")
    browser.press(Keys.ENTER)
    browser.until(lambda: "Saved" in browser.text("message"), "saved file")
    assert pixels_of(tmp_path / "small_120x120.png").shape == (80, 120, 3)
    assert browser.errors() == []


class Painter(torch.nn.Module):
    """What LaMa takes and gives."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image * (1 - mask) + mask / 4


@pytest.mark.filterwarnings("ignore:.*jit:DeprecationWarning", "ignore:.*TorchScript:UserWarning")
def test_a_network_of_the_users_draws(serve, browser, photo, tmp_path):
    (tmp_path / "models").mkdir()
    torch.jit.script(Painter()).save(str(tmp_path / "models/lama.pt"))
    browser.open(serve(photo, PSAL_MODELS=str(tmp_path / "models")).address)
    browser.driver.execute_script("for (const id of ['options', 'advanced']) document.getElementById(id).open = true")
    names = lambda: [option.text for option in Select(browser.find("painter")).options]  # noqa: E731
    browser.until(lambda: "lama.pt" in names(), "network of the model folder")
    Select(browser.find("engine")).select_by_value("patch")
    assert not browser.find("painter").is_enabled()
    Select(browser.find("engine")).select_by_value("network")
    Select(browser.find("painter")).select_by_visible_text("lama.pt")
    browser.find("rounds").send_keys("2")
    browser.drag((300, 200), (330, 210))
    browser.run()
    browser.until(lambda: np.abs(np.subtract(shown_colour(browser, 315, 205), 64)).max() < 6, "what the network draws")
    assert "carries code" in browser.text("message")


def test_colours_of_a_dropped_picture_are_found_by_the_chosen_method(serve, browser, tmp_path):
    shades = np.tile(np.linspace(10, 240, 64).astype(np.uint8), (48, 1))
    Image.fromarray(shades).save(tmp_path / "small.png")
    Image.fromarray(np.stack([shades, shades // 3, shades // 3], 2)).save(tmp_path / "red.png")
    browser.open(serve(tmp_path / "small.png").address)
    browser.click("mode-colour")
    assert not browser.find("colour").is_enabled()
    browser.click("guess")
    assert browser.find("colour").is_enabled()
    browser.click("guess")
    browser.find("file").send_keys(str(tmp_path / "red.png"))
    browser.until(lambda: browser.find("colour").is_enabled(), "dropped picture")
    assert not browser.find("guess").is_displayed()
    browser.driver.execute_script("document.getElementById('colour-advanced').open = true")
    method = Select(browser.find("colour-method"))
    assert not browser.find("colour-rounds").is_enabled()
    method.select_by_value("full")
    browser.find("colour-rounds").send_keys("2")
    browser.click("colour")
    browser.until(lambda: steps(browser) == 1, "coloured picture")  # "Done." may be gone already on a busy machine
    browser.until(lambda: shown_colour(browser, 40, 24)[0] > shown_colour(browser, 40, 24)[2] + 20, "red")
    kept = "".join(path.read_text() for path in (tmp_path / "state").rglob("*.json*"))
    assert '"attention": "full", "iterations": 2' in kept and '"engine": "paper"' in kept
