//! The contract of the platform's own services.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// Takes megabytes, so there is one of it.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(mcp_proto::FILE_DESCRIPTOR_SET).expect("the build made the descriptor set")
});

/// Its descriptors, decoded at the first use. A clone shares them.
pub(crate) fn pool() -> &'static DescriptorPool {
    &POOL
}
