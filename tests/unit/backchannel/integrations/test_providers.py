"""One name for each provider."""

import pytest

from backchannel.integrations.providers import provider_at, provider_name


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("my-team.openai.azure.com", "azure"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", "aws"),
        ("API.Groq.com", "groq"),
        ("api.openai.com.evil.example", ""),
        ("localhost", ""),
        ("", ""),
    ],
)
def test_a_host_names_its_provider_and_a_strangers_host_none(host: str, provider: str) -> None:
    assert provider_at(host) == provider


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("azure.ai.openai", "azure"),
        ("gcp.vertex_ai", "google"),
        ("bedrock_converse", "aws"),
        ("x_ai", "x-ai"),
        ("OpenAI", "openai"),
        ("home_grown", "home_grown"),
    ],
)
def test_dialects_become_one_name(theirs: str, ours: str) -> None:
    assert provider_name(theirs) == ours
