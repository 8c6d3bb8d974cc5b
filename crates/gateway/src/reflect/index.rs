//! What reflection answers for one state of the registry. Pure.
//!
//! Where two services bring different files of the same name, the second is told under another name, and so are the files
//! that import it: a client that looks at both then has two files instead of one wrong one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::encode_varint;
use prost_reflect::{DescriptorError, DescriptorPool, EnumDescriptor, FileDescriptor, MessageDescriptor};
use tonic::Code;
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse, ServiceResponse,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::descriptors::{
    identity::{Identities, fields},
    live::Shown,
};

/// Bytes of files in one answer beyond the file that was asked for: clients take 4 MiB unless told otherwise. What is left
/// out they ask for by its name.
const IMPORT_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Numbers of `FileDescriptorProto.name` and `.dependency`.
const NAME: u32 = 1;
const DEPENDENCY: u32 = 3;

/// A file as it is told.
#[derive(Debug)]
struct File {
    name: String,
    encoded: Bytes,
    /// The files that it imports, by their places in the index.
    imports: Vec<usize>,
}

/// Everything that can be asked for.
#[derive(Debug, Default)]
pub(crate) struct Index {
    services: BTreeSet<String>,
    files: Vec<File>,
    by_name: HashMap<String, usize>,
    by_symbol: HashMap<String, usize>,
    /// By the full name of the message that is extended, and the number.
    extensions: HashMap<String, BTreeMap<i32, usize>>,
}

/// Files of one stream that its client has already.
pub(crate) type Told = HashSet<usize>;

/// The pools of the services that every gateway has.
///
/// # Errors
/// A descriptor set of a crate cannot be decoded: a fault of the program.
pub(crate) fn own_pools() -> Result<Vec<DescriptorPool>, DescriptorError> {
    let sets = [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    sets.into_iter().map(DescriptorPool::decode).collect()
}

impl Index {
    /// Of the services that are registered, and of those in `own`.
    pub(crate) fn new(shown: &Shown, own: &[DescriptorPool]) -> Self {
        let described = shown.described().map(|known| known.service.descriptor.clone());
        let services: Vec<_> = described.chain(own.iter().flat_map(DescriptorPool::services)).collect();
        let mut build = Build::default();
        // A service's own file counts, even when another service has a copy.
        for service in &services {
            let file = build.add(&service.parent_file());
            build.index.services.insert(service.full_name().to_owned());
            build.symbol(service.full_name(), file);
            for method in service.methods() {
                build.symbol(method.full_name(), file);
            }
        }
        for service in &services {
            build.symbols_of(&service.parent_file());
        }
        build.index
    }

    /// The answer to a question. `told` are the files that this client has, and gains those of the answer.
    pub(crate) fn answer(&self, question: &MessageRequest, told: &mut Told) -> MessageResponse {
        let missing = |what: String| {
            MessageResponse::ErrorResponse(ErrorResponse { error_code: Code::NotFound as i32, error_message: what })
        };
        let file = |file: Option<&usize>, told: &mut Told, what: &str| match file {
            Some(file) => MessageResponse::FileDescriptorResponse(self.tell(*file, told)),
            None => missing(format!("{what} is not registered here")),
        };
        match question {
            MessageRequest::ListServices(_) => {
                let service = self.services.iter().map(|name| ServiceResponse { name: name.clone() }).collect();
                MessageResponse::ListServicesResponse(ListServiceResponse { service })
            }
            MessageRequest::FileByFilename(name) => file(self.by_name.get(name), told, &format!("the file `{name}`")),
            MessageRequest::FileContainingSymbol(name) => {
                let plain = name.strip_prefix('.').unwrap_or(name);
                file(self.by_symbol.get(plain), told, &format!("`{name}`"))
            }
            MessageRequest::FileContainingExtension(asked) => {
                let numbers = self.extensions.get(&asked.containing_type);
                let found = numbers.and_then(|numbers| numbers.get(&asked.extension_number));
                file(found, told, &format!("extension {} of `{}`", asked.extension_number, asked.containing_type))
            }
            MessageRequest::AllExtensionNumbersOfType(name) => match self.extensions.get(name) {
                Some(numbers) => extension_numbers(name, numbers.keys().copied().collect()),
                None if self.by_symbol.contains_key(name) => extension_numbers(name, Vec::new()),
                None => missing(format!("`{name}` is not registered here")),
            },
        }
    }

    /// A file, and those that it needs and the client has not.
    fn tell(&self, asked: usize, told: &mut Told) -> FileDescriptorResponse {
        let (mut next, mut bytes, mut files) = (vec![asked], 0, Vec::new());
        while let Some(file) = next.pop() {
            if file != asked && told.contains(&file) {
                continue;
            }
            let encoded = &self.files[file].encoded;
            if file != asked {
                bytes += encoded.len();
                if bytes > IMPORT_BYTES_MAX {
                    break;
                }
            }
            told.insert(file);
            files.push(encoded.to_vec());
            next.extend(self.files[file].imports.iter().filter(|import| !told.contains(import)));
        }
        FileDescriptorResponse { file_descriptor_proto: files }
    }
}

fn extension_numbers(name: &str, extension_number: Vec<i32>) -> MessageResponse {
    MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
        base_type_name: name.to_owned(),
        extension_number,
    })
}

/// An index that is being made.
#[derive(Debug, Default)]
struct Build {
    index: Index,
    identities: Identities,
    by_identity: HashMap<u64, usize>,
    /// Files whose symbols are there.
    listed: HashSet<usize>,
}

impl Build {
    /// The place of a file. It is added after those that it imports, unless it is there.
    fn add(&mut self, file: &FileDescriptor) -> usize {
        let identity = self.identities.of(file);
        if let Some(known) = self.by_identity.get(&identity) {
            return *known;
        }
        let imports: Vec<usize> = file.dependencies().map(|import| self.add(&import)).collect();
        let name = self.free_name(file.name(), identity);
        let mut told: HashMap<&str, &str> = HashMap::new();
        for (import, place) in file.file_descriptor_proto().dependency.iter().zip(&imports) {
            told.insert(import, &self.index.files[*place].name);
        }
        let is_as_before = name == file.name() && told.iter().all(|(before, after)| before == after);
        let encoded: Bytes = file.encode_to_vec().into();
        let encoded = if is_as_before { encoded } else { renamed(&encoded, &name, &told) };
        let place = self.index.files.len();
        self.index.by_name.insert(name.clone(), place);
        self.index.files.push(File { name, encoded, imports });
        self.by_identity.insert(identity, place);
        place
    }

    /// A name that no other file has.
    fn free_name(&self, name: &str, identity: u64) -> String {
        if !self.index.by_name.contains_key(name) {
            return name.to_owned();
        }
        let stem = name.strip_suffix(".proto").unwrap_or(name);
        format!("{stem}~{identity:016x}.proto")
    }

    /// What is declared in a file and in those that it imports.
    fn symbols_of(&mut self, file: &FileDescriptor) {
        let place = self.add(file);
        if !self.listed.insert(place) {
            return;
        }
        for service in file.services() {
            self.symbol(service.full_name(), place);
            service.methods().for_each(|method| self.symbol(method.full_name(), place));
        }
        file.messages().for_each(|message| self.message(&message, place));
        file.enums().for_each(|kind| self.enumeration(&kind, place));
        for extension in file.extensions() {
            self.extension(extension.containing_message().full_name(), extension.number(), place);
            self.symbol(extension.full_name(), place);
        }
        file.dependencies().for_each(|import| self.symbols_of(&import));
    }

    fn message(&mut self, message: &MessageDescriptor, place: usize) {
        self.symbol(message.full_name(), place);
        message.fields().for_each(|field| self.symbol(field.full_name(), place));
        message.oneofs().for_each(|oneof| self.symbol(oneof.full_name(), place));
        message.child_enums().for_each(|kind| self.enumeration(&kind, place));
        for extension in message.child_extensions() {
            self.extension(extension.containing_message().full_name(), extension.number(), place);
            self.symbol(extension.full_name(), place);
        }
        message.child_messages().for_each(|child| self.message(&child, place));
    }

    fn enumeration(&mut self, kind: &EnumDescriptor, place: usize) {
        self.symbol(kind.full_name(), place);
        kind.values().for_each(|value| self.symbol(value.full_name(), place));
    }

    fn extension(&mut self, of: &str, number: u32, place: usize) {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        self.index.extensions.entry(of.to_owned()).or_default().entry(number).or_insert(place);
    }

    /// The first one of a name stays.
    fn symbol(&mut self, name: &str, place: usize) {
        if !self.index.by_symbol.contains_key(name) {
            self.index.by_symbol.insert(name.to_owned(), place);
        }
    }
}

/// An encoded file under another name, its imports by the names in `told`. Nothing else changes, options of kinds that are
/// not known here neither.
fn renamed(encoded: &Bytes, name: &str, told: &HashMap<&str, &str>) -> Bytes {
    let mut out = BytesMut::with_capacity(encoded.len() + name.len());
    for field in fields(encoded) {
        let before = field.content.and_then(|content| std::str::from_utf8(content).ok());
        let after = match (field.number, before) {
            (NAME, Some(_)) => Some(name),
            (DEPENDENCY, Some(before)) => told.get(before).copied(),
            _ => None,
        };
        match after {
            Some(text) => {
                encode_varint(u64::from(field.number) << 3 | 2, &mut out);
                encode_varint(text.len() as u64, &mut out);
                out.put_slice(text.as_bytes());
            }
            None => out.put_slice(field.whole),
        }
    }
    out.freeze()
}

#[cfg(test)]
mod tests;
