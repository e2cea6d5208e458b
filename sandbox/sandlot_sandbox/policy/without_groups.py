"""What functions may call where no control group counts their memory."""

from sandlot_sandbox.policy.sockets import (
    NOBODY_LINGERS,
    SO_LINGER,
    SO_RCVBUF,
    SO_SNDBUF,
    SOCKET_OPTIONS,
    pretended_options,
    setsockopt,
)
from sandlot_sandbox.policy.terms import Argument, Group, Policy, Rule, group
from sandlot_sandbox.policy.zygote import (
    PRETENDED_OF_FILES,
    PRETENDED_OF_MEMORY,
    PRETENDED_OF_SCHEDULING,
    ZYGOTE,
)

_UNSEEN = group(
    "memory that no process maps: files without a name; and pages that are handed to"
    " sockets and pipes whole, and counted by the bytes of them that were sent",
    "memfd_create sendfile splice tee",
)
_UNSUITED = group(
    "of the same; but libuv, and with it Node's `fs.copyFile`, copies by itself only"
    " when it hears that these two files will not do",
    "sendfile",
)
_SEEN_IN_PART = group("see the rules", "setsockopt sendto sendmsg sendmmsg")

_MSG_EOR = 0x80

_WITHOUT_GROUPS_RULES = (
    setsockopt(
        "buffers stay at the size that the watch counts them with, so no SO_RCVLOWAT,"
        " which makes them larger; no programs that filter, and no zero copies",
        SOCKET_OPTIONS,
    ),
    *(
        Rule(
            call,
            "no MSG_EOR: it keeps short segments apart, and each takes a kilobyte",
            ((Argument(index, 0, _MSG_EOR),),),
        )
        for call, index in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3))
    ),
)

ZYGOTE_WITHOUT_GROUPS = Policy(
    "zygote where no control group counts memory: without what nobody sees",
    "ENOSYS",
    allowed=tuple(
        Group(
            part.reason,
            tuple(
                call
                for call in part.calls
                if call not in (*_UNSEEN.calls, *_SEEN_IN_PART.calls)
            ),
        )
        for part in ZYGOTE.allowed
    ),
    rules=(
        *(
            rule
            for rule in ZYGOTE.rules
            if rule.call not in (*_UNSEEN.calls, *_SEEN_IN_PART.calls)
        ),
        *_WITHOUT_GROUPS_RULES,
    ),
    refused=ZYGOTE.refused,
    pretended=(
        pretended_options(
            "sizes of buffers are a wish, and programs do not expect to hear of it; and"
            f" {NOBODY_LINGERS}",
            *(SO_SNDBUF, SO_RCVBUF, SO_LINGER),
        ),
        *PRETENDED_OF_FILES,
        *PRETENDED_OF_MEMORY,
        *PRETENDED_OF_SCHEDULING,
    ),
    unsuited=(_UNSUITED,),
)
