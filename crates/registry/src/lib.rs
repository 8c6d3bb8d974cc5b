//! The registry service: register, heartbeat, discover and watch over gRPC.
