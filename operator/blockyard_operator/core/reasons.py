"""Conditions of a WorkerPool and their reasons, with what each means: stable words, for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CONDITIONS: Final[Mapping[str, str]] = {
    "Ready": "tasks can run, or could as soon as there are any",
    "Accepted": "the spec can be read",
    "TemplateValid": "the API server would take the pool's pods, as a dry run showed",
    "Connected": "the interchange answers and knows the pool",
    "Progressing": "the operator is changing something: scaling, draining, rolling out",
    "Degraded": "blocks fail",
    "ScalingLimited": "there would be more blocks if something did not forbid it",
    "Monitored": "what its tries use is told to the hub",
}
"""What True means. Ready is False for the first of the others that is wrong, with that one's reason and message."""

REASONS: Final[Mapping[str, Mapping[str, str]]] = {
    "Ready": {
        "Ready": "at least one block works",
        "Idle": "no block is needed",
        "Suspended": "`spec.suspend` is set; blocks are drained, tasks wait",
        "Starting": "blocks run, none of their managers has registered yet",
        "…": "any reason of the conditions below that is in the way, or what the first block waits for (`states.md`)",
    },
    "Accepted": {
        "Accepted": "",
        "InvalidSpec": "a field cannot be read; the message names it",
    },
    "TemplateValid": {
        "DryRunPassed": "",
        "Checking": "the dry run is yet to be made",
        "TemplateInvalid": "the template cannot be merged, or the pod is invalid; the message names the field",
        "InvalidPod": "the API server refused a field; the message names it",
        "AdmissionRefused": "Pod Security, an admission policy or a webhook refused the pod",
        "NoPriorityClass": "the class that `priorityClassName` names is not there",
    },
    "Connected": {
        "Connected": "",
        "Announcing": "the interchange answers, but not yet for this pool",
        "InterchangeSilent": "it does not answer: no block is started, none is given up",
    },
    "Progressing": {
        "Steady": "nothing changes",
        "ScalingOut": "blocks are on their way",
        "ScalingIn": "blocks are being drained",
        "RollingOut": "blocks of an earlier form are being replaced",
        "RolloutPaused": "there are some, and `spec.rollout.paused` is set",
    },
    "Degraded": {
        "AsExpected": "",
        "BlocksFailing": "the last blocks failed at their start; until one works, one is tried after each pause",
        "GivenUp": "the error policy gave the pool up; its tasks fail with `PoolFailed`; change the pool's template",
        "PythonUnsupported": "the worker is not built for the image's Python; change the image",
        "Refused": "the interchange does not want managers of this image",
        "…": "the reason of a block whose end a rule of `podFailureRules` called `Halt`",
    },
    "ScalingLimited": {
        "NotLimited": "",
        "AtMaximum": "demand asks for more than `spec.blocks.max`, or `replicas` where that is set",
        "Preparing": "key and dry run are yet to be made",
        "BlocksUnproved": "no block of this form has proved itself yet; a few are tried at a time",
        "BlocksFailing": "blocks fail, and a pause is kept",
        "GivenUp": "the error policy gave the pool up",
        "BadKey": "the pool's Secret is there and holds no key; delete it, and it is made anew",
        "…": "why the API server would not make the pool's Secret, its pods or a WorkerBlock: QuotaExceeded, …",
    },
    "Monitored": {
        "Monitored": "",
        "Off": "`spec.monitoring.radio` is `none`, or the release has no hub",
        "Preparing": "the hub has been asked, and the first blocks wait for its answer, 15 s at most",
        "NoHub": "the pool names a radio, and the release has no hub; blocks run without",
        "HubSilent": "the hub does not answer; blocks run, new ones without a radio if the pool never had one",
        "RadioRefused": "the hub does not want it, and the message says why; blocks run without",
    },
}
"""By condition; '…' stands for reasons that come from elsewhere."""
