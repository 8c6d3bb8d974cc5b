//! A worker with a function of its own: `cargo run -p mcp-client --example greeter`, beside `mcp dev`.
//!
//! Then: `mcp submit --handler greet --input '{"name": "Ada"}' --follow`.

use mcp_client::worker::{HandlerError, Schedulers, Worker};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let gateway = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let stop = CancellationToken::new();
    let worker = Worker::builder(Schedulers::Fixed(vec![gateway]))
        .slots(16)
        .handler("greet", |context, input| async move {
            let name = input["name"].as_str().ok_or(HandlerError::permanent("the input has no `name`"))?;
            context.log(format!("greeting {name}")).await;
            Ok(json!({ "greeting": format!("hello {name}") }))
        })
        .build();
    let running = tokio::spawn(worker.run(stop.clone()));

    tokio::signal::ctrl_c().await?;
    stop.cancel();
    running.await?;
    Ok(())
}
