//! Chat on a mesh. Alone: `chat ann` prints a contact; then elsewhere: `chat bob CONTACT`. What is typed is said to
//! everybody; the end of the input ends it. Without arguments three people in one process talk.

use std::time::Duration;

use bytes::Bytes;
use polymorph::core::engine::io::Origin;
use polymorph::{Contact, Identity, Node, Overlay, Subscription};
use tokio::io::{AsyncBufReadExt, BufReader};

async fn enter(seeds: &[Contact]) -> anyhow::Result<(Node, Overlay)> {
    let node = polymorph::node(&Identity::generate()).listen("tcp://127.0.0.1:0".parse()?).start().await?;
    let chat = node.attach(polymorph::overlay(node.guid(), "chat", "hyparview-plumtree", &[])?).await?;
    chat.join(seeds).await?;
    Ok((node, chat))
}

async fn say(chat: &Overlay, name: &str, line: &str) -> anyhow::Result<()> {
    let text = Bytes::from(format!("{name}: {line}"));
    Ok(chat.publish(None, text, Origin::Signed).await?)
}

async fn hear(from: &mut Subscription) -> Option<String> {
    let said = from.next().await?;
    Some(String::from_utf8_lossy(&said.payload).into_owned())
}

async fn talk(name: &str, seeds: &[Contact]) -> anyhow::Result<()> {
    let (node, chat) = enter(seeds).await?;
    eprintln!("others join with: chat NAME {}", node.contact());
    let mut heard = chat.subscribe(None).await?;
    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = typed.next_line() => match line? {
                Some(line) => say(&chat, name, &line).await?,
                None => break,
            },
            Some(line) = hear(&mut heard) => println!("{line}"),
        }
    }
    node.shutdown(Duration::from_secs(2)).await;
    Ok(())
}

async fn three_people() -> anyhow::Result<()> {
    let (ann_node, ann) = enter(&[]).await?;
    let (bob_node, bob) = enter(&[ann_node.contact()]).await?;
    let (_eve_node, eve) = enter(&[bob_node.contact()]).await?;
    let mut at_eve = eve.subscribe(None).await?;
    for chat in [&ann, &bob, &eve] {
        chat.joined(Duration::from_secs(20)).await?;
    }
    for (chat, name, line) in [(&ann, "ann", "has anybody seen my bicycle?"), (&bob, "bob", "it is in the cellar")] {
        say(chat, name, line).await?;
        println!("{}", hear(&mut at_eve).await.unwrap_or_default());
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        None => three_people().await,
        Some((name, words)) => {
            let seeds = words.iter().map(|word| word.parse()).collect::<Result<Vec<Contact>, _>>()?;
            talk(name, &seeds).await
        }
    }
}
