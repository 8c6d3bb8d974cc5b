//! Puts the security of a gateway together and keeps it up to date while it runs.

use std::sync::Arc;

use anyhow::Context;
use mcp_coord::Coordinator;
use tokio::task::JoinSet;

use super::{
    authenticator::Authenticator, authorize::Places, jwt::source::Source, keys::store::Keys,
    settings::SecuritySettings, tls::server::Tls,
};

/// What the data plane needs to know who calls and what they may do.
#[derive(Debug)]
pub(crate) struct Security {
    /// Who calls.
    pub(crate) authenticator: Authenticator,
    /// Where requests say what they are about.
    pub(crate) places: Places,
    /// TLS on the port; `None`: it speaks none.
    pub(crate) tls: Option<Arc<Tls>>,
    /// True: `/metrics` is for everybody.
    pub(crate) open_metrics: bool,
}

/// What keeps it up to date. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Upkeep {
    keys: Arc<Keys>,
    _tasks: JoinSet<()>,
}

impl Security {
    /// Security by these settings, for a cluster. The keys of issuers have been read once if they could be.
    ///
    /// # Errors
    /// A certificate or the roots of an issuer cannot be used.
    pub(crate) async fn start(
        settings: &SecuritySettings,
        places: Places,
        coord: Arc<dyn Coordinator>,
        cluster: &str,
    ) -> anyhow::Result<(Self, Upkeep)> {
        let mut tasks = JoinSet::new();
        let keys = Arc::new(Keys::new());
        tasks.spawn(Arc::clone(&keys).follow(coord, cluster.to_owned()));
        let mut issuers = Vec::new();
        for issuer in &settings.jwt {
            let source =
                Source::new(issuer).with_context(|| format!("the issuer `{}` cannot be used", issuer.issuer))?;
            if let Err(error) = source.read().await {
                let error = anyhow::Error::from(error);
                tracing::warn!(issuer = issuer.issuer, error = format!("{error:#}"), "keys not read: trying again");
            }
            let source = Arc::new(source);
            tasks.spawn(Arc::clone(&source).keep_fresh());
            issuers.push(source);
        }
        let tls = if settings.tls.is_on() {
            let (tls, follower) = Tls::load(&settings.tls).await.context("TLS cannot be set up")?;
            let tls = Arc::new(tls);
            tasks.spawn(Arc::clone(&tls).follow(follower));
            Some(tls)
        } else {
            None
        };
        let authenticator = Authenticator::new(settings, Arc::clone(&keys), issuers);
        let security = Self { authenticator, places, tls, open_metrics: settings.open_metrics };
        Ok((security, Upkeep { keys, _tasks: tasks }))
    }
}

impl Upkeep {
    /// Waits until the API keys are known, then says who can call.
    pub(crate) async fn synced(&self, settings: &SecuritySettings) {
        self.keys.synced().await;
        if settings.anonymous {
            tracing::warn!("every caller may do everything: `security.anonymous` is set, for development only");
        } else if self.keys.is_empty() && !can_call(settings) {
            tracing::warn!(
                "nobody can call yet: start the gateway with MCP_GATEWAY__GATEWAY__SECURITY__BOOTSTRAP_KEY set to a \
                 secret of at least 32 characters, then make a key by `mcp key create --role admin NAME` with \
                 MCP_TOKEN set to that secret"
            );
        }
        if !settings.anonymous && !settings.tls.is_on() {
            tracing::warn!("credentials cross the network in clear: set `security.tls.certificate`, or end TLS before");
        }
    }
}

/// True when somebody can prove who they are without an API key.
fn can_call(settings: &SecuritySettings) -> bool {
    !settings.bootstrap_key.is_empty() || !settings.jwt.is_empty() || !settings.tls.clients.is_empty()
}
