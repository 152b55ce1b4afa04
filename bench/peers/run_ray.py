"""Ray Core: two CPUs on this machine, no dashboard."""

from collections.abc import Callable, Sequence
from typing import Any

import ray

from bench.peers import measures


class Ray:
    def start(self) -> None:
        ray.init(num_cpus=measures.WORKERS, include_dashboard=False, log_to_driver=False, logging_level="error")
        self.remotes: dict[Callable[..., Any], Any] = {}

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        remote = self.remotes.get(function)
        if remote is None:
            remote = self.remotes[function] = ray.remote(function)
        return remote.remote(*args)

    def results(self, handles: Sequence[Any]) -> list[Any]:
        return list(ray.get(list(handles)))

    def stop(self) -> None:
        ray.shutdown()


if __name__ == "__main__":
    measures.report(Ray(), "ray")
