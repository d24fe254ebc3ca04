"""Work that others go on beside."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

__all__ = ["cancelled", "first_failure", "waited"]

T = TypeVar("T")


async def first_failure(work: Coroutine[Any, Any, T], *others: "asyncio.Task[Any]") -> T:
    """Waits for the work, and ends with the error of any of the others that ends meanwhile."""
    main = asyncio.create_task(work)
    try:
        await asyncio.wait([main, *others], return_when=asyncio.FIRST_COMPLETED)
        for each in others:
            if each.done():
                each.result()
        return await main
    finally:
        await cancelled(main)


async def waited(tasks: "Collection[asyncio.Task[Any]]", most_s: float) -> None:
    """Waits until all tasks are done, but not for longer than that."""
    if tasks:
        await asyncio.wait(tasks, timeout=most_s)


async def cancelled(*tasks: "asyncio.Task[Any]") -> None:
    """Cancels tasks and waits for their ends."""
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
