"""The gateway's application layer: what gRPC, HTTP and DIMSE offer, without any of them."""
