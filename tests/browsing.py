"""`psal paint` in a real browser: a server in a process of its own, and Chromium without a window."""

import contextlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from .photos import ENV

pytest.importorskip("starlette", reason="psal[paint] is not installed")
pytest.importorskip("selenium", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("there is no chromium with chromium-driver", allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import StaleElementReferenceException, UnexpectedAlertPresentException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

SIZE = (640, 480)  # width, height
TIMES = "\N{MULTIPLICATION SIGN}"
PATIENCE = 60  # seconds until something has to be there
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-device-scale-factor=1")


def chromium(width=1280, height=720):
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.unhandled_prompt_behavior = "accept"
    return webdriver.Chrome(options=options, service=Service(DRIVER))


class Server:
    """psal paint as a process. address: of its page."""

    def __init__(self, *arguments, state, **variables):
        environment = ENV | {"XDG_STATE_HOME": str(state), "OMP_NUM_THREADS": "1"} | variables
        command = [sys.executable, "-P", "-m", "psal_cli", "paint", "--no-browser", *map(str, arguments)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def stop(self, number=2):
        """Sends a signal, Ctrl-C unless another is named; returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self.process.stdout.close()
        return code


class Browser:
    """The page as a user has it before them. Places are in pixels of the picture."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, address, number=0):
        self.driver.get("about:blank")
        self.driver.get(address)
        self.opened(number)

    def opened(self, number):
        """Waits until that picture is shown."""
        self.until(lambda: self.find("overlay").get_attribute("data-picture") == str(number), f"picture {number}")

    def find(self, name):
        return self.driver.find_element(By.ID, name)

    def text(self, name):
        return self.find(name).text

    def click(self, name):
        self.find(name).click()

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def chord(self, *keys):
        chain = ActionChains(self.driver)
        for key in keys[:-1]:
            chain.key_down(key)
        chain.send_keys(keys[-1])
        for key in reversed(keys[:-1]):
            chain.key_up(key)
        chain.perform()

    def until(self, holds, what):
        end = time.monotonic() + PATIENCE
        while not self.now(holds):
            assert time.monotonic() < end, f"no {what} in {PATIENCE} s; the page says {self.text('message')!r}"
            time.sleep(0.05)

    @staticmethod
    def now(holds):
        """Whether it holds; not while the page puts another element in the place of one that was looked at."""
        try:
            return holds()
        except StaleElementReferenceException:
            return False

    def place(self, x, y):
        """Where a place of the picture is, from the middle of the overlay, as ActionChains counts."""
        overlay = self.find("overlay")
        scale, left, top = (float(overlay.get_attribute(f"data-{name}")) for name in ("scale", "left", "top"))
        size = overlay.size
        return round(left + x * scale - size["width"] / 2), round(top + y * scale - size["height"] / 2)

    def drag(self, *places):
        """Presses at the first place, goes through the others, and releases."""
        overlay = self.find("overlay")
        chain = ActionChains(self.driver, duration=15)
        chain.move_to_element_with_offset(overlay, *self.place(*places[0])).click_and_hold()
        for place in places[1:]:
            chain.move_to_element_with_offset(overlay, *self.place(*place))
        chain.release().perform()

    def painted(self, x, y):
        """Red, green, blue, opacity of what is painted at a place."""
        script = """
            const [x, y] = arguments, canvas = document.getElementById("overlay"), data = canvas.dataset;
            const at = [Number(data.left) + x * data.scale, Number(data.top) + y * data.scale].map(Math.round);
            return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(
              () => resolve([...canvas.getContext("2d").getImageData(...at, 1, 1).data]))));
        """
        return self.driver.execute_script(script, x, y)

    def settled(self):
        """Waits until all strokes are with the server."""
        self.until(lambda: self.driver.execute_script("return document.body.dataset.waiting") == "0", "answer of the server")

    def run(self):
        self.click("run")
        self.until(lambda: self.find("run").is_displayed() and self.find("choices").is_displayed(), "result")

    def errors(self):
        """What the browser complains of."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def close_page(self):
        with contextlib.suppress(UnexpectedAlertPresentException):
            self.driver.get("about:blank")


@pytest.fixture(scope="module")
def driver():
    found = chromium()
    yield found
    found.quit()


@pytest.fixture
def browser(driver):
    found = Browser(driver)
    yield found
    found.close_page()
    found.errors()


@pytest.fixture
def serve(tmp_path):
    begun = []

    def start(*arguments, **variables):
        begun.append(Server(*arguments, state=tmp_path / "state", **variables))
        return begun[-1]

    yield start
    for server in begun:
        if server.process.poll() is None:
            server.stop(9)


def texture(size, number=0):
    rows, columns = np.indices(size[::-1])
    return np.stack([rows % 32 * 7, columns % 32 * 7, (rows + columns + 9 * number) % 32 * 7], 2).astype(np.uint8)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(texture(SIZE)).save(path)
    return path


def use_patches(browser):
    """The engine without a network, which has nothing to load."""
    browser.driver.execute_script(
        "document.getElementById('options').open = true; document.getElementById('engine').value = 'patch'"
    )
