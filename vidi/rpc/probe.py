"""Ask a gRPC server whether it is well: `python -m vidi.rpc.probe HOST:PORT [SERVICE]`, for container health checks.

Kubernetes asks by itself (native gRPC probes); this is for everything else. The exit status is 0 for SERVING, else 1.
Reference: gRPC health checking protocol, grpc.health.v1.
"""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT = 5.0


def probe(address: str, service: str = "", timeout: float = TIMEOUT) -> str:
    """Return what the server says of a service: "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN", or the failed call's code.

    Parameters
    ----------
    address
        "host:port".
    service
        Full gRPC service name; "" is the server as a whole, "liveness" stays SERVING while a server drains.
    timeout
        Longest wait for an answer in seconds.
    """
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)
        except grpc.RpcError as error:
            return str(error.code().name)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def main(arguments: list[str]) -> int:
    """Probe as the arguments say; print the answer."""
    if not 1 <= len(arguments) <= 2:
        sys.stderr.write("usage: python -m vidi.rpc.probe HOST:PORT [SERVICE]\n")
        return 2
    address, service = (*arguments, "")[:2]
    answer = probe(address, service)
    sys.stdout.write(answer + "\n")
    return 0 if answer == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
