//! What a generator shall do, as it is told by whoever starts it.

use serde::{Deserialize, Serialize};

/// One generator's work: parties join, then it measures, window by window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Who takes part, and where. Each joins when its first window comes.
    pub parties: Vec<Party>,
    /// How long a party that has joined is left alone before its first window, in seconds.
    pub settle_s: f64,
    /// What is measured, in this order.
    pub windows: Vec<Window>,
    /// The core that the generator stays on, if it shall.
    pub core: Option<usize>,
}

/// Those who share a room. Of several parties one at a time publishes, and that one is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Whom they talk to.
    pub server: Server,
    /// The name of their room; Janus has but one.
    pub room: String,
    /// Who they are.
    pub crowd: Crowd,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// What it speaks.
    pub kind: Kind,
    /// The address of its WebSocket.
    pub http: String,
    /// Where its `/metrics` are; `None` if it has none.
    pub metrics: Option<String>,
    /// The address of the generator's sockets.
    pub local: std::net::Ipv4Addr,
    /// Its process.
    pub process: u32,
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Our signaling.
    Lianmai,
    /// The `VideoRoom` of Janus.
    Janus,
}

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    /// Who publish; with `slots` they receive as well.
    pub publishers: u16,
    /// What each of them publishes, in kbit/s.
    pub kbps: u64,
    /// How many others each publisher receives.
    pub slots: usize,
    /// Who only receive, one picture each.
    pub subscribers: u16,
    /// Whether subscribers tell when packets came.
    pub feedback: bool,
}

/// What happens in a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Whose, by its place in the plan.
    pub party: usize,
    /// How long, in seconds.
    pub seconds: f64,
    /// Who sends.
    pub load: Load,
}

/// Who sends in a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// The publishers, through the server.
    Server,
    /// The bare loop, as much as the party's last window brought from the server, as many to each destination in a row.
    Bare {
        /// Destinations.
        destinations: usize,
        /// The core of its thread.
        core: usize,
        /// How those in a row leave.
        leaves: Leaves,
    },
    /// Nobody.
    Nobody,
    /// The publishers, while some of the subscribers are bad.
    Misbehaving(Mischief),
}

/// How the bare loop's datagrams to one destination leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaves {
    /// Each by itself, one to every destination in a call (`sendmmsg`).
    Singly,
    /// Together (GSO).
    InRuns,
}

/// What the last client does to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mischief {
    /// It asks for everything again, a thousand times a second.
    FloodsNacks,
    /// It reads no more, neither datagrams nor messages, and goes on to prove that it is there.
    StopsReading,
    /// It is silent, and what is sent to its address vanishes.
    Vanishes,
    /// Its port is closed, and the kernel says so to whoever sends there.
    ClosesPort,
}
