"""Replies in a store, on SQLite and on Postgres, also in one that an older vxlab made."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import postgres
import pytest
from sqlalchemy import inspect

from vxlab.experiments.store.replies import reply_key
from vxlab.experiments.store.store import Store


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "runs.db")
    server: postgres.Server = request.getfixturevalue("server")
    return server.emptied()


def test_a_reply_is_kept_once_and_the_first_stays(where, tmp_path):
    with Store(where, folder=tmp_path / "runs") as store:
        tables = store._database.do(lambda connection: inspect(connection).get_table_names())
        assert "replies" not in tables
        assert store.replies.find(["a" * 64]) == {}
        store.replies.keep("a" * 64, {"about": 1}, {"text": "first"})
        store.replies.keep("a" * 64, {"about": 1}, {"text": "second"})
    with Store(where, folder=tmp_path / "runs") as store:
        (found,) = store.replies.find(["a" * 64, "b" * 64]).values()
        assert found.reply == {"text": "first"}
        assert found.asked == {"about": 1}
        assert abs(found.at - store.now()) < 60
        assert len(store.table()) == 0


def test_texts_that_a_database_does_not_take_are_kept(where, tmp_path):
    with Store(where, folder=tmp_path / "runs") as store:
        store.replies.keep("c" * 64, {}, {"text": "a\0b\ud800c", "parts": ["é\0"]})
        assert store.replies.find(["c" * 64])["c" * 64].reply == {"text": "a�b?c", "parts": ["é�"]}


def test_many_may_keep_replies_in_a_new_store_at_once(where, tmp_path):
    keys = [reply_key({"number": number}) for number in range(40)]

    def keep(key: str) -> None:
        with Store(where, folder=tmp_path / "runs") as store:
            store.replies.keep(key, {}, {"text": key})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, keys))
    with Store(where, folder=tmp_path / "runs") as store:
        assert {key: found.reply["text"] for key, found in store.replies.find(keys).items()} == {k: k for k in keys}
