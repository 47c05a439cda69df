"""Who may see the pages and control a run: asked over HTTP, word for word, as an attacker would."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from sim.views.web.gate import POLICY, Gate, is_local
from tests.support.viewed import asked, connected, viewed

TOKEN, CONTROL = "a-token-of-visitors", "a-token-of-pages"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve pages to this machine."""
    with viewed(tmp_path_factory.mktemp("none"), gate=Gate("127.0.0.1", "", CONTROL)) as url:
        yield url


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve pages to those who know a token."""
    with viewed(tmp_path_factory.mktemp("none"), gate=Gate("127.0.0.1", TOKEN, CONTROL)) as url:
        yield url


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_this_machine_needs_no_token(host: str) -> None:
    """Where nobody else can come, nobody is asked who they are."""
    assert Gate.at(host).token == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "localhost.evil.example", "box"])
def test_elsewhere_a_token_is_needed(host: str) -> None:
    """A name is not believed to be this machine's: who knows where it leads."""
    assert not is_local(host)
    assert len(Gate.at(host).token) >= 32


def test_tokens_are_never_the_same() -> None:
    """Each process has its own, and that of visitors is not that of controls."""
    one, other = Gate.at("0.0.0.0"), Gate.at("0.0.0.0")
    assert len({one.token, one.control, other.token, other.control}) == 4


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1@evil.example",
        "127.0.0.1/evil.example",
        "127.0.0.1#evil.example",
        "127.0.0.1:80:80",
        "127.0.0.1:port",
        "127.1",
        "2130706433",
        "localhost.",
        "[::1",
        "[::1]evil.example",
        "a[b]",
        "[::2]",
        "10.1.2.3",
        "0.0.0.0",
        "\xff",
        "",
    ],
)
def test_a_name_that_is_not_ours_is_refused(here: str, host: str) -> None:
    """A name of somebody else's that leads to this machine (DNS rebinding) is of no use to them."""
    assert asked(here, Host=host).status == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LocalHost", "[::1]:8050"])
def test_a_name_of_ours_is_known(here: str, host: str) -> None:
    """Under whatever port: it may have been forwarded."""
    assert asked(here, Host=host).status == 200


def test_who_says_no_name_or_two_is_refused(here: str) -> None:
    """HTTP itself wants exactly one."""
    for names in ((), ("127.0.0.1", "127.0.0.1")):
        with connected(here) as link:
            lines = ("GET / HTTP/1.1", *(f"Host: {name}" for name in names), "", "")
            link.sendall("\r\n".join(lines).encode())
            assert link.recv(100).split()[1] == b"400"


def test_any_address_may_be_meant_where_a_token_is_needed(known: str) -> None:
    """A machine has several addresses; a name could still be somebody else's."""
    cookie = f"billp-{urlsplit(known).port}={TOKEN}"
    assert asked(known, Host=f"10.1.2.3:{urlsplit(known).port}", Cookie=cookie).status == 200
    assert asked(known, Host="evil.example", Cookie=cookie).status == 421


@pytest.mark.parametrize(
    ("path", "cookie"),
    [
        ("/", ""),
        ("/?token=", ""),
        ("/?token=another", ""),
        (f"/?token={TOKEN[:-1]}", ""),
        (f"/?token={TOKEN}x", ""),
        ("/?token=%ff%00", ""),
        ("/", "\xff"),
        ("/", TOKEN[:-1]),
        ("/static/look.css", ""),
        ("/events/run", ""),
        ("/nothing", ""),
    ],
)
def test_who_does_not_know_the_token_sees_nothing(known: str, path: str, cookie: str) -> None:
    """Not even which pages there are, or how they look; and no connection is kept for them."""
    answer = asked(known, path, Cookie=f"billp-{urlsplit(known).port}={cookie}")
    assert answer.status == 401
    assert answer.body == "The address of these pages ends with ?token=…; open that one.\n"
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (f"/?token={TOKEN}", "/"),
        (f"/run/a%20b?k=3&token={TOKEN}&step=1", "/run/a%20b?k=3&step=1"),
        (f"//evil.example/?token={TOKEN}", "/evil.example/"),
        (f"/%0d%0aSet-Cookie:a=b?token={TOKEN}", "/%0d%0aSet-Cookie:a=b"),
    ],
)
def test_the_token_leaves_the_address(known: str, path: str, place: str) -> None:
    """It goes into a cookie that no script reads; the way on leads to no other machine."""
    answer = asked(known, path)
    assert (answer.status, answer.headers["Location"].lower()) == (303, place.lower())
    port = urlsplit(known).port
    kept = f"billp-{port}={TOKEN}; HttpOnly; Path=/; SameSite=Lax"
    assert answer.headers["Set-Cookie"] == kept
    assert answer.headers["Cache-Control"] == "no-store"
    assert asked(known, Cookie=f"billp-{port}={TOKEN}").status == 200


@pytest.mark.parametrize("how", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_but_our_pages_does_more_than_look(here: str, how: str) -> None:
    """Whatever does more than look needs the control token, and a page of ours that asks."""
    assert asked(here, how=how).status == 403


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", "ftp://{}", "http://[::1", "{}"]
)
def test_a_control_needs_a_page_of_ours(here: str, origin: str) -> None:
    """Who knows the token, but is no page of ours, is refused."""
    told = origin.format(urlsplit(here).netloc)
    assert asked(here, how="POST", Origin=told, X_Billp_Control=CONTROL).status == 403


@pytest.mark.parametrize("token", ["", CONTROL[:-1], f"{CONTROL}x", "\xff", TOKEN])
def test_a_control_needs_its_token(here: str, token: str) -> None:
    """A page of ours that does not know it is refused; with it there is merely nothing to do."""
    ours = f"http://{urlsplit(here).netloc}"
    assert asked(here, how="POST", Origin=ours, X_Billp_Control=token).status == 403
    assert asked(here, how="POST", Origin=ours, X_Billp_Control=CONTROL).status == 405


def test_other_pages_can_only_lead_here(here: str) -> None:
    """What another page embeds or fetches is refused, also one of this machine; a link is fine."""
    for site in ("cross-site", "same-site"):
        for mode in ("no-cors", "cors", "websocket"):
            assert asked(here, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode).status == 403
        assert asked(here, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate").status == 200
    for site in ("none", "same-origin"):
        assert asked(here, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors").status == 200


@pytest.mark.parametrize("path", ["/", "/nothing", "/run/none", "/static/look.css", "/static/x"])
def test_every_answer_says_what_browsers_may_do(here: str, path: str) -> None:
    """Also an error is a page that a browser shows; and nobody is told which version this is."""
    for how in ("GET", "HEAD", "POST"):
        headers = asked(here, path, how=how).headers
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Server"] == "billp"
        assert "Access-Control-Allow-Origin" not in headers


def test_the_policy_lets_nothing_in() -> None:
    """Nothing inline, nothing from elsewhere, no code of text."""
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'")
    assert "*" not in POLICY
    assert "http" not in POLICY


def test_pages_are_not_kept_and_files_are(here: str) -> None:
    """A page is of its moment; a style may be kept for as long as its address is the same."""
    assert asked(here).headers["Cache-Control"] == "no-store"
    page = asked(here).body
    style = page.partition('stylesheet" href="')[2].partition('"')[0]
    assert "immutable" in asked(here, style).headers["Cache-Control"]
    assert asked(here, "/static/look.css?old").headers["Cache-Control"] == "no-cache"


def test_no_address_tells_a_token(known: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a page nor what the process says holds the token of visitors."""
    page = asked(known, Cookie=f"billp-{urlsplit(known).port}={TOKEN}").body
    asked(known, f"/?token={TOKEN}", how="BREW")
    assert TOKEN not in page + "".join(capfd.readouterr())


def test_what_is_no_request_is_not_told_of(here: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Who sends rubbish fills no screen: it may be one on which a run tells how it goes."""
    for rubbish in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"GET\r\n\r\n"):
        with connected(here) as link:
            link.sendall(rubbish)
            assert link.recv(100).startswith(b"HTTP/1.")
    assert capfd.readouterr() == ("", "")
