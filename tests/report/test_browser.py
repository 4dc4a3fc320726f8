"""The report in a real browser."""

import shutil

import pytest

from seqmend.report import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (pip install playwright)")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(
            executable_path=CHROMIUM, args=[f"--{switch}" for switch in (*SWITCHES.split(), "disable-sync")]
        )
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser, run):
    """Opens the report; at the end nothing may have complained, asked for anything, or popped up."""
    troubles, pages = [], []

    def open_at(width: int, **options):
        page = browser.new_page(viewport={"width": width, "height": 844}, **options)
        pages.append(page)
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or troubles.append(request.url))
        page.goto(write_report(run).as_uri())
        return page

    open_at.troubles = troubles
    yield open_at
    for page in pages:
        page.close()
    assert troubles == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_sideways_scrolling(open_page, width):
    page = open_page(width)
    for label in ("HR@10", "Most confident that were wrong"):
        page.get_by_text(label, exact=True).first.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_switch_shows_one_metric_at_a_time(open_page):
    page = open_page(1280)
    ndcg, hr = (page.get_by_text(f"{metric} of SASRec for every version") for metric in ("NDCG@10", "HR@10"))
    assert ndcg.is_visible()
    assert not hr.is_visible()
    page.get_by_text("HR@10", exact=True).first.click()
    assert hr.is_visible()
    assert not ndcg.is_visible()
    page.keyboard.press("ArrowLeft")  # the switch is a radio group to the keyboard
    assert ndcg.is_visible()


def test_the_wrong_edits_have_their_own_tab(open_page):
    page = open_page(390)
    badges = page.locator(".badge:visible")
    assert {"was noise", "was the user’s own"} == set(badges.all_inner_texts())
    page.get_by_text("Most confident that were wrong", exact=True).first.click()
    assert set(badges.all_inner_texts()) == {"was the user’s own"}


def test_hostile_titles_are_inert(open_page):
    page = open_page(1280)
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.images.length") == 0
    assert page.get_by_text("<img src=x onerror=alert(1)>").count() > 0


def test_a_script_that_got_in_would_not_run(open_page):
    page = open_page(1280)
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.owned = true";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.owned = true'>");
        }"""
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.owned") is None
    assert all("Content Security Policy" in trouble or "directive" in trouble for trouble in open_page.troubles)
    assert len(open_page.troubles) >= 2
    open_page.troubles.clear()


def test_marks_tell_their_values(open_page):
    page = open_page(1280)
    page.locator(".wide circle[data-tip]:visible").first.hover()
    assert page.locator("#tip").inner_text().startswith("Raw log, test histories as they are\n0.0712")


def test_colours_follow_the_reader(open_page):
    grounds = {
        scheme: open_page(1280, color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert grounds == {"light": "rgb(253, 252, 250)", "dark": "rgb(20, 23, 26)"}


def test_paper_shows_every_pane_in_light_colours(open_page):
    page = open_page(1280, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    for metric in ("NDCG@10", "HR@10"):
        assert page.get_by_text(f"{metric} of SASRec for every version").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 252, 250)"
