"""The rules of a release, as helm renders them, by Prometheus' own tool: each alert fires when it should and only then.

A case has the same series in two stories: in one the alert fires, with these labels; in the other it does not. All that
fire are told together, each with a pool of its own, because the tool is slow to begin.
"""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.chart.rendering import NAMESPACE, RELEASE, of_kind

pytestmark = [pytest.mark.needs_api_server, pytest.mark.needs_prometheus]

MINUTES = 60
POOL = f'namespace="{NAMESPACE}", pool="p"'
HUB = f'namespace="{NAMESPACE}", sink="sql"'
INTERCHANGE = f'up{{namespace="{NAMESPACE}", service="{RELEASE}-interchange"}}'
OPERATOR = f'up{{namespace="{NAMESPACE}", pod="{RELEASE}-operator-1-a"}}'


class Case(NamedTuple):
    """Series by name, each with its values of every minute in both stories, as promtool writes them."""

    alert: str
    labels: dict[str, str]
    fires: dict[str, str]
    quiet: dict[str, str]


CASES = [
    Case("BlockyardInterchangeDown", {}, {INTERCHANGE: "0x60"}, {INTERCHANGE: "1x60"}),
    Case("BlockyardOperatorDown", {}, {OPERATOR: "1x10 0x50"}, {OPERATOR: "1x60"}),
    Case(
        "BlockyardQueueWithoutWorkers",
        {"pool": "p"},
        {f"blockyard_oldest_queued_seconds{{{POOL}}}": "0+60x60", f'blockyard_workers{{{POOL}, state="idle"}}': "0x60"},
        {f"blockyard_oldest_queued_seconds{{{POOL}}}": "0+60x60", f'blockyard_workers{{{POOL}, state="idle"}}': "1x60"},
    ),
    Case(
        "BlockyardTasksFail",
        {"pool": "p"},
        {f'blockyard_tasks_ended_total{{{POOL}, outcome="{name}"}}': f"0+{step}x60"
         for name, step in (("done", 4), ("failed", 6))},
        {f'blockyard_tasks_ended_total{{{POOL}, outcome="{name}"}}': f"0+{step}x60"
         for name, step in (("done", 6), ("failed", 4))},
    ),
    Case(
        "BlockyardTriesLost",
        {"pool": "p"},
        {f'blockyard_tries_lost_total{{{POOL}, reason="worker"}}': "0+2x60"},
        {f'blockyard_tries_lost_total{{{POOL}, reason="left"}}': "0+2x60"},
    ),
    Case(
        "BlockyardWorkersKeepDying",
        {"pool": "p"},
        {f"blockyard_worker_restarts_total{{{POOL}}}": "0+3x60"},
        {f"blockyard_worker_restarts_total{{{POOL}}}": "0+1x60"},
    ),
    Case(
        "BlockyardOutOfMemory",
        {"pool": "p"},
        {f"blockyard_tries_out_of_memory_total{{{POOL}}}": "0+1x60"},
        {f"blockyard_tries_out_of_memory_total{{{POOL}}}": "0x30 3x30"},
    ),
    Case(
        "BlockyardBlockFailed",
        {"pool": "p"},
        {f'blockyard_blocks{{{POOL}, state="FAILED"}}': "0x55 1x10"},
        {f'blockyard_blocks{{{POOL}, state="FAILED"}}': "0x10 1x50",
         f'blockyard_blocks{{{POOL}, state="SCALED_IN"}}': "0+1x60"},
    ),
    Case(
        "BlockyardBlocksKeepFailing",
        {},
        {f'blockyard_operator_block_ends_total{{namespace="{NAMESPACE}", state="MISSING"}}': "0+1x60"},
        {f'blockyard_operator_block_ends_total{{namespace="{NAMESPACE}", state="TIMEOUT"}}': "0+1x60"},
    ),
    Case(
        "BlockyardPodsRefused",
        {"reason": "Quota"},
        {f'blockyard_operator_refusals_total{{namespace="{NAMESPACE}", reason="Quota"}}': "0+2x60"},
        {f'blockyard_operator_refusals_total{{namespace="{NAMESPACE}", reason="Quota"}}': "0x40 5x20"},
    ),
    Case(
        "BlockyardManagerSilent",
        {"pool": "p"},
        {f"blockyard_manager_silence_seconds{{{POOL}}}": "0x40 60+60x20"},
        {f"blockyard_manager_silence_seconds{{{POOL}}}": "3x60"},
    ),
    Case(
        "BlockyardJournalFailing",
        {},
        {f'blockyard_journal_failing{{namespace="{NAMESPACE}"}}': "0x50 1x10"},
        {f'blockyard_journal_failing{{namespace="{NAMESPACE}"}}': "1x30 0x30"},
    ),
    Case(
        "BlockyardJournalSlow",
        {},
        {f'blockyard_journal_commit_seconds_bucket{{namespace="{NAMESPACE}", le="{bound}"}}': f"0+{step}x60"
         for bound, step in (("0.1", 9), ("1", 9), ("2.5", 10), ("+Inf", 10))},
        {f'blockyard_journal_commit_seconds_bucket{{namespace="{NAMESPACE}", le="{bound}"}}': f"0+{step}x60"
         for bound, step in (("0.1", 10), ("1", 10), ("2.5", 10), ("+Inf", 10))},
    ),
    Case(
        "BlockyardStrangers",
        {},
        {f'blockyard_refused_total{{namespace="{NAMESPACE}", what="key"}}': "0+20x60"},
        {f'blockyard_refused_total{{namespace="{NAMESPACE}", what="request"}}': "0+20x60"},
    ),
    Case(
        "BlockyardHistoryUnavailable",
        {"sink": "sql"},
        {f"blockyard_hub_sink_available{{{HUB}}}": "1x40 0x20"},
        {f"blockyard_hub_sink_available{{{HUB}}}": "1x56 0x4"},
    ),
    Case(
        "BlockyardHistoryBehind",
        {"sink": "sql"},
        {f"blockyard_hub_sink_waiting{{{HUB}}}": "0+10000x60"},
        {f"blockyard_hub_sink_waiting{{{HUB}}}": "100000x60"},
    ),
    Case(
        "BlockyardMessagesPutAside",
        {"sink": "sql"},
        {f"blockyard_hub_sink_quarantined_total{{{HUB}}}": "0x50 1x10"},
        {f"blockyard_hub_sink_quarantined_total{{{HUB}}}": "2x60"},
    ),
    Case(
        "BlockyardMessagesMissing",
        {"radio": "zmq"},
        {f'blockyard_hub_lost{{namespace="{NAMESPACE}", radio="zmq"}}': "0x30 2x30"},
        {f'blockyard_hub_lost{{namespace="{NAMESPACE}", radio="udp"}}': "0x30 2x30"},
    ),
]  # fmt: skip

RECORDED = [
    (
        f'blockyard:tasks_ended:rate5m{{{POOL}, outcome="done"}}', 0.5,
        {f'blockyard_tasks_ended_total{{{POOL}, outcome="done", instance="{one}"}}': "0+15x60" for one in "ab"},
    ),
    (
        f"blockyard:tasks_failed:ratio15m{{{POOL}}}", 0.25,
        {f'blockyard_tasks_ended_total{{{POOL}, outcome="{name}"}}': f"0+{step}x60"
         for name, step in (("done", 6), ("failed", 2))},
    ),
    (
        f'blockyard:stage_seconds:p99_5m{{{POOL}, stage="total"}}', 0.99,
        {f'blockyard_stage_seconds_bucket{{{POOL}, stage="total", le="{bound}"}}': "0+9x60" for bound in ("1", "+Inf")},
    ),
    (
        f"blockyard:workers_busy:ratio{{{POOL}}}", 0.75,
        {f'blockyard_workers{{{POOL}, state="{state}"}}': f"{count}x60" for state, count in (("busy", 3), ("idle", 1))},
    ),
]  # fmt: skip


def groups() -> list[dict[str, Any]]:
    """Of the rendered PrometheusRule."""
    (rules,) = of_kind("PrometheusRule", "monitoring").values()
    found: list[dict[str, Any]] = rules["spec"]["groups"]
    return found


def names(kind: str) -> list[str]:
    """Of all rules of a kind: ``alert`` or ``record``."""
    return [rule[kind] for group in groups() for rule in group["rules"] if kind in rule]


def promtool(*words: str) -> None:
    """Fails with what the tool printed."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"promtool {' '.join(words)}:\n{done.stdout}{done.stderr}"


def own(text: str, name: str) -> str:
    """A series with the pool of this case."""
    return text.replace('pool="p"', f'pool="{name}"')


def story(told: Iterable[tuple[str, dict[str, str]]], asked: list[dict[str, Any]]) -> dict[str, Any]:
    """One test of promtool's: series by case, and what is asked at its end."""
    inputs = [
        {"series": own(series, case), "values": values} for case, found in told for series, values in found.items()
    ]
    return {"interval": "1m", "input_series": inputs, "promql_expr_test": asked}


def asked(text: str, labels: str, value: float) -> dict[str, Any]:
    """A question, and its one answer."""
    return {"expr": text, "eval_time": f"{MINUTES}m", "exp_samples": [{"labels": labels, "value": value}]}


def firing(case: Case, count: int) -> dict[str, Any]:
    """So many alerts with these labels, whatever their sentences are; those of other cases' pools do not matter."""
    labels = {name: case.alert if name == "pool" else value for name, value in case.labels.items()}
    words = "".join(f', {name}="{value}"' for name, value in labels.items())
    text = f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"{words}}}) or vector(0)'
    return asked(text, "{}", count)


def test_each_alert_fires_when_it_should_and_only_then_and_records_are_right(tmp_path: Path) -> None:
    rules, test = tmp_path / "rules.json", tmp_path / "test.json"
    rules.write_text(json.dumps({"groups": groups()}))
    recorded = [
        asked(own(name, name.partition("{")[0]), own(name, name.partition("{")[0]), value)
        for name, value, _ in RECORDED
    ]
    stories = [
        story([(case.alert, case.fires) for case in CASES], [firing(case, 1) for case in CASES]),
        story([(case.alert, case.quiet) for case in CASES], [firing(case, 0) for case in CASES]),
        story([(name.partition("{")[0], series) for name, _, series in RECORDED], recorded),
    ]
    test.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": stories}))
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(rules))
    promtool("test", "rules", str(test))


def test_every_rule_has_a_case() -> None:
    assert sorted(names("alert")) == sorted(case.alert for case in CASES)
    assert sorted(names("record")) == sorted(name.partition("{")[0] for name, _, _ in RECORDED)


def test_sentences_are_whole() -> None:
    alerts = [rule for group in groups() for rule in group["rules"] if "alert" in rule]
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
        assert "RELEASE" not in json.dumps(rule), rule["alert"]
