"""The command ``vxlab judge``: MT-Bench's answers of stored runs and of their base, rated by a model behind a URL."""

import argparse

from vxlab.cli.shared import add_import, add_store, need, run_or_model


def add_judge(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser's."""
    about = "let stored runs and their untuned base answer MT-Bench, and a model behind a URL rate the answers"
    parser = commands.add_parser("judge", help=about, description=about)
    parser.add_argument("runs", nargs="+", metavar="RUN_OR_MODEL",
                        help="a run's key, or its first digits; or a model's name or folder")  # fmt: skip
    parser.add_argument("--url", required=True, help="of an OpenAI-compatible server, mostly ending in /v1")
    parser.add_argument("--model", required=True, metavar="NAME", help="of the judge, as its server knows it")
    parser.add_argument("--key-variable", metavar="VARIABLE",
                        help="the name of the environment's variable that holds the judge's key (default: "
                        "OPENAI_API_KEY; none for a server on this machine)")  # fmt: skip
    parser.add_argument("--temperature", type=float, default=0.0, help="of the judge (default: 0)")
    parser.add_argument("--at-once", type=int, default=4, metavar="N", help="requests at a time (default: 4)")
    parser.add_argument("--repeats", type=int, default=1, metavar="N",
                        help="ratings of each answer; 2 or more measure the judge's noise (default: 1)")  # fmt: skip
    parser.add_argument("--folder", help="of FastChat's question.jsonl and judge_prompts.jsonl (default: "
                        "VXLAB_MT_BENCH, or the hub)")  # fmt: skip
    parser.add_argument("--questions", type=int, nargs="+", metavar="NUMBER", help="some of them (default: all 80)")
    parser.add_argument("--max-new-tokens", type=int, default=1024, metavar="N", help="of an answer (default: 1024)")
    parser.add_argument("--chat-template", default="tokenizer", metavar="TEMPLATE",
                        help="tokenizer for its own, or a template's file (default: tokenizer)")  # fmt: skip
    parser.add_argument("--precision", default="auto", help="auto, float32, bfloat16 or float16 (default: auto)")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default: auto)")
    parser.add_argument("--without-base", action="store_true", help="leave the untuned base out")
    add_store(parser)
    add_import(parser)
    parser.set_defaults(command=_judge)


def _judge(arguments: argparse.Namespace) -> int:
    need("experiments", "transformers", "pandas", "sqlalchemy")
    need("judge", "openai")
    from vxlab.experiments.judges import Judge, judge_runs
    from vxlab.experiments.store import Store

    asked = ("url", "model", "key_variable", "temperature", "at_once")
    judge = Judge(**{name: getattr(arguments, name) for name in asked})
    settings = ("repeats", "folder", "questions", "max_new_tokens", "chat_template", "precision", "device")
    with Store(arguments.store) as store:
        found = judge_runs(
            [run_or_model(name, store) for name in arguments.runs],
            judge,
            store=store,
            base=not arguments.without_base,
            **{name: getattr(arguments, name) for name in settings},
        )
    print(found)
    return 0
