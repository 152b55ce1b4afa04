"""What the interchange is told of a block, for those who ask it why."""

from blockyard.blocks.states import JobState, JobStatus
from blockyard.ids import BlockId
from blockyard.pool_engine import report_of


def test_only_of_one_that_failed_does_the_message_end_with_its_log() -> None:
    def told(state: JobState) -> str:
        status = JobStatus(state=state, reason="Ended", message="exit code", exit_code=0, log_tail="INFO leaving\n")
        return report_of(BlockId("b"), status).message

    assert told(JobState.FAILED) == told(JobState.MISSING) == "exit code; its log ends with: INFO leaving"
    assert told(JobState.COMPLETED) == told(JobState.SCALED_IN) == "exit code"
