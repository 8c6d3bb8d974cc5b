//! Which namespaces a request speaks of, read from the encoded message without decoding it. Pure.
//!
//! Protobuf lets a field come more than once: a text's last one counts, a message's are merged. Whatever a decoder
//! makes of it, it is made of what is there, so every occurrence counts here and all of them must be allowed.

use std::collections::BTreeSet;

use prost_reflect::MessageDescriptor;

/// Deepest nesting of groups, which nobody uses.
const GROUPS_MAX: usize = 16;

/// Longest text that is taken for the name of a namespace or an id, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Numbers of the fields on the way to a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldPath(Vec<u32>);

impl FieldPath {
    /// The path with these names from a message on; `None` when one of the fields is missing.
    pub(crate) fn of(message: &MessageDescriptor, names: &[&str]) -> Option<Self> {
        let mut numbers = Vec::new();
        let mut message = Some(message.clone());
        for name in names {
            let field = message?.get_field_by_name(name)?;
            numbers.push(field.number());
            message = field.kind().as_message().cloned();
        }
        Some(Self(numbers))
    }
}

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is not protobuf, or not what its method takes")]
pub(crate) struct Malformed;

/// Every text at `path`; the empty one where a message on the way lacks the field.
///
/// # Errors
/// [`Malformed`]; then nothing may be allowed.
pub(crate) fn texts<'a>(message: &'a [u8], path: &FieldPath) -> Result<BTreeSet<&'a str>, Malformed> {
    let mut found = BTreeSet::new();
    collect(message, &path.0, &mut found)?;
    Ok(found)
}

fn collect<'a>(message: &'a [u8], path: &[u32], found: &mut BTreeSet<&'a str>) -> Result<(), Malformed> {
    let Some((&number, rest)) = path.split_first() else {
        return Err(Malformed);
    };
    let mut fields = Fields(message);
    let mut seen = false;
    while let Some(field) = fields.next()? {
        if field.0 != number {
            continue;
        }
        let content = field.1.ok_or(Malformed)?;
        seen = true;
        if rest.is_empty() {
            let text = std::str::from_utf8(content).map_err(|_| Malformed)?;
            if text.len() > TEXT_BYTES_MAX {
                return Err(Malformed);
            }
            found.insert(text);
        } else {
            collect(content, rest, found)?;
        }
    }
    if !seen {
        found.insert("");
    }
    Ok(())
}

/// The number of a field, and its content when it has a length.
type Field<'a> = (u32, Option<&'a [u8]>);

/// What is left of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next field.
    fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (number, wire) = self.key()?;
        let content = match wire {
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Some(self.take(len)?)
            }
            wire => {
                self.skip(number, wire, GROUPS_MAX)?;
                None
            }
        };
        Ok(Some((number, content)))
    }

    fn key(&mut self) -> Result<(u32, u8), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let number = key >> 3;
        if number == 0 { Err(Malformed) } else { Ok((number, (key & 7) as u8)) }
    }

    fn skip(&mut self, number: u32, wire: u8, groups: usize) -> Result<(), Malformed> {
        match wire {
            0 => self.varint().map(drop),
            1 => self.take(8).map(drop),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                self.take(len).map(drop)
            }
            3 if groups > 0 => loop {
                match self.key()? {
                    (end, 4) if end == number => return Ok(()),
                    (inner, wire) => self.skip(inner, wire, groups - 1)?,
                }
            },
            5 => self.take(4).map(drop),
            _ => Err(Malformed),
        }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * shift);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (content, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::{BatchSubmitTasksRequest, SubmitTaskRequest, TaskSpec};
    use proptest::prelude::*;
    use prost::Message;
    use prost_reflect::DescriptorPool;

    use super::*;

    fn path(message: &str, names: &[&str]) -> FieldPath {
        let pool = DescriptorPool::decode(mcp_proto::FILE_DESCRIPTOR_SET).unwrap();
        FieldPath::of(&pool.get_message_by_name(message).unwrap(), names).unwrap()
    }

    fn spec(namespace: &str) -> TaskSpec {
        TaskSpec { namespace: namespace.into(), queue: "q".into(), priority: -3, ..TaskSpec::default() }
    }

    fn submit(namespace: &str) -> Vec<u8> {
        SubmitTaskRequest { task: Some(spec(namespace)) }.encode_to_vec()
    }

    #[test]
    fn texts_are_found_through_messages_and_lists() {
        let path = path("mcp.scheduler.v1.BatchSubmitTasksRequest", &["tasks", "namespace"]);
        let request = BatchSubmitTasksRequest { tasks: vec![spec("a"), spec("b"), spec("a"), spec("")] };
        assert_eq!(texts(&request.encode_to_vec(), &path), Ok(["", "a", "b"].into()));
        assert_eq!(texts(&[], &path), Ok([""].into()));
    }

    #[test]
    fn what_is_there_twice_counts_twice() {
        let path = path("mcp.scheduler.v1.SubmitTaskRequest", &["task", "namespace"]);
        let message = [submit("mine"), submit("yours")].concat();
        // A decoder sees only the last one.
        let decoded = SubmitTaskRequest::decode(&*message).unwrap();
        assert_eq!(decoded.task.unwrap().namespace, "yours");
        assert_eq!(texts(&message, &path), Ok(["mine", "yours"].into()));
    }

    #[test]
    fn a_message_that_is_none_is_refused() {
        let path = path("mcp.scheduler.v1.SubmitTaskRequest", &["task", "namespace"]);
        let whole = submit("mine");
        for len in 1..whole.len() {
            assert_eq!(texts(&whole[..len], &path), Err(Malformed), "{len} bytes");
        }
        // The task as a number; a field 0; a group without an end; a namespace that is no text.
        for bytes in [&[0x08, 0x01][..], &[0x02, 0x00], &[0x1b, 0x08, 0x01], &[0x0a, 0x03, 0x0a, 0x01, 0xff]] {
            assert_eq!(texts(bytes, &path), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let path = path("mcp.scheduler.v1.SubmitTaskRequest", &["task", "namespace"]);
            let found = texts(&bytes, &path);
            // Whatever a decoder accepts, its namespace is among those found.
            if let Ok(request) = SubmitTaskRequest::decode(&*bytes)
                && let (Ok(found), Some(task)) = (found, request.task) {
                    prop_assert!(found.contains(task.namespace.as_str()), "{found:?}");
                }
        }
    }
}
