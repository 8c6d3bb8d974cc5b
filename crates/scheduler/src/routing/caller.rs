//! Who calls, and what of it goes with a call that is passed on.

use std::time::Duration;

use mcp_chassis::server::timeout_of;
use tokio::time::Instant;
use tonic::{
    Request,
    metadata::{KeyAndValueRef, MetadataMap},
};

/// Says that a call was passed on by another replica; such a call is not passed on again.
const FORWARDED: &str = "mcp-forwarded";
/// Partitions of the owner that a call which was passed on is about, separated by commas.
const PARTITIONS: &str = "mcp-partitions";
/// What belongs to the connection, or is made anew. The length is that of the message as it came: it is encoded anew, with
/// what was left out filled in, and a receiver refuses a body of another length.
const NOT_PASSED_ON: &[&str] = &[
    "grpc-timeout",
    "te",
    "content-type",
    "content-length",
    "user-agent",
    "traceparent",
    "grpc-accept-encoding",
    "grpc-encoding",
];
/// The part of the caller's time after which it is told that there is no owner, so that it hears it in time.
const WAIT_PART: f64 = 0.9;

/// A call's metadata, and its time.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    metadata: MetadataMap,
    traceparent: String,
    is_forwarded: bool,
    deadline: Option<Instant>,
    /// When it is told at the latest that there is no owner.
    answer_by: Option<Instant>,
}

impl Caller {
    /// Of a call that came now. `traceparent` is that of this replica's part of the trace; empty when there is none.
    pub(crate) fn new(metadata: MetadataMap, traceparent: String) -> Self {
        let timeout = timeout_of(metadata.as_ref());
        let after = |part| timeout.and_then(|timeout: Duration| Instant::now().checked_add(timeout.mul_f64(part)));
        Self {
            traceparent,
            is_forwarded: metadata.contains_key(FORWARDED),
            deadline: after(1.0),
            answer_by: after(WAIT_PART),
            metadata,
        }
    }

    /// True when another replica passed the call on.
    pub(crate) fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    /// The `traceparent` for what the call leads to; empty when there is none.
    pub(crate) fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// The end of a wait that begins now and may take `wait_max`.
    pub(crate) fn until(&self, wait_max: Duration) -> Instant {
        let until = Instant::now() + wait_max;
        self.answer_by.map_or(until, |answer_by| answer_by.min(until))
    }

    /// The partitions that the replica which passed the call on means; `None` when it did not say.
    pub(crate) fn partitions(&self) -> Option<Vec<u16>> {
        let text = self.metadata.get(PARTITIONS)?.to_str().ok()?;
        text.split(',').map(|number| number.parse().ok()).collect()
    }

    /// The call as it is passed on.
    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        for entry in self.metadata.iter() {
            match entry {
                KeyAndValueRef::Ascii(key, value) if !NOT_PASSED_ON.contains(&key.as_str()) => {
                    metadata.append(key.clone(), value.clone());
                }
                KeyAndValueRef::Binary(key, value) => {
                    metadata.append_bin(key.clone(), value.clone());
                }
                KeyAndValueRef::Ascii(..) => {}
            }
        }
        if let Ok(traceparent) = self.traceparent.parse()
            && !self.traceparent.is_empty()
        {
            metadata.insert("traceparent", traceparent);
        }
        metadata.insert(FORWARDED, tonic::metadata::MetadataValue::from_static("1"));
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        request
    }

    /// The call as it is passed on to the owner of these partitions.
    pub(crate) fn request_for<M>(&self, message: M, partitions: &[u16]) -> Request<M> {
        let mut request = self.request(message);
        let list = partitions.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        if let Ok(list) = list.parse() {
            request.metadata_mut().insert(PARTITIONS, list);
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use tonic::metadata::MetadataMap;

    use super::Caller;

    #[tokio::test(start_paused = true)]
    async fn metadata_trace_and_the_rest_of_the_time_go_with_a_call() {
        let mut metadata = MetadataMap::new();
        for (key, value) in [
            ("authorization", "Bearer x"),
            ("grpc-timeout", "10S"),
            ("traceparent", "theirs"),
            ("te", "trailers"),
            ("content-length", "20"),
        ] {
            metadata.insert(key, value.parse().unwrap());
        }
        metadata.append("x-many", "1".parse().unwrap());
        metadata.append("x-many", "2".parse().unwrap());
        metadata.insert_bin("x-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 255]));
        let caller = Caller::new(metadata, "ours".to_owned());
        assert!(!caller.is_forwarded());
        assert_eq!(caller.until(Duration::from_secs(60)), Instant::now() + Duration::from_secs(9));
        assert_eq!(caller.until(Duration::from_secs(1)), Instant::now() + Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(4)).await;

        let request = caller.request_for((), &[3, 15]);
        let passed_on = request.metadata();
        assert_eq!(passed_on.get("authorization").unwrap(), "Bearer x");
        assert_eq!(passed_on.get_all("x-many").iter().count(), 2);
        assert_eq!(passed_on.get("content-length"), None, "the message is encoded anew");
        assert_eq!(passed_on.get_bin("x-bin").unwrap().to_bytes().unwrap(), &[0, 255][..]);
        assert_eq!((passed_on.get("traceparent").unwrap(), passed_on.get("te")), (&"ours".parse().unwrap(), None));
        assert_eq!(passed_on.get("grpc-timeout").unwrap(), "6000000u");
        let at_the_owner = Caller::new(passed_on.clone(), String::new());
        assert!(at_the_owner.is_forwarded());
        assert_eq!(at_the_owner.partitions(), Some(vec![3, 15]));
        assert_eq!(caller.partitions(), None);
    }
}
