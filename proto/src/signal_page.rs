//! The page that describes room signaling, made from the types of [`crate::signal`].
//!
//! In: the types with their documentation (JSON schema, 2020-12) and an example of each message. Out: Markdown for
//! people ([`markdown`], kept as `docs/signaling.md`) and the schema for programs ([`schema`]).

use core::fmt::Write;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::ids::{Mid, ParticipantId, TrackId};
use crate::scene::{Priority, Scene};
use crate::signal::{
    Applied, AppliedLayer, ClientMessage, CloseCode, Demand, DemandedLayer, ErrorCode, Join, Joined, Kind,
    Layer, Layout, LeaveReason, MESSAGE_MAX, Notice, Offer, Participant, Publish, RepairScheme, Request,
    Room, ServerMessage, SlotBinding, Source, Strategy, TILES_MAX, Tile, Track, VERSION,
};

/// The JSON schema (2020-12) of what either side sends: `request` from the client, `notice` from the server.
pub fn schema() -> String {
    let text = json!({ "request": request_schema(), "notice": notice_schema() });
    serde_json::to_string_pretty(&text).expect("a schema is JSON") + "\n"
}

/// The page, as Markdown.
pub fn markdown() -> String {
    let (request, notice) = (request_schema(), notice_schema());
    let mut page = intro();
    let client = examples(&client_examples());
    let server = examples(&server_examples());
    page += "## What a client sends\n\n";
    page += &messages(&request, &client);
    page += "## What the server sends\n\n";
    page += &messages(&notice, &server);
    page += "## Types\n\n";
    page += &types(&[&request, &notice]);
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// As the server reads it: what has a default may be left out.
fn request_schema() -> Value {
    schema_of::<Request>(SchemaSettings::draft2020_12().for_deserialize())
}

/// As the server writes it: what is always written is required.
fn notice_schema() -> Value {
    schema_of::<Notice>(SchemaSettings::draft2020_12().for_serialize())
}

fn schema_of<T: JsonSchema>(settings: SchemaSettings) -> Value {
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn intro() -> String {
    format!(
        "# Room signaling

This page is made from the types in `proto/src/signal.rs` by `proto/src/signal_page.rs`: change those, then run
`LIANMAI_WRITE_DOCS=1 cargo test -p lianmai-proto signal_page`. It describes protocol version {VERSION}.

## How a session runs

1. **Connect.** Open a WebSocket at `/v1/signal?access_token=TOKEN` (or send the token as `Authorization: Bearer
   TOKEN`). A token that is wrong or expired is refused with HTTP 401 and the reason.
2. **Offer.** There is one `RTCPeerConnection` for everything (`bundlePolicy: 'max-bundle'`). Add what is published as
   `sendonly` transceivers first, then `recvonly` ones as *slots*: so many audio and so many video sections as shall be
   received at once, eight each by default. For simulcast give the encodings the rids `h`, `m` and `l` from large to
   small, each with `scalabilityMode: 'L1T1'`, and state their sizes as [layers](#layer). Send the offer in
   [`join`](#join).
3. **Answer.** [`joined`](#joined) brings the server's answer, the room and what the slots carry. The server is an
   ICE-lite agent and the DTLS server; its candidates are in the answer, and the client need not send its own.
4. **See.** The server maps tracks into slots and says which is where in [`slots`](#slots); the K-th audio and the K-th
   video slot are one stream (`seat-K`), so a person's voice and picture stay in step. Tell the server what is visible
   and how large by [`layout`](#layout), whenever it changes. None of this needs a new offer.
5. **Change.** A new [`offer`](#offer) publishes, unpublishes, restarts ICE (after
   [`ice_restart_needed`](#ice_restart_needed)) or adds slots (after [`slots_needed`](#slots_needed)); it names all
   tracks that are published from then on.
6. **Adapt.** Whoever publishes learns by [`demand`](#demand) how much each encoding shall take, so that those who watch
   can take it: set `maxBitrate` accordingly, all encodings in one `setParameters`, and say so by [`applied`](#applied).
   A client that does not is still seen, in the encodings that fit as they are.
7. **Say what it is for.** The room has a scene, and a track that is for something else says so: a game among hosts who
   talk bears less delay than they do. Whoever publishes states a [strategy](#strategy) in the offer or changes it by
   [`carry`](#carry); whoever watches may state another for a [tile](#tile). It holds at once, without a new offer.
8. **Stay.** Send [`ping`](#ping) every `ping_interval_ms`. If the WebSocket breaks, media goes on: connect again
   within `resume_within_ms` with `&session=SESSION` (from `joined`), and [`resumed`](#resumed) tells the state of
   things. If it is too late, [`closed`](#closed) says `session_over`: join anew.
9. **Leave.** Send [`leave`](#leave), or just go: without ICE consent (RFC 7675) and WebSocket the server lets go.

Each WebSocket text message is one JSON object with a `type`. A client numbers its messages by `id`; the reply, or the
[`error`](#error) if it failed, names that number as `re`. A failed request changes nothing. A message has at most
{MESSAGE_MAX} bytes. Fields that a side does not know are ignored; whenever a meaning changes, so does the version.

"
    )
}

/// One section for each message of a flat, tagged enum, after the fields that all of them have.
fn messages(root: &Value, examples: &BTreeMap<String, String>) -> String {
    let mut page = format!("{}\n\n", words(root));
    page += &fields(root);
    for variant in list(root, "oneOf") {
        let name = text(variant, "/properties/type/const");
        _ = write!(page, "### `{name}`\n\n{}\n\n", words(variant));
        let body = variant["$ref"].as_str().map(|reference| definition(root, reference));
        if let Some((_, more)) = body.and_then(|body| text(body, "/description").split_once("\n\n")) {
            _ = write!(page, "{}\n\n", plain(more));
        }
        page += &fields(body.unwrap_or(variant));
        if let Some(example) = examples.get(name) {
            _ = write!(page, "```json\n{example}\n```\n\n");
        }
    }
    page
}

/// One section for each type that a field may have.
fn types(roots: &[&Value]) -> String {
    let mut all: BTreeMap<&str, &Value> = BTreeMap::new();
    for root in roots {
        let bodies: Vec<&str> =
            list(root, "oneOf").iter().filter_map(|variant| variant["$ref"].as_str()).collect();
        for (name, definition) in root["$defs"].as_object().into_iter().flatten() {
            if !bodies.contains(&format!("#/$defs/{name}").as_str()) {
                all.insert(name, definition);
            }
        }
    }
    let mut page = String::new();
    for (name, definition) in all {
        _ = write!(page, "### {name}\n\n{}\n\n", words(definition));
        if definition["type"] == "string" {
            page += "A string.\n\n";
        }
        page += &fields(definition);
        page += &values(definition);
    }
    page
}

/// The table of an object's fields: the required ones in the order of their declaration, then the others.
fn fields(object: &Value) -> String {
    let Some(properties) = object["properties"].as_object() else { return String::new() };
    let required: Vec<&str> = list(object, "required").iter().filter_map(Value::as_str).collect();
    let mut rows: Vec<(usize, &str, &Value)> = properties
        .iter()
        .filter(|(name, _)| name.as_str() != "type")
        .map(|(name, field)| (place(&required, name), name.as_str(), field))
        .collect();
    rows.sort_by_key(|&(place, name, _)| (place, name));
    if rows.is_empty() {
        return String::new();
    }
    let mut table = "| Field | Type | Required | Meaning |\n|---|---|---|---|\n".to_owned();
    for (place, name, field) in rows {
        let needed = if place < required.len() { "yes" } else { "no" };
        _ = writeln!(table, "| `{name}` | {} | {needed} | {} |", type_name(field), words(field));
    }
    table + "\n"
}

/// Where `name` stands in `names`; behind all of them if it does not.
fn place(names: &[&str], name: &str) -> usize {
    names.iter().position(|other| *other == name).unwrap_or(names.len())
}

/// The table of the values that an enum of names has.
fn values(definition: &Value) -> String {
    let variants = list(definition, "oneOf");
    if variants.is_empty() {
        return String::new();
    }
    let mut table = "| Value | Meaning |\n|---|---|\n".to_owned();
    for variant in variants {
        _ = writeln!(table, "| `{}` | {} |", text(variant, "/const"), words(variant));
    }
    table + "\n"
}

fn type_name(field: &Value) -> String {
    if let Some(reference) = field["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(choice) = list(field, "anyOf").iter().find(|choice| choice["type"] != "null") {
        return type_name(choice);
    }
    let name = match &field["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    };
    match name.unwrap_or("any") {
        "array" => format!("list of {}", type_name(&field["items"])),
        name => name.to_owned(),
    }
}

fn definition<'a>(root: &'a Value, reference: &str) -> &'a Value {
    root.pointer(reference.trim_start_matches('#')).expect("schemars defines what it refers to")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// What the types' documentation says, on one line.
fn words(value: &Value) -> String {
    plain(text(value, "/description"))
}

/// Documentation text without what only Rust knows: links lose their brackets, fields the type that they are of, and
/// constants become numbers.
fn plain(documentation: &str) -> String {
    documentation
        .replace("[`VERSION`]", &VERSION.to_string())
        .replace("[`TILES_MAX`]", &TILES_MAX.to_string())
        .replace("[`", "`")
        .replace("`]", "`")
        .replace("`Notice::", "`")
        .replace("`Offer::", "`")
        .replace("\n\n", " ")
        .replace('\n', " ")
}

/// The examples' texts by the type of their message.
fn examples<T: Serialize>(messages: &[T]) -> BTreeMap<String, String> {
    let render = |message: &T| {
        let text = serde_json::to_string_pretty(message).expect("a message is JSON");
        let object: Map<String, Value> = serde_json::from_str(&text).expect("a message is an object");
        (object["type"].as_str().unwrap_or("").to_owned(), text)
    };
    messages.iter().map(render).collect()
}

fn client_examples() -> Vec<Request> {
    let sdp = || "v=0\r\n…".to_owned();
    let microphone = publish("0", Source::Microphone, Vec::new(), Strategy::default());
    let camera = publish("1", Source::Camera, layers(), Strategy::default());
    let game = Strategy { scene: Some(Scene::Game), ..Strategy::default() };
    let behind = Strategy { priority: Some(Priority::Low), ..Strategy::default() };
    let tile = |track: &str, width, height, strategy| Tile { track: track.into(), width, height, strategy };
    let tiles =
        vec![tile("TR_fK2mPq8vXw3Z", 960, 540, game.clone()), tile("TR_b7Nc4RtYh1Ls", 320, 180, behind)];
    let offer = Offer { sdp: sdp(), tracks: vec![microphone.clone(), camera] };
    [
        ClientMessage::Join(Join { protocol: VERSION, client: "lianmai-web/0.1".to_owned(), offer }),
        ClientMessage::Offer(Offer { sdp: sdp(), tracks: vec![microphone] }),
        ClientMessage::Layout(Layout { tiles }),
        ClientMessage::Mute { track: "TR_a9Xe2WqLk5Dm".into(), muted: true },
        ClientMessage::Carry {
            track: "TR_b7Nc4RtYh1Ls".into(),
            strategy: Strategy {
                deadline_ms: Some(60),
                repair: Some(vec![RepairScheme::Retransmission, RepairScheme::Forward]),
                ..game
            },
        },
        ClientMessage::Applied(Applied {
            track: "TR_b7Nc4RtYh1Ls".into(),
            epoch: 7,
            layers: vec![AppliedLayer { rid: Some("h".into()), max_kbps: Some(1_200) }],
        }),
        ClientMessage::Leave,
        ClientMessage::Ping { sent_ms: 81_234.5 },
    ]
    .into_iter()
    .zip(1..)
    .map(|(message, id)| Request { id, message })
    .collect()
}

fn publish(mid: &str, source: Source, layers: Vec<Layer>, strategy: Strategy) -> Publish {
    Publish { mid: mid.into(), source, muted: false, layers, strategy }
}

fn server_examples() -> Vec<Notice> {
    let answers = [
        (1, ServerMessage::Joined(Box::new(joined()))),
        (2, ServerMessage::Answer { sdp: "v=0\r\n…".to_owned(), tracks: vec![microphone()] }),
        (6, ServerMessage::Pong { sent_ms: 81_234.5 }),
        (
            4,
            ServerMessage::Error {
                code: ErrorCode::UnknownTrack,
                reason: "TR_a9Xe2WqLk5Dm is not a track of yours".to_owned(),
            },
        ),
    ]
    .map(|(re, message)| Notice { re: Some(re), message });
    let session = [
        ServerMessage::Resumed { room: room(), tracks: vec![microphone()], slots: slots() },
        ServerMessage::SlotsNeeded { audio: 12, video: 12 },
        ServerMessage::IceRestartNeeded,
        ServerMessage::Closed { code: CloseCode::Replaced, reason: "ming joined from elsewhere".to_owned() },
    ];
    let unasked = session.into_iter().chain(room_examples()).map(|message| Notice { re: None, message });
    answers.into_iter().chain(unasked).collect()
}

fn room_examples() -> [ServerMessage; 8] {
    let participant = || ParticipantId::from("PA_v3TgHs6YbQ0r");
    let track = || TrackId::from("TR_fK2mPq8vXw3Z");
    [
        ServerMessage::ParticipantJoined { participant: hua() },
        ServerMessage::ParticipantLeft { participant: participant(), reason: LeaveReason::ConnectionLost },
        ServerMessage::TrackPublished { participant: participant(), track: camera() },
        ServerMessage::TrackUnpublished { participant: participant(), track: track() },
        ServerMessage::TrackMuted { participant: participant(), track: track(), muted: true },
        ServerMessage::Slots { slots: slots() },
        ServerMessage::SlotLayer { mid: Mid::from("10"), track: track(), rid: Some("m".into()) },
        ServerMessage::Demand(demand()),
    ]
}

fn demand() -> Demand {
    let layer = |rid: &str, max_kbps| DemandedLayer { rid: Some(rid.into()), max_kbps, active: true };
    let layers = vec![layer("h", Some(850)), layer("m", None), layer("l", None)];
    Demand { epoch: 7, track: "TR_b7Nc4RtYh1Ls".into(), layers }
}

fn joined() -> Joined {
    Joined {
        protocol: VERSION,
        server: "lianmai/0.1.0".to_owned(),
        session: "kT5vWn0ZrQ8cXyB2mLf7Hd4Js1Pg9Uae".into(),
        participant: "PA_m8RcDz1KxW5n".into(),
        room: room(),
        sdp: "v=0\r\n…".to_owned(),
        tracks: vec![microphone()],
        slots: slots(),
        ping_interval_ms: 5_000,
        resume_within_ms: 15_000,
    }
}

fn room() -> Room {
    Room { name: "tea-house".into(), participants: vec![hua()] }
}

fn hua() -> Participant {
    Participant {
        id: "PA_v3TgHs6YbQ0r".into(),
        identity: "hua".to_owned(),
        name: "Hua".to_owned(),
        tracks: vec![camera()],
    }
}

fn camera() -> Track {
    Track {
        id: "TR_fK2mPq8vXw3Z".into(),
        kind: Kind::Video,
        source: Source::Camera,
        muted: false,
        layers: layers(),
    }
}

fn microphone() -> Track {
    Track {
        id: "TR_a9Xe2WqLk5Dm".into(),
        kind: Kind::Audio,
        source: Source::Microphone,
        muted: false,
        layers: Vec::new(),
    }
}

fn layers() -> Vec<Layer> {
    [("h", 1280, 720), ("m", 640, 360), ("l", 320, 180)]
        .map(|(rid, width, height)| Layer { rid: rid.into(), width, height })
        .to_vec()
}

fn slots() -> Vec<SlotBinding> {
    vec![SlotBinding {
        mid: "10".into(),
        track: "TR_fK2mPq8vXw3Z".into(),
        participant: "PA_v3TgHs6YbQ0r".into(),
    }]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/signaling.md");

    #[test]
    fn the_page_in_docs_is_this_one() {
        let page = markdown();
        if std::env::var_os("LIANMAI_WRITE_DOCS").is_some() {
            std::fs::write(PAGE, &page).expect("docs/signaling.md can be written");
        }
        let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
        assert!(
            kept == page,
            "docs/signaling.md is out of date: run LIANMAI_WRITE_DOCS=1 cargo test -p lianmai-proto signal_page"
        );
    }

    #[test]
    fn each_message_has_one_example_that_reads_back() {
        for (root, found) in [
            (request_schema(), examples(&client_examples())),
            (notice_schema(), examples(&server_examples())),
        ] {
            let messages: BTreeSet<_> =
                list(&root, "oneOf").iter().map(|variant| text(variant, "/properties/type/const")).collect();
            assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), messages);
        }
        for request in client_examples() {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
        }
        for notice in server_examples() {
            let text = serde_json::to_string(&notice).unwrap();
            assert_eq!(serde_json::from_str::<Notice>(&text).unwrap(), notice);
        }
    }

    #[test]
    fn links_of_the_page_lead_somewhere() {
        let page = markdown();
        let anchors: BTreeSet<String> = page
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| line.trim_start_matches('#').trim().trim_matches('`').to_lowercase())
            .collect();
        let links: Vec<&str> = page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(links.len() > 40, "{}", links.len());
        for link in links {
            assert!(anchors.contains(link), "{link}");
        }
        assert!(!page.contains("[`VERSION") && !page.contains("::"), "nothing that only Rust knows");
    }

    #[test]
    fn fields_say_what_may_be_left_out() {
        let page = markdown();
        for row in [
            "| `sdp` | string | yes |",
            "| `tracks` | list of [Publish](#publish) | no |",
            "| `re` | integer | no |",
            "| `rid` | [Rid](#rid) | no |",
            "| `tracks` | list of [Track](#track) | yes |",
        ] {
            assert!(page.contains(row), "{row}");
        }
    }

    #[test]
    fn the_schema_is_json_and_describes_both_sides() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        for (side, own, other) in [("request", "join", "joined"), ("notice", "joined", "join")] {
            assert_eq!(schema[side]["$schema"], "https://json-schema.org/draft/2020-12/schema");
            let variants = list(&schema[side], "oneOf").iter();
            let names: Vec<_> = variants.map(|variant| text(variant, "/properties/type/const")).collect();
            assert!(names.contains(&own) && !names.contains(&other), "{side}: {names:?}");
        }
    }
}
