"""Dask distributed: a local cluster of two processes with one thread each, no dashboard."""

from collections.abc import Callable, Sequence
from typing import Any

from distributed import Client, LocalCluster

from bench.peers import measures


class Dask:
    def start(self) -> None:
        self.cluster = LocalCluster(
            n_workers=measures.WORKERS, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=40
        )
        self.client = Client(self.cluster)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.client.submit(function, *args, pure=False)

    def results(self, handles: Sequence[Any]) -> list[Any]:
        return list(self.client.gather(list(handles)))

    def stop(self) -> None:
        self.client.close()
        self.cluster.close()


if __name__ == "__main__":
    measures.report(Dask(), "distributed")
