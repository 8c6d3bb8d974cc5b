//! The gateway service: one port for gRPC and HTTP/JSON in front of every service.
