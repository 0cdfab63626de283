"""`psal paint`: how long its page keeps the user waiting.

From the command to the first tile of a JPEG of 50 megapixels; from the release of a stroke to the frame that shows it, in
Chromium, with 200 strokes before it on a picture of 16 megapixels; from Run to the changed tiles for a hole of 256x256 in the
same picture, beside the whole command `psal inpaint` and the part of it that is work.
Prints a row each, and with --write-readme puts them into README.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from data_folder import PHOTO, existing
from PIL import Image
from report import header, write_json, write_readme

from psal_cli.benchmarks.output import markdown_table

FIFTY = (8660, 5774)  # width, height
HOLE = (2800, 1500, 256)  # left, top, side
REPEATS = 3
STROKES = 200


class Server:
    """psal paint as a process. started: when its command began."""

    def __init__(self, folder: Path, picture: Path):
        environment = os.environ | {"XDG_STATE_HOME": str(folder / f"state{time.time_ns()}")}
        command = [sys.executable, "-m", "psal_cli", "paint", "--no-browser", str(picture)]
        self.started = time.perf_counter()
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.page = self.process.stdout.readline().strip()
        self.address, _, self.token = self.page.partition("/#token=")

    def ask(self, path: str, record: dict | None = None) -> bytes:
        data = None if record is None else json.dumps(record).encode()
        request = urllib.request.Request(self.address + path, data, {"X-Psal-Token": self.token})
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def busy(self) -> float:
        """Processor seconds that it has taken so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


Seconds = tuple[float, float]  # on the clock, and of the processor


def first_tile(folder: Path, picture: Path) -> Seconds:
    """From the command to the tile that shows the whole picture."""
    server = Server(folder, picture)
    try:
        levels = json.loads(server.ask("/api/pictures/0"))["levels"]
        server.ask(f"/api/pictures/0/tiles/current/{levels}/0/0")
        return time.perf_counter() - server.started, server.busy()
    finally:
        server.stop()


def run(folder: Path, picture: Path) -> Seconds:
    """From Run to the changed tile, once the server is warm."""
    left, top, side = HOLE
    corners = [left, top, left + side, top, left + side, top + side, left, top + side]
    server = Server(folder, picture)
    try:
        revision = json.loads(server.ask("/api/pictures/0"))["revision"]
        server.ask("/api/pictures/0/tiles/current/4/0/0")
        stroke = {"tool": "outline", "layer": "mask", "points": corners}
        asked = {"revision": revision, "at": 0, "strokes": [stroke]}
        revision = json.loads(server.ask("/api/pictures/0/strokes", asked))["revision"]
        time.sleep(10)  # while the user paints, the server loads what a run needs
        start, busy = time.perf_counter(), server.busy()
        server.ask("/api/pictures/0/run", {"revision": revision})
        while (job := json.loads(server.ask("/api/pictures/0/job"))["job"])["state"] in ("waiting", "running"):
            time.sleep(0.2)  # as the page does
        if job["state"] != "done":
            raise RuntimeError(job["error"])
        server.ask(f"/api/pictures/0/tiles/current/0/{left // 512}/{top // 512}")
        return time.perf_counter() - start, server.busy() - busy
    finally:
        server.stop()


def command(folder: Path, picture: Path) -> tuple[float, float, float]:
    """Seconds of the whole command for the same hole, on the clock and of the processor, and those that its picture took."""
    left, top, side = HOLE
    options = ["--box", f"{left},{top},{side},{side}", "-o", str(folder / "out.jpg"), "--force", "--json", "-q"]
    start, busy = time.perf_counter(), os.times().children_user + os.times().children_system
    done = subprocess.run([sys.executable, "-m", "psal_cli", "inpaint", str(picture), *options], capture_output=True, check=True)
    busy = os.times().children_user + os.times().children_system - busy
    return time.perf_counter() - start, busy, json.loads(done.stdout)["seconds"]


def stroke(folder: Path, picture: Path) -> float:
    """Milliseconds from the release of a stroke to the frame that shows it, as the page counts them."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,720"):
        options.add_argument(flag)
    options.binary_location = "/usr/bin/chromium"
    options.unhandled_prompt_behavior = "accept"
    server = Server(folder, picture)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        revision = json.loads(server.ask("/api/pictures/0"))["revision"]
        random = np.random.default_rng(0)
        lines = random.integers(200, 2800, (STROKES, 40, 2))
        strokes = [
            {"tool": "brush", "layer": "mask", "points": [int(n) for x, y in line for n in (x, y, 20)]} for line in lines.tolist()
        ]
        server.ask("/api/pictures/0/strokes", {"revision": revision, "at": 0, "strokes": strokes})
        driver.get(server.page)
        overlay = driver.find_element(By.ID, "overlay")
        while overlay.get_attribute("data-picture") != "0":
            time.sleep(0.1)
        time.sleep(2)
        found = []
        for number in range(12):
            chain = ActionChains(driver, duration=20)
            chain.move_to_element_with_offset(overlay, -300, 20 * number - 100).click_and_hold()
            for _ in range(10):
                chain.move_by_offset(20, 2)
            chain.release().perform()
            time.sleep(0.3)
            found.append(float(driver.find_element(By.TAG_NAME, "body").get_attribute("data-shown-after")))
        return statistics.median(found)
    finally:
        driver.quit()
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-readme", action="store_true", help="also put the figures into README.md")
    arguments = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = folder / "large.jpg"
        Image.open(existing(PHOTO)).convert("RGB").resize(FIFTY, Image.Resampling.BICUBIC).save(large, quality=92)
        tile, whole, page = (
            [statistics.median(values) for values in zip(*(measure(folder, photo) for _ in range(REPEATS)), strict=True)]
            for measure, photo in ((first_tile, large), (command, PHOTO), (run, PHOTO))
        )
        shown = stroke(folder, PHOTO)
    load = os.getloadavg()[0]
    rows = {"first_tile": tile, "run": page, "command": whole, "stroke_ms": shown, "load": load}
    results = {**header("torch", "starlette", "uvicorn"), "rows": rows}
    write_json("paint", results)
    cells = [
        ["command to first tile, JPEG of 50 megapixels", f"{tile[0]:.1f} s", f"{tile[1]:.1f} s"],
        [f"release of a stroke to its frame, {STROKES} strokes before it", f"{shown:.0f} ms", ""],
        ["Run to changed tiles, 256x256 in 15.9 megapixels", f"{page[0]:.1f} s", f"{page[1]:.1f} s"],
        ["the whole command `psal inpaint` for the same", f"{whole[0]:.1f} s", f"{whole[1]:.1f} s"],
        ["of it the picture: read, filled, written", f"{whole[2]:.1f} s", ""],
    ]
    text = markdown_table(["`psal paint`", "median", "of the processor"], cells)
    text += f"\n\n{results['date']}, {results['machine']['cores']} cores, load {load:.0f} from other programs."
    print(text)
    if arguments.write_readme:
        write_readme("paint", text)


if __name__ == "__main__":
    main()
