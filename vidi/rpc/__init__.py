"""What all of ViDi's gRPC servers and callers share: bootstrap, interceptors, errors, queues, channels."""
