"""What a worker answers over gRPC, which is all that the core does."""

from sandlot_engine.gateway.rpc.server import SERVICE_NAMES
from sandlot_engine.workers.grpc_face import FILES


def test_a_worker_knows_every_service_of_the_core() -> None:
    known = {
        service.full_name
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
    }

    assert known >= set(SERVICE_NAMES)
