"""The sets that are known by name, of reasoning, instructions and images: where each lies, and whose it is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from vxlab.experiments.tasks.sets.questions import Endings, Gap, Question

_CHOSEN = ("acc", "acc_norm", "log_likelihood")
_CHOSEN_PLAINLY = ("acc", "log_likelihood")  # answers of one length, or the same words after each: nothing to normalise
WORDS = ("log_likelihood", "answer_word", "exact_match")
"""of sentences that name the answer, as LLM-Adapters' do"""
_KEYED = ("choices", "answerKey")


@dataclass(frozen=True, kw_only=True)
class NamedSet:
    """Describe a data set that is known by its name.

    Args:
        others: names that people write too, in small letters and digits.
        hub: its data sets, ``org/name`` or ``org/name:configuration``, whose rows are joined; () where it is on none.
        hub_test: another data set, of the test split.
        files: names of files without a split's name, in small letters and digits, and which split each is.
        official: the split that published scores are of, "" where there is none; the labels of many tests are secret.
        metrics: the first chooses the checkpoint.
        citation: its paper, and its licence.
    """

    others: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()
    hub_test: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    official: str = ""
    metrics: tuple[str, ...]
    citation: str


@dataclass(frozen=True, kw_only=True)
class ChoiceSet(NamedSet):
    """Describe a set of questions with answers to choose from.

    Args:
        questions: how a row asks, in each layout that the set's own fields come in.
        words: the words by which LLM-Adapters' copy of the set names its answers.
        shared: a column that several rows have alike, so that they are no independent questions; "" where there is
            none.
    """

    questions: tuple[Question, ...]
    words: tuple[str, ...]
    shared: str = ""


@dataclass(frozen=True, kw_only=True)
class WrittenSet(NamedSet):
    """Describe a set whose answers are written.

    Args:
        prompt: with places for columns; "" is Alpaca's, of instruction and input.
        answer: the column of what is written.
        mark: what every answer holds, before what is scored; "" is nothing.
        tested_on: sets whose test splits are this one's, which has none of its own.
        rows_of: another set, whose rows it trains on.
        skip_empty: leave out rows without an answer.
    """

    prompt: str = ""
    answer: str
    mark: str = ""
    tested_on: tuple[str, ...] = ()
    rows_of: str = ""
    skip_empty: bool = False

    @property
    def asks(self) -> tuple[str, ...]:
        """The columns that a prompt is written from."""
        return tuple(re.findall(r"\{(\w+)\}", self.prompt)) or ("instruction",)


@dataclass(frozen=True, kw_only=True)
class ImageSet(NamedSet):
    """Describe a set of images with a class each.

    Args:
        metrics: the first chooses the checkpoint.
        label: the column of the class on the hub.
        sizes: images of the official splits; empty where there are none.
        test_is_validation: whether the hub calls the official test split validation.
        note: what to know of its splits, "" is nothing.
    """

    metrics: tuple[str, ...] = ("accuracy", "f1_macro")
    label: str = "label"
    sizes: Mapping[str, int] = field(default_factory=dict)
    test_is_validation: bool = False
    note: str = ""


def _words(stem: str, count: int) -> tuple[str, ...]:
    return tuple(f"{stem}{number}" for number in range(1, count + 1))


_ARC = (Question("Question: {question}\nAnswer:", *_KEYED),)
_ARC_CITATION = (
    "Clark et al., Think you have Solved Question Answering? Try ARC, the AI2 Reasoning Challenge, 2018 (CC BY-SA 4.0)"
)
_BOOLQ = "{passage}\nQuestion: {question}?\nAnswer:"

CHOICE_SETS = {
    "boolq": ChoiceSet(
        hub=("aps/super_glue:boolq",),
        questions=(Question(_BOOLQ, ("no", "yes"), "label"), Question(_BOOLQ, ("no", "yes"), "answer")),
        words=("true", "false"),
        shared="passage",
        official="validation",
        metrics=_CHOSEN_PLAINLY,
        citation="Clark et al., BoolQ: Exploring the Surprising Difficulty of Natural Yes/No Questions, NAACL 2019 "
        "(CC BY-SA 3.0)",
    ),
    "piqa": ChoiceSet(
        others=("physicaliqa",),
        hub=("baber/piqa",),
        questions=(Question("Question: {goal}\nAnswer:", ("{sol1}", "{sol2}"), "label"),),
        words=_words("solution", 2),
        official="validation",
        metrics=_CHOSEN,
        citation="Bisk et al., PIQA: Reasoning about Physical Commonsense in Natural Language, AAAI 2020 (AFL 3.0)",
    ),
    "siqa": ChoiceSet(
        others=("socialiqa", "socialiq"),
        hub=("lighteval/siqa",),
        questions=(Question("Q: {context} {question}\nA:", ("{answerA}", "{answerB}", "{answerC}"), "label", first=1),),
        words=_words("answer", 3),
        shared="context",
        official="validation",
        metrics=_CHOSEN_PLAINLY,
        citation="Sap et al., Social IQa: Commonsense Reasoning about Social Interactions, EMNLP 2019 (CC BY 4.0)",
    ),
    "hellaswag": ChoiceSet(
        hub=("Rowan/hellaswag",),
        questions=(Endings("{activity_label}: {ctx_a} {ctx_b}", "endings", "label"),),
        words=_words("ending", 4),
        shared="source_id",  # a video, or an article
        official="validation",
        metrics=_CHOSEN,
        citation="Zellers et al., HellaSwag: Can a Machine Really Finish Your Sentence?, ACL 2019 (MIT)",
    ),
    "winogrande": ChoiceSet(
        others=("winograndexl",),
        hub=("allenai/winogrande:winogrande_xl",),
        questions=(Gap("{sentence}", ("{option1}", "{option2}"), "answer", first=1),),
        words=_words("option", 2),
        official="validation",
        metrics=_CHOSEN_PLAINLY,
        citation="Sakaguchi et al., WinoGrande: An Adversarial Winograd Schema Challenge at Scale, AAAI 2020 (CC BY)",
    ),
    "arc_easy": ChoiceSet(
        others=("arce",),
        hub=("allenai/ai2_arc:ARC-Easy",),
        questions=_ARC,
        words=_words("answer", 5),
        official="test",
        metrics=_CHOSEN,
        citation=_ARC_CITATION,
    ),
    "arc_challenge": ChoiceSet(
        others=("arcc",),
        hub=("allenai/ai2_arc:ARC-Challenge",),
        questions=_ARC,
        words=_words("answer", 5),
        official="test",
        metrics=_CHOSEN,
        citation=_ARC_CITATION,
    ),
    "openbookqa": ChoiceSet(
        others=("obqa",),
        hub=("allenai/openbookqa:main",),
        questions=(Question("{question_stem}", *_KEYED),),
        words=_words("answer", 4),
        official="test",
        metrics=_CHOSEN,
        citation="Mihaylov et al., Can a Suit of Armor Conduct Electricity? A New Dataset for Open Book Question "
        "Answering, EMNLP 2018 (Apache 2.0)",
    ),
}

_MATH_CITATION = "Hendrycks et al., Measuring Mathematical Problem Solving With the MATH Dataset, NeurIPS 2021 (MIT)"
_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
_METAMATH = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{query}\n\n### Response: Let's think step by step."
)
_METAMATH_CITATION = (
    "Yu et al., MetaMath: Bootstrap Your Own Mathematical Questions for Large Language Models, ICLR 2024 (MIT)"
)
ADAPTERS_CITATION = (
    "Hu et al., LLM-Adapters: An Adapter Family for Parameter-Efficient Fine-Tuning of Large Language Models, EMNLP "
    "2023 (ODC-By)"
)


def _commonsense(file: str) -> WrittenSet:
    return WrittenSet(
        files={file: "train"},
        answer="output",
        tested_on=tuple(CHOICE_SETS),
        metrics=WORDS,
        citation=ADAPTERS_CITATION,
    )


WRITTEN_SETS = {
    "gsm8k": WrittenSet(
        others=("gsm",),
        hub=("openai/gsm8k:main",),
        prompt="Question: {question}\nAnswer:",
        answer="answer",
        mark="#### ",
        official="test",
        metrics=("log_likelihood", "flexible_number", "hash_number"),
        citation="Cobbe et al., Training Verifiers to Solve Math Word Problems, 2021 (MIT)",
    ),
    "math": WrittenSet(
        others=("math500", "hendrycksmath", "competitionmath"),
        hub=tuple(f"EleutherAI/hendrycks_math:{subject}" for subject in _SUBJECTS),
        hub_test="HuggingFaceH4/MATH-500",
        files={"math500": "test"},
        prompt="Problem:\n{problem}\n\nSolution:",
        answer="solution",
        mark="\\boxed",
        official="test",
        metrics=("log_likelihood", "math", "math_strict"),
        citation=f"{_MATH_CITATION}; test: the 500 problems of Lightman et al., Let's Verify Step by Step, ICLR 2024",
    ),
    "metamathqa": WrittenSet(
        others=("metamath", "metamathqa395k"),
        hub=("meta-math/MetaMathQA",),
        files={"metamathqa395k": "train", "metamathqa": "train"},
        prompt=_METAMATH,
        answer="response",
        mark="The answer is: ",
        tested_on=("gsm8k",),
        metrics=("log_likelihood", "gsm8k", "gsm8k_strict"),
        citation=_METAMATH_CITATION,
    ),
    "metamathqa_math": WrittenSet(
        rows_of="metamathqa",
        prompt=_METAMATH,
        answer="response",
        mark="The answer is: ",
        tested_on=("math",),
        metrics=("log_likelihood", "math", "math_strict"),
        citation=f"{_METAMATH_CITATION}; {_MATH_CITATION}",
    ),
    "commonsense_15k": _commonsense("commonsense15k"),
    "commonsense_170k": _commonsense("commonsense170k"),
    "alpaca": WrittenSet(
        others=("stanfordalpaca",),
        hub=("tatsu-lab/alpaca",),
        files={"alpacadata": "train", "alpaca": "train"},
        answer="output",
        skip_empty=True,  # a few dozen outputs of the published file are empty
        metrics=("log_likelihood", "exact_match", "bleu"),
        citation="Taori et al., Stanford Alpaca: An Instruction-following LLaMA model, 2023 (CC BY-NC 4.0)",
    ),
}
IMAGE_SETS = {
    "cifar100": ImageSet(
        hub=("uoft-cs/cifar100",),
        others=("cifar100python",),
        label="fine_label",  # coarse_label are its 20 superclasses
        official="test",
        sizes={"train": 50_000, "test": 10_000},
        citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    ),
    "food101": ImageSet(
        hub=("ethz/food101",),
        official="test",
        sizes={"train": 75_750, "test": 25_250},
        test_is_validation=True,
        citation="Bossard, Guillaumin and Van Gool, Food-101: Mining Discriminative Components with Random Forests, "
        "ECCV 2014",
    ),
    "flowers102": ImageSet(
        hub=("dpdl-benchmark/oxford_flowers102",),
        others=("oxfordflowers102", "oxford102flower", "102flowers"),
        official="test",
        sizes={"train": 1_020, "validation": 1_020, "test": 6_149},
        citation="Nilsback and Zisserman, Automated Flower Classification over a Large Number of Classes, ICVGIP 2008",
    ),
    "resisc45": ImageSet(
        hub=("timm/resisc45",),
        others=("nwpuresisc45",),
        note="resisc45 has no official split: scores compare where the same images were held out, and nowhere else",
        citation="Cheng, Han and Lu, Remote Sensing Image Scene Classification: Benchmark and State of the Art, "
        "Proceedings of the IEEE 2017",
    ),
}
SETS: Mapping[str, NamedSet] = {**CHOICE_SETS, **WRITTEN_SETS, **IMAGE_SETS}


def plain_name(name: str) -> str:
    """Return a name in small letters and digits alone, as names are compared.

    >>> plain_name("ARC-Easy"), plain_name("social_i_qa")
    ('arceasy', 'socialiqa')
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())


def set_name(name: str) -> str | None:
    """Return a named set's name however it is written, or None where it is none.

    >>> set_name("ARC-c"), set_name("social_i_qa"), set_name("WinoGrande"), set_name("imdb")
    ('arc_challenge', 'siqa', 'winogrande', None)
    """
    plain = "".join(letter for letter in name.lower() if letter not in "-_ ")
    return next((each for each in SETS if plain in names_of(each)), None)


def names_of(name: str) -> tuple[str, ...]:
    """Return a set's names as they are compared, its own first."""
    return (plain_name(name), *SETS[name].others)
