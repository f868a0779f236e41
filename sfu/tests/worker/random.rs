//! Whatever people do, in any order: what must hold all along, what must be well again afterwards, and that the same
//! seed gives the same run.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use proto::ids::TrackId;
use proto::seed::{Chance, Seed};
use proto::signal::{ClientMessage, Kind, Source};

use super::net::Net;
use super::offer::Use;
use super::peer::Plan;
use super::{assert_no_faults, ms, secs};

const SEEDS: u64 = 4; // a second each; 200 passed when this was written
const STEPS: usize = 200;
const PEOPLE: usize = 6;
const CAMERA: usize = 1; // the section

/// A room of people who do as chance says.
struct Crowd {
    net: Net,
    chance: Chance,
    /// Those in the room.
    present: Vec<usize>,
    /// Of those, the ones whose WebSocket is broken, and for how many more steps.
    broken: Vec<(usize, usize)>,
    /// What was done, for the message of a test that fails.
    story: Vec<String>,
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let chance = Seed::from_number(seed).fork("crowd").generator();
        let mut net = Net::new(seed);
        let present = (0..2).map(|number| net.join("show", &format!("person {number}"), plan())).collect();
        net.run(secs(1));
        Self { net, chance, present, broken: Vec::new(), story: Vec::new() }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.chance.number() as usize % limit
    }

    /// One action and some time.
    fn step(&mut self) {
        self.mend();
        let reachable: Vec<usize> =
            self.present.iter().copied().filter(|peer| !self.is_broken(*peer)).collect();
        let action = self.below(14);
        let Some(&peer) = (!reachable.is_empty()).then(|| &reachable[self.below(reachable.len())]) else {
            self.net.run(ms(500));
            return;
        };
        self.story.push(format!("{:?}: {peer} does {action}", self.net.now));
        match action {
            0 | 1 if self.present.len() < PEOPLE => {
                let number = self.net.peers.len();
                let joined = self.net.join("show", &format!("person {number}"), plan());
                self.present.push(joined);
            }
            2 if self.present.len() > 2 => {
                self.net.with(peer, |peer| peer.request(ClientMessage::Leave));
                self.present.retain(|present| *present != peer);
            }
            3..=5 => self.lay_out(peer),
            6 => {
                let (muted, track) = (self.below(2) == 1, self.net.peers[peer].track(Source::Microphone));
                let track = track.expect("everyone speaks");
                self.net.with(peer, |peer| peer.request(ClientMessage::Mute { track, muted }));
            }
            7 | 8 => self.toggle_camera(peer),
            9 => {
                self.net.break_socket(peer);
                let steps = 1 + self.below(8);
                self.broken.push((peer, steps));
            }
            10 | 11 => {
                let loss = [0, 20, 100][self.below(3)];
                self.net.links[peer].up_loss = loss;
                self.net.links[peer].down_loss = [0, 20, 100][self.below(3)];
            }
            12 => {
                let port = 1_024 + self.below(60_000) as u16;
                let address = SocketAddr::from(([10, 1, 0, peer as u8], port));
                self.net.move_peer(peer, address);
            }
            13 => self.net.with(peer, |peer| {
                peer.transport.restart();
                peer.offer_again();
            }),
            _ => {}
        }
        let more = self.below(500) as u64;
        self.net.run(ms(100 + more));
    }

    fn is_broken(&self, peer: usize) -> bool {
        self.broken.iter().any(|(broken, _)| *broken == peer)
    }

    /// WebSockets come back when their time has come.
    fn mend(&mut self) {
        for (_, steps) in &mut self.broken {
            *steps = steps.saturating_sub(1);
        }
        let (back, still) = std::mem::take(&mut self.broken).into_iter().partition(|(_, steps)| *steps == 0);
        self.broken = still;
        let back: Vec<(usize, usize)> = back;
        for (peer, _) in back {
            self.net.resume(peer);
            self.net.run(ms(100));
        }
    }

    fn lay_out(&mut self, peer: usize) {
        let others = self.net.peers[peer].knows.others.values();
        let tracks: Vec<TrackId> = others
            .flat_map(|other| other.tracks.iter().filter(|track| track.kind == Kind::Video))
            .map(|track| track.id.clone())
            .collect();
        let mut tiles = Vec::new();
        for track in tracks {
            let sizes = [None, Some((0, 0)), Some((160, 90)), Some((640, 360)), Some((1920, 1080))];
            if let Some((width, height)) = sizes[self.below(sizes.len())] {
                tiles.push((track, width, height));
            }
        }
        self.net.with(peer, |peer| peer.lay_out(&tiles));
    }

    fn toggle_camera(&mut self, peer: usize) {
        let now = self.net.now;
        self.net.with(peer, |peer| {
            let off = peer.sections[CAMERA].source().is_some();
            peer.sections[CAMERA] =
                if off { Use::Nothing(Kind::Video) } else { Use::Simulcast(Source::Camera) };
            if off && peer.transport.is_open() {
                let sections = peer.sections.clone();
                peer.sender.set_sections(now, &sections);
            }
            peer.offer_again();
        });
    }

    /// What must hold at any time.
    fn check(&self) {
        for &peer in &self.present {
            let peer = &self.net.peers[peer];
            assert_eq!(peer.knows.closed, None, "{} was closed", peer.identity);
            assert!(peer.knows.errors.is_empty(), "{:?}", peer.knows.errors);
            let mut tracks = BTreeSet::new();
            for binding in peer.knows.slots.values() {
                assert!(tracks.insert(&binding.track), "{} has {} twice", peer.identity, binding.track);
                let publisher = peer.knows.others.get(&binding.participant);
                let publisher = publisher.expect("what is in a slot is somebody's in the room");
                assert!(publisher.tracks.iter().any(|track| track.id == binding.track));
            }
        }
        let stats = self.net.worker.stats();
        assert_eq!(stats.participants, self.present.len() as u64);
        let sends = |peer: &usize| 1 + u64::from(self.net.peers[*peer].sections[CAMERA].source().is_some());
        assert_eq!(stats.tracks, self.present.iter().map(sends).sum::<u64>());
    }

    /// Nobody ever got their own media.
    fn check_echo(&self) {
        for peer in &self.net.peers {
            let seen = peer.receiver.slots.values().flat_map(|slot| &slot.seen);
            assert!(seen.into_iter().all(|seen| usize::from(seen.stamp.publisher) != peer.number));
        }
    }

    /// The network is well again and all are back.
    fn heal(&mut self) {
        for (peer, _) in std::mem::take(&mut self.broken) {
            self.net.resume(peer);
        }
        for link in &mut self.net.links {
            (link.up_loss, link.down_loss) = (0, 0);
        }
    }

    /// Every picture in sight moves, at its full rate, and everybody hears everybody.
    fn check_healed(&self) {
        let from = self.net.now - ms(500);
        for &viewer in &self.present {
            let peer = &self.net.peers[viewer];
            for other in self.present.iter().filter(|other| **other != viewer) {
                for source in [Source::Camera, Source::Microphone] {
                    let Some(track) = self.net.peers[*other].track(source) else { continue };
                    let tiles = peer.tiles.as_ref().filter(|_| source == Source::Camera);
                    if tiles.is_some_and(|tiles| !tiles.contains(&track)) {
                        continue;
                    }
                    let (mid, slot) = peer.slot_of(&track).expect("what is in sight has a slot");
                    let frames = slot.shown_since(from).count();
                    let wanted = if source == Source::Camera { 11 } else { 24 };
                    let last = slot.shown.last();
                    assert!(
                        frames >= wanted,
                        "{viewer} has {frames} frames of {other} in slot {mid}: {last:?}"
                    );
                }
            }
        }
    }

    /// What everybody saw and was told. What depends on DTLS' own randomness is left out: the server's certificate.
    fn trace(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for peer in &self.net.peers {
            for slot in peer.receiver.slots.values() {
                for seen in &slot.seen {
                    (seen.at, seen.seq, seen.timestamp, seen.by_rtx, &seen.payload).hash(&mut hasher);
                }
            }
            for (at, notice) in &peer.notices {
                let text = serde_json::to_string(notice).expect("plain data");
                let fingerprint = &peer.transport.answer_fingerprint;
                (at, text.replace(fingerprint.as_str(), "")).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

fn plan() -> Plan {
    Plan { slots: PEOPLE, ..Plan::TALKER }
}

fn run(seed: u64, steps: usize) -> Crowd {
    let mut crowd = Crowd::new(seed);
    for _ in 0..steps {
        crowd.step();
        crowd.check();
    }
    crowd
}

/// Tells what was done last if the test ends in a panic.
struct Confession<'a>(u64, &'a Crowd);

impl Drop for Confession<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let story = &self.1.story;
            eprintln!("seed {}:\n{}", self.0, story[story.len().saturating_sub(20)..].join("\n"));
        }
    }
}

#[test]
fn whatever_people_do_all_is_well_two_seconds_after_the_network_healed() {
    for seed in 1..=SEEDS {
        let mut crowd = run(seed, STEPS);
        crowd.heal();
        crowd.net.run(secs(2) + ms(500));
        let confession = Confession(seed, &crowd);
        crowd.check();
        crowd.check_echo();
        crowd.check_healed();
        assert_no_faults(&crowd.net);
        drop(confession);
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_another() {
    let trace = |seed| run(seed, 40).trace();
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
