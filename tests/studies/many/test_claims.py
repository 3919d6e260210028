"""The papers' claims on storage beside the arithmetic of their own parameters."""

from vxlab.studies.many import beside_claims
from vxlab.studies.published import published_table


def test_a_million_adapters_take_what_the_papers_say_in_steps_of_1024() -> None:
    table = beside_claims()
    assert table["agrees"].all()
    found = dict(zip(zip(table["candidate"], table["claimed"], strict=True), table["bytes"], strict=True))
    assert found["LoRA r=16", "288 MB"] == 2 * 96 * 2 * 16 * 12288 * 4  # query and value of 96 blocks, A and B
    assert found["LoRA-XS r=16", "96 GB"] == 2 * 96 * 16**2 * 2 * 10**6
    assert table["counted"].tolist() == ["302 MB", "302 TB", "151 TB", "98 GB"]


def test_what_was_not_looked_up_says_so() -> None:
    assert set(published_table("storage")["certainty"]) == {"R"}
    assert set(beside_claims()["certainty"]) == {"recalled, not verified"}
