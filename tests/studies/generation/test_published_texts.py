"""The papers' table as it is printed."""

from vxlab.studies.generation import published_texts


def test_a_row_a_model_and_method_with_all_five_metrics() -> None:
    table = published_texts().set_index(["model", "method"])
    assert len(table) == 4
    assert table.loc[("GPT2-medium", "vera"), ["bleu", "nist", "meteor", "rouge_l", "cider"]].tolist() == [
        70.1, 8.81, 46.6, 71.5, 2.5,
    ]  # fmt: skip
