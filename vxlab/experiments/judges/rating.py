"""Ask a judge for ratings, each kept as it comes: what a store has is not asked again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from vxlab.errors import VxlabError
from vxlab.experiments.judges.asking import JudgeError, Messages, asking
from vxlab.experiments.judges.judge import Judge
from vxlab.experiments.judges.rating_words import find_rating
from vxlab.experiments.store import KeptReply, Store, reply_key

TRIES = 3
"""Times a judge is asked for one rating whose replies hold none."""


@dataclass(frozen=True)
class Wanted:
    """A rating to be had."""

    messages: Messages
    """what the judge is asked"""
    repeat: int
    """of the same, from 0"""
    question: int
    turn: int

    def key(self, judge: Judge, again: int) -> str:
        """Return the key of a reply: all that decides it, and not the server's address.

        Args:
            judge: who is asked.
            again: how often it was asked for this rating before, and said none.
        """
        return reply_key({
            "judge": judge.model, "temperature": judge.temperature, "max_tokens": judge.max_tokens,
            "messages": self.messages, "repeat": self.repeat, "again": again,
        })  # fmt: skip


class Rated(NamedTuple):
    """What came of it."""

    rating: float | None
    """None where no reply held one"""
    unparsable: int
    """replies that held none"""
    judge: str
    """the name that the server answered under, in the last reply"""
    url: str
    """at which that was asked"""
    at: float
    """epoch seconds of the last reply"""


def rate(
    wanted: Sequence[Wanted],
    judge: Judge,
    store: Store,
    done: Callable[[int], object] = lambda ratings: None,
) -> list[Rated]:
    """Return what came of each rating that is wanted, from the store or else from the judge.

    A reply without a rating is kept too, and the judge is asked again, up to :data:`TRIES` times in all.

    Args:
        wanted: the ratings; for those that ask the same the judge is asked once.
        judge: whom to ask.
        store: where replies are kept.
        done: told how many ratings more are settled.

    Raises:
        VxlabError: the judge cannot be asked; what came before is kept.
    """
    found: dict[int, Rated] = {}
    for again in range(TRIES):
        numbers: dict[str, list[int]] = {}
        for number in range(len(wanted)):
            if number not in found:
                numbers.setdefault(wanted[number].key(judge, again), []).append(number)
        kept, told = store.replies.find(numbers), ""
        lacking = {key: wanted[same[0]] for key, same in numbers.items() if key not in kept}
        try:
            for key, reply in chain(kept.items(), _ask_all(lacking, judge, store)):
                rating = find_rating(reply.reply["text"])
                if rating is not None or again == TRIES - 1:
                    unparsable = again + (rating is None)
                    rated = Rated(rating, unparsable, reply.reply["judge"], reply.reply["url"], reply.at)
                    found |= dict.fromkeys(numbers[key], rated)
                    done(len(numbers[key]))
        except JudgeError as error:
            told = str(error)
        if told:  # outside of what caught it: its frames know the key
            raise VxlabError(
                f"{told}\n{len(found)} of {len(wanted)} ratings are kept in {store.name}; call the same again, and it "
                "goes on from there"
            )
    return [found[number] for number in range(len(wanted))]


def _ask_all(lacking: Mapping[str, Wanted], judge: Judge, store: Store) -> Iterator[tuple[str, KeptReply]]:
    """Ask for replies, several at once, keep each and yield it; after a failure what is under way is still kept.

    Raises:
        JudgeError: of the first that failed.
    """
    if not lacking:
        return
    failed: BaseException | None = None
    with asking(judge) as ask:
        pool = ThreadPoolExecutor(judge.at_once)
        waiting = {pool.submit(ask, wanted.messages): key for key, wanted in lacking.items()}
        try:
            for future in as_completed(waiting):
                if future.cancelled():
                    continue
                key, error = waiting[future], future.exception()
                if error is None:
                    reply, one = future.result(), lacking[key]
                    about = {"judge": judge.model, "question": one.question, "turn": one.turn, "repeat": one.repeat}
                    said = {"text": reply.text, "ended": reply.ended, "judge": reply.model, "url": judge.url}
                    yield key, store.replies.keep(key, about, said)
                elif failed is None:
                    failed = error
                    for each in waiting:  # the pool's own way to cancel would leave us waiting for them
                        each.cancel()
        finally:  # after Ctrl-C nobody waits for replies that are under way
            pool.shutdown(wait=False, cancel_futures=True)
    if failed is not None:
        raise failed
