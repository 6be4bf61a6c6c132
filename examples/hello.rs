//! Two nodes, one overlay, one question: the README's program.

use bytes::Bytes;
use polymorph::Identity;
use polymorph::core::runtime::Request;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listen = "tcp://127.0.0.1:0";
    let ann = polymorph::node(&Identity::generate()).listen(listen.parse()?).start().await?;
    let bob = polymorph::node(&Identity::generate()).listen(listen.parse()?).start().await?;

    let at_ann = ann.attach(polymorph::overlay(ann.guid(), "hello", "full-mesh", &[])?).await?;
    let at_bob = bob.attach(polymorph::overlay(bob.guid(), "hello", "full-mesh", &[])?).await?;
    at_ann.serve("greet", |who: Request| Ok(Bytes::from([b"hello, ", who.payload.as_ref()].concat()))).await?;
    at_ann.join(&[]).await?;
    at_bob.join(&[ann.contact()]).await?;

    let answer = at_bob.request(ann.guid(), "greet", Bytes::from_static(b"bob")).await?;
    println!("{}", String::from_utf8_lossy(&answer));
    Ok(())
}
