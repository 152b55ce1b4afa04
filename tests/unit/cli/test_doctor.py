"""Which differences between a client and a worker are found, and how bad they are. No task is run here."""

import msgspec

from blockyard import doctor

HERE = doctor.Environment(
    python="3.11.7",
    implementation="CPython",
    machine="x86_64",
    node="here",
    executable="/usr/bin/python3",
    packages={"numpy": "2.0", "click": "8.1"},
)


def there(**changes: object) -> doctor.Environment:
    return msgspec.structs.replace(HERE, node="there", **changes)


def test_like_environments_have_no_findings() -> None:
    assert doctor.compare("p", HERE, there()) == []


def test_a_patch_release_of_python_is_no_difference() -> None:
    assert doctor.compare("p", HERE, there(python="3.11.2")) == []


def test_another_minor_version_of_python_is_a_fault_that_names_both() -> None:
    (found,) = doctor.compare("p", HERE, there(python="3.12.1"))
    assert (found.subject, found.client, found.worker) == ("python", "CPython 3.11.7", "CPython 3.12.1")
    assert found.weight is doctor.Weight.FAULT


def test_a_package_of_two_versions_is_a_fault_with_the_line_that_mends_it() -> None:
    (found,) = doctor.compare("p", HERE, there(packages={"numpy": "1.26", "click": "8.1"}))
    assert (found.subject, found.client, found.worker, found.weight) == ("numpy", "2.0", "1.26", doctor.Weight.FAULT)
    assert "pip install numpy==2.0" in found.message


def test_a_package_that_the_worker_lacks_is_a_note_and_one_that_the_client_lacks_is_nothing() -> None:
    (found,) = doctor.compare("p", HERE, there(packages={"click": "8.1", "torch": "2"}))
    assert (found.subject, found.weight) == ("numpy", doctor.Weight.NOTE)


def test_the_probe_describes_the_process_it_runs_in() -> None:
    found = doctor.here()
    assert found.packages["blockyard"]
    assert found.packages["msgspec"] == msgspec.__version__


def test_findings_are_counted_by_weight() -> None:
    findings = doctor.compare("p", HERE, there(python="3.12.1", packages={}))
    counted = doctor.verdict([doctor.PoolCheck(pool="p", worker=None, findings=findings)])
    assert counted == {doctor.Weight.FAULT: 1, doctor.Weight.NOTE: 2}
