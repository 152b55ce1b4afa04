"""The operator's settings: where they come from, and what is wrong with them, all at once."""

import json
import logging

import pytest

from blockyard.errors import ConfigError
from blockyard_operator.logs import JsonFormatter
from blockyard_operator.settings import read_settings

NEEDED = {
    "BLOCKYARD_OPERATOR_CLIENTS_ENDPOINT": "tcp://i:5555",
    "BLOCKYARD_OPERATOR_MANAGERS_ENDPOINT": "tcp://i:5556",
    "BLOCKYARD_OPERATOR_WORKER_IMAGE": "worker:1",
}


def test_a_flag_comes_before_the_environment_and_that_before_the_default() -> None:
    found = read_settings(["--release", "mine"], {**NEEDED, "BLOCKYARD_OPERATOR_RELEASE": "theirs"})
    assert (found.release, found.worker_image, found.lease_seconds) == ("mine", "worker:1", 15.0)


def test_lists_are_separated_by_commas_and_empty_means_all() -> None:
    assert read_settings([], {**NEEDED, "BLOCKYARD_OPERATOR_NAMESPACES": "a,b"}).namespaces == ["a", "b"]
    assert read_settings([], {**NEEDED, "BLOCKYARD_OPERATOR_NAMESPACES": ""}).namespaces == []


def test_further_clients_are_json_and_each_has_pools() -> None:
    text = '{"anna": ["team/gpu", "team/cpu"]}'
    assert read_settings([], {**NEEDED, "BLOCKYARD_OPERATOR_CLIENTS": text}).clients == {
        "anna": ["team/gpu", "team/cpu"]
    }
    assert read_settings([], {**NEEDED, "BLOCKYARD_OPERATOR_CLIENTS": ""}).clients == {}


@pytest.mark.parametrize(
    "text, said",
    [
        ("anna", "BLOCKYARD_OPERATOR_CLIENTS: 'anna'"),
        ('{"anna": "team/gpu"}', "BLOCKYARD_OPERATOR_CLIENTS"),
        ('{"default": ["team/gpu"]}', "clients: 'default' is no name"),
        ('{"../x": ["team/gpu"]}', "clients: '../x' is no name"),
        ('{"anna": ["gpu"]}', "clients: anna: 'gpu' is not NAMESPACE/POOL"),
        ('{"anna": ["team/gpu, team/cpu"]}', "is not NAMESPACE/POOL"),
        ('{"anna": []}', "clients: anna: name the pools"),
    ],
)
def test_a_client_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings([], {**NEEDED, "BLOCKYARD_OPERATOR_CLIENTS": text})
    assert said in str(caught.value)


def test_all_faults_are_told_together_by_the_place_where_they_are() -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(
            ["--lease-seconds", "soon"], {"BLOCKYARD_OPERATOR_LISTEN": "9090", "BLOCKYARD_OPERATOR_CONCURRENCY": "x"}
        )
    said = str(caught.value)
    assert "--lease-seconds: 'soon'" in said
    assert "BLOCKYARD_OPERATOR_CONCURRENCY: 'x'" in said
    assert "BLOCKYARD_OPERATOR_WORKER_IMAGE: is missing" in said


def test_a_lease_must_leave_time_to_renew_it() -> None:
    with pytest.raises(ConfigError, match="lease_seconds: 5 leaves no time"):
        read_settings(["--lease-seconds", "5"], NEEDED)


def test_a_log_line_is_an_object_with_what_it_is_about() -> None:
    record = logging.makeLogRecord(
        {"msg": "made %s", "args": ("it",), "levelname": "INFO", "name": "x", "object": "pool/n/p"}
    )
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["level"], line["object"]) == ("made it", "info", "pool/n/p")
    assert line["time"].endswith("+00:00")
