"""The form of a reply: asked for by what a service understands, found once, and said."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from agents.billp import actor, critic
from agents.models.model import ChatReply
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.forms import FORMS, Form, follows, form_fields, gbnf
from agents.models.remote.probing import CHOICE, greeting
from agents.models.remote.service import Account
from tests.support.answering import answering
from tests.support.drawn import CHARACTERS

Body = Mapping[str, Any]
Answer = Callable[[Body], web.Response]


def saying(content: str | None, **more: object) -> web.Response:
    message = {"content": content, **more}
    return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})


def refusing(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)


def form_in(body: Body) -> Form | None:
    """Return the form that a request asks for by its fields."""
    kind = body.get("response_format", {}).get("type")
    named: dict[str, Form] = {"json_schema": "json_schema", "json_object": "json_object"}
    if kind in named:
        return named[kind]
    if "tools" in body:
        return "tool"
    return "grammar" if "grammar" in body else None


def strict(body: Body, understood: Form, refusal: Callable[[], web.Response]) -> web.Response:
    """Answer as a service that understands one form only; of the others it takes no notice."""
    form = form_in(body)
    if form == "tool" == understood:
        call = {"id": "1", "type": "function", "function": {"arguments": '{"value": 2}'}}
        return saying(None, tool_calls=[call])
    if form == understood:
        return saying('{"value": 2}')
    return saying("OK.") if form is None else refusal()


REFUSALS: dict[str, Callable[[], web.Response]] = {
    "refused": lambda: refusing(400, "Unsupported parameter"),
    "by a name": lambda: refusing(422, "response_format: Extra inputs are not permitted"),
    "as llama.cpp does": lambda: refusing(400, "JSON schema error: no such keyword"),
    "with a fault of the server": lambda: refusing(500, "json_schema is not supported"),
    "passed over": lambda: saying("Sure! The value is one."),
}


def probed(answer: Answer) -> tuple[Form, int, ChatReply]:
    """Return the form that is found, in how many calls, and a reply in that form."""
    calls: list[Body] = []

    async def heard(request: web.BaseRequest) -> web.StreamResponse:
        calls.append(await request.json())
        return answer(calls[-1])

    async def soon(_: float) -> None:
        return

    async def main() -> tuple[Form, int, ChatReply]:
        async with (
            answering(heard) as url,
            OpenAIModel(Account(key="k", url=url)) as model,
        ):
            await model.probe(["m"], structured=True, sleep=soon)
            return model.form_of("m"), len(calls), await model.reply(greeting("m", CHOICE))

    return asyncio.run(main())


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("understood", FORMS[:-1])
def test_the_strictest_form_that_a_service_follows_is_found(understood: Form, refusal: str) -> None:
    """Whether it refuses the others, fails at them or takes no notice of them."""
    form, _, reply = probed(lambda body: strict(body, understood, REFUSALS[refusal]))
    assert (form, reply.text) == (understood, '{"value": 2}')


def test_who_follows_no_form_is_asked_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """And that is said, by the name of the service and the model."""
    form, _, reply = probed(lambda body: saying("The value is 1."))
    assert (form, reply.text) == ("text", "The value is 1.")
    told = capsys.readouterr()
    assert "follows no JSON schema" in told.out + told.err


def test_who_takes_schemas_is_asked_twice_and_nothing_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    form, calls, _ = probed(lambda body: strict(body, "json_schema", REFUSALS["refused"]))
    assert (form, calls) == ("json_schema", 2)
    assert capsys.readouterr() == ("", "")


def test_a_service_that_is_busy_says_nothing_of_forms() -> None:
    """Nothing is known of it, so what most services take is taken."""

    def busy(body: Body) -> web.Response:
        return saying("OK.") if form_in(body) is None else refusing(429, "Too many requests")

    async def main() -> Form:
        async def heard(request: web.BaseRequest) -> web.StreamResponse:
            return busy(await request.json())

        async with answering(heard) as url, OpenAIModel(Account(key="k", url=url)) as model:
            await model.probe(["m"], structured=True)
            return model.form_of("m")

    assert asyncio.run(main()) == "json_schema"


@given(st.lists(st.text(CHARACTERS, min_size=1), min_size=1, max_size=8))
def test_a_grammar_names_every_choice_as_json(titles: list[str]) -> None:
    """Its literals are the JSON texts of the choices, escaped for GBNF and nothing else."""
    lines = gbnf(actor.STRUCTURED.schema(titles)).removesuffix("\n").split("\n")
    assert lines[0] == 'root ::= "{\\"title\\": " value "}"'
    assert len(lines) == 2  # a line feed in a title would begin a rule
    for title in titles:
        escaped = json.dumps(title, ensure_ascii=False).replace("\\", "\\\\").replace('"', '\\"')
        assert f'"{escaped}"' in lines[1]


def test_grammars_of_numbers_and_texts() -> None:
    assert '"-5" | "-4"' in gbnf(critic.STRUCTURED.schema())
    assert "[^" in gbnf(actor.STRUCTURED.schema())
    two = '{"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}'
    with pytest.raises(ValueError, match="one field"):
        gbnf(two)


def test_a_tool_is_called_with_what_the_schema_asks_for() -> None:
    fields = form_fields(CHOICE, "tool")
    (tool,) = fields["tools"]
    assert json.loads(bytes(tool["function"]["parameters"])) == json.loads(CHOICE)
    assert fields["tool_choice"]["function"]["name"] == tool["function"]["name"]
    assert form_fields(CHOICE, "text") == {}


@pytest.mark.parametrize(
    ("text", "well"),
    [
        ('{"value": 1}', True),
        (' {"value": 2, "why": "so"}', True),
        ('{"value": 3}', False),
        ('{"values": 1}', False),
        ("1", False),
        ("[1]", False),
        ("", False),
        ("{" * 100_000, False),
    ],
)
def test_what_follows_a_schema_is_told_from_what_does_not(text: str, well: bool) -> None:
    assert follows(text, CHOICE) is well
