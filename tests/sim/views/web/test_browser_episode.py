"""An episode, and the list of them, as somebody goes through them with a browser."""

from collections.abc import Callable, Iterator

import pytest

from sim.analysis.ledger import Ledger
from storage.runs import RunDirectory
from tests.support.browser import PHONE, Page, axe, becomes, fits, says
from tests.support.small import recorded
from tests.support.viewed import viewed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = tmp_path_factory.mktemp("seen") / "first"
    return recorded(path, prompts=True, episodes=120, arrivals="batches:60", quit={"lowest": 1.5})


@pytest.fixture(scope="module")
def url(run: RunDirectory) -> Iterator[str]:
    with viewed(run.path) as url:
        yield url


@pytest.fixture(scope="module")
def ledger(run: RunDirectory) -> Ledger:
    ledger = Ledger(run.trace)
    ledger.refresh()
    return ledger


@pytest.fixture(scope="module")
def long(ledger: Ledger) -> int:
    """The last of the longest episodes: it recalls what others learned."""
    return max(ledger.rows(), key=lambda row: (row.length, row.episode)).episode


def opened(page: Page, url: str, sign: str = "billp-episode:defined") -> None:
    """Open a page and wait until its scripts are there: they come after all else."""
    page.goto(url)
    page.locator(sign).first.wait_for(state="attached")


@pytest.mark.parametrize("address", ["episode", "episodes", "envelopes", "calls", "call"])
def test_anybody_can_read_it(
    url: str, page: Page, screenshot: Callable[[str], None], long: int, address: str
) -> None:
    """Light or dark, by eye or by ear; and on a phone no page is too wide."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{url}{address}/first?k={long}{'&n=2' if address == 'call' else ''}")
        page.wait_for_load_state("networkidle")
        axe(page)
        screenshot(f"{address}-{scheme}")
    page.set_viewport_size(PHONE)
    fits(page)
    screenshot(f"{address}-phone")


def test_keys_go_through_the_steps(url: str, page: Page, long: int) -> None:
    """j and k, what is searched for, and brackets for the episodes beside it."""
    opened(page, f"{url}episode/first?k={long}")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.wait_for_url(f"**k={long}&step=1")
    page.locator(".step[data-step='1']").wait_for()
    title = page.locator(".steps a[data-step='2'] .title").inner_text()
    page.keyboard.press("/")
    page.keyboard.type(title)
    steps = page.locator(".steps li").count()
    becomes(page, lambda: page.locator(".steps li:visible").count() < steps)
    page.keyboard.press("Escape")
    page.locator(".steps a[data-step='0']").focus()
    page.keyboard.press("ArrowDown")
    page.locator(".steps a[data-step='1']:focus").wait_for()
    page.keyboard.press("[")
    page.wait_for_url(f"**/episode/first?k={long - 1}")


def test_a_column_of_the_strip_leads_to_its_step(url: str, page: Page, long: int) -> None:
    """What stands out in the picture is what is looked at next."""
    opened(page, f"{url}episode/first?k={long}")
    page.locator(".column[data-step='2'] .ground").click(force=True)
    page.locator(".steps a[aria-current][data-step='2']").wait_for()
    page.locator(".column[data-step='2'].chosen").wait_for(state="attached")


def test_a_prompt_comes_when_it_is_looked_at(url: str, page: Page, long: int) -> None:
    """With what differs from the step before first, and the whole of it one press away."""
    opened(page, f"{url}episode/first?k={long}&step=1")
    call = page.locator(".step:visible .card.thought details.call")
    assert call.locator("pre.diff").count() == 0
    call.locator("summary").click()
    call.locator("pre.diff .added").first.wait_for()
    call.get_by_role("button", name="Whole").click()
    says(call.locator(".prompt pre:visible").nth(1), "## History of the user")
    says(call.locator("summary [data-effort]"), "ms")


def test_an_envelope_is_shown_where_it_stands(url: str, page: Page, long: int) -> None:
    """An address of a call opens its step, with the call open and in sight."""
    opened(page, f"{url}episode/first?k={long}&n=10")
    marked = page.locator(".marked")
    assert marked.get_attribute("id") == "n10"
    marked.wait_for()
    becomes(
        page,
        lambda: page.evaluate(
            "(() => { const r = document.querySelector('.marked').getBoundingClientRect();"
            " return r.top < innerHeight && r.bottom > 0; })()"
        ),
    )


def test_the_command_that_forks_here_is_copied(
    url: str, page: Page, run: RunDirectory, long: int
) -> None:
    """One press, and it can be pasted into a terminal."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, f"{url}episode/first?k={long}&step=1")
    page.locator(".step:visible billp-copy button").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"billp fork {run.path} --at {long}:1"


def test_rows_come_as_they_are_scrolled_to(url: str, page: Page, ledger: Ledger) -> None:
    """As many rows as are seen, and a few; the last is there at the end."""
    opened(page, f"{url}episodes/first", ".rows tr.gap")
    page.locator("tr[aria-rowindex='2'] a", has_text="0").wait_for()
    assert page.locator(".rows tbody tr").count() < 60 < len(ledger)
    page.evaluate("document.querySelector('.rows').scrollTop = 1e6")
    page.locator(f"tr[aria-rowindex='{len(ledger) + 1}'] a", has_text="119").wait_for()


def test_the_list_is_sorted_and_filtered(url: str, page: Page, ledger: Ledger) -> None:
    """The best comes first when that is asked for; the address says what is shown."""
    opened(page, f"{url}episodes/first", ".rows tr.gap")
    page.locator("[data-sort=reward]").click()
    best = max(ledger.rows(), key=lambda row: (row.reward, -row.episode))
    page.locator("tr[aria-rowindex='2'] a", has_text=str(best.episode)).wait_for()
    says(page.locator("th[aria-sort=descending] a"), "^reward$")
    reason = best.reason
    page.locator("select[name=reason]").select_option(reason)
    count = sum(row.reason == reason for row in ledger.rows())
    page.get_by_text(f"{count} of 120", exact=True).wait_for()
    page.wait_for_url(f"**reason={reason}**")
    page.reload()
    page.get_by_text(f"{count} of 120", exact=True).wait_for()


def test_a_page_needs_no_script(url: str, page: Page, long: int) -> None:
    """Without scripts steps are links, and prompts have pages of their own."""
    context = page.context.browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(f"{url}episode/first?k={long}")
    plain.locator(".steps a[data-step='1']").click()
    plain.locator(".step[data-step='1']").wait_for()
    plain.locator(".step:visible .card.thought summary").first.click()
    plain.get_by_text("This call on a page of its own").locator("visible=true").first.click()
    plain.get_by_role("heading", name="Prompt", exact=True).wait_for()
    context.close()
