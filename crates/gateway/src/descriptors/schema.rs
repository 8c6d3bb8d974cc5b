//! The descriptors of one build of a service, and what follows from them.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use bytes::{BufMut, Bytes, BytesMut};
use prost_reflect::{DescriptorError, DescriptorPool, Kind, MethodDescriptor, ServiceDescriptor};

use crate::{
    safe::is_safe,
    transcode::rules::{self, Route, RuleError},
};

/// Tag of `FileDescriptorSet.file`, length-delimited.
const FILE_TAG: u8 = 0x0a;

/// Why descriptors cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// They contradict each other, or name what is not there.
    #[error("the descriptors are wrong")]
    Descriptor(#[from] DescriptorError),
    /// They have none of the services that they were asked for.
    #[error("the descriptors have none of the services {0:?}")]
    NoService(Vec<String>),
    /// An HTTP rule of the platform's own is wrong.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

/// Descriptors that were pulled together.
#[derive(Debug)]
pub(crate) struct Schema {
    /// All messages and services.
    pub(crate) pool: DescriptorPool,
    /// What tells one set of files from another, within this process.
    pub(crate) digest: u64,
    /// The services that were asked for and are there, by full name.
    pub(crate) services: BTreeMap<String, Arc<Service>>,
}

/// A service as its descriptor shows it.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its descriptor.
    pub(crate) descriptor: ServiceDescriptor,
    /// Its methods by name.
    pub(crate) methods: HashMap<String, Facts>,
    /// Its HTTP rules.
    pub(crate) routes: Vec<Arc<Route>>,
    /// Rules that cannot be used.
    pub(crate) faults: Vec<RuleError>,
}

/// What matters of a method before a call of it.
#[derive(Debug)]
pub(crate) struct Facts {
    /// True when an answer may take its time because the caller asked for that: a stream, or a request that says in a
    /// field `timeout` how long it waits.
    pub(crate) waits: bool,
    /// True when a call may be carried out more than once.
    pub(crate) safe: bool,
    /// The way to call it as `POST /package.Service/Method` with the request as JSON.
    pub(crate) by_name: Arc<Route>,
}

/// The files of a build, each as it was encoded by whoever compiled it, so that no option is lost.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<String, Bytes>);

impl Files {
    /// True when the file is there.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds a file; the first of a name stays.
    pub(crate) fn insert(&mut self, name: String, encoded: Bytes) {
        self.0.entry(name).or_insert(encoded);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells one set of files from another.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    /// As an encoded `FileDescriptorSet`.
    fn encode(&self) -> Bytes {
        let mut set = BytesMut::new();
        for file in self.0.values() {
            set.put_u8(FILE_TAG);
            prost::encoding::encode_varint(file.len() as u64, &mut set);
            set.extend_from_slice(file);
        }
        set.freeze()
    }
}

impl Schema {
    /// Compiles files, and the HTTP rules of those of `services` that are there.
    ///
    /// # Errors
    /// The files do not fit together, or have none of the services.
    pub(crate) fn compile(files: &Files, services: &[String]) -> Result<Self, Error> {
        let pool = DescriptorPool::decode(files.encode())?;
        let schema = Self::of_pool(pool, services, files.digest());
        if schema.services.is_empty() { Err(Error::NoService(services.to_vec())) } else { Ok(schema) }
    }

    /// The same of a pool.
    pub(crate) fn of_pool(pool: DescriptorPool, services: &[String], digest: u64) -> Self {
        let services = services.iter().filter_map(|name| {
            let service = Service::new(pool.get_service_by_name(name)?);
            Some((name.clone(), Arc::new(service)))
        });
        Self { services: services.collect(), digest, pool }
    }
}

impl Service {
    fn new(descriptor: ServiceDescriptor) -> Self {
        let (routes, mut faults) = rules::routes(&descriptor);
        let mut methods = HashMap::new();
        for rpc in descriptor.methods() {
            match rules::by_name(&rpc) {
                Ok(by_name) => {
                    methods.insert(
                        rpc.name().to_owned(),
                        Facts { waits: waits(&rpc), safe: is_safe(&rpc), by_name: Arc::new(by_name) },
                    );
                }
                Err(fault) => faults.push(fault),
            }
        }
        Self { routes: routes.into_iter().map(Arc::new).collect(), descriptor, methods, faults }
    }

    /// Its full name.
    pub(crate) fn name(&self) -> &str {
        self.descriptor.full_name()
    }
}

fn waits(rpc: &MethodDescriptor) -> bool {
    let is_duration =
        |kind: Kind| matches!(kind, Kind::Message(kind) if kind.full_name() == "google.protobuf.Duration");
    rpc.is_server_streaming()
        || rpc.is_client_streaming()
        || rpc.input().get_field_by_name("timeout").is_some_and(|field| is_duration(field.kind()))
}
