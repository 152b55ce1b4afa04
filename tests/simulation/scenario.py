"""One whole system for one seed: who takes part, what is asked for, and what breaks. How it must end: `verdict`."""

import functools
from collections.abc import Callable
from hashlib import blake2b

from blockyard.wire import keeping
from blockyard.wire.records import TaskSpec
from blockyard_interchange.core.settings import PoolSettings, Settings
from tests.simulation import plans, verdict
from tests.simulation.clients import Call, Client
from tests.simulation.faults import FAULTS, NAMES
from tests.simulation.interchange import Interchange
from tests.simulation.keepers import Keeper
from tests.simulation.ledger import Ledger, Wrong
from tests.simulation.managers import Manager
from tests.simulation.network import Network
from tests.simulation.plans import Plan
from tests.simulation.world import World

REST_SECONDS = 90.0
"""Longer than anything takes to come to rest when nothing breaks any more."""


class Scenario:
    """A system and its fate."""

    def __init__(self, seed: int) -> None:
        world = self.world = World(seed)
        random = world.random
        self.network = Network(world)
        self.ledger = Ledger(world)
        self.calls: dict[int, Call] = {}
        self.workers = random.randint(1, 3)
        self.pools = ["default", "other"] if world.chance(0.3) else ["default"]
        self.kept = ["kept"] if world.chance(0.4) else []
        """Pools that a keeper defines."""
        self.caches = seed % 3 == 1
        """Some users cache; the other seeds are what they were before there was a cache."""
        pool = PoolSettings(workers=self.workers, nodes_per_block=2, max_losses=50)
        self.settings = Settings(
            pools=dict.fromkeys(self.pools, pool),
            heartbeat=0.3,
            client_grace=3.0,
            result_ttl=6.0,
            rejoin_grace=random.choice((0.5, 1.5)),
            max_frames=random.choice((1, 2, 64)),
            max_frame_tasks=random.choice((1, 3, 4096)),
            stop_grace=0.1,
            cache_max_bytes=1 << 28 if seed % 2 else 800,
        )
        self.pools += self.kept
        self.interchange = Interchange(world, self.network, self.settings, self.ledger)
        self.keeper = Keeper(world, self.network) if self.kept else None
        self.managers: dict[tuple[str, str, int], Manager] = {}
        self.clients: list[Client] = []
        self.horizon = world.now + world.between(1.0, 3.0)
        self.serial = 0
        self.faults = world.chance(0.9)
        self._people()
        if self.keeper is not None:
            world.at(world.between(0.0, 0.3), self.set_kept)
            world.at(self.horizon - world.now + 1.0, functools.partial(setattr, self.keeper, "is_done", True))
        if self.faults:
            self._trouble()

    # ------------------------------------------------------------------ who takes part

    def _people(self) -> None:
        world = self.world
        for pool in self.pools:
            for number in range(world.random.randint(1, 2)):
                for index in range(world.random.choice((1, 2, 2))):
                    self._staff(pool, f"{pool}-{number}", index)
        for _ in range(world.random.randint(1, 3)):
            run = world.random.choice(("", "", "shared"))
            world.at(world.between(0.0, 1.0), functools.partial(self._arrive, run))

    def set_kept(self) -> None:
        """Have the keeper's pools defined, not always alike."""
        for name in self.kept:
            durability = self.world.random.choice(("journal", "fsync"))
            key = name.encode().ljust(40, b"k")
            order = keeping.SetPool(
                name, [key], durability, self.workers, nodes_per_block=2, max_losses=self.world.random.randint(50, 60)
            )
            self.keeper_orders(order)

    def keeper_orders(self, order: keeping.KeeperOrder) -> None:
        """Have the keeper say something."""
        assert self.keeper is not None
        self.keeper.do(functools.partial(self.keeper.order, order))

    def _staff(self, pool: str, block: str, index: int) -> None:
        self.serial += 1
        self.managers[pool, block, index] = Manager(
            self.world, self.network, self.ledger, f"m{self.serial}", pool=pool, block=block, index=index,
            workers=self.workers,
        )  # fmt: skip

    def _arrive(self, run: str, *, successor: bool = False) -> None:
        """A client comes; as a successor it takes the run over and attaches to what is left of it."""
        self.serial += 1
        keep = successor or self.world.chance(0.4)
        client = Client(
            self.world,
            self.network,
            self.ledger,
            self.calls,
            f"c{self.serial}",
            run=run,
            keep=keep,
            successor=successor,
        )
        self.clients.append(client)
        self._plan_user(client)

    def _plan_user(self, client: Client) -> None:
        """All that this client's user will do."""
        world = self.world
        stop = max(0.2, self.horizon - world.now)
        for _ in range(world.random.randint(1, 7)):
            client.later(world.between(0.0, stop), lambda: self._ask(client))
        for _ in range(world.random.choice((0, 0, 1, 3))):
            client.later(world.between(0.0, stop), lambda: self._cancel(client))
        for _ in range(world.random.randint(2, 8) if self.caches else 0):
            client.later(world.between(0.0, stop), lambda: self._cached(client))
        client.later(stop, lambda: self._stop_asking(client))

    def _stop_asking(self, client: Client) -> None:
        client.submitting = False
        client.pump()

    def _cancel(self, client: Client) -> None:
        candidates = [call for call in client.futures.values() if not call.key and call in client.mine]
        if candidates and not client.broken:
            client.cancel(self.world.random.choice(candidates))

    # ------------------------------------------------------------------ what is asked for

    def _ask(self, client: Client) -> None:
        if client.broken or client.left:
            return
        kinds: tuple[Callable[[Client], None], ...] = (
            self._plain, self._plain, self._failing, self._needing, self._needing, self._chain, self._keyed,
            self._once, self._once, self._once, self._joining, self._joining, self._deadly, self._timed, self._wide,
            self._astray, self._large,
        )  # fmt: skip
        self.world.random.choice(kinds)(client)

    def _spec(self, **fields: object) -> TaskSpec:
        random = self.world.random
        fields.setdefault("pool", random.choice(self.pools))
        fields.setdefault("priority", random.choice((0, 0, 0, 1, -1)))
        return TaskSpec(plans.function(random.randint(0, 3)).id, **fields)  # type: ignore[arg-type]

    def _plan(self, **fields: object) -> Plan:
        random = self.world.random
        fields.setdefault("seconds", random.choice((0.001, 0.001, 0.01, 0.05, 0.3)))
        fields.setdefault("result_bytes", random.choice((16, 16, 400)))
        return Plan(random.randint(0, 1 << 30), **fields)  # type: ignore[arg-type]

    def _plain(self, client: Client) -> None:
        client.call(self._spec(), [self._plan() for _ in range(self.world.random.choice((1, 3, 12)))])

    def _failing(self, client: Client) -> None:
        random = self.world.random
        spec = self._spec(
            retries=random.randint(0, 3), backoff=random.choice((0.0, 0.05)),
            retry_on=random.choice(((), (), ("RuntimeError",), ("simulated.Unlucky",), ("KeyError",))),
        )  # fmt: skip
        client.call(spec, [self._plan(failures=random.randint(0, 3)) for _ in range(2)])

    def _needing(self, client: Client) -> None:
        random = self.world.random
        choices = [call for call in client.mine if not call.broken][-12:]
        needs = [random.choice(choices) for _ in range(random.randint(1, 3))] if choices else []
        client.call(self._spec(), [self._plan() for _ in range(random.randint(1, 2))], needs=needs)

    def _chain(self, client: Client) -> None:
        last = client.call(self._spec(), [self._plan()])
        for _ in range(self.world.random.randint(1, 6)):
            last = client.call(last[0].spec, [self._plan(seconds=0.001)], needs=last)

    def _keyed(self, client: Client) -> None:
        number = self.world.random.randint(0, 2)
        client.call(self._spec(pool="default"), [Plan(number, seconds=0.05)], key=f"key-{number}")

    def _once(self, client: Client) -> None:
        client.call(self._spec(idempotent=False), [self._plan() for _ in range(self.world.random.randint(1, 4))])

    def _joining(self, client: Client) -> None:
        random = self.world.random
        spec = self._spec(retries=random.choice((0, 2)), idempotent=random.choice((True, True, False)))

        def grown(depth: int) -> Plan:
            if depth == 0:
                return self._plan(failures=random.choice((0, 0, 0, 0, 1)))
            return self._plan(
                joins=True, children=[grown(random.randint(0, depth - 1)) for _ in range(random.randint(0, 3))]
            )

        choices = [call for call in client.mine if not call.broken][-6:]
        client.call(spec, [grown(2)], needs=[random.choice(choices)] if choices and self.world.chance(0.5) else [])

    def _deadly(self, client: Client) -> None:
        client.call(self._spec(), [self._plan(deaths=self.world.random.choice((0, 1, 2))) for _ in range(2)])

    def _timed(self, client: Client) -> None:
        random = self.world.random
        spec = self._spec(timeout=random.choice((0.0, 0.1)), deadline=random.choice((0.0, 0.2, 0.6)), retries=1)
        client.call(spec, [self._plan(stubborn=self.world.chance(0.5)) for _ in range(3)])

    def _wide(self, client: Client) -> None:
        random = self.world.random
        spec = self._spec(
            nodes=random.randint(1, 2), ranks_per_node=random.randint(0, 2), idempotent=True,
            deadline=random.choice((0.0, 0.3)) or 20.0,
        )  # fmt: skip
        client.call(spec, [self._plan()])

    def _cached(self, client: Client) -> None:
        """Few different calls, so that many are the same; some take the results of others."""
        if client.broken or client.left:
            return
        random = self.world.random
        number = random.randint(0, 3)
        plan = Plan(number, seconds=0.05, failures=int(number == 3), joins=number == 2, children=[Plan(7), Plan(8)])
        known = [call for call in client.mine if call.memo and not call.needs and not call.broken]
        needs = [random.choice(known)] if known and number < 2 and self.world.chance(0.5) else []
        memo = blake2b(b"%d" % number + b"".join(need.memo for need in needs), digest_size=16).digest()
        spec = self._spec(pool="default", idempotent=self.world.chance(0.8))
        for _ in range(random.choice((1, 1, 3))):
            client.call(spec, [plan], needs=needs, memo=memo)

    def _astray(self, client: Client) -> None:
        (call,) = client.call(self._spec(pool="nowhere"), [self._plan()])
        del call

    def _large(self, client: Client) -> None:
        client.call(self._spec(cores=float(self.workers)), [self._plan() for _ in range(2)])

    # ------------------------------------------------------------------ what breaks

    def _trouble(self) -> None:
        world = self.world
        for _ in range(world.random.randint(1, 10)):
            world.at(world.between(0.1, self.horizon - world.now), self._break_something)

    def _break_something(self) -> None:
        name = self.world.random.choice(NAMES)
        self.world.note(f"fault: {name}")
        FAULTS[name](self)

    def any_manager(self) -> tuple[tuple[str, str, int], Manager]:
        """One of those that are meant to be there."""
        return self.world.random.choice(sorted(self.managers.items()))

    def arrive_later(self, run: str) -> None:
        """Somebody will take over a run."""
        self.world.at(self.world.between(0.1, 1.0), functools.partial(self._arrive, run, successor=True))

    def lose(self, place: tuple[str, str, int], manager: Manager) -> None:
        """A manager is killed; another one comes in its place."""
        manager.die()
        self.restaff_later(place, 0.1)

    def _keep_staffed(self) -> None:
        for place in list(self.managers):
            self._restaff(place)
        self.world.at(1.0, self._keep_staffed)

    def restaff_later(self, place: tuple[str, str, int], soonest: float) -> None:
        """See to it that somebody is there."""
        self.world.at(self.world.between(soonest, soonest + 1.0), lambda: self._restaff(place))

    def _restaff(self, place: tuple[str, str, int]) -> None:
        if not self.managers[place].alive:
            self._staff(*place)

    # ------------------------------------------------------------------ how it must end

    def run(self) -> None:
        """Let it happen; raises `Wrong` or `invariants.Broken`, from the event that showed it."""
        world = self.world
        world.run(self.horizon)
        self._keep_staffed()
        if not world.run(world.now + REST_SECONDS, functools.partial(verdict.is_at_rest, self)):
            raise Wrong(f"no rest {REST_SECONDS:g} s after the last fault: {verdict.what_is_left(self)}")
        verdict.check(self)


def play(seed: int) -> Scenario:
    """Run one seed. What it raises is the proof of a fault, and the same seed raises it again."""
    scenario = Scenario(seed)
    try:
        scenario.run()
    except AssertionError as error:
        tail = "\n".join(scenario.world.trace[-60:])
        error.add_note(f"seed {seed}, at {scenario.world.now:.4f}; last events:\n{tail}")
        error.add_note(f"replay it: BLOCKYARD_SEED={seed} python -m pytest tests/simulation -k seed")
        raise
    return scenario
