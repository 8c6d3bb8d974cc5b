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
