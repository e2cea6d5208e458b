"""Request ids are UUIDs."""

import uuid

from sandlot_engine.ids import IDS_AT_ONCE, new_request_id


def test_an_id_is_a_random_uuid_in_its_usual_form() -> None:
    for _ in range(IDS_AT_ONCE):
        request_id = new_request_id()

        read = uuid.UUID(request_id)
        assert str(read) == request_id
        assert read.version == 4
        assert read.variant == uuid.RFC_4122


def test_no_two_ids_are_the_same() -> None:
    many = 4 * IDS_AT_ONCE

    assert len({new_request_id() for _ in range(many)}) == many
