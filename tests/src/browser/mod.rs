//! The claims about browsers in a room: one function each, run one after the other by `cargo xtask test`.

mod demand;
pub mod first_frame;
mod flows;
mod forward_repair;
mod hostile;
pub mod late_joiners;
mod layers;
mod leaving;
mod loss;
mod resume;
mod sound;
pub mod stage;
mod stats;
mod tcp;

use std::pin::Pin;

use anyhow::Result;

use stage::Stage;

/// A test in a real browser.
pub struct Case {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What it shows, as a sentence.
    pub claim: &'static str,
    /// Plays it; gives what was measured.
    pub play: for<'a> fn(&'a mut Stage) -> Play<'a>,
}

/// A case under way.
pub type Play<'a> = Pin<Box<dyn Future<Output = Result<String>> + Send + 'a>>;

macro_rules! case {
    ($name:literal, $claim:literal, $play:expr) => {
        Case { name: $name, claim: $claim, play: |stage| Box::pin($play(stage)) }
    };
}

/// Every claim, in the order in which they are tried: the simplest first.
pub fn all() -> Vec<Case> {
    vec![
        case!("two_vp8", "two people see and hear each other in VP8", |s| flows::flows(s, "vp8", 2)),
        case!("two_h264", "two people see and hear each other in H264", |s| flows::flows(s, "h264", 2)),
        case!("two_vp9", "two people see and hear each other in VP9", |s| flows::flows(s, "vp9", 2)),
        case!("two_av1", "two people see and hear each other in AV1", |s| flows::flows(s, "av1", 2)),
        case!("three_vp8", "three people see and hear each other in VP8", |s| flows::flows(s, "vp8", 3)),
        case!("three_h264", "three people see and hear each other in H264", |s| flows::flows(s, "h264", 3)),
        case!("three_vp9", "three people see and hear each other in VP9", |s| flows::flows(s, "vp9", 3)),
        case!("three_av1", "three people see and hear each other in AV1", |s| flows::flows(s, "av1", 3)),
        case!("layers", "a tile's size decides the layer within 2 s, without a gap", layers::layers),
        case!(
            "demand",
            "a viewer behind 2 Mbit/s gets the largest picture at 1.2 Mbit/s at least, and all of it when it can",
            demand::demand
        ),
        case!("loss_viewer", "a viewer behind 5 % loss at 60 ms RTT sees 2 % freezes at most", loss::viewer),
        case!(
            "loss_sender",
            "a sender behind 5 % loss at 60 ms RTT is seen with 2 % freezes at most",
            loss::sender
        ),
        case!(
            "loss_both",
            "two behind 5 % loss at 60 ms RTT see each other with 2 % freezes at most",
            loss::both
        ),
        case!(
            "red_listener",
            "a listener behind 10 % loss hears less than half of the gaps with RED, which none gets who loses nothing",
            sound::listener
        ),
        case!(
            "red_sender",
            "who sends RED through 10 % loss is heard all but whole, in plain Opus",
            sound::sender
        ),
        case!(
            "fec_sender",
            "a sender that repairs its own pictures behind 5 % loss is seen at 98 %, mostly without asking it again",
            forward_repair::with_trial
        ),
        case!(
            "fec_none",
            "a sender behind 5 % loss that does not is seen at 98 % as well, by asking it again",
            forward_repair::without_trial
        ),
        case!("tcp_alone", "two whom UDP does not reach see and hear each other by TCP", tcp::alone),
        case!("tcp_spare", "who can have UDP does not use TCP", tcp::spare),
        case!("tcp_move", "media moves to TCP when UDP dies, and nobody joins anew", tcp::moves),
        case!(
            "stats",
            "each tile draws its readings with what the server says, which is asked only while somebody looks",
            stats::stats
        ),
        case!("leave", "who leaves is gone at once", leaving::leave),
        case!("crash", "who vanishes is gone within 15 s", leaving::crash),
        case!("resume", "a WebSocket cut for 5 s resumes and media never stops", resume::resume),
        case!("hostile", "100,000 hostile datagrams do not disturb a call", hostile::hostile),
        case!(
            "late_joiners",
            "of 30 who come one after the other, 95 in 100 see the picture within 400 ms",
            late_joiners::late_joiners
        ),
        case!("first_frame", "the SFU at most doubles the time to the first frame", first_frame::first_frame),
    ]
}
