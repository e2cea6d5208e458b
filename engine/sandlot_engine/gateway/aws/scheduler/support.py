"""What of the Scheduler's API works here: see `gateway/aws/support.py`."""

from sandlot_engine.gateway.aws.support import Fields, Table

_FUNCTIONS_ONLY = "targets are functions, and this is another service's."
_KMS = "there is no KMS."
_TARGET = {
    f"Target.{name}": _FUNCTIONS_ONLY
    for name in (
        *("EcsParameters", "EventBridgeParameters", "KinesisParameters"),
        *("SageMakerPipelineParameters", "SqsParameters"),
        *("EventBridgePutEventsV2Parameters", "EventBridgePutRawEventsParameters"),
    )
}
_SCHEDULE = Fields(
    works="Name GroupName ScheduleExpression ScheduleExpressionTimezone StartDate"
    " EndDate Description State Target FlexibleTimeWindow ClientToken"
    " ActionAfterCompletion",
    refused={"KmsKeyArn": _KMS, **_TARGET},
)

TABLE: Table = {
    "CreateSchedule": _SCHEDULE,
    "GetSchedule": Fields(works="Name GroupName"),
    "UpdateSchedule": _SCHEDULE,
    "DeleteSchedule": Fields(works="Name GroupName ClientToken"),
    "ListSchedules": Fields(works="GroupName NamePrefix State NextToken MaxResults"),
    "CreateScheduleGroup": Fields(works="Name Tags ClientToken"),
    "GetScheduleGroup": Fields(works="Name"),
    "DeleteScheduleGroup": Fields(works="Name ClientToken"),
    "ListScheduleGroups": Fields(works="NamePrefix NextToken MaxResults"),
    "TagResource": Fields(works="ResourceArn Tags"),
    "UntagResource": Fields(works="ResourceArn TagKeys"),
    "ListTagsForResource": Fields(works="ResourceArn"),
}
"""Every operation of AWS's model. Of a Target, RoleArn and DeadLetterConfig are kept
and shown."""
