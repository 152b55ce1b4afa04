"""``blockyard completion``: the script that makes a shell complete commands, options and profiles."""

import click
from click.shell_completion import get_completion_class

_WHERE = {
    "bash": '~/.bashrc: eval "$(blockyard completion bash)"',
    "zsh": '~/.zshrc: eval "$(blockyard completion zsh)"',
    "fish": "~/.config/fish/completions/blockyard.fish",
}


@click.command(epilog="Where it goes: " + "; ".join(f"{shell}: {where}" for shell, where in _WHERE.items()))
@click.argument("shell", type=click.Choice(list(_WHERE)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    kind = get_completion_class(shell)
    assert kind is not None, f"click has no completion for {shell}"
    made = kind(context.find_root().command, {}, "blockyard", "_BLOCKYARD_COMPLETE")
    click.echo(made.source_template % made.source_vars())
