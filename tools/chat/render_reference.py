#!/usr/bin/env python3
"""Renders the chat-template fixtures of tests/data/chat with CPython's Jinja2.

The environment is the one that Hugging Face `transformers` uses for chat templates: the immutable
sandbox, trim_blocks, lstrip_blocks, loop controls, its own `tojson`, `raise_exception` and
`strftime_now`, and the `generation` tag. Needs Python 3.11 and Jinja2 3.1.

    python3 tools/chat/render_reference.py [--check]

Writes tests/data/chat/{expressions,renderings}.json; with --check only says whether they are current.
"""

import argparse
import datetime
import json
import pathlib
import sys

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

import expression_cases
import rendering_cases

DATA = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "chat"
# Tests give the renderer the same moment: 2024-07-26 15:04:05, no offset.
NOW = datetime.datetime(2024, 7, 26, 15, 4, 5)


class Generation(Extension):
    """{% generation %} marks the assistant's text; rendering shows its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_body", [])
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def strftime_now(format):
    return NOW.strftime(format)


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def render(source, variables):
    """{"text": …} or {"error": …}; the error's wording is for readers, tests do not compare it."""
    try:
        template = environment().from_string(source)
        # A copy: what a template does to its values must not reach the next case.
        return {"text": template.render(**json.loads(json.dumps(variables)))}
    except Exception as e:  # noqa: BLE001, any failure of the template is a result
        return {"error": f"{type(e).__name__}: {e}"}


def expressions():
    cases = []
    for source, variables in expression_cases.cases():
        case = {"template": source}
        if variables:
            case["variables"] = variables
        result = render(source, {**expression_cases.COMMON, **(variables or {})})
        if " at 0x" not in result.get("text", ""):  # an address: differs from run to run
            cases.append({**case, **result})
    return {"common": expression_cases.COMMON, "cases": cases}


def renderings():
    conversations = rendering_cases.conversations()
    cases = []
    for name, edits, chosen in rendering_cases.cases(DATA / "templates"):
        source = (DATA / "templates" / f"{name}.jinja").read_text()
        for edit in edits:
            source = rendering_cases.apply(source, edit)
        for conversation in chosen:
            case = {"template": name, "edits": edits, "conversation": conversation}
            cases.append({**case, **render(source, conversations[conversation])})
    return {"conversations": conversations, "cases": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    current = True
    for name, content in (("expressions", expressions()), ("renderings", renderings())):
        path = DATA / f"{name}.json"
        lines = {k: v for k, v in content.items() if k != "cases"}
        rows = ",\n".join(json.dumps(c, ensure_ascii=False) for c in content["cases"])
        head = json.dumps(lines, ensure_ascii=False)[:-1]
        text = f'{head}, "cases": [\n{rows}\n]}}\n'
        failed = sum("error" in c for c in content["cases"])
        print(f"{name}: {len(content['cases'])} cases, {failed} of them errors, {len(text)} bytes")
        if check:
            current = current and path.exists() and path.read_text() == text
        else:
            path.write_text(text)
    if not current:
        sys.exit("the committed files differ from what Jinja2 renders")


if __name__ == "__main__":
    main()
