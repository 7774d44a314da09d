"""The meeting of the processes that torchrun has started, anew after each of its restarts.

torchrun keeps one store of keys over all restarts, and does not tell the processes how often they have met. One that
reads what a dead one has written there waits for ever, so those that are alive agree on a part of it of their own.
"""

import json
import time
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

ANSWER_S = 2.0
"""How long the first process waits for the others' answers before it asks anew."""


def own_part(store: "Store", rank: int, number: int) -> "Store":
    """Return a part of `store` that only the processes which are alive now use; waits until all `number` are there."""
    from torch.distributed.distributed_c10d import PrefixStore

    name = uuid.uuid4().hex
    store.set(f"corolla/names/{rank}", name)
    meeting = _call(store, number) if rank == 0 else _answer(store, rank, number, name)
    return PrefixStore(f"corolla/{meeting}", store)


def _call(store: "Store", number: int) -> str:
    """Call the others by the names that they have given, until each has answered to its own."""
    while True:
        names = [store.get(f"corolla/names/{rank}").decode() for rank in range(number)]
        meeting = uuid.uuid4().hex
        store.set("corolla/call", json.dumps([meeting, names]))
        if _appear(store, [f"corolla/{meeting}/here/{rank}" for rank in range(1, number)], ANSWER_S):
            store.set(f"corolla/{meeting}/begins", "")
            return meeting  # else one of the names was a dead process's


def _answer(store: "Store", rank: int, number: int, name: str) -> str:
    """Answer each call that has the own name, until one of them has the answers of all."""
    while True:  # who waits for the end of one call does not hear the next, nor meet who comes between the two
        meeting, names = json.loads(store.get("corolla/call"))
        if len(names) == number and names[rank] == name:
            store.set(f"corolla/{meeting}/here/{rank}", "")
            if store.check([f"corolla/{meeting}/begins"]):
                return meeting
        time.sleep(0.05)


def _appear(store: "Store", keys: list[str], seconds: float) -> bool:
    """Wait for some keys, but not longer than that; True where all are there. (`Store.wait` warns on the screen.)"""
    end = time.monotonic() + seconds
    while not store.check(keys):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
