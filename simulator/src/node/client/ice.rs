//! A client's end of ICE: checks on its one path, as the controlling agent (RFC 8445 §7.2).
//!
//! In: the answer's credentials, STUN responses. Out: `poll_transmit`. Time: a check every `CHECK_FIRST` until one is
//! answered, then `CHECK_LATER` after each answer, and every `CHECK_AGAIN` until the next. Chance: credentials and transaction numbers. Limit: `ASKED_MAX` checks are awaited.

use std::collections::VecDeque;
use std::time::Duration;

use proto::seed::Chance;
use proto::time::Instant;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use stun::textattrs::Username;

static PROVIDER: AwsLcRsProvider = AwsLcRsProvider::new();

/// Chromium's interval while nothing is proved.
const CHECK_FIRST: Duration = Duration::from_millis(50);

/// Chromium's interval on the path that it uses.
const CHECK_LATER: Duration = Duration::from_millis(2_500);

/// Chromium's interval on that path while an answer is due.
const CHECK_AGAIN: Duration = Duration::from_millis(480);

/// How long a path that does not answer is still used: Chromium calls it disconnected after five checks.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Checks whose answer may still come: those of 1.6 s at the first interval.
const ASKED_MAX: usize = 32;

/// A host candidate's priority (RFC 8445 §5.1.2).
const PRIORITY: u32 = 1_853_824_767;

/// The user name fragment and password of one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name fragment.
    pub ufrag: String,
    /// The password.
    pub pwd: String,
}

/// See the module's description.
pub struct Ice {
    ours: Credentials,
    theirs: Option<Credentials>,
    check_at: Option<Instant>,
    asked: VecDeque<(Instant, [u8; 12])>,
    proved_at: Option<Instant>,
    rtt: Option<Duration>,
    out: VecDeque<Vec<u8>>,
    chance: Chance,
}

impl Ice {
    /// An end whose credentials are left to chance; it asks nothing before the answer is there.
    pub fn new(mut chance: Chance) -> Self {
        let ours = Credentials { ufrag: chance.text(4), pwd: chance.text(24) };
        let out = VecDeque::new();
        Self {
            ours,
            theirs: None,
            check_at: None,
            asked: VecDeque::new(),
            proved_at: None,
            rtt: None,
            out,
            chance,
        }
    }

    /// What an offer says.
    pub fn ours(&self) -> &Credentials {
        &self.ours
    }

    /// New credentials for the next offer (RFC 8445 §2.4); the old path is used meanwhile.
    pub fn restart(&mut self) {
        self.ours = Credentials { ufrag: self.chance.text(4), pwd: self.chance.text(24) };
    }

    /// The answer is there: checks begin, or go on with other credentials.
    pub fn handle_answer(&mut self, now: Instant, theirs: Credentials) {
        if self.theirs.as_ref() != Some(&theirs) {
            self.theirs = Some(theirs);
            self.check_at = Some(now);
        }
        self.handle_timeout(now);
    }

    /// A STUN message arrived; one that answers no check of ours is ignored.
    pub fn handle_stun(&mut self, now: Instant, bytes: &[u8]) {
        let mut message = Message::default();
        let Some(theirs) = self.theirs.as_ref().filter(|_| message.unmarshal_binary(bytes).is_ok()) else {
            return;
        };
        let integrity = MessageIntegrity::check(&mut message, theirs.pwd.as_bytes(), PROVIDER.crypto());
        let id = message.transaction_id.0;
        let asked = self.asked.iter().find(|(_, transaction)| *transaction == id).copied();
        let Some((at, _)) = asked.filter(|_| integrity.is_ok() && message.typ == BINDING_SUCCESS) else {
            return;
        };
        self.asked.retain(|(other, _)| *other > at);
        self.rtt = Some(now.since(at));
        self.proved_at = Some(now);
        self.check_at = Some(now + CHECK_LATER);
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.proved_at.is_some_and(|at| now.since(at) >= SILENCE_MAX) {
            self.proved_at = None;
        }
        if self.check_at.is_some_and(|at| at <= now) {
            self.check(now);
        }
    }

    /// The next check to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// When to call [`Ice::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.check_at
    }

    /// Whether the server has answered by this path.
    pub fn is_open(&self) -> bool {
        self.proved_at.is_some()
    }

    /// The round trip that the last answered check took.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Ends all checks.
    pub fn close(&mut self) {
        (self.theirs, self.check_at, self.proved_at) = (None, None, None);
    }

    fn check(&mut self, now: Instant) {
        let Some(theirs) = &self.theirs else { return };
        let mut message = Message::new();
        message.write_header();
        message.set_type(BINDING_REQUEST);
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&self.chance.long_number().to_be_bytes());
        message.transaction_id.0 = transaction;
        message.write_transaction_id();
        let user = Username::new(ATTR_USERNAME, format!("{}:{}", theirs.ufrag, self.ours.ufrag));
        user.add_to(&mut message).expect("a user name of a dozen letters fits");
        message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &[7; 8]);
        message.add(ATTR_USE_CANDIDATE, &[]);
        let integrity =
            MessageIntegrity::new_raw_integrity_with_provider(theirs.pwd.clone(), PROVIDER.crypto());
        integrity.add_to(&mut message).expect("no fingerprint is there yet");
        FINGERPRINT.add_to(&mut message).expect("it comes last");
        self.out.push_back(message.raw);
        if self.asked.len() == ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back((now, transaction));
        self.check_at = Some(now + if self.proved_at.is_some() { CHECK_AGAIN } else { CHECK_FIRST });
    }
}
