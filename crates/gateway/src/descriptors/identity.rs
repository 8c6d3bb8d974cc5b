//! Tells files of one name apart. Pure.
//!
//! Teams name their files alike (`common.proto`), and copies of a shared file differ. Descriptors of one service never
//! mix with those of another here, but whoever is shown all services gets them side by side.

use std::collections::HashMap;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::FileDescriptor;
use xxhash_rust::xxh3::Xxh3;

/// Files that are the same for everybody, whatever the copy.
const EVERYBODYS: &str = "google/protobuf/";

/// Number of `FileDescriptorProto.source_code_info`: comments, which some builds have and others do not.
const SOURCE_INFO: u32 = 9;

/// One field of an encoded message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// Its number.
    pub(crate) number: u32,
    /// All of it.
    pub(crate) whole: &'a [u8],
    /// What it holds, when that is a text, bytes or a message.
    pub(crate) content: Option<&'a [u8]>,
}

/// The fields of an encoded message, in their order. What cannot be decoded ends it.
pub(crate) fn fields(encoded: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = encoded;
    std::iter::from_fn(move || {
        let begin = rest;
        let (number, wire_type) = decode_key(&mut rest).ok()?;
        let content = if wire_type == WireType::LengthDelimited {
            let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let (content, after) = rest.split_at_checked(len)?;
            rest = after;
            Some(content)
        } else {
            skip_field(wire_type, number, &mut rest, DecodeContext::default()).ok()?;
            None
        };
        Some(Field { number, whole: &begin[..begin.len() - rest.len()], content })
    })
}

/// What files are, as far as that was asked. The pools that they come from must live as long.
#[derive(Debug, Default)]
pub(crate) struct Identities(HashMap<usize, u64>);

impl Identities {
    /// The same for files of the same content that import the same, and different for any two others. Comments do not
    /// count.
    pub(crate) fn of(&mut self, file: &FileDescriptor) -> u64 {
        let place = place(file);
        if let Some(known) = self.0.get(&place) {
            return *known;
        }
        let mut hasher = Xxh3::new();
        hasher.update(file.name().as_bytes());
        if !file.name().starts_with(EVERYBODYS) {
            // Imports cannot be in a circle: the pool would not be there.
            for import in file.dependencies() {
                hasher.update(&self.of(&import).to_le_bytes());
            }
            for field in fields(&file.encode_to_vec()).filter(|field| field.number != SOURCE_INFO) {
                hasher.update(field.whole);
            }
        }
        let identity = hasher.digest();
        self.0.insert(place, identity);
        identity
    }
}

/// Where a file lies in memory: one place for each file of each pool.
pub(crate) fn place(file: &FileDescriptor) -> usize {
    std::ptr::from_ref(file.file_descriptor_proto()).addr()
}

#[cfg(test)]
pub(crate) mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    /// A pool of some files, each a name and its text.
    pub(crate) fn pool(files: &[(&str, &str)]) -> DescriptorPool {
        let folder = tempfile::tempdir().unwrap();
        let proto = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
        let mut compiler = protox::Compiler::new([folder.path(), proto.as_path()]).unwrap();
        compiler.include_imports(true).include_source_info(true);
        for (name, text) in files {
            std::fs::write(folder.path().join(name), format!("syntax = \"proto3\";\n{text}")).unwrap();
        }
        for (name, _) in files {
            compiler.open_file(name).unwrap();
        }
        DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
    }

    #[test]
    fn a_file_is_its_content_and_that_of_its_imports() {
        let user = "package a; import \"b.proto\"; message A { b.B b = 1; }";
        let pools = [
            pool(&[("a.proto", user), ("b.proto", "package b; message B { string x = 1; }")]),
            pool(&[("a.proto", user), ("b.proto", "package b; // One.\nmessage B { string x = 1; }")]),
            pool(&[("a.proto", user), ("b.proto", "package b; message B { int32 x = 1; }")]),
        ];
        let mut identities = Identities::default();
        let mut of = |pool: &DescriptorPool, name: &str| identities.of(&pool.get_file_by_name(name).unwrap());
        assert_eq!(of(&pools[0], "a.proto"), of(&pools[1], "a.proto"), "comments do not count");
        assert_ne!(of(&pools[0], "b.proto"), of(&pools[2], "b.proto"));
        assert_ne!(of(&pools[0], "a.proto"), of(&pools[2], "a.proto"), "imports count");
        assert_ne!(of(&pools[0], "a.proto"), of(&pools[0], "b.proto"));
    }

    #[test]
    fn fields_are_told_apart_and_nonsense_ends_them() {
        let encoded = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 1, 2, 3, 4, 0xff];
        let found: Vec<_> = fields(&encoded).map(|field| (field.number, field.whole.len(), field.content)).collect();
        assert_eq!(found, [(1, 3, None), (2, 4, Some(&b"hi"[..])), (3, 5, None)]);
        assert_eq!(fields(&[0x12, 0x7f, 1]).count(), 0, "cut off");
    }
}
