"""What a pool does about its radio, step by step; the hub's answers and the Secret are written down by hand."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from blockyard.blocks.scaling import Demand
from blockyard_operator.core import plan as do
from blockyard_operator.core.objects import Meta, Pool, template_hash
from blockyard_operator.core.pool_world import PoolWorld
from blockyard_operator.core.pools import reconcile_pool
from blockyard_operator.core.radio import PATIENCE, decide, wanted_of
from blockyard_operator.core.view import HeldRadio, QueueView, RadioView, TemplateCheck
from blockyard_operator.resources.pool import Monitoring, PoolSpec

NOW = 1_800_000_000.0
WANTED = '{"kind":"zmq","settings":{}}'
CONFIG = '{"kind":"zmq","settings":{"address":"tcp://hub:5600"}}'
NOTHING = HeldRadio()
HELD = HeldRadio(wanted=WANTED, radio=CONFIG, sample_seconds=1.0)
ASKED = RadioView(asked=WANTED, asked_at=NOW)
ANSWERED = msgspec.structs.replace(ASKED, radio=CONFIG, listens=True)


def world(view: RadioView | None, held: HeldRadio | None = NOTHING, **monitoring: Any) -> PoolWorld:
    """A pool that wants one block, and for which all but the radio is there."""
    spec = msgspec.convert({"monitoring": monitoring, "blocks": {"replicas": 1}}, PoolSpec)
    pool = Pool(meta=Meta(namespace="n", name="p", uid="u"), spec=spec)
    return PoolWorld(
        pool=pool, hash="h", queue=QueueView(demand=Demand(queued_slots=0.0, outstanding=0, running_slots=0.0)),
        connected=True, check=TemplateCheck(hash="h"), has_secret=held is not None, announced=True, radio=view,
        held_radio=held,
    )  # fmt: skip


def said(seen: PoolWorld, now: float = NOW) -> tuple[str, str]:
    found = decide(seen, now).said
    return found.status.value, found.reason


def starts(seen: PoolWorld, now: float = NOW) -> bool:
    return any(isinstance(effect, do.CreateBlock) for effect in reconcile_pool(seen, now).effects)


def effects(seen: PoolWorld) -> list[do.Effect]:
    """All but the status."""
    found = reconcile_pool(seen, NOW).effects
    return [one for one in found if not isinstance(one, do.WritePoolStatus | do.CreateBlock)]


def test_the_way_to_a_radio() -> None:
    assert effects(world(RadioView(), None)) == [do.MakeSecret(world(None).pool.meta, "WorkerPool")]
    assert effects(world(RadioView())) == [do.AskRadio("n.p", WANTED, "")]
    assert effects(world(ASKED)) == []
    assert effects(world(ANSWERED)) == [do.MakeSecret(world(None).pool.meta, "WorkerPool", HELD)]
    assert effects(world(ANSWERED, HELD)) == []
    assert [starts(world(view)) for view in (RadioView(), ASKED, ANSWERED)] == [False] * 3
    assert starts(world(ANSWERED, HELD))
    assert said(world(ANSWERED, HELD)) == ("True", "Monitored")


def test_a_new_operator_asks_with_what_the_secret_holds_and_nobody_waits() -> None:
    seen = world(RadioView(), HELD)
    assert effects(seen) == [do.AskRadio("n.p", WANTED, CONFIG)]
    assert starts(seen)


def test_an_answer_that_changed_is_written() -> None:
    moved = msgspec.structs.replace(ANSWERED, radio=CONFIG.replace("5600", "5601"))
    (effect,) = effects(world(moved, HELD))
    assert isinstance(effect, do.MakeSecret)
    assert effect.radio == msgspec.structs.replace(HELD, radio=moved.radio)
    (effect,) = effects(world(ANSWERED, HELD, samplePeriod="5s"))
    assert isinstance(effect, do.MakeSecret)
    assert effect.radio == msgspec.structs.replace(HELD, sample_seconds=5.0)


@pytest.mark.parametrize("silent", [True, False])
def test_a_hub_that_does_not_answer_is_waited_for_only_so_long(silent: bool) -> None:
    seen = world(msgspec.structs.replace(ASKED, silent=silent))
    assert not starts(seen, NOW + PATIENCE - 0.1)
    assert reconcile_pool(seen, NOW + 1).wake_at == NOW + PATIENCE
    assert starts(seen, NOW + PATIENCE)
    assert said(seen) == (("False", "HubSilent") if silent else ("Unknown", "Preparing"))


def test_a_silent_hub_holds_up_no_pool_that_has_its_radio() -> None:
    seen = world(msgspec.structs.replace(ANSWERED, silent=True), HELD)
    assert starts(seen)
    assert said(seen) == ("False", "HubSilent")


def test_a_refusal_is_said_and_blocks_run_without() -> None:
    seen = world(msgspec.structs.replace(ASKED, refusal="all 4 ports for radios are taken"))
    assert starts(seen)
    assert effects(seen) == []
    assert decide(seen, NOW).said.message == "all 4 ports for radios are taken"
    assert said(seen) == ("False", "RadioRefused")


def test_another_wish_puts_the_old_radio_away_first() -> None:
    seen = world(ANSWERED, HELD, radio="udp", settings={"algorithm": "sha512"})
    wanted = '{"kind":"udp","settings":{"algorithm":"sha512"}}'
    assert effects(seen) == [
        do.MakeSecret(seen.pool.meta, "WorkerPool", HeldRadio()), do.AskRadio("n.p", wanted, ""),
    ]  # fmt: skip
    assert not starts(seen)


def test_none_shuts_what_there_was() -> None:
    seen = world(ANSWERED, HELD, radio="none")
    assert effects(seen) == [do.ShutRadio("n.p"), do.MakeSecret(seen.pool.meta, "WorkerPool", HeldRadio())]
    assert starts(seen)
    assert effects(world(RadioView(listens=True), radio="none")) == [do.ShutRadio("n.p")], "of an operator before"
    assert effects(world(RadioView(), radio="none")) == []
    assert said(seen) == ("False", "Off")


def test_without_a_hub_nothing_is_asked() -> None:
    assert effects(world(None)) == []
    assert said(world(None)) == ("False", "Off")
    assert said(world(None, radio="udp")) == ("False", "NoHub")
    assert starts(world(None, radio="udp"))
    assert effects(world(None, HELD)) == [do.MakeSecret(world(None).pool.meta, "WorkerPool", HeldRadio())]


def test_a_wish_is_written_the_same_whatever_its_order() -> None:
    one, two = (Monitoring(radio="udp", settings=dict(pairs)) for pairs in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]))
    assert wanted_of(one, has_hub=True) == wanted_of(two, has_hub=True)
    assert json.loads(wanted_of(one, has_hub=True)) == {"kind": "udp", "settings": {"a": 1, "b": 2}}
    assert wanted_of(one, has_hub=False) == wanted_of(Monitoring(radio="none"), has_hub=True) == ""


def test_a_form_changes_with_the_radio_and_is_what_it_was_without() -> None:
    plain = template_hash(PoolSpec(), "image")
    assert plain == template_hash(PoolSpec(monitoring=Monitoring(radio="none")), "image")
    assert plain != template_hash(PoolSpec(monitoring=Monitoring(radio="udp")), "image")


def test_no_representation_shows_a_key() -> None:
    for one in (HELD, do.AskRadio("n.p", WANTED, CONFIG), do.MakeSecret(world(None).pool.meta, "WorkerPool", HELD)):
        assert "5600" not in repr(one)
