"""The page's <head>. Gradio's own carries Gradio's name and images, and applies our style only once its script runs."""

import html
import json
import os
import re

import parts

TITLE = "facesym: face models built on symmetry"
DESCRIPTION = (
    "Complete the missing part of a face, make a face symmetric, rotate it, frontalize it or change its expression, "
    "with five models built on facial symmetry."
)
_OWN = re.compile(r'<meta\s+(?:property="og:|name="twitter:)[^>]*>', re.S)


def head(base: str, tabs: list[str]) -> str:
    """Return our tags.

    Args:
        base: the page's URL, as the visitor sees it.
        tabs: names of the tabs.
    """
    names = {
        "og:type": "website",
        "og:url": base,
        "og:title": TITLE,
        "og:description": DESCRIPTION,
        "og:image": base + parts.url(parts.HERE / "static" / "card.jpg"),
    }
    tags = [f'<meta property="{name}" content="{html.escape(text)}">' for name, text in names.items()]
    tags.append(f'<meta name="description" content="{html.escape(DESCRIPTION)}">')
    tags.append('<meta name="twitter:card" content="summary_large_image">')
    style = parts.static("page.css") + "".join(map(only_in, tabs))
    return (
        "".join(tags)
        + f"<style>{style}</style>"
        + parts.static("head.html").replace("NAMES", json.dumps(tabs))
    )


def only_in(tab: str) -> str:
    """Return CSS that shows a tab's elements in that tab only."""
    closed = f"html:not([data-tab={tab}])"
    return f"{closed} .of-{tab}, {closed} .tile[data-tab={tab}] {{ display: none !important; }}\n"


class Head:
    """ASGI middleware that replaces Gradio's tags with `head`."""

    def __init__(self, app, tabs: list[str]):
        self.app, self.tabs = app, tabs

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            return await self.app(scope, receive, send)
        start, body = None, b""

        async def hold(message):
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            page = body
            if b"</head>" in body:
                text = _OWN.sub("", body.decode())
                page = text.replace("</head>", head(_base(scope), self.tabs) + "</head>", 1).encode()
            headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
            await send({**start, "headers": [*headers, (b"content-length", str(len(page)).encode())]})
            await send({"type": "http.response.body", "body": page})

        return await self.app(scope, receive, hold)


def _base(scope) -> str:
    """Return the page's URL, as the visitor sees it."""
    if host := os.environ.get("SPACE_HOST"):
        return f"https://{host}/"
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"x-forwarded-host") or headers.get(b"host", "")
    return f"{headers.get(b'x-forwarded-proto', scope['scheme'])}://{host}/"
