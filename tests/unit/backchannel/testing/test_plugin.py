"""The pytest plugin in a project of somebody's own: the fixtures are there by themselves."""

import pytest

BOT = """
import backchannel

producer = None

def say(text):
    global producer
    producer = producer or backchannel.Producer("kafka.nowhere:9092")
    with producer.interaction(conversation_id="c-1", intent=text) as turn:
        turn.usage(input_tokens=3, output_tokens=2)
"""
BOT_WITH_A_PRODUCER_AT_IMPORT = BOT.replace(
    "producer = None", 'producer = backchannel.Producer("kafka.nowhere:9092")'
)
TESTS = """
from backchannel.events import Interaction
import bot

def test_the_turn_is_recorded(backchannel_events):
    bot.say("refund")
    assert backchannel_events.one(Interaction).intent == "refund"
    backchannel_events.assert_no_loss()

def test_every_test_sees_its_own(backchannel_events):
    assert len(backchannel_events) == 0
    bot.say("hello")
    assert [turn.intent for turn in backchannel_events.of(Interaction)] == ["hello"]
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.syspathinsert()
    return pytester


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-oasyncio_default_fixture_loop_scope=function", *options)


def test_a_producer_that_is_made_in_the_test_is_recorded(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import backchannel
        from backchannel.events import Interaction

        async def answer(producer):
            async with producer.interaction(model="m"):
                pass

        async def test_it(backchannel_events, backchannel_producer):
            await answer(backchannel_producer)
            async with backchannel.Producer("kafka.nowhere:9092") as own:
                await answer(own)
            assert len(backchannel_events.of(Interaction)) == 2
            backchannel_events.assert_no_loss()
        """
    )
    run(project, "-oasyncio_mode=auto").assert_outcomes(passed=1)


def test_a_producer_that_is_made_at_import_is_recorded_when_the_project_says_so(
    project: pytest.Pytester,
) -> None:
    project.makeini("[pytest]\nbackchannel_in_memory = true")
    project.makepyfile(bot=BOT_WITH_A_PRODUCER_AT_IMPORT, test_bot=TESTS)
    run(project).assert_outcomes(passed=2)


def test_a_producer_that_outlives_a_test_is_recorded_in_the_next_one_too(
    project: pytest.Pytester,
) -> None:
    project.makeini("[pytest]\nbackchannel_in_memory = true")
    project.makepyfile(bot=BOT, test_bot=TESTS)
    run(project).assert_outcomes(passed=2)


def test_the_clock_of_a_test_stands_still_until_it_is_moved(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from backchannel.events import Interaction

        def test_it(backchannel_events, backchannel_clock, backchannel_producer):
            with backchannel_producer.interaction():
                backchannel_clock.advance(seconds=1.5)
            assert backchannel_events.one(Interaction).duration_us == 1_500_000
        """
    )
    run(project).assert_outcomes(passed=1)


def test_a_loss_fails_the_test_that_looks_for_it(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        def test_it(backchannel_events, backchannel_producer):
            with backchannel_producer.interaction(intnet="refund"):
                pass
            backchannel_events.assert_no_loss()
        """
    )
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*1 fields did not fit and were cut or left out*"])


def test_without_a_fixture_the_plugin_does_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from backchannel.stand_in import stand_in

        def test_it():
            assert stand_in() is None
        """
    )
    run(project).assert_outcomes(passed=1)
