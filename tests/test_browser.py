"""The pages in a real browser: opened, filtered, followed, copied from; skipped where there is none.

It needs Chromium with its driver, as Debian packages them, and the Python package `selenium`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.test_html import TORN, of_matrix, of_report
from tests.test_reports import FOUND, every_outcome, hostile, report, result

from chathistory.conformance._concurrent import judge_events
from chathistory.reference import CLAUSES

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")

pytest.importorskip("selenium")
if not (CHROMIUM.exists() and DRIVER.exists()):
    pytest.skip("there is no Chromium with its driver here", allow_module_level=True)

from selenium import webdriver  # noqa: E402 -- it need not be installed
from selenium.webdriver.common.by import By  # noqa: E402 -- likewise
from selenium.webdriver.common.keys import Keys  # noqa: E402 -- likewise
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402 -- likewise

pytestmark = pytest.mark.slow
SECONDS = 10
SCRIPT = 'print("STILL FAILING")  # <b>&amp;</b>\n    # the end\n'


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser without a window that keeps what its console says."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", f"user-data-dir={profile}"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


class Tab:
    """A page in the browser, as a reader uses it."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        self.path = path

    def open(self, page: str, *, scheme: str = "light") -> Tab:
        """Open a page, and do without the errors of those before."""
        self.path.write_text(page, "utf-8")
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        self.driver.get_log("browser")
        self.driver.get(self.path.as_uri())
        return self

    def find(self, selector: str) -> Any:
        """The first element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def shown(self, selector: str) -> list[Any]:
        """The elements that can be seen."""
        return [each for each in self.driver.find_elements(By.CSS_SELECTOR, selector) if each.is_displayed()]

    def run(self, code: str, *arguments: object) -> Any:
        """What JavaScript makes of it; not subject to the page's policy."""
        return self.driver.execute_script(code, *arguments)

    def wait_for(self, code: str) -> None:
        """Until JavaScript finds it true."""
        WebDriverWait(self.driver, SECONDS).until(lambda _: self.run(f"return {code}"))

    def press(self, *keys: str) -> None:
        """Type where the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def errors(self) -> list[str]:
        """What the console complains of."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture
def tab(chromium: Any, tmp_path: Path) -> Iterator[Tab]:
    """A page whose console stays clean."""
    tab = Tab(chromium, tmp_path / "page.html")
    yield tab
    assert tab.errors() == []
    chromium.execute_script("localStorage.clear()")


def a_report() -> str:
    """A page of every outcome, with a script to copy and a timeline."""
    torn = judge_events(TORN, "torn")
    assert torn is not None
    found = replace(FOUND, script=SCRIPT, observed=torn.timeline, timeline_svg=torn.timeline_svg)
    clauses = [replace(each, counterexample=found) if each.id == "ORD-3" else each for each in every_outcome().clauses]
    return of_report(report(*clauses))


def a_matrix() -> str:
    """A page of three backends."""
    found = replace(FOUND, script=SCRIPT)
    return of_matrix(every_outcome(), report(result("CON-4", "failed", counterexample=found), backend="b"), hostile())


@pytest.mark.parametrize("page", [a_report(), a_matrix(), of_report(hostile())], ids=["report", "matrix", "hostile"])
def test_a_page_opens_without_a_complaint(tab: Tab, page: str) -> None:
    """The policy lets the page's own style and script through; markup in contents makes no elements."""
    tab.open(page)
    assert tab.run("return getComputedStyle(document.body).maxWidth") == "1248px"
    assert not tab.find("#theme").get_attribute("hidden")
    assert tab.run("return document.scripts.length") <= 2


def test_filters_work_with_the_keyboard(tab: Tab) -> None:
    """Boxes by outcome, a list by family, a button that takes it all back; what is shown is said."""
    tab.open(a_report())
    box = tab.find("input[value=passed]")
    tab.run("arguments[0].focus()", box)
    tab.press(Keys.SPACE)
    assert [row.get_attribute("id") for row in tab.shown("tr[data-row]")] == [
        *("c-ORD-3", "c-VAL-6", "c-VAL-8", "c-SNP-1", "c-CON-4", "c-DUR-1", "c-DUR-2")
    ]
    assert tab.find("#shown").text == f"7 of {len(CLAUSES)} clauses shown"
    tab.run("arguments[0].focus()", tab.find("#family"))
    tab.press("VAL")
    tab.wait_for("document.getElementById('shown').textContent.startsWith('2 of')")
    assert [each.get_attribute("id") for each in tab.shown("article")] == ["v-VAL-6", "v-VAL-8"]
    assert len(tab.shown("tr.family")) == 1
    tab.find("button[type=reset]").send_keys(Keys.ENTER)
    tab.wait_for(f"document.getElementById('shown').textContent.startsWith('{len(CLAUSES)} of')")
    assert len(tab.shown("tr[data-row]")) == len(CLAUSES)


def test_a_cell_leads_to_its_counterexample(tab: Tab) -> None:
    """The fold opens, has the focus and stands in the window, even when a filter had hidden it."""
    tab.open(a_matrix())
    tab.find("a[href='#v-2-CON-4']").click()
    tab.wait_for("document.getElementById('v-2-CON-4').open")
    tab.wait_for("document.activeElement === document.querySelector('#v-2-CON-4 > summary')")
    top = tab.run("return document.getElementById('v-2-CON-4').getBoundingClientRect().top")
    assert 0 <= top < tab.run("return innerHeight")
    assert "2 messages were expected, 1 read." in tab.find("#v-2-CON-4").text
    tab.find("input[value=failed]").click()
    assert not tab.find("#v-2-CON-4").is_displayed()
    tab.run("document.getElementById('v-2-CON-4').open = false; arguments[0].click()", tab.find("a[href='#v-2-CON-4']"))
    tab.wait_for("document.getElementById('v-2-CON-4').open")
    assert tab.find("#v-2-CON-4").is_displayed()


def test_a_link_from_outside_opens_the_counterexample(tab: Tab) -> None:
    """A page can be shared with a place in it."""
    tab.open(a_matrix())
    tab.driver.get("about:blank")
    tab.driver.get(f"{tab.path.as_uri()}#v-1-ORD-3")
    tab.wait_for("document.getElementById('v-1-ORD-3').open")


@pytest.mark.parametrize("key", ["ORD-3", "2-CON-4"])
@pytest.mark.parametrize("way", ["clipboard", "without"])
def test_a_script_is_copied_to_the_letter(tab: Tab, key: str, way: str) -> None:
    """By the clipboard's interface, and where there is none by selecting it."""
    tab.open(a_report() if key == "ORD-3" else a_matrix())
    tab.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    if way == "without":
        tab.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    if key != "ORD-3":
        tab.run(f"document.getElementById('v-{key}').open = true")
    tab.find(f"button[data-copy='script-{key}']").click()
    tab.wait_for("document.getElementById('said').textContent === 'The script was copied'")
    tab.run(
        "const area = document.createElement('textarea'); area.id = 'pasted'; document.body.append(area); area.focus()"
    )
    tab.press(Keys.CONTROL, "v")
    assert tab.run("return document.getElementById('pasted').value") == SCRIPT


def test_a_script_of_a_matrix_is_shown_when_it_is_opened(tab: Tab) -> None:
    """It is put together from the lines that it shares with others."""
    tab.open(a_matrix())
    tab.run("document.getElementById('v-2-CON-4').open = true")
    tab.find("#v-2-CON-4 .script summary").click()
    tab.wait_for("document.getElementById('script-2-CON-4').textContent !== ''")
    assert tab.run("return document.getElementById('script-2-CON-4').textContent") == SCRIPT


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 17, 23)")])
def test_colours_follow_the_system_and_the_button(tab: Tab, scheme: str, ground: str) -> None:
    """The button turns them round, and the page remembers."""
    colour = "return getComputedStyle(document.body).backgroundColor"
    tab.open(a_report(), scheme=scheme)
    assert tab.run(colour) == ground
    tab.find("#theme").click()
    turned = tab.run(colour)
    assert turned != ground
    tab.driver.refresh()
    assert tab.run(colour) == turned


def test_on_paper_nothing_is_folded_and_all_is_light(tab: Tab) -> None:
    """What is for the screen alone is left out."""
    tab.open(a_matrix(), scheme="dark")
    tab.run("dispatchEvent(new Event('beforeprint'))")
    assert tab.run("return document.querySelectorAll('details.violation:not([open])').length") == 0
    tab.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert tab.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.find("#filters").is_displayed()
    assert not tab.find("#theme").is_displayed()
    tab.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    tab.run("dispatchEvent(new Event('afterprint'))")
    assert tab.run("return document.querySelectorAll('details.violation[open]').length") == 0


@pytest.mark.parametrize("page", [a_report(), a_matrix(), of_report(hostile())], ids=["report", "matrix", "hostile"])
def test_a_narrow_window_needs_no_scrolling_sideways(tab: Tab, page: str) -> None:
    """Tables and long lines scroll by themselves."""
    measures = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    tab.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", measures)
    try:
        tab.open(page)
        tab.run("for (const each of document.querySelectorAll('details')) each.open = true")
        assert tab.run("return document.documentElement.scrollWidth") <= 360
    finally:
        tab.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
