"""The DNS of egress cells: what is asked, what is told, and no byte unread."""

import socket
import struct
from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandlot_sandbox.launcher import resolver
from sandlot_sandbox.launcher.resolver import (
    MAX_ANSWER,
    MAX_QUERY,
    BadMessage,
    Query,
    Resolver,
    failure,
    nameservers,
    read_query,
    refusal,
    write_answer,
    write_question,
)
from tests.fakes import dns

PUBLIC, PRIVATE = "93.184.216.34", "10.9.0.1"
NUMBER = 4242
SERVER_FAILURE, NO_SUCH_NAME, REFUSED = 2, 3, 5


def reach(address: IPv4Address) -> bool:
    return address not in ip_network("10.0.0.0/8")


def told(query: Query, *records: bytes, status: int = 0) -> list[tuple[int, bytes]]:
    """Kinds and contents of what a function is told."""
    message = dns.reply(write_question(query, NUMBER), list(records), status=status)
    return dns.read(write_answer(message, query, NUMBER, reach))[1]


def asked(name: str = "a.test", kind: int = dns.A, size: int | None = 4096) -> Query:
    return read_query(dns.question(name, kind, size=size))


def test_a_question_is_asked_anew_under_another_number() -> None:
    query = asked("Some.Name.test", dns.MX)
    question = write_question(query, NUMBER)

    assert question[:2] == NUMBER.to_bytes(2, "big")
    assert read_query(question).name == dns.name("Some.Name.test")
    assert read_query(question).kind == dns.MX


def test_addresses_that_are_blocked_are_left_out() -> None:
    public = dns.record(dns.A, dns.address(PUBLIC))
    private = dns.record(dns.A, dns.address(PRIVATE))

    assert told(asked(), private, public, private) == [(dns.A, dns.address(PUBLIC))]
    assert told(asked(), private) == []


@pytest.mark.parametrize("kind", [dns.AAAA, dns.HTTPS])
def test_what_leads_to_ipv6_is_left_out(kind: int) -> None:
    record = dns.record(kind, dns.address("2001:db8::1"))

    assert told(asked(kind=kind), record) == []


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (dns.CNAME, dns.name("b.test")),
        (dns.NS, dns.name("ns.test")),
        (dns.MX, b"\0\x0a" + dns.name("mail.test")),
        (dns.SRV, bytes(6) + dns.name("srv.test")),
        (dns.TXT, b"\x03abc"),
        (dns.SOA, dns.name("a.test") + dns.name("b.test") + bytes(20)),
    ],
)
def test_other_records_are_told_as_they_are(kind: int, content: bytes) -> None:
    assert told(asked(kind=kind), dns.record(kind, content)) == [(kind, content)]


def test_names_in_records_are_written_out() -> None:
    to_the_question = b"\x01b\xc0\x0c"

    record = dns.record(dns.CNAME, to_the_question)

    assert told(asked("a.test"), record) == [(dns.CNAME, dns.name("b.a.test"))]


def test_what_was_not_asked_for_is_not_told() -> None:
    unasked = dns.record(dns.TXT, b"\x03abc")
    alias = dns.record(dns.CNAME, dns.name("b.test"))
    address = dns.record(dns.A, dns.address(PUBLIC), owner=dns.name("b.test"))

    found = told(asked(), unasked, alias, address)

    assert [kind for kind, _ in found] == [dns.CNAME, dns.A]


def test_a_name_that_does_not_exist_says_for_how_long() -> None:
    query = asked()
    soa = dns.record(dns.SOA, dns.name("a") + dns.name("b") + bytes(20))
    hidden = dns.record(dns.A, dns.address(PUBLIC))
    message = dns.reply(
        write_question(query, NUMBER), [], status=NO_SUCH_NAME, more=[soa, hidden]
    )

    status, records = dns.read(write_answer(message, query, NUMBER, reach))

    assert status == NO_SUCH_NAME
    assert [kind for kind, _ in records] == [dns.SOA]


def test_other_failures_of_a_nameserver_are_told_as_one() -> None:
    query = asked()
    for status in (1, 2, 4, 5, 9):
        message = dns.reply(write_question(query, NUMBER), [], status=status)
        assert write_answer(message, query, NUMBER, reach) == failure(query)
    assert dns.read(failure(query)) == (SERVER_FAILURE, [])


@pytest.mark.parametrize("size", [None, 512, 1232, 4096, 65535, 0])
def test_an_answer_is_never_longer_than_was_asked_for(size: int | None) -> None:
    query = asked(size=size)
    many = [dns.record(dns.A, dns.address(f"93.184.{n}.1")) for n in range(200)]

    message = dns.reply(write_question(query, NUMBER), many)
    answer = write_answer(message, query, NUMBER, reach)

    assert len(answer) <= min(max(size or 0, MAX_QUERY), MAX_ANSWER)
    assert len(dns.read(answer)[1]) >= 20


@pytest.mark.parametrize("kind", [dns.AXFR, dns.ANY, 251, 10, 46, 99, 0, 65535])
def test_kinds_that_no_function_needs_are_refused(kind: int) -> None:
    answer = refusal(asked(kind=kind), reach)

    assert answer is not None
    assert dns.read(answer) == (REFUSED, [])


@pytest.mark.parametrize(
    "name", [f"{n}.in-addr.arpa" for n in ("1.0.9.10", "9.10", "x")]
)
def test_names_of_blocked_addresses_are_not_asked_for(name: str) -> None:
    answer = refusal(asked(name, dns.PTR), reach)

    assert answer is not None
    assert dns.read(answer) == (NO_SUCH_NAME, [])


def test_names_of_public_addresses_are_asked_for() -> None:
    assert refusal(asked("34.216.184.93.IN-addr.arpa", dns.PTR), reach) is None
    assert refusal(asked("a.test"), reach) is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        bytes(11),
        bytes(12),
        dns.question("a.test") + b"\0",
        dns.question("a.test")[:-1],
        dns.question("a" * 64),
        dns.question(".".join(["a" * 63] * 5)),
        dns.question("a.test", size=512) + b"\0",
        dns.question("a.test") + dns.question("b.test"),
        dns.question("a.test").ljust(MAX_QUERY + 1, b"\0"),
        struct.pack("!6H", 1, 0x8000, 1, 0, 0, 0) + dns.name("a") + b"\0\1\0\1",
        struct.pack("!6H", 1, 0x2800, 1, 0, 0, 0) + dns.name("a") + b"\0\1\0\1",
        struct.pack("!6H", 1, 0, 2, 0, 0, 0) + dns.name("a") + b"\0\1\0\1",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c" + b"\0\1\0\1",
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + dns.name("a") + b"\0\1\0\3",
    ],
)
def test_a_malformed_question_is_not_taken(message: bytes) -> None:
    with pytest.raises(BadMessage):
        read_query(message)


@pytest.mark.parametrize(
    "forge",
    [
        lambda m: b"\0\0" + m[2:],  # another number
        lambda m: m[:2] + b"\0\0" + m[4:],  # a question
        lambda m: m.replace(b"\x01a\x04test", b"\x01b\x04test"),  # another name
        lambda m: m.replace(b"\0\1\0\1", b"\0\2\0\1", 1),  # another kind
        lambda m: m[:4] + b"\0\0" + m[6:],  # to no question at all
        lambda m: m[:14],  # cut off
        lambda m: m + bytes(MAX_ANSWER),  # too long
    ],
)
def test_an_answer_to_something_else_is_not_taken(forge: object) -> None:
    assert callable(forge)
    query = asked()
    record = dns.record(dns.A, dns.address(PUBLIC))
    message = dns.reply(write_question(query, NUMBER), [record])

    with pytest.raises(BadMessage):
        write_answer(forge(message), query, NUMBER, reach)


@pytest.mark.parametrize(
    "pointer", [b"\xc0\x1c", b"\xc0\xff", b"\xff\xff", b"\x01a\xc0\x18"]
)
def test_a_name_that_points_forward_or_to_itself_ends_the_reading(
    pointer: bytes,
) -> None:
    good = dns.record(dns.A, dns.address(PUBLIC))
    bad = dns.record(dns.A, dns.address(PUBLIC), owner=pointer)

    assert told(asked(), bad, good) == []


def test_names_that_lead_back_again_and_again_have_an_end() -> None:
    at = len(dns.reply(write_question(asked(), NUMBER), []))
    owner, chain = b"\xc0\x0c", []
    for _ in range(33):
        chain.append(dns.record(dns.A, dns.address(PUBLIC), owner=owner))
        owner = (0xC000 | at).to_bytes(2, "big")
        at += len(chain[-1])

    told_of = [len(told(asked(), *chain[:count])) for count in (31, 32, 33)]

    assert told_of == [31, 32, 32]


def test_what_was_read_before_a_cut_is_told() -> None:
    good = dns.record(dns.A, dns.address(PUBLIC))

    assert len(told(asked(), good, good[:-1])) == 1


def test_an_address_of_the_wrong_size_is_not_told() -> None:
    assert told(asked(), dns.record(dns.A, dns.address(PUBLIC) + b"\0")) == []
    assert told(asked(), dns.record(dns.A, b"\x5d")) == []


@given(st.binary(max_size=MAX_QUERY + 8))
@example(dns.question("a.test", size=4096))
def test_any_question_is_understood_or_not_taken(message: bytes) -> None:
    try:
        query = read_query(message)
    except BadMessage:
        return

    again = read_query(write_question(query, NUMBER))
    assert (again.name, again.kind) == (query.name, query.kind)
    assert len(failure(query)) <= MAX_QUERY


_INTO_IT = dns.record(dns.A, bytes(4), owner=b"\xc0\x20")
"""Its owner begins in the midst of the first record's."""

records = st.lists(
    st.builds(
        lambda kind, content, owner: dns.record(kind, content, owner=owner),
        st.sampled_from([1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 64, 257]),
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([PUBLIC, PRIVATE, "10.255.0.1"]).map(dns.address),
            st.sampled_from([b"\xc0\x0c", b"\x01x\xc0\x0c", b"\0\1\xc0\x0c"]),
        ),
        st.sampled_from([b"\xc0\x0c", b"\0", dns.name("x.y"), b"\xc0\x20", b"\x3f"]),
    ),
    max_size=12,
)


@given(
    st.sampled_from([dns.A, dns.MX, dns.SOA, dns.SRV, dns.AAAA, dns.CNAME]),
    records,
    st.integers(0, 400),
    st.binary(max_size=6),
)
# An owner that is one label, of the byte that ends names.
@example(dns.A, [dns.record(dns.A, b"", owner=dns.name("x.y")), _INTO_IT], 0, b"")
def test_whatever_a_nameserver_says_is_cleaned_or_not_taken(
    kind: int, said: list[bytes], cut: int, patch: bytes
) -> None:
    """Hostile servers: records of all kinds, cut off and overwritten somewhere."""
    query = asked(kind=kind)
    message = bytearray(dns.reply(write_question(query, NUMBER), said))
    at = len(message) - min(cut, len(message) - 12)
    message[at : at + len(patch)] = patch

    try:
        answer = write_answer(bytes(message), query, NUMBER, reach)
    except BadMessage:
        return

    assert len(answer) <= query.max_answer
    for found, content in _without_extension(answer):
        assert found in (kind, dns.CNAME, dns.SOA)
        assert found not in (dns.AAAA, dns.HTTPS)
        if found == dns.A:
            assert len(content) == len(dns.address(PUBLIC))
            assert reach(IPv4Address(content))


@given(st.binary(max_size=600))
def test_any_bytes_for_an_answer_are_cleaned_or_not_taken(said: bytes) -> None:
    query = asked()
    head = dns.reply(write_question(query, NUMBER), [])

    answer = write_answer(
        head[:6] + b"\0\xff\0\xff" + head[10:] + said, query, NUMBER, reach
    )

    for kind, content in _without_extension(answer):
        assert kind in (dns.A, dns.CNAME, dns.SOA)
        assert kind != dns.A or reach(IPv4Address(content))


def _without_extension(answer: bytes) -> list[tuple[int, bytes]]:
    return dns.read(answer)[1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["127.0.0.1"]),
        ("# nameserver 1.1.1.1\nsearch a.test\n", ["127.0.0.1"]),
        ("nameserver 9.9.9.9\nnameserver\t::1 \n", ["9.9.9.9", "::1"]),
        ("nameserver none\nnameserver 1.1.1.1 # mine", ["1.1.1.1"]),
        ("nameserver fe80::1%eth0\n", ["fe80::1%eth0"]),
        ("nameserver 1.0.0.1\n" * 5, ["1.0.0.1"] * 3),
    ],
)
def test_nameservers_are_those_of_the_machine(text: str, found: list[str]) -> None:
    assert [address for _, address in nameservers(text)] == found


def test_their_family_comes_along() -> None:
    families = [
        family for family, _ in nameservers("nameserver ::1\nnameserver 1.1.1.1")
    ]

    assert families == [socket.AF_INET6, socket.AF_INET]


def test_a_nameserver_of_a_family_that_the_kernel_has_not_is_passed_over() -> None:
    nobodys = socket.AddressFamily.AF_APPLETALK
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as cell,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as function,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        cell.bind(("127.0.0.1", 0))
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        servers = [(nobodys, "::1"), (socket.AF_INET, "127.0.0.1")]
        ours = Resolver(cell, servers, reach, port=server.getsockname()[1])

        function.sendto(dns.question("a.test"), cell.getsockname())
        ours.work()

        assert read_query(server.recv(MAX_QUERY)).name == dns.name("a.test")
        ours.close()


def test_the_limits_are_what_the_documents_say() -> None:
    limits = (MAX_QUERY, MAX_ANSWER, resolver.MAX_WAITING, resolver.RATE_PER_S)

    assert limits == (512, 4096, 32, 200)
