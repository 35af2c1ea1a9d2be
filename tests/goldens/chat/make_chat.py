"""Conversations as Jinja renders them with each of the chat templates given. Needs transformers.

Usage: python3 make_chat.py NAME=TEMPLATE.jinja ...      (writes chat_golden.jsonl beside itself; what it holds of other
names stays)
The templates themselves belong to their models and are not kept here; known_templates.cc has their hashes.
"""

import json
import pathlib
import sys

from transformers.utils.chat_template_utils import render_jinja_template

U, A, S, T = (lambda c, r=r: {"role": r, "content": c} for r in ("user", "assistant", "system", "tool"))
CONVERSATIONS = [
    [U("hi")],
    [S("Be brief."), U("hi")],
    [S(""), U("hi")],
    [U("hi"), S(""), U("again")],
    [S("Be brief."), S("Be kind."), U("hi"), A("hello"), U("\n\nmore\n")],
    [U("2+2?"), A("<think>\neasy\n</think>\n\n 4 "), U("3+3?"), A("<think>x</think> 6 "), U("ok")],
    [U("2+2?"), A("<think>a</think>b</think>\u00a0c\u001f"), U("d"), A("e")],
    [U("q"), A("<think>1</think>one"), A("<think>2</think>two"), U("r"), A("<think>3</think>three")],
    [U("weather?"), A("<|tool_call_start|>[w()]<|tool_call_end|>"), T('{"t": 3}'), A("3 degrees"), U("thanks")],
    [U(""), A(""), U("日本語 😀 <|im_end|>")],
    [A("I begin")],
]

templates = dict(pair.split("=", 1) for pair in sys.argv[1:])
path = pathlib.Path(__file__).parent / "chat_golden.jsonl"
before = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
with open(path, "w", encoding="utf-8") as out:
    for i, messages in enumerate(CONVERSATIONS):
        prompts = before[i]["prompts"] if i < len(before) and before[i]["messages"] == messages else {}
        for name, template in templates.items():
            text = pathlib.Path(template).read_text(encoding="utf-8")
            rendered, _ = render_jinja_template([messages], chat_template=text, add_generation_prompt=True, bos_token="<|startoftext|>")
            prompts[name] = rendered[0]
        out.write(json.dumps({"messages": messages, "prompts": prompts}) + "\n")
