"""The command line behind `make cluster-up`, `make cluster-down`, `make kubectl` and their like."""

import os
import shutil
import sys
from pathlib import Path

import click

from tests.cluster import machine_state, remains
from tests.cluster.building import workshop
from tests.cluster.cache import say
from tests.cluster.cluster import ClusterRefused, ClusterRunner
from tests.cluster.layout import layout_of
from tests.cluster.shell import CommandFailed
from tests.machine import ROOT

RAW = {"ignore_unknown_options": True, "help_option_names": []}


def runner() -> ClusterRunner:
    """Of the checkout that the call is for."""
    checkout: Path = click.get_current_context().find_root().params["checkout"]
    return ClusterRunner(layout_of(checkout, os.environ), workshop())


@click.group()
@click.option("--checkout", type=click.Path(path_type=Path), default=ROOT, help="Whose cluster; this one's by default.")
def main(checkout: Path) -> None:
    """A real Kubernetes of two nodes on this machine, for tests."""
    if not checkout.is_absolute():
        raise click.BadParameter(f"{checkout} is not an absolute path", param_hint="--checkout")


@main.command()
def parts() -> None:
    """Build what a cluster is made of, as far as this machine can; nothing when it is there."""
    lacks = machine_state.missing()
    if not lacks:
        workshop().everything()
        return
    say(f"tests on a cluster will not run here: {'; '.join(lacks)}")
    if shutil.which("go") is not None:
        workshop().programs()  # the API server alone needs no more


@main.command()
def up() -> None:
    """Start the cluster, or nothing when it runs; print how to use it."""
    cluster = runner()
    state = "started" if cluster.up() else "runs already"
    click.echo(f"cluster {cluster.layout.id} {state}\nexport KUBECONFIG={cluster.layout.kubeconfig}")


@main.command()
def down() -> None:
    """End it and remove all of it."""
    runner().down()


@main.command()
def status() -> None:
    """Say what carries the cluster's name on this machine."""
    cluster = runner()
    click.echo(f"cluster {cluster.layout.id} ({cluster.layout.network}) {'is up' if cluster.is_up() else 'is not up'}")
    click.echo(str(remains.find(cluster.layout)))


@main.command(context_settings=RAW)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def kubectl(words: tuple[str, ...]) -> None:
    """Call kubectl on the cluster."""
    argv = runner().kubectl.argv(*words)
    os.execv(argv[0], argv)


@main.command(context_settings=RAW)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def buildah(words: tuple[str, ...]) -> None:
    """Call buildah on the store that images come from."""
    argv = workshop().store.argv(*words)
    os.execvp(argv[0], argv)


@main.command()
@click.argument("image")
def load(image: str) -> None:
    """Give an image of the store, or an OCI archive (a path that ends in .tar), to every node."""
    cluster = runner()
    if image.endswith(".tar"):
        cluster.load(Path(image))
    else:
        cluster.load_image(image)


@main.command()
@click.argument("program")
def which(program: str) -> None:
    """Print the path of a program, such as kubectl, helm or kubeconform; it is built when it is not there."""
    click.echo(workshop().program(program))


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except (ClusterRefused, CommandFailed, TimeoutError, click.ClickException) as error:
        say(str(error))
        sys.exit(1)
