//! The gateway's own gRPC server reflection: everything that is registered, by one service, as if the gateway served it
//! all itself. What asks services for theirs is `descriptors::reflection`.
//!
//! [`index`] knows the answers, [`service`] gives them, as v1 and as v1alpha. A stream may stay open while services come
//! and go: each of its questions is answered by what is registered then.

pub(crate) mod index;
pub(crate) mod service;
