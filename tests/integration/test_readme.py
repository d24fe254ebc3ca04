"""The README's first five minutes: its Python and SQL run as they stand."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backchannel import Producer
from support.stack import Stack, eventually

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")

pytestmark = pytest.mark.integration


def blocks(mark: str) -> list[str]:
    return re.findall(rf"<!-- run: {mark} -->\n```\w+\n(.*?)```", README, re.DOTALL)


@dataclass
class Reply:
    """What a model's answer looks like to the README's bot."""

    text: str = "hello"
    input_tokens: int = 374
    output_tokens: int = 44


async def test_the_bot_of_the_readme_publishes_its_turn(stack: Stack) -> None:
    async def search(question: str) -> list[str]:
        return [question]

    async def ask_model(question: str, documents: list[str]) -> Reply:
        return Reply()

    names: dict[str, Any] = {"search": search, "ask_model": ask_model}
    [bot] = blocks("bot")
    exec(bot.replace("127.0.0.1:19092", stack.kafka), names)

    assert await names["answer"]("why?") == "hello"
    eventually(
        lambda: tuple(
            stack.sql(
                "SELECT input_tokens, output_tokens, service, mapKeys(components) FROM events"
                " WHERE conversation_id = 'c-17'"
            )
        ),
        (374, 44, "support-bot", ["rag_retrieval", "llm_generation"]),
    )


def test_the_subscriber_of_the_readme_is_python_that_compiles() -> None:
    [subscriber] = blocks("alerts")

    compile(subscriber, "README.md", "exec")


@pytest.mark.parametrize("statement", blocks("sql"), ids=lambda sql: sql.splitlines()[0][3:40])
def test_the_sql_of_the_readme_runs(stack: Stack, statement: str) -> None:
    done = stack.cli("sql", statement)

    assert done.returncode == 0, done.stderr


def test_the_lines_that_up_prints_work_when_pasted(stack: Stack) -> None:
    import subprocess
    import sys

    printed = (stack.data_dir.parent / f"{stack.data_dir.name}-up.log").read_text()
    [code] = re.findall(r'python -c "(.*)"', printed)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    eventually(lambda: tuple(stack.sql("SELECT count() FROM events WHERE service = 'hello'")), (1,))


def test_the_doctor_finds_the_stack_that_runs_here_and_finds_it_well(stack: Stack) -> None:
    done = stack.cli("doctor", "--json")

    examination = json.loads(done.stdout)
    assert (done.returncode, examination["healthy"]) == (0, True), done.stdout
    sources = {(each["role"], each["variable"]): each["source"] for each in examination["settings"]}
    assert sources["sink", "BACKCHANNEL_KAFKA"] == "the `up` that runs here"
    assert sources["producer", "BACKCHANNEL_KAFKA"] == "default"
    assert sources["up", "BACKCHANNEL_DATA_DIR"] == "environment"


def test_the_status_of_a_stack_that_runs_is_well(stack: Stack) -> None:
    with Producer(stack.kafka) as producer:
        producer.product("something to read")

    def status() -> tuple[bool, list[str]]:
        told = json.loads(stack.cli("status", "--json").stdout)
        tables = {each["table"]: each["age_s"] for each in told["status"]["tables"]}
        assert tables["events"] is None or tables["events"] < 600
        begun = [each["name"] for each in told["status"]["readers"] if each["has_begun"]]
        return told["healthy"], begun

    eventually(status, (True, ["worker", "sink"]))
