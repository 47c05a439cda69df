"""Which models a run asks, by which way, and how their replies are drawn."""

from msgspec import UNSET

from sim.config.layers import configured, parse_set
from sim.runs.models import model_settings, samplings_of

HERE, THERE = "http://here.example/v1", "http://there.example/v1"


def test_kind_and_way_of_asking_are_of_the_service_beside_which_they_stand() -> None:
    """A role elsewhere asks another service, of which nothing was said."""
    config = configured(
        {"base_url": HERE, "service": "vllm", "api": "responses", "planner": {"base_url": THERE}}
    )
    roles = model_settings(config).roles
    elsewhere, same = roles["planner"].way, roles["actor"].way
    assert (elsewhere.url, elsewhere.service, elsewhere.api) == (THERE, "auto", "chat")
    assert (same.url, same.service, same.api) == (HERE, "vllm", "responses")


def test_what_goes_without_saying_is_not_said() -> None:
    """So requests have the digests of before there was an effort."""
    drawn = samplings_of(configured({"actor": {"effort": "low", "reasoning_tokens": 9}}))
    assert (drawn["planner"].effort, drawn["planner"].reasoning_tokens) == (UNSET, UNSET)
    assert (drawn["actor"].effort, drawn["actor"].reasoning_tokens) == ("low", 9)


def test_a_service_may_have_a_dot_in_its_name() -> None:
    assert configured(parse_set("service=llama.cpp")).service == "llama.cpp"
