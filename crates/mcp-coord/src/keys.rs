//! Where everything lies. `cluster` keeps several clusters apart in one etcd.

/// All instances of all services.
pub fn services(cluster: &str) -> String {
    format!("/mcp/{cluster}/services/")
}

/// All instances of one service.
pub fn service(cluster: &str, service: &str) -> String {
    format!("/mcp/{cluster}/services/{service}/")
}

/// One instance; an [`InstanceRecord`](crate::InstanceRecord) under its lease.
pub fn instance(cluster: &str, service: &str, instance_id: &str) -> String {
    format!("/mcp/{cluster}/services/{service}/{instance_id}")
}

/// The owner of a partition, under its lease.
pub fn partition(cluster: &str, partition: u32) -> String {
    format!("/mcp/{cluster}/partitions/{partition}")
}

/// The owners of all partitions.
pub fn partitions(cluster: &str) -> String {
    format!("/mcp/{cluster}/partitions/")
}

/// How many partitions the cluster has; written once, by whoever comes first.
pub fn partition_count(cluster: &str) -> String {
    format!("/mcp/{cluster}/partition-count")
}

/// All routes of the gateway.
pub fn routes(cluster: &str) -> String {
    format!("/mcp/{cluster}/routes/")
}

/// One route.
pub fn route(cluster: &str, id: &str) -> String {
    format!("/mcp/{cluster}/routes/{id}")
}

/// All policies of the gateway.
pub fn policies(cluster: &str) -> String {
    format!("/mcp/{cluster}/policies/")
}

/// One policy.
pub fn policy(cluster: &str, id: &str) -> String {
    format!("/mcp/{cluster}/policies/{id}")
}

/// All topics: what was published last to each, under a lease.
pub fn topics(cluster: &str) -> String {
    format!("/mcp/{cluster}/topics/")
}

/// One topic.
pub fn topic(cluster: &str, topic: &str) -> String {
    format!("/mcp/{cluster}/topics/{topic}")
}

/// All API keys.
pub fn api_keys(cluster: &str) -> String {
    format!("/mcp/{cluster}/keys/")
}

/// One API key: JSON without its secret.
pub fn api_key(cluster: &str, id: &str) -> String {
    format!("/mcp/{cluster}/keys/{id}")
}
