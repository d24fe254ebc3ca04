"""One name for each provider, whatever a library calls it: that of the price table."""

__all__ = ["provider_at", "provider_name"]

_NAMES = {
    # theirs (OpenTelemetry, litellm, LangChain, OpenInference) -> ours (genai-prices)
    "amazon_bedrock": "aws",
    "aws.bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "moonshot_ai": "moonshotai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai": "google",
    "vertexai": "google",
    "x_ai": "x-ai",
    "xai": "x-ai",
}
_HOSTS = {
    # the end of a host's name -> the provider behind it
    "amazonaws.com": "aws",
    "api.anthropic.com": "anthropic",
    "api.cerebras.ai": "cerebras",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.moonshot.ai": "moonshotai",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.together.xyz": "together",
    "api.x.ai": "x-ai",
    "azure-api.net": "azure",
    "cognitiveservices.azure.com": "azure",
    "googleapis.com": "google",
    "openai.azure.com": "azure",
    "openrouter.ai": "openrouter",
    "services.ai.azure.com": "azure",
}


def provider_name(theirs: str) -> str:
    """Returns our name for a provider; one that is not in the table keeps its own, in small
    letters."""
    name = theirs.strip().lower()
    return _NAMES.get(name, name)


def provider_at(host: str) -> str:
    """Returns the provider behind a host; empty when the host is none that is known.

    A gateway or a server of one's own may hold any model at any price: to call it by the name of
    the provider whose protocol it speaks would make wrong costs out of it.
    """
    name = host.lower().rstrip(".")
    while name:
        if name in _HOSTS:
            return _HOSTS[name]
        _, _, name = name.partition(".")
    return ""
