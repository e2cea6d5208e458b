from snapshot_restore_py import register_after_restore, register_before_snapshot

ran = []


@register_before_snapshot
def before():
    ran.append("before the snapshot")


@register_after_restore
def after():
    ran.append("after the restore")


def handler(event, context):
    return ran
