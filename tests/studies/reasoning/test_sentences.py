"""Sentences say what the tables hold: a signal or that there is none, and always what is below the base."""

import pandas as pd
import pytest

from vxlab.studies.reasoning import AVERAGE_COLUMNS, SET_COLUMNS, reasoning_conclusion

NO_AVERAGES = pd.DataFrame(columns=list(AVERAGE_COLUMNS))
_ROW = {"sweep": "arc", "set": "arc", "items": 100, "trivial": 0.25, "trivial_name": "most frequent position"}


def table(*rows: tuple[str, str, float, float, float], **changes: object) -> pd.DataFrame:
    """Return scores of rows of candidate, metric, score, gain and p after Holm; of the base gain is NaN."""
    made = [
        _ROW
        | {"candidate": candidate, "metric": metric, "score": score, "gain": gain, "p_holm": p}
        | {
            "gain_low": gain - 0.05,
            "gain_high": gain + 0.05,
            "headline": metric != "log_likelihood",
            "base": candidate == "untuned base",
        }
        | changes
        for candidate, metric, score, gain, p in rows
    ]
    return pd.DataFrame(made).reindex(columns=list(SET_COLUMNS))


NAN = float("nan")
SCORES = table(
    ("untuned base", "acc", 0.54, NAN, NAN),
    ("LoRA r=8", "acc", 0.66, 0.12, 0.01),
    ("VeRA r=256", "acc", 0.50, -0.04, 0.4),
    ("LoRA-XS r=16", "acc", 0.44, -0.10, 0.02),
    ("untuned base", "log_likelihood", -4.0, NAN, NAN),
    ("LoRA r=8", "log_likelihood", -2.5, 1.5, 0.001),
    ("VeRA r=256", "log_likelihood", -4.4, -0.4, 0.001),
    ("LoRA-XS r=16", "log_likelihood", -3.9, 0.1, 0.3),
)


def test_gains_losses_and_what_is_not_told_apart_are_told_of_each_set() -> None:
    signal, arc = reasoning_conclusion(SCORES, NO_AVERAGES).splitlines()
    assert signal == (
        "- **A signal beyond the base: 1 of 3 accuracies shown above the untuned base's** (after Holm's correction "
        "over the candidates of each set, not over the sets); **LoRA-XS r=16 on arc shown below it**, and 2 of the "
        "means are lower than the base's."
    )
    assert arc == (
        "- arc (accuracy by likelihood, 100 test items): untuned base 54.0 %; "
        "**LoRA r=8 12.0 points above** (95 % 7.0 to 17.0); VeRA r=256 not told apart (−4.0 points, 95 % −9.0 to 1.0); "
        "**LoRA-XS r=16 10.0 points below** (95 % −15.0 to −5.0). The simplest answer (most frequent position) scores "
        "25.0 %. The right answers are shown likelier than under the base by 1 of 3, and less likely by VeRA r=256; "
        "the most by LoRA r=8, 1.500 nats of log-likelihood per token."
    )


def test_another_accuracy_of_the_set_is_told_beside_it() -> None:
    rows = table(
        ("untuned base", "acc_norm", 0.32, NAN, NAN),
        ("LoRA r=8", "acc_norm", 0.50, 0.18, 0.01),
        ("VeRA r=256", "acc_norm", 0.30, -0.02, 0.9),
        headline=False,
    )
    told = reasoning_conclusion(pd.concat([SCORES, rows]), NO_AVERAGES)
    assert "Accuracy by likelihood per character: untuned base 32.0 %, 1 of 2 shown above it, none below." in told


def test_where_nothing_is_shown_the_page_says_that_there_is_no_signal() -> None:
    rows = table(("untuned base", "acc", 0.2, NAN, NAN), ("LoRA r=8", "acc", 0.21, 0.01, 0.9))
    told = reasoning_conclusion(rows, NO_AVERAGES)
    assert "The simplest answer (most frequent position) scores 25.0 %, more than the untuned base." in told
    assert "**No signal beyond the base: none of 1 accuracy is shown above the untuned base's**" in told
    assert "none is shown below it, and 0 of the means are lower than the base's." in told


def test_a_set_on_which_hardly_anything_is_right_is_said_to_tell_nothing() -> None:
    rows = table(("untuned base", "gsm8k", 0.0, NAN, NAN), ("LoRA r=8", "gsm8k", 0.03, 0.03, 0.9))
    told = reasoning_conclusion(rows, NO_AVERAGES)
    assert "Hardly an answer is right here (3.0 % at most), so that this accuracy says next to nothing" in told
    assert "Hardly" not in reasoning_conclusion(SCORES, NO_AVERAGES)


def test_the_mean_over_sets_has_a_sentence() -> None:
    rows = [
        ("arc, obqa", "acc", "untuned base", 0.36, NAN, NAN, NAN, NAN, False),
        ("arc, obqa", "acc", "LoRA r=8", 0.40, 0.04, 0.01, 0.07, 0.03, True),
    ]
    averages = pd.DataFrame(rows, columns=list(AVERAGE_COLUMNS))
    assert reasoning_conclusion(SCORES, averages).splitlines()[-1] == (
        "- Mean of arc, obqa (accuracy by likelihood): untuned base 36.0 %; **LoRA r=8 4.0 points above** (95 % 1.0 to "
        "7.0)."
    )


@pytest.mark.parametrize("rows", [SCORES[SCORES["candidate"] != "untuned base"].assign(gain=NAN)])
def test_without_a_base_nothing_is_said_of_gains(rows: pd.DataFrame) -> None:
    assert reasoning_conclusion(rows, NO_AVERAGES).startswith("There is no untuned base beside the candidates")
