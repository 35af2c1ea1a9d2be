"""Conversations with tools as Jinja renders them with each of the chat templates given. Needs transformers.

Usage: python3 make_chat_tools.py NAME=TEMPLATE.jinja ...      (writes chat_tools_golden.jsonl beside itself)
The templates themselves belong to their models and are not kept here; known_templates.cc has their hashes.
"""

import json
import pathlib
import sys

from transformers.utils.chat_template_utils import render_jinja_template

WEATHER = {"name": "weather", "description": "Tells it: \"now\", é", "parameters": {
    "type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}, "required": ["place"]}}
CLOCK = {"name": "clock", "parameters": {}, "examples": [], "scale": 0.5, "strict": True, "extra": None}


def call(name, **arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


CONVERSATIONS = [
    ([{"role": "user", "content": "hi"}], [WEATHER]),
    ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}], [WEATHER, CLOCK]),
    ([{"role": "system", "content": ""}, {"role": "user", "content": "hi"}], [CLOCK]),
    ([{"role": "user", "content": "Rome?"},
      {"role": "assistant", "content": "I look.", "tool_calls": [
          call("weather", place="Rome", days=3), call("clock", zones=["a", 1, None, True], at={"h": 1, "s": False}, x=-0.25, y=False)]},
      {"role": "tool", "content": "{\"t\": 3}"}, {"role": "user", "content": "so?"}], [WEATHER]),
    ([{"role": "user", "content": "now"}, {"role": "assistant", "content": "", "tool_calls": [call("clock")]}], [CLOCK]),
]

templates = {name: pathlib.Path(path).read_text(encoding="utf-8") for name, path in (pair.split("=", 1) for pair in sys.argv[1:])}
with open(pathlib.Path(__file__).parent / "chat_tools_golden.jsonl", "w", encoding="utf-8") as out:
    for messages, tools in CONVERSATIONS:
        prompts = {}
        for name, template in templates.items():
            if any("tool_calls" in m for m in messages) and "render_tool_calls" not in template:
                continue  # it would leave the calls out
            rendered, _ = render_jinja_template([messages], tools=tools, chat_template=template, add_generation_prompt=True,
                                                bos_token="<|startoftext|>")
            prompts[name] = rendered[0]
        out.write(json.dumps({"messages": messages, "tools": tools, "prompts": prompts}) + "\n")
