"""The page for those who come from LUTE names everything that LUTE has, and each thing of ours that it names exists."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from blockyard import managed

PAGE = (Path(__file__).parents[2] / "docs" / "lute.md").read_text()
ROWS = dict(re.findall(r"^\| `([^`]+)` \| (gone|`[^`]+`) \|", PAGE, re.MULTILINE))
LISTED = """
    BaseExecutor Executor MPIExecutor BinaryExecutor ThirdPartyTask task_name poll_interval add_hook
    add_default_hooks update_environment shell_source execute_task process_results _process_results _pre_task
    _submit_cmd _submit_task _task_loop _finalize_task _store_configuration _task_is_running _stop _continue
    _set_result_from_parameters subprocess_task.py Task Task.run _pre_run _post_run _signal_start _signal_result
    _report_to_executor clean_up_timeout TaskParametersDBReference Message LUTE_SIGNALS NO_PICKLE_MODE
    TASK_STARTED TASK_FAILED TASK_STOPPED TASK_DONE TASK_CANCELLED TASK_RESULT TASK_LOG TASK_REQUEST
    TASK_RESPONSE TASK_METADATA TaskRequest TaskResponse Hooks ExecutorHooks Communicator Party use_pickle
    stage_communicator clear_communicator delayed_setup has_messages read write desc PipeCommunicator
    SocketCommunicator LUTE_USE_TCP LUTE_USE_ZMQ SocketCommunicatorHandler TaskStatus TaskResult summary payload
    impl_schemas DescribedAnalysis AnalysisConfig ElogSummaryPlots AnalysisHeader TaskParameters
    ThirdPartyParameters TemplateConfig TemplateParameters template_parameter_validator lute_template_cfg
    executable run_directory set_result is_result result_from_params result_summary flag_type rename_param
    description short_flags_use_eq long_flags_use_eq p_arg env_prefix read_latest_db_entry task_timeout
    LUTE_TENV_ LUTE_CONFIGPATH LUTE_SOCKET post_elog_run_status post_elog_run_table post_elog_message
    version_specifier gen_cfg exec_cfg valid_flag invalidate_entry dbview add_tasklet
    managed_tasks.py run_task lute_help lute_cfg
"""
NAMES = set(LISTED.split())


def test_every_name_has_its_row() -> None:
    assert ROWS.keys() == NAMES


@pytest.mark.parametrize("name", sorted({ours.strip("`") for ours in ROWS.values() if ours != "gone"}))
def test_what_the_page_names_exists(name: str) -> None:
    found: object = managed
    for part in name.split("."):
        found = getattr(found, part, None) or import_module(f"{getattr(found, '__name__', '')}.{part}")
    assert found is not None


def test_what_is_gone_says_why() -> None:
    reasons = re.findall(r"^\| `[^`]+` \| gone \|([^|]*)\|", PAGE, re.MULTILINE)
    assert len(reasons) == list(ROWS.values()).count("gone")
    assert all(len(reason.split()) > 2 for reason in reasons)
