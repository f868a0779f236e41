//! A room that is forced to span both workers: everybody knows everybody, whichever worker they are on.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::{Client, Server, lianmai};

const OFFER: &str = include_str!("../../../../proto/src/sdp/testdata/offer.sdp");

async fn join(server: &Server, identity: &str) -> (Client, Value) {
    let (_, body) = server.json(&format!("/dev/token?room=r&identity={identity}&name={identity}"));
    let token = body["token"].as_str().unwrap();
    let address = format!("ws://{}/v1/signal?access_token={token}", server.http);
    let mut client = connect_async(address).await.unwrap().0;
    let version = proto::signal::VERSION;
    let join =
        json!({"id": 1, "type": "join", "protocol": version, "client": "test", "sdp": OFFER, "tracks": []});
    client.send(Message::text(join.to_string())).await.unwrap();
    let joined = next(&mut client).await;
    assert_eq!(joined["type"], json!("joined"), "{joined}");
    (client, joined)
}

async fn next(client: &mut Client) -> Value {
    let message = tokio::time::timeout(Duration::from_secs(5), client.next()).await.expect("a message comes");
    serde_json::from_str(message.unwrap().unwrap().to_text().unwrap()).unwrap()
}

/// The next message of a kind.
async fn until(client: &mut Client, kind: &str) -> Value {
    loop {
        let message = next(client).await;
        if message["type"] == json!(kind) {
            return message;
        }
    }
}

#[tokio::test]
async fn a_room_that_outgrows_a_worker_goes_on_on_another_one() {
    let config = format!("{}/spans.toml", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&config, "[rtc]\nspan_participants = 1\n").unwrap();
    let printed = lianmai(&["config", "--config", &config]).output().unwrap().stdout;
    assert!(String::from_utf8(printed).unwrap().contains("span_participants = 1\n"));
    let server = Server::start(&["--config", &config]);
    let (mut ann, _) = join(&server, "ann").await;
    let (mut bob, at_bob) = join(&server, "bob").await;
    // Bob's worker did not know of Ann before it said hello; then it tells bob.
    assert_eq!(at_bob["room"]["participants"], json!([]), "{at_bob}");
    assert_eq!(until(&mut bob, "participant_joined").await["participant"]["identity"], json!("ann"));
    assert_eq!(until(&mut ann, "participant_joined").await["participant"]["identity"], json!("bob"));
    server.metrics_with(&[
        "lianmai_participants{worker=\"0\"} 1",
        "lianmai_participants{worker=\"1\"} 1",
        "lianmai_rooms_spanning{worker=\"0\"} 1",
        "lianmai_rooms_spanning{worker=\"1\"} 1",
        "lianmai_rooms_placed 1",
        "lianmai_relay_dropped_total{worker=\"0\"} 0",
    ]);
    let (status, _, stats) = server.room_stats("r", &server.token());
    let told = stats["participants"].as_array().unwrap();
    let told: Vec<&str> = told.iter().map(|one| one["identity"].as_str().unwrap()).collect();
    assert_eq!((status, &stats["participant_count"], told), (200, &json!(2), vec!["ann", "bob"]), "{stats}");
    assert_eq!(stats["other_workers"][0]["index"], json!(1), "{stats}");

    // Who resumes comes back to the worker that has the session.
    let session = at_bob["session"].as_str().unwrap().to_owned();
    drop(bob);
    let (_, body) = server.json("/dev/token?room=r&identity=bob&name=bob");
    let token = body["token"].as_str().unwrap();
    let address = format!("ws://{}/v1/signal?access_token={token}&session={session}", server.http);
    let mut bob = connect_async(address).await.unwrap().0;
    let resumed = next(&mut bob).await;
    assert_eq!(resumed["type"], json!("resumed"), "{resumed}");
    assert_eq!(resumed["room"]["participants"][0]["identity"], json!("ann"), "{resumed}");

    bob.send(Message::text(json!({"id": 2, "type": "leave"}).to_string())).await.unwrap();
    assert_eq!(until(&mut ann, "participant_left").await["reason"], json!("left"));
    server.metrics_with(&[
        "lianmai_rooms{worker=\"0\"} 1",
        "lianmai_rooms{worker=\"1\"} 0",
        "lianmai_rooms_spanning{worker=\"0\"} 0",
    ]);
}
