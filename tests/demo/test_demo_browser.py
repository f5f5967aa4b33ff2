"""The demo as people see it: a real browser draws, clears, uploads and looks at the page."""

import os
import re
import shutil
from pathlib import Path
from urllib.parse import urlparse

import pytest
from conftest import REPOSITORY

EXAMPLES = REPOSITORY / "demo" / "examples"

# Where the README's screenshots go when they are to be made anew.
SCREENSHOTS = "DIGITJAX_SCREENSHOTS"

# Strokes, as points (x, y) in hundredths of the sketchpad's side.
THREE = [(34, 24), (50, 18), (63, 25), (63, 38), (48, 47), (64, 56), (66, 70), (52, 80), (34, 74)]
SEVEN = [(30, 22), (70, 22), (45, 80)]
SCRIBBLE = [(10, 20), (80, 30), (20, 80), (90, 90), (15, 50), (85, 15), (50, 90), (30, 10), (90, 60), (10, 65)]


@pytest.fixture(scope="session")
def browser():
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("there is no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def visits():
    """What the pages asked other machines for, and the errors that they reported."""
    return [], []


@pytest.fixture(scope="module")
def open_page(browser, demo, visits):
    """Opens the demo in a browser of its own."""
    contexts, (foreign, errors) = [], visits

    def note(request):
        if urlparse(request.url).hostname not in (None, "127.0.0.1", "localhost"):
            foreign.append(request.url)

    def open_one(theme="light", **options):
        context = browser.new_context(color_scheme=theme, **options)
        contexts.append(context)
        context.on("request", note)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{demo}/?__theme={theme}")
        # Gradio's "Loading..." covers the page for some frames more once the pad is there, and takes the strokes.
        page.locator("#pad canvas").click(trial=True)
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture(autouse=True)
def quiet_pages(visits):
    """Fails where a page asked another machine for anything, or reported an error."""
    yield
    found = [list(each) for each in visits]
    for each in visits:
        each.clear()
    assert found == [[], []]


@pytest.fixture(scope="module")
def desktop(open_page):
    """One page for all tests of what it does: to open another takes longer than most of them."""
    return open_page()


@pytest.fixture
def page(desktop):
    """The page with an empty pad."""
    open_tab(desktop, "Draw")
    desktop.get_by_role("button", name="Clear").click()
    expect_text(desktop, "#sketch-answer .comment", "Draw a digit")
    return desktop


def upload(page, file):
    """Uploads a picture, in place of another."""
    open_tab(page, "Upload")
    if page.get_by_label("Remove Image").is_visible():
        page.get_by_label("Remove Image").click()
    page.locator("#picture input[type=file]").set_input_files(file)


def draw(page, points):
    """Draws one stroke with the mouse."""
    box = page.locator("#pad canvas").bounding_box()
    places = [(box["x"] + x * box["width"] / 100, box["y"] + y * box["height"] / 100) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def expect_text(page, selector, text):
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_have_text(re.compile(text), timeout=10_000)


def open_tab(page, name):
    page.get_by_role("tab", name=name).click()


# ---------------------------------------------------------------- drawing


def test_drawing_clearing_and_drawing_again(page):
    draw(page, THREE)
    expect_text(page, "#sketch-answer .digit", "^3$")
    assert page.locator("#sketch-answer .bar").count() == 10
    page.get_by_role("button", name="Clear").click()
    expect_text(page, "#sketch-answer .comment", "Draw a digit")
    assert page.locator("#sketch-answer .bar").count() == 0
    draw(page, SEVEN)  # no tool needs to be taken up again
    expect_text(page, "#sketch-answer .digit", "^7$")


def test_a_scribble_is_no_digit_and_undo_takes_the_last_stroke_back(page):
    draw(page, SEVEN)
    expect_text(page, "#sketch-answer .digit", "^7$")
    draw(page, SCRIBBLE)
    expect_text(page, "#sketch-answer .comment", "doesn't look like a digit")
    assert page.get_by_alt_text("as the model sees it").is_visible()
    assert page.locator("#sketch-answer .bar").count() == 0
    page.get_by_role("button", name="Undo").click()
    expect_text(page, "#sketch-answer .digit", "^7$")
    page.get_by_role("button", name="Undo").click()
    expect_text(page, "#sketch-answer .comment", "Draw a digit")


def test_a_sketch_and_the_same_picture_uploaded_are_read_alike(page, demo, tmp_path):
    with page.expect_response(lambda response: urlparse(response.url).path.endswith("/upload")) as uploading:
        draw(page, THREE)
    (path,) = uploading.value.json()
    sketch = tmp_path / "sketch.png"
    sketch.write_bytes(page.request.get(f"{demo}/gradio_api/file={path}").body())
    expect_text(page, "#sketch-answer .digit", "^3$")
    drawn = [bar.get_attribute("title") for bar in page.locator("#sketch-answer .bar").all()]
    upload(page, sketch)
    page.get_by_role("radio", name="one digit").click()
    expect_text(page, "#upload-answer .digit", "^3$")
    uploaded = [bar.get_attribute("title") for bar in page.locator("#upload-answer .bar").all()]
    assert len(drawn) == 10
    assert drawn == uploaded  # all the digits that a float32 has


def test_all_that_can_be_used_has_a_name_and_can_be_reached_by_keyboard(page):
    for button in page.get_by_role("button").all():
        assert button.evaluate("b => (b.getAttribute('aria-label') || b.title || b.innerText).trim()")
    assert page.get_by_role("img", name="Sketchpad").is_visible()
    draw(page, SEVEN)
    expect_text(page, "#sketch-answer .digit", "^7$")
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Enter")
    expect_text(page, "#sketch-answer .comment", "Draw a digit")


# ---------------------------------------------------------------- uploading


def test_a_file_is_read_as_a_digit_or_as_a_number(page):
    upload(page, EXAMPLES / "squared_paper.jpg")
    page.get_by_role("radio", name="one digit").click()
    expect_text(page, "#upload-answer .digit", "^7$")
    page.get_by_role("radio", name="a number").click()
    expect_text(page, "#number .text", "^7$")
    upload(page, EXAMPLES / "number.jpg")
    expect_text(page, "#number .text", "^314159$")
    boxes = [box.bounding_box() for box in page.locator("#number rect").all()]
    assert len(boxes) == 6
    assert [box["x"] for box in boxes] == sorted(box["x"] for box in boxes)


def test_a_broken_file_gets_the_librarys_message(page, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes((EXAMPLES / "number.jpg").read_bytes()[:300])
    upload(page, EXAMPLES / "letter.jpg")
    page.get_by_role("radio", name="one digit").click()
    page.get_by_label("Remove Image").click()
    data = broken.read_bytes().hex()
    # As if it were dropped from a file manager.
    transfer = page.evaluate_handle(
        """hex => {
          const data = new DataTransfer();
          const bytes = Uint8Array.from(hex.match(/../g), pair => parseInt(pair, 16));
          data.items.add(new File([bytes], "broken.png", {type: "image/png"}));
          return data;
        }""",
        data,
    )
    page.locator("#picture button").first.dispatch_event("drop", {"dataTransfer": transfer})
    expect_text(page, "#upload-answer .comment", "This file can't be decoded")


def test_an_example_is_read_when_clicked(page):
    open_tab(page, "Upload")
    page.get_by_role("button", name="A letter").click()
    expect_text(page, "#upload-answer .comment", "doesn't look like a digit")
    page.get_by_role("button", name="A number").click()
    expect_text(page, "#number .text", "^314159$")


def test_a_picture_that_is_deleted_by_now_is_asked_for_again(page, demo_folder):
    open_tab(page, "Upload")
    page.get_by_role("radio", name="one digit").click()
    page.locator("#picture input[type=file]").set_input_files(EXAMPLES / "blackboard.jpg")
    expect_text(page, "#upload-answer .digit", "^5$")
    for path in (demo_folder / "gradio").rglob("blackboard.jpg"):
        path.unlink()  # as the server does after an hour
    page.get_by_role("radio", name="a number").click()
    expect_text(page, "#number .comment", "upload it again")


def test_many_files_make_a_table_and_its_csv(page, tmp_path, demo_folder):
    before = set(demo_folder.rglob("*"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    open_tab(page, "Many")
    page.locator("#files input[type=file]").set_input_files(
        [EXAMPLES / "squared_paper.jpg", EXAMPLES / "letter.jpg", broken]
    )
    page.get_by_text("is not an image").locator("visible=true").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all of it as CSV").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("file,digit,label,reason,confidence")
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["squared_paper.jpg", "7"],
        ["letter.jpg", ""],
        ["broken.png", ""],
    ]
    # Nothing stays on the server but what was uploaded, for an hour.
    left = {path.name for path in set(demo_folder.rglob("*")) - before if path.is_file()}
    assert left <= {"squared_paper.jpg", "letter.jpg", "broken.png"}


# ---------------------------------------------------------------- how it looks


def test_the_models_own_report_is_shown(page):
    open_tab(page, "About")
    page.get_by_text("test images of MNIST right").wait_for()
    for alt in ("Confusion matrix", "Training history"):
        image = page.get_by_alt_text(alt)
        image.wait_for()
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())


def test_a_phone_draws_with_a_finger_and_shows_every_tab_whole(open_page):
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    box = page.locator("#pad canvas").bounding_box()
    session = page.context.new_cdp_session(page)
    places = [{"x": box["x"] + x * box["width"] / 100, "y": box["y"] + y * box["height"] / 100} for x, y in THREE]
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": places[:1]})
    for place in places[1:]:
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [place]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect_text(page, "#sketch-answer .digit", "^3$")
    assert page.evaluate("window.scrollY") == 0  # the page stayed where it was
    for name in ("Draw", "Upload", "Many", "About"):
        open_tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_can_be_read(open_page, theme, tmp_path):
    """Text stands out from its ground by the 4.5 to 1 that WCAG 2 asks for; and the README's screenshots are made."""
    page = open_page(theme, viewport={"width": 1000, "height": 640})
    draw(page, THREE)
    expect_text(page, "#sketch-answer .digit", "^3$")
    page.get_by_alt_text("orange spoke for").wait_for()
    page.screenshot(path=Path(os.environ.get(SCREENSHOTS, tmp_path)) / f"draw-{theme}.png", full_page=True)
    for selector in ("#sketch-answer .digit", "#sketch-answer .comment", "#sketch-answer .bar.other", "#pad .clear"):
        ink, ground = page.locator(selector).first.evaluate(
            """element => {
              const ink = getComputedStyle(element).color;
              let ground = "rgba(0, 0, 0, 0)";
              for (let e = element; e && /, 0\\)$|transparent/.test(ground); e = e.parentElement)
                ground = getComputedStyle(e).backgroundColor;
              return [ink, ground];
            }"""
        )
        assert contrast(ink, ground) >= 4.5, (selector, ink, ground)
    open_tab(page, "Upload")
    page.get_by_role("button", name="A number").click()
    expect_text(page, "#number .text", "^314159$")
    page.screenshot(path=Path(os.environ.get(SCREENSHOTS, tmp_path)) / f"number-{theme}.png", full_page=True)


def contrast(first, second):
    """WCAG 2's ratio of the luminances of two CSS colours."""

    def luminance(color):
        parts = [float(part) / 255 for part in re.findall(r"[\d.]+", color)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(first), luminance(second)])
    return (light + 0.05) / (dark + 0.05)
