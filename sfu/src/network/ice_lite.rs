//! ICE-lite: which paths the peer has proved, and which one is used (RFC 8445 §2.4, §7.3, §9; RFC 7675).
//!
//! In: binding requests, news of authenticated media, `now`. Out: responses, `poll_event`. Time: consent ends
//! `CONSENT_TIMEOUT` after the last authenticated request. Limit: `PATHS_MAX` paths, of which the least recently
//! checked one that is not selected gives way; two generations of credentials.
//!
//! A lite agent sends no checks. The peer's requests, made with our password, prove that it is at an address and wants
//! to hear from us there; nothing else changes anything here, and nothing is sent to an address without such proof.
//!
//! Which path is used is the peer's choice. The first proved path is used until it says more, since DTLS may start
//! before the peer nominates (RFC 8445 §12.1). A nomination then takes over from a path that
//! - has lower priority (a peer that nominates aggressively nominates all its paths; UDP comes before TCP), or
//! - is no longer nominated, which is how Chromium moves: its checks nominate what it uses and nothing else, or
//! - has been silent for `SILENCE`, or belongs to the time before an ICE restart.

use std::collections::VecDeque;
use std::time::Duration;

use proto::seed::Chance;
use proto::time::Instant;

use super::path::{Path, Protocol};
use super::stun::{BindingRequest, StunError};

const PATHS_MAX: usize = 16; // a phone has two networks, each with IPv4, IPv6 and perhaps a relay; the rest are guests
const EVENTS_MAX: usize = 8; // the owner drains after every call, so one or two; beyond this the oldest goes
const UFRAG_LETTERS: usize = 8; // after the mark; 47 bits: not guessed among a server's sessions, and RFC 8839 §5.4 wants 4
const PASSWORD_LETTERS: usize = 24; // 142 bits; RFC 8445 §5.3 wants 128

/// How long the peer may take to send its first request: it gathers candidates, perhaps by slow TURN servers.
pub const FIRST_CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long consent lasts after a request.
///
/// RFC 7675 §5.1 allows 30 s. Browsers check the path that they use every 2.5 s and more often when it falters, so at
/// 10 s at least four checks in a row were lost, and a closed tab is noticed within the 15 s that a room shall take.
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Without check and media for this long, the selected path gives way to any that is nominated.
///
/// One interval of Chromium's checks (2.5 s) and half a second of jitter.
const SILENCE: Duration = Duration::from_secs(3);

/// How long after the last media on the selected path media on another one is taken for late rather than for a move.
///
/// Two paths of a phone differ by up to about this much delay; flapping would cost more than waiting.
const LATE_MEDIA: Duration = Duration::from_millis(250);

/// Which of a server's workers has a session: the first letter of the user name fragments that it hands out.
///
/// Each worker has a UDP port of its own, but TCP connections come to one port for all of them, and each is to be given to
/// the worker whose session its first binding request names. The letter says so, with no table between the threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerMark(u8);

impl WorkerMark {
    /// RFC 8839 §5.4's `ice-char`.
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// The most workers that can be told apart.
    pub const WORKERS_MAX: usize = Self::LETTERS.len();

    /// The mark of the only or the first worker.
    pub const FIRST: Self = Self(0);

    /// The mark of a worker, numbered from 0; `None` from [`Self::WORKERS_MAX`] on.
    pub fn new(worker: usize) -> Option<Self> {
        (worker < Self::WORKERS_MAX).then_some(Self(worker as u8))
    }

    /// The mark in a user name fragment of ours, or in another name that begins with [`Self::letter`]; `None` if no worker made it.
    pub fn of(ufrag: &str) -> Option<Self> {
        let letter = ufrag.bytes().next()?;
        Self::new(Self::LETTERS.iter().position(|known| *known == letter)?)
    }

    /// The worker's number, from 0.
    pub fn worker(self) -> usize {
        usize::from(self.0)
    }

    /// The letter that names made by this worker begin with.
    pub fn letter(self) -> char {
        char::from(Self::LETTERS[self.worker()])
    }
}

/// The user name fragment and password of one end.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name fragment.
    pub ufrag: String,
    /// The password.
    pub pwd: String,
}

impl Credentials {
    /// New ones of this worker's that nobody can guess.
    pub fn generate(mark: WorkerMark, chance: &mut Chance) -> Self {
        let ufrag = format!("{}{}", mark.letter(), chance.text(UFRAG_LETTERS));
        Self { ufrag, pwd: chance.text(PASSWORD_LETTERS) }
    }
}

impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Something that the owner of an [`IceLite`] should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceEvent {
    /// Datagrams to the peer now go by this path.
    Selected(Path),
    /// The peer has not asked for anything for too long: nothing may be sent to it any more.
    ConsentExpired,
}

/// The lite end of one ICE session.
#[derive(Debug)]
#[repr(C)] // each packet asks what is selected and what is proved
pub struct IceLite {
    selected: Option<Selection>,
    paths: Vec<ProvedPath>,
    consent_until: Option<Instant>, // `None` after it has expired
    current: Generation,
    former: Option<Generation>, // still valid after a restart until `current` is proved
    events: VecDeque<IceEvent>,
}

/// One pair of credentials between two restarts.
#[derive(Debug)]
struct Generation {
    number: u32,
    ours: Credentials,
    theirs_ufrag: String,
    is_proved: bool,
}

#[derive(Debug)]
struct ProvedPath {
    path: Path,
    generation: u32,
    priority: u32,
    is_nominated: bool, // by the last check
    checked_at: Instant,
    media_at: Option<Instant>,
}

impl ProvedPath {
    /// What decides between paths that are equally nominated. UDP comes first whatever the peer's priorities are: by TCP one
    /// lost packet holds up all that follow.
    fn rank(&self) -> (bool, u32) {
        (self.path.protocol == Protocol::Udp, self.priority)
    }
}

#[derive(Debug, Clone, Copy)]
struct Selection {
    path: Path,
    at: Instant,
}

impl IceLite {
    /// A session in which nothing is proved yet.
    pub fn new(now: Instant, ours: Credentials, theirs: Credentials) -> Self {
        Self {
            current: Generation { number: 0, ours, theirs_ufrag: theirs.ufrag, is_proved: false },
            former: None,
            paths: Vec::new(),
            selected: None,
            consent_until: Some(now + FIRST_CHECK_TIMEOUT),
            events: VecDeque::new(),
        }
    }

    /// Takes new credentials after an offer that restarts ICE.
    ///
    /// Media goes on by the selected path, and requests with the former credentials are still answered, until the first
    /// request with the new ones arrives (RFC 8445 §2.4, §9).
    pub fn restart(&mut self, ours: Credentials, theirs: Credentials) {
        let number = self.current.number + 1;
        let next = Generation { number, ours, theirs_ufrag: theirs.ufrag, is_proved: false };
        let last = std::mem::replace(&mut self.current, next);
        if last.is_proved || self.former.is_none() {
            self.former = Some(last);
        }
    }

    /// Answers a binding request; the response goes back by the path that the request came by.
    ///
    /// Nothing changes and nothing may be sent when this fails.
    pub fn handle_request(
        &mut self,
        now: Instant,
        path: Path,
        request: &BindingRequest,
    ) -> Result<Vec<u8>, StunError> {
        let generation = self.generation_of(request)?;
        let (number, password) = (generation.number, generation.ours.pwd.clone());
        request.authenticate(&password)?;
        if request.has_unknown_attributes() {
            return Ok(request.unknown_attributes(&password));
        }
        if request.is_from_controlled() {
            return Ok(request.role_conflict(&password));
        }
        if number == self.current.number {
            self.current.is_proved = true;
            self.former = None;
        } else if let Some(former) = &mut self.former {
            former.is_proved = true;
        }
        self.note_check(now, path, number, request);
        Ok(request.success(path.remote, &password))
    }

    /// Notes that authenticated media came by `path`: the peer uses it, so it is used in return.
    pub fn note_media(&mut self, now: Instant, path: Path) {
        let Some(proved) = self.paths.iter_mut().find(|proved| proved.path == path) else {
            return;
        };
        proved.media_at = Some(now);
        let Some(selection) = self.selected else {
            return; // consent has expired, and media is not consent
        };
        if selection.path == path {
            return;
        }
        let used = self.proved(selection.path).and_then(|proved| proved.media_at).unwrap_or(selection.at);
        if now.since(used.max(selection.at)) >= LATE_MEDIA {
            self.select(now, path);
        }
    }

    /// Ends consent where its time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.consent_until.is_none_or(|until| now < until) {
            return;
        }
        self.paths.retain(|proved| now < proved.checked_at + CONSENT_TIMEOUT);
        let best =
            self.paths.iter().max_by_key(|proved| (proved.generation, proved.is_nominated, proved.rank()));
        if let Some(path) = best.map(|proved| proved.path) {
            self.select(now, path);
            return;
        }
        self.selected = None;
        self.consent_until = None;
        self.push_event(IceEvent::ConsentExpired);
    }

    /// The next thing that happened, until `None`.
    pub fn poll_event(&mut self) -> Option<IceEvent> {
        self.events.pop_front()
    }

    /// When consent ends; `None` once it has.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.consent_until
    }

    /// Our user name fragments by which a request may find this session: one, or two after a restart.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        self.former.iter().chain([&self.current]).map(|generation| generation.ours.ufrag.as_str())
    }

    /// Where to send; `None` before the first request and after consent has expired.
    pub fn selected(&self) -> Option<Path> {
        self.selected.map(|selection| selection.path)
    }

    /// When the peer proved for the last time that it is at this path's remote end; `None` if it has not, or too long ago.
    pub fn checked_at(&self, path: Path) -> Option<Instant> {
        self.proved(path).map(|proved| proved.checked_at)
    }

    /// Whether the peer has proved that it is at this path's remote end.
    pub fn is_validated(&self, path: Path) -> bool {
        self.proved(path).is_some()
    }

    fn generation_of(&self, request: &BindingRequest) -> Result<&Generation, StunError> {
        let mut generations = self.former.iter().chain([&self.current]);
        generations
            .find(|generation| {
                generation.ours.ufrag == request.local_ufrag()
                    && generation.theirs_ufrag == request.remote_ufrag()
            })
            .ok_or(StunError::UnknownUsername)
    }

    /// Notes an authenticated check, and selects its path if that is the peer's choice.
    fn note_check(&mut self, now: Instant, path: Path, generation: u32, request: &BindingRequest) {
        let media_at = self.proved(path).and_then(|proved| proved.media_at);
        let checked = ProvedPath {
            path,
            generation,
            priority: request.priority(),
            is_nominated: request.use_candidate(),
            checked_at: now,
            media_at,
        };
        let gives_way = self.selected.and_then(|selection| self.proved(selection.path)).is_none_or(|used| {
            let heard_at = used.media_at.map_or(used.checked_at, |at| at.max(used.checked_at));
            checked.is_nominated
                && (used.generation < checked.generation
                    || used.rank() < checked.rank()
                    || !used.is_nominated
                    || now.since(heard_at) >= SILENCE)
        });
        match self.paths.iter_mut().find(|proved| proved.path == path) {
            Some(proved) => *proved = checked,
            None => self.insert(checked),
        }
        if gives_way {
            self.select(now, path);
        }
        self.renew_consent();
    }

    fn insert(&mut self, checked: ProvedPath) {
        if self.paths.len() >= PATHS_MAX {
            let selected = self.selected();
            let others = self.paths.iter().enumerate().filter(|(_, proved)| Some(proved.path) != selected);
            if let Some((oldest, _)) = others.min_by_key(|(_, proved)| proved.checked_at) {
                self.paths.swap_remove(oldest);
            }
        }
        self.paths.push(checked);
    }

    fn select(&mut self, now: Instant, path: Path) {
        if self.selected() != Some(path) {
            self.selected = Some(Selection { path, at: now });
            self.push_event(IceEvent::Selected(path));
        }
        self.renew_consent();
    }

    /// Consent is for the address that is sent to, so only checks by the selected path extend it (RFC 7675 §5).
    fn renew_consent(&mut self) {
        if let Some(proved) = self.selected().and_then(|path| self.proved(path)) {
            self.consent_until = Some(proved.checked_at + CONSENT_TIMEOUT);
        }
    }

    fn proved(&self, path: Path) -> Option<&ProvedPath> {
        self.paths.iter().find(|proved| proved.path == path)
    }

    fn push_event(&mut self, event: IceEvent) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::seed::Seed;

    use super::super::stun::samples::{CONTROLLED, CONTROLLING, SURPRISE, Sample, USE_CANDIDATE};
    use super::*;

    const HOME: u8 = 1;
    const STREET: u8 = 2;
    /// From here on hosts come by TCP.
    const BY_TCP: u8 = 100;

    fn path(host: u8) -> Path {
        let remote = ([203, 0, 113, host], 5000).into();
        if host < BY_TCP { Path::udp(None, remote) } else { Path::tcp(None, remote) }
    }

    fn credentials(ufrag: &str, pwd: &str) -> Credentials {
        Credentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn session() -> IceLite {
        IceLite::new(at(0), credentials("ours", "our password"), credentials("theirs", "their password"))
    }

    #[derive(Clone, Copy)]
    struct Check {
        host: u8,
        priority: u32,
        nominates: bool,
    }

    fn check(ice: &mut IceLite, millis: u64, check: Check) {
        let nominating = [CONTROLLING, USE_CANDIDATE];
        let sample = Sample {
            priority: check.priority,
            before_integrity: if check.nominates { &nominating } else { &nominating[..1] },
            ..Sample::default()
        };
        send(ice, millis, check.host, &sample).expect("an authentic request");
    }

    fn send(ice: &mut IceLite, millis: u64, host: u8, sample: &Sample<'_>) -> Result<Vec<u8>, StunError> {
        let request = BindingRequest::parse(&sample.bytes())?;
        ice.handle_request(at(millis), path(host), &request)
    }

    fn nominate(ice: &mut IceLite, millis: u64, host: u8, priority: u32) {
        check(ice, millis, Check { host, priority, nominates: true });
    }

    fn events(ice: &mut IceLite) -> Vec<IceEvent> {
        std::iter::from_fn(|| ice.poll_event()).collect()
    }

    #[test]
    fn credentials_are_long_enough_and_not_printed() {
        let mut chance = Seed::from_number(1).generator();
        let mut generate = || Credentials::generate(WorkerMark::FIRST, &mut chance);
        let (one, two) = (generate(), generate());
        assert_eq!((one.ufrag.len(), one.pwd.len()), (9, 24));
        assert_ne!(one, two);
        assert!(!format!("{one:?}").contains(&one.pwd));
    }

    #[test]
    fn a_fragment_tells_whose_it_is() {
        let mut chance = Seed::from_number(2).generator();
        for worker in 0..WorkerMark::WORKERS_MAX {
            let mark = WorkerMark::new(worker).expect("one of the workers");
            let ufrag = Credentials::generate(mark, &mut chance).ufrag;
            assert_eq!(WorkerMark::of(&ufrag).map(WorkerMark::worker), Some(worker), "{ufrag}");
        }
        assert_eq!((WorkerMark::new(WorkerMark::WORKERS_MAX), WorkerMark::of("")), (None, None));
        assert_eq!(WorkerMark::of("-12345678"), None, "no letter of RFC 8839's");
    }

    #[test]
    fn udp_comes_before_tcp_whatever_the_priorities_are() {
        let mut ice = session();
        nominate(&mut ice, 1, BY_TCP, 9);
        assert_eq!(ice.selected(), Some(path(BY_TCP)), "the first that works is used");
        nominate(&mut ice, 2, HOME, 1);
        assert_eq!(ice.selected(), Some(path(HOME)), "UDP takes over from TCP");
        nominate(&mut ice, 3, BY_TCP, 9);
        assert_eq!(ice.selected(), Some(path(HOME)), "and not the other way");
        nominate(&mut ice, 3_002, BY_TCP, 9);
        assert_eq!(ice.selected(), Some(path(BY_TCP)), "unless UDP is silent");
        nominate(&mut ice, 3_003, HOME, 1);
        check(&mut ice, 3_004, Check { host: HOME, priority: 1, nominates: false });
        nominate(&mut ice, 3_005, BY_TCP, 9);
        assert_eq!(ice.selected(), Some(path(BY_TCP)), "or the peer uses UDP no longer");
        assert_eq!(ice.checked_at(path(HOME)), Some(at(3_004)));
        assert_eq!(ice.checked_at(path(STREET)), None);
    }

    #[test]
    fn nothing_happens_without_proof() {
        let unproved = [
            ("a wrong password", Sample { password: "your password", ..Sample::default() }),
            ("another's fragment", Sample { username: "other:theirs", ..Sample::default() }),
            ("a stranger's fragment", Sample { username: "ours:other", ..Sample::default() }),
        ];
        let mut ice = session();
        for (name, sample) in unproved {
            assert!(send(&mut ice, 1, HOME, &sample).is_err(), "{name}");
        }
        ice.note_media(at(2), path(HOME));
        assert_eq!(ice.selected(), None);
        assert!(!ice.is_validated(path(HOME)));
        assert_eq!(events(&mut ice), []);
        assert_eq!(ice.poll_timeout(), Some(at(30_000)), "no consent was gained either");
    }

    #[test]
    fn error_responses_prove_nothing_either() {
        for (name, attribute, code) in [("controlled", CONTROLLED, 87), ("unknown attribute", SURPRISE, 20)] {
            let mut ice = session();
            let sample = Sample { before_integrity: &[attribute, USE_CANDIDATE], ..Sample::default() };
            let response = send(&mut ice, 1, HOME, &sample).expect("an error response");
            assert_eq!(response[..2], [0x01, 0x11], "{name}");
            assert!(response.windows(4).any(|window| window == [0, 0, 4, code]), "{name}");
            assert!(!ice.is_validated(path(HOME)) && ice.selected().is_none(), "{name}");
        }
    }

    #[test]
    fn the_first_proved_path_is_used_at_once_and_a_nominated_one_takes_over() {
        let mut ice = session();
        check(&mut ice, 1, Check { host: STREET, priority: 9, nominates: false });
        assert_eq!(events(&mut ice), [IceEvent::Selected(path(STREET))]);
        check(&mut ice, 2, Check { host: HOME, priority: 1, nominates: false });
        assert_eq!(ice.selected(), Some(path(STREET)), "a check is no nomination");
        nominate(&mut ice, 3, HOME, 1);
        assert_eq!(events(&mut ice), [IceEvent::Selected(path(HOME))]);
        nominate(&mut ice, 4, HOME, 1);
        assert_eq!(events(&mut ice), [], "the same again is no news");
    }

    #[test]
    fn a_nomination_takes_over_for_a_reason_only() {
        let quiet = Check { host: HOME, priority: 10, nominates: true };
        for (name, again, media_at, nominated_at, priority, moves) in [
            ("higher priority", Some((100, quiet)), None, 200, 11, true),
            ("equal priority", Some((100, quiet)), None, 200, 10, false),
            ("lower priority", Some((100, quiet)), None, 200, 9, false),
            ("no longer nominated", Some((100, Check { nominates: false, ..quiet })), None, 200, 9, true),
            ("silent for almost too long", None, None, 2_999, 9, false),
            ("silent for too long", None, None, 3_000, 9, true),
            ("checked lately", Some((1_000, quiet)), None, 3_500, 9, false),
            ("media lately", None, Some(1_000), 3_500, 9, false),
            ("media long ago", None, Some(1_000), 4_000, 9, true),
        ] {
            let mut ice = session();
            nominate(&mut ice, 0, HOME, 10);
            if let Some((millis, repeated)) = again {
                check(&mut ice, millis, repeated);
            }
            if let Some(millis) = media_at {
                ice.note_media(at(millis), path(HOME));
            }
            nominate(&mut ice, nominated_at, STREET, priority);
            assert_eq!(ice.selected() == Some(path(STREET)), moves, "{name}");
            assert!(ice.is_validated(path(HOME)) && ice.is_validated(path(STREET)), "{name}");
        }
    }

    #[test]
    fn media_moves_the_selection_to_a_proved_path_but_late_media_does_not() {
        let mut ice = session();
        nominate(&mut ice, 0, HOME, 10);
        check(&mut ice, 0, Check { host: STREET, priority: 5, nominates: false });
        ice.note_media(at(1_000), path(HOME));
        ice.note_media(at(1_100), path(STREET));
        assert_eq!(ice.selected(), Some(path(HOME)), "both at once: not yet");
        ice.note_media(at(1_250), path(STREET));
        assert_eq!(ice.selected(), Some(path(STREET)), "the peer has moved");
        ice.note_media(at(1_260), path(HOME));
        assert_eq!(ice.selected(), Some(path(STREET)), "a straggler does not move it back");
        ice.note_media(at(9_000), path(3));
        assert_eq!(ice.selected(), Some(path(STREET)), "an unproved path never");
        let selected = [HOME, STREET].map(|host| IceEvent::Selected(path(host)));
        assert_eq!(events(&mut ice), selected);
    }

    #[test]
    fn consent_ends_once_and_a_request_brings_it_back() {
        let mut ice = session();
        nominate(&mut ice, 1_000, HOME, 10);
        assert_eq!(events(&mut ice), [IceEvent::Selected(path(HOME))]);
        ice.note_media(at(10_999), path(HOME)); // media is not consent
        ice.handle_timeout(at(10_999));
        assert_eq!(ice.selected(), Some(path(HOME)));
        assert_eq!(ice.poll_timeout(), Some(at(11_000)));
        ice.handle_timeout(at(11_000));
        ice.handle_timeout(at(12_000));
        assert_eq!(events(&mut ice), [IceEvent::ConsentExpired]);
        assert_eq!((ice.selected(), ice.poll_timeout()), (None, None));
        assert!(!ice.is_validated(path(HOME)));
        ice.note_media(at(13_000), path(HOME));
        assert_eq!(ice.selected(), None);
        check(&mut ice, 20_000, Check { host: HOME, priority: 10, nominates: false });
        assert_eq!(events(&mut ice), [IceEvent::Selected(path(HOME))]);
        assert_eq!(ice.poll_timeout(), Some(at(30_000)));
    }

    #[test]
    fn a_peer_that_never_comes_is_given_up_after_thirty_seconds() {
        let mut ice = session();
        ice.handle_timeout(at(29_999));
        assert_eq!(events(&mut ice), []);
        ice.handle_timeout(at(30_000));
        assert_eq!(events(&mut ice), [IceEvent::ConsentExpired]);
    }

    #[test]
    fn a_dead_path_gives_way_to_a_living_one_when_its_consent_ends() {
        let mut ice = session();
        nominate(&mut ice, 0, HOME, 10);
        check(&mut ice, 9_000, Check { host: STREET, priority: 5, nominates: false });
        ice.handle_timeout(at(10_000));
        let selected = [HOME, STREET].map(|host| IceEvent::Selected(path(host)));
        assert_eq!(events(&mut ice), selected);
        assert_eq!(ice.poll_timeout(), Some(at(19_000)), "its own consent counts from its own check");
        assert!(!ice.is_validated(path(HOME)));
    }

    #[test]
    fn a_restart_keeps_the_old_credentials_until_the_new_ones_are_used() {
        let old =
            Sample { before_integrity: &[CONTROLLING, USE_CANDIDATE], priority: 100, ..Sample::default() };
        let new = Sample {
            username: "ours2:theirs2",
            password: "our password 2",
            before_integrity: &[CONTROLLING, USE_CANDIDATE],
            ..Sample { priority: 1, ..Sample::default() }
        };
        let mut ice = session();
        send(&mut ice, 0, HOME, &old).expect("authentic");
        let restart = |ice: &mut IceLite| {
            ice.restart(credentials("ours2", "our password 2"), credentials("theirs2", "their password 2"));
        };
        restart(&mut ice);
        assert_eq!(ice.ufrags().collect::<Vec<_>>(), ["ours", "ours2"]);
        assert_eq!(ice.selected(), Some(path(HOME)), "media goes on");
        send(&mut ice, 1, HOME, &old).expect("still valid");
        let mixed = Sample { username: "ours2:theirs", password: "our password 2", ..Sample::default() };
        assert_eq!(send(&mut ice, 1, HOME, &mixed), Err(StunError::UnknownUsername));
        let swapped =
            Sample { password: "our password", ..Sample { username: "ours2:theirs2", ..Sample::default() } };
        assert_eq!(send(&mut ice, 1, HOME, &swapped), Err(StunError::IntegrityMismatch));
        assert_eq!(ice.ufrags().count(), 2, "a failed request retires nothing");

        send(&mut ice, 2, STREET, &new).expect("the new ones");
        assert_eq!(ice.selected(), Some(path(STREET)), "a restart begins anew, whatever the priorities");
        assert_eq!(send(&mut ice, 3, HOME, &old), Err(StunError::UnknownUsername));
        assert_eq!(ice.ufrags().collect::<Vec<_>>(), ["ours2"]);
    }

    #[test]
    fn a_second_restart_before_the_first_was_used_keeps_the_pair_that_carries_media() {
        let mut ice = session();
        nominate(&mut ice, 0, HOME, 10);
        for number in 2..5 {
            let ufrag = format!("ours{number}");
            ice.restart(credentials(&ufrag, "p"), credentials("theirs", "p"));
            assert_eq!(ice.ufrags().collect::<Vec<_>>(), ["ours", &ufrag]);
        }
        nominate(&mut ice, 1, HOME, 10);
    }

    #[test]
    fn paths_are_bounded_and_the_selected_one_stays() {
        let mut ice = session();
        nominate(&mut ice, 0, 1, 100);
        for host in 2..=40 {
            check(&mut ice, u64::from(host), Check { host, priority: 1, nominates: false });
            assert!(ice.paths.len() <= PATHS_MAX);
        }
        assert_eq!(ice.selected(), Some(path(1)));
        let kept = (1..=40).filter(|&host| ice.is_validated(path(host)));
        assert_eq!(kept.collect::<Vec<_>>(), [&[1][..], &(26..=40).collect::<Vec<_>>()].concat());
    }

    proptest! {
        /// Whatever the peer does: deadlines are in the future, sends go to proved paths, queues are bounded.
        #[test]
        fn invariants_hold(steps in prop::collection::vec((0_u8..4, 0_u8..30, 0_u32..4, 0_u64..4_000), 1..200)) {
            let (mut ice, mut millis) = (session(), 0);
            for (action, host, priority, wait) in steps {
                millis += wait;
                match action {
                    0 => nominate(&mut ice, millis, host, priority),
                    1 => check(&mut ice, millis, Check { host, priority, nominates: false }),
                    2 => ice.note_media(at(millis), path(host)),
                    _ => {}
                }
                ice.handle_timeout(at(millis));
                prop_assert!(ice.poll_timeout().is_none_or(|deadline| deadline > at(millis)));
                prop_assert!(ice.selected().is_none_or(|path| ice.is_validated(path)));
                let is_unused_for_ever = ice.selected().is_none() && ice.poll_timeout().is_none();
                prop_assert!(ice.selected().is_some() || is_unused_for_ever || millis < 30_000);
                prop_assert!(ice.paths.len() <= PATHS_MAX && ice.events.len() <= EVENTS_MAX);
            }
        }
    }
}
