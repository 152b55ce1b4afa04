"""``blockyard cache``: what is cached, what it has been good for, and clearing it."""

import click

from blockyard.cli import options, show, views
from blockyard.cli.asking import asking
from blockyard.cli.commands import Listing
from blockyard.cli.options import Call
from blockyard.wire import control


@click.group(
    cls=Listing, invoke_without_command=True, epilog="Examples: blockyard cache; blockyard cache clear --function fit"
)
@options.connected
@click.option("--pool", default="", help="Only this pool.")
@click.pass_context
@options.pass_call
def cache(call: Call, context: click.Context, pool: str) -> None:
    """List cached results by function, with what they have been good for."""
    if context.invoked_subcommand is not None:
        return
    with asking(call) as interchange:
        found = interchange.ask(control.Cached(pool), control.CacheIs)
    columns = ("FUNCTION", "POOL", "RESULTS>", "SIZE>", "COMPUTED IN>", "NEWEST>")
    rows = [
        (one.function, one.pool, one.results, show.bytes_of(one.bytes), show.seconds_of(one.seconds),
         show.since(one.newest))
        for one in found.functions
    ]  # fmt: skip
    pools = [(one.pool, one.hits, one.misses, one.evicted) for one in found.pools]
    show.answer(
        call.settings.output,
        views.cache_of(found),
        f"{show.bytes_of(found.bytes)} of {show.bytes_of(found.max_bytes)}, for {show.seconds_of(found.ttl)} each",
        show.Table(columns, rows, "no results"),
        show.Table(("POOL", "HITS>", "MISSES>", "EVICTED>"), pools),
    )


@cache.command(epilog="Example: blockyard cache clear --function my_module.fit")
@options.connected
@click.option("--pool", default="", help="Only this pool.")
@click.option("--function", default="", metavar="NAME",
              help="Only results of this function, and what was made from them.")  # fmt: skip
@options.pass_call
def clear(call: Call, pool: str, function: str) -> None:
    """Drop cached results, so that the calls run again."""
    with asking(call) as interchange:
        count = interchange.ask(control.ClearCache(pool, function), control.Done).count
    noun = "result is" if count == 1 else "results are"
    show.answer(call.settings.output, views.CountView(count=count), f"{count} {noun} dropped")
