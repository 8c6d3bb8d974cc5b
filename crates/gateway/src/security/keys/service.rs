//! `mcp.gateway.v1.KeyService`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mcp_coord::{Coordinator, Expected, keys};
use mcp_proto::{
    Code, Error,
    gateway::v1::{
        CreateKeyRequest, CreateKeyResponse, Grant as WireGrant, Key, ListKeysRequest, ListKeysResponse,
        RevokeKeyRequest, RevokeKeyResponse, Role as WireRole, key_service_server::KeyService,
    },
};
use tonic::{Request, Response, Status};

use super::{
    record::{Hash, RANDOM_BYTES, Record, is_id, mint},
    store::KEYS_MAX,
};
use crate::{
    headers::PRINCIPAL,
    security::principal::{Grant, Grants, Role},
};

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Longest life, about 10 years.
const TTL_MAX: Duration = Duration::from_secs(3_660 * 24 * 3_600);

/// Keys on a page: when the request names no number, and at most.
const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 1_000;

/// The service. The gateway has checked who calls.
#[derive(Debug)]
pub(crate) struct Service {
    coord: Arc<dyn Coordinator>,
    cluster: String,
}

impl Service {
    /// The keys of a cluster.
    pub(crate) fn new(coord: Arc<dyn Coordinator>, cluster: &str) -> Self {
        Self { coord, cluster: cluster.to_owned() }
    }

    /// Every record, sorted by id. Those that cannot be read are left out.
    async fn records(&self) -> Result<Vec<Record>, Error> {
        let snapshot = self.coord.range(&keys::api_keys(&self.cluster)).await.map_err(unavailable)?;
        Ok(snapshot.entries.iter().filter_map(|entry| serde_json::from_slice(&entry.value).ok()).collect())
    }
}

#[tonic::async_trait]
impl KeyService for Service {
    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Result<Response<CreateKeyResponse>, Status> {
        let created_by = request.metadata().get(PRINCIPAL.as_str()).and_then(|name| name.to_str().ok());
        let created_by = created_by.unwrap_or_default().to_owned();
        let CreateKeyRequest { name, grants, ttl } = request.into_inner();
        let (name, roles) = (check_name(name)?, check_grants(&grants)?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = ttl.map(|ttl| check_ttl(ttl).map(|ttl| millis(now + ttl))).transpose()?;
        if self.records().await?.len() >= KEYS_MAX {
            let text = format!("there are {KEYS_MAX} keys already: revoke one first");
            return Err(Error::new(Code::FailedPrecondition, text).into());
        }
        let mut random = [0; RANDOM_BYTES];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::new(Code::Internal, "internal error"))?;
        let minted = mint(random);
        let record = Record {
            id: minted.id,
            name,
            hash: Hash::of(&minted.text),
            roles,
            created_by,
            created_unix_ms: millis(now),
            expires_unix_ms: expires,
        };
        let value = serde_json::to_vec(&record).map_err(Error::internal)?;
        let key = keys::api_key(&self.cluster, &record.id);
        self.coord.compare_and_put(&key, Expected::Absent, value.into(), None).await.map_err(unavailable)?;
        tracing::info!(id = record.id, name = record.name, roles = %record.roles, by = record.created_by, "API key made");
        Ok(Response::new(CreateKeyResponse { key: Some(wire(&record)), secret: minted.text }))
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        let ListKeysRequest { page_size, page_token } = request.into_inner();
        let page_size = match usize::try_from(page_size) {
            Ok(0) => PAGE_SIZE,
            Ok(size) if size <= PAGE_SIZE_MAX => size,
            _ => return Err(Error::invalid("page_size", format!("must be 0 to {PAGE_SIZE_MAX}")).into()),
        };
        if !page_token.is_empty() && !is_id(&page_token) {
            return Err(Error::new(Code::InvalidPageToken, "the page token was not made by this list").into());
        }
        let records = self.records().await?;
        let mut left = records.iter().filter(|record| record.id > page_token);
        let keys: Vec<Key> = left.by_ref().take(page_size).map(wire).collect();
        let more = left.next().is_some();
        let next_page_token = keys.last().filter(|_| more).map(|key| key.id.clone()).unwrap_or_default();
        Ok(Response::new(ListKeysResponse { keys, next_page_token }))
    }

    async fn revoke_key(&self, request: Request<RevokeKeyRequest>) -> Result<Response<RevokeKeyResponse>, Status> {
        let id = request.into_inner().id;
        if !is_id(&id) {
            return Err(Error::invalid("id", "must be 16 hexadecimal digits, as in `mcp_<id>_…`").into());
        }
        if !self.coord.delete(&keys::api_key(&self.cluster, &id)).await.map_err(unavailable)? {
            return Err(Error::new(Code::NotFound, format!("there is no key `{id}`")).into());
        }
        tracing::info!(id, "API key revoked");
        Ok(Response::new(RevokeKeyResponse {}))
    }
}

fn check_name(name: String) -> Result<String, Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Error::invalid("name", format!("must be 1 to {NAME_BYTES_MAX} bytes without control characters")));
    }
    Ok(name)
}

fn check_grants(wire: &[WireGrant]) -> Result<Grants, Error> {
    if wire.is_empty() {
        return Err(Error::invalid("grants", "must not be empty: the key could do nothing"));
    }
    let grant = |(index, wire): (usize, &WireGrant)| {
        let role = match wire.role() {
            WireRole::Unspecified => {
                return Err(Error::invalid(format!("grants[{index}].role"), "must be viewer, operator or admin"));
            }
            WireRole::Viewer => Role::Viewer,
            WireRole::Operator => Role::Operator,
            WireRole::Admin => Role::Admin,
        };
        let text = match wire.namespace.as_str() {
            "" => role.name().to_owned(),
            namespace => format!("{}@{namespace}", role.name()),
        };
        text.parse::<Grant>().map_err(|reason| Error::invalid(format!("grants[{index}].namespace"), reason))
    };
    let grants: Vec<Grant> = wire.iter().enumerate().map(grant).collect::<Result<_, _>>()?;
    Grants::new(grants).map_err(|reason| Error::invalid("grants", reason))
}

fn check_ttl(ttl: prost_types::Duration) -> Result<Duration, Error> {
    let ttl = Duration::try_from(ttl).ok().filter(|ttl| !ttl.is_zero() && *ttl <= TTL_MAX);
    ttl.ok_or_else(|| Error::invalid("ttl", "must be longer than 0 and at most 10 years"))
}

fn millis(since_1970: Duration) -> u64 {
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

fn wire(record: &Record) -> Key {
    let moment = |millis: u64| prost_types::Timestamp::from(UNIX_EPOCH + Duration::from_millis(millis));
    let grant = |grant: &Grant| WireGrant {
        role: match grant.role {
            Role::Viewer => WireRole::Viewer,
            Role::Operator => WireRole::Operator,
            Role::Admin => WireRole::Admin,
        }
        .into(),
        namespace: grant.namespace.clone().unwrap_or_default(),
    };
    Key {
        id: record.id.clone(),
        name: record.name.clone(),
        grants: record.roles.iter().map(grant).collect(),
        created_by: record.created_by.clone(),
        create_time: Some(moment(record.created_unix_ms)),
        expire_time: record.expires_unix_ms.map(moment),
    }
}

fn unavailable(error: mcp_coord::Error) -> Error {
    match &error {
        mcp_coord::Error::Unavailable { .. } => {
            Error::new(Code::CoordinationUnavailable, "the API keys cannot be read or written now").with_source(error)
        }
        _ => Error::internal(error),
    }
}
