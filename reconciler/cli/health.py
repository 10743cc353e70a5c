"""`reconciler health`."""

from __future__ import annotations

import click

from reconciler.cli.options import Command, examples
from reconciler.report.style import safe

USUAL = "http://127.0.0.1:8080"
MAX_WORDS = 2000  # bytes of an answer that are shown


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler health                             is the loop on this machine alive?",
        "reconciler health --ready                     and has a pass succeeded?",
        "reconciler health http://127.0.0.1:9000",
    ),
)
@click.argument("url", required=False, default=USUAL)
@click.option("--ready", is_flag=True, help="Ask whether a pass has succeeded, not only whether the loop turns.")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help="Seconds.")
def health(url: str, *, ready: bool, timeout: float) -> int:
    """Ask a running `reconciler watch` whether it is well; 0 is yes, 1 is no.

    For container health checks: it needs no curl, and goes through no proxy.
    """
    well, words = ask(url.rstrip("/") + ("/readyz" if ready else "/healthz"), timeout)
    click.echo("\n".join(map(safe, words.splitlines())) or "no words", err=not well)
    return 0 if well else 1


def ask(url: str, timeout: float) -> tuple[bool, str]:
    """Whether the answer is 200, and its words or what went wrong."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, build_opener

    if not url.startswith(("http://", "https://")):
        return False, f"{url} is not an http address"
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=timeout) as answer:
            return answer.status == 200, answer.read(MAX_WORDS).decode("utf-8", "replace")  # noqa: PLR2004 - HTTP's own
    except HTTPError as error:
        with error:
            return False, error.read(MAX_WORDS).decode("utf-8", "replace") or f"HTTP {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        return False, f"{url} does not answer: {getattr(error, 'reason', error)}"
