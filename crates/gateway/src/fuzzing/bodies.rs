//! Bodies, paths and queries that become messages, and messages that become JSON.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _};
use serde_json::Value;

use crate::{
    descriptors::{Known, Snapshot, built_in, schema::Schema},
    transcode::{
        frames::Frames,
        json::{self, Options, Reader},
        request::{self, Parts},
        rules::Route,
        trie::Found,
    },
};

/// Largest message of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The methods of some services.
#[derive(Debug)]
pub struct Bodies {
    snapshot: Snapshot,
}

impl Bodies {
    /// The platform's services, and those in an encoded `FileDescriptorSet`.
    ///
    /// # Panics
    /// When the set cannot be used.
    pub fn new(set: &[u8]) -> Self {
        let pool = DescriptorPool::decode(set).expect("the set is right");
        let names: Vec<String> = pool.services().map(|service| service.full_name().to_owned()).collect();
        let more = Arc::new(Schema::of_pool(pool, &names, 1));
        let known = [built_in().expect("ours is right"), more].into_iter().flat_map(|schema| {
            let services: Vec<_> = schema.services.values().cloned().collect();
            services.into_iter().map(move |service| Known { service, schema: Arc::clone(&schema) })
        });
        Self { snapshot: Snapshot::new(known) }
    }

    /// A line `METHOD path?query`, and a body.
    ///
    /// A request that can be read and written is the same when it is read again.
    ///
    /// # Panics
    /// When that does not hold.
    pub fn request(&self, data: &[u8]) {
        let (head, body) = match data.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&data[..end], &data[end + 1..]),
            None => (data, &b""[..]),
        };
        let Some((method, target)) = std::str::from_utf8(head).ok().and_then(|head| head.split_once(' ')) else {
            return;
        };
        let Ok(method) = method.parse::<Method>() else {
            return;
        };
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let body = Bytes::copy_from_slice(body);
        drop(self.snapshot.find_socket(path));
        let Found::Route(route, segments) = self.snapshot.find(&method, path) else {
            return;
        };
        for ignore_unknown in [false, true] {
            let reader = Reader { snapshot: &self.snapshot, options: Options { ignore_unknown } };
            let parts = Parts { segments: &segments, query, content_type: "text/plain", body: &body };
            if let Ok(message) = request::build(route, parts, reader) {
                self.check(route, &message);
            }
        }
    }

    /// gRPC frames of an answer to the method that the first byte chooses.
    ///
    /// They are the same however they are cut; a message that can be written can be read again, and is the same then.
    ///
    /// # Panics
    /// When that does not hold.
    pub fn answer(&self, data: &[u8]) {
        let Some((&choice, data)) = data.split_first() else {
            return;
        };
        let whole = messages([data]);
        let cut = usize::from(choice) % (data.len() + 1);
        assert_eq!(whole, messages([&data[..cut], &data[cut..]]), "cut at {cut}");
        let methods = || self.snapshot.services().flat_map(|known| known.service.methods.values());
        let Some(facts) = methods().nth(usize::from(choice) % methods().count().max(1)) else {
            return;
        };
        for message in whole {
            if let Ok(message) = DynamicMessage::decode(facts.by_name.rpc.output(), message) {
                self.round(&message);
            }
        }
    }

    fn check(&self, route: &Route, message: &DynamicMessage) {
        assert_eq!(message.descriptor(), route.rpc.input());
        self.round(message);
    }

    /// JSON that we write can be read, and means the same.
    fn round(&self, message: &DynamicMessage) {
        let Ok(written) = json::write(&self.snapshot, message, None) else {
            return;
        };
        let kind = message.descriptor();
        let reader = Reader { snapshot: &self.snapshot, options: Options::default() };
        let text = String::from_utf8_lossy(&written);
        let read = reader.read(kind, &written).unwrap_or_else(|error| panic!("{error}: {text}"));
        let again = json::write(&self.snapshot, &read, None).expect("it was written before");
        let value = |json: &[u8]| serde_json::from_slice::<Value>(json).expect("we write JSON");
        assert_eq!(value(&written), value(&again));
    }
}

/// The messages in frames, as far as they can be read.
fn messages<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Bytes> {
    let mut frames = Frames::new(ANSWER_BYTES_MAX);
    let mut messages = Vec::new();
    for part in parts {
        frames.push(part);
        while let Ok(Some(message)) = frames.next() {
            messages.push(message);
        }
    }
    messages
}
