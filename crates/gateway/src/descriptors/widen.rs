//! Pools that have the types of more than one service, for an `Any` that holds another service's message.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};

/// Most pools that are kept; a wider one is made anew when there are as many.
const POOLS_MAX: usize = 64;

/// Deepest chain of imports.
const IMPORTS_MAX: usize = 64;

/// Pools that were made, by the message that they were made for and the type that it lacked. `None`: it cannot be.
#[derive(Debug, Default)]
pub(crate) struct Widened(HashMap<(String, String), Option<MessageDescriptor>>);

impl Widened {
    /// `message` in a pool that has the type `missing` too, which comes from the pool `other`.
    pub(crate) fn with(
        &mut self,
        message: &MessageDescriptor,
        missing: &str,
        other: &DescriptorPool,
    ) -> Option<MessageDescriptor> {
        let key = (message.full_name().to_owned(), missing.to_owned());
        if let Some(known) = self.0.get(&key)
            && known.as_ref().is_none_or(|known| has_all(known.parent_pool(), message.parent_pool()))
        {
            return known.clone();
        }
        if self.0.len() >= POOLS_MAX {
            self.0.clear();
        }
        let widened =
            join(message.parent_pool(), missing, other).and_then(|pool| pool.get_message_by_name(message.full_name()));
        self.0.insert(key, widened.clone());
        widened
    }
}

/// True when `wide` has every file of `narrow`: a message may lack several types, which are added one by one.
fn has_all(wide: &DescriptorPool, narrow: &DescriptorPool) -> bool {
    wide.files().len() > narrow.files().len()
        && narrow.file_descriptor_protos().all(|file| wide.get_file_by_name(file.name()).is_some())
}

/// `pool` with the file that has the type `missing`, and all that this file imports.
fn join(pool: &DescriptorPool, missing: &str, other: &DescriptorPool) -> Option<DescriptorPool> {
    let file = other.get_message_by_name(missing)?.parent_file();
    // Not a clone: adding files to a pool that is shared with its descriptors panics when they do not fit.
    let mut joined = DescriptorPool::decode(pool.encode_to_vec().as_slice()).ok()?;
    add(&mut joined, &file, 0)?;
    joined.get_message_by_name(missing).is_some().then_some(joined)
}

/// Adds a file after those it imports. A file of the same name counts as the same.
fn add(pool: &mut DescriptorPool, file: &FileDescriptor, depth: usize) -> Option<()> {
    if pool.get_file_by_name(file.name()).is_some() {
        return Some(());
    }
    if depth > IMPORTS_MAX {
        return None;
    }
    for import in file.dependencies() {
        add(pool, &import, depth + 1)?;
    }
    pool.decode_file_descriptor_proto(file.encode_to_vec().as_slice()).ok()
}
