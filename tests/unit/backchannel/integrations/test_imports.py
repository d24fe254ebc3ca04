"""An integration costs nothing until it is used, and says what is missing when it can't be."""

import subprocess
import sys

import pytest

LIBRARIES = ("openai", "anthropic", "langchain_core", "litellm", "opentelemetry.sdk")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_base_import_brings_in_no_integration_and_none_of_their_libraries() -> None:
    code = (
        "import sys, backchannel;"
        "print([name for name in sys.modules"
        f" if name.startswith('backchannel.integrations') or name in {LIBRARIES!r}])"
    )

    assert run(code) == "[]"


def test_wrapping_needs_no_library_but_the_one_whose_client_is_wrapped() -> None:
    code = (
        "import sys, backchannel.integrations.openai, backchannel.integrations.anthropic;"
        f"print([name for name in {LIBRARIES!r} if name in sys.modules])"
    )

    assert run(code) == "[]"


def test_the_price_table_never_shows_openais_client_a_library_half_imported() -> None:
    code = (
        "import sys, openai, backchannel;"
        "backchannel.Producer('127.0.0.1:1', health_interval_s=0);"
        "print(hasattr(sys.modules.get('httpx2'), 'Timeout'))"
    )

    assert run(code) == "True"


@pytest.mark.parametrize(
    ("extra", "library"),
    [
        ("langchain", "langchain_core"),
        ("litellm", "litellm"),
        ("opentelemetry", "opentelemetry"),
    ],
)
def test_a_missing_library_is_told_with_the_extra_to_install(extra: str, library: str) -> None:
    code = (
        "import sys\n"
        f"sys.modules[{library!r}] = None\n"
        "try:\n"
        f"    import backchannel.integrations.{extra}\n"
        "except ImportError as error:\n"
        "    print(error)"
    )

    assert f'pip install "backchannel[{extra}]"' in run(code)
