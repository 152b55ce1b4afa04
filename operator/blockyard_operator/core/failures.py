"""`podFailureRules`: what the end of a block means, by the first rule that fits."""

from __future__ import annotations

from collections.abc import Sequence

from blockyard.blocks.states import JobState, JobStatus
from blockyard.kube.pods import Pod
from blockyard_operator.resources.shape import ExitCodes, FailureAction, FailureRule, PodCondition


def action_of(rules: Sequence[FailureRule], end: JobStatus, pods: Sequence[Pod]) -> FailureAction | None:
    """What the first fitting rule says; None when none fits, or the block ended in order."""
    if end.state in (JobState.COMPLETED, JobState.SCALED_IN):
        return None
    return next((rule.action for rule in rules if _fits(rule, end, pods)), None)


def _fits(rule: FailureRule, end: JobStatus, pods: Sequence[Pod]) -> bool:
    if rule.on_reasons is not None and end.reason not in rule.on_reasons:
        return False
    if rule.on_exit_codes is not None and not any(_exited(rule.on_exit_codes, pod) for pod in pods):
        return False
    conditions = rule.on_pod_conditions
    return conditions is None or any(_holds(one, pod) for one in conditions for pod in pods)


def _exited(wanted: ExitCodes, pod: Pod) -> bool:
    """As in a Job: a container that ended with 0 fits no rule."""
    codes = {
        one.exit_code
        for one in pod.containers
        if one.exit_code not in (None, 0) and wanted.container_name in ("", one.name)
    }
    return any((code in wanted.values) == (wanted.operator == "In") for code in codes)


def _holds(wanted: PodCondition, pod: Pod) -> bool:
    found = pod.condition(wanted.type)
    return found is not None and found.status == wanted.status
