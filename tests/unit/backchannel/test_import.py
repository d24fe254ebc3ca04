"""What `import backchannel` brings into a bot's process."""

import subprocess
import sys

ALLOWED = {
    "annotated_types",
    "backchannel",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
}
"""aiokafka comes later, in the sender's own thread: it takes a quarter of a second."""


def printed(program: str) -> str:
    """Returns what a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout


def test_importing_it_imports_the_standard_library_pydantic_and_nothing_else() -> None:
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import backchannel\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    strange = {
        name
        for name in printed(program).split()
        if name not in sys.stdlib_module_names and not name.startswith("_sysconfigdata")
    }
    assert strange <= ALLOWED


def test_importing_it_starts_no_thread_and_opens_nothing() -> None:
    program = (
        "import sys, threading\n"
        "opened = []\n"
        "watch = ('socket.', 'subprocess.', 'os.fork')\n"
        "sys.addaudithook(lambda name, _: name.startswith(watch) and opened.append(name))\n"
        "import backchannel\n"
        "print(threading.active_count(), opened)"
    )
    assert printed(program).strip() == "1 []"


def test_importing_it_loads_nothing_that_only_a_made_producer_needs() -> None:
    program = (
        "import sys\n"
        "import backchannel\n"
        "late = {'asyncio', 'concurrent.futures', 'socket', 'ssl', 'subprocess', 'fcntl',\n"
        "        'difflib', 'backchannel.shaping.masking'}\n"
        "print(sorted(late & set(sys.modules)),\n"
        "      sorted(name for name in sys.modules if name.startswith('backchannel.sending.')))"
    )
    part = "backchannel.sending."
    assert printed(program).strip() == "[] " + repr(
        [part + name for name in ("intake", "jsonl", "memory", "stats", "transport")]
    )


def test_where_files_have_no_locks_only_what_needs_them_is_refused() -> None:
    program = (
        "import sys\n"
        "from importlib import util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'fcntl' else find(name)\n"
        "sys.modules['fcntl'] = None\n"
        "import backchannel\n"
        "with backchannel.Producer(transport=backchannel.MemoryTransport()) as producer:\n"
        "    producer.marker('note')\n"
        "print(producer.stats().dropped)\n"
        "spilling = {'on_full': 'spill', 'spill_directory': '.'}\n"
        "for make in (lambda: backchannel.JsonlTransport('events.jsonl'),\n"
        "             lambda: backchannel.Producer('localhost:9092', **spilling)):\n"
        "    try: make()\n"
        "    except backchannel.SettingsError as error: print(error)\n"
    )
    nothing_dropped, jsonl, spill = printed(program).splitlines()
    assert nothing_dropped == "{}"
    assert "JsonlTransport needs locks" in jsonl
    assert "on_full=spill needs locks" in spill


def test_importing_it_builds_no_model_and_loads_nothing_that_only_readers_need() -> None:
    program = (
        "import sys\n"
        "import backchannel\n"
        "from backchannel.events import EVENT_TYPES\n"
        "late = ('alert', 'buckets', 'closed_conversation', 'content', 'control', 'windows')\n"
        "print([name for name in late if f'backchannel.events.{name}' in sys.modules],\n"
        "      [name for name, model in EVENT_TYPES.items() if model.__pydantic_complete__])"
    )
    assert printed(program).strip() == "[] []"
